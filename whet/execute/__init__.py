"""Where work runs: importable callables, started here or in other processes. Knows no study."""

from whet.execute.place import Workers as Workers
from whet.execute.place import place as place
from whet.execute.processes import Message as Message
from whet.execute.processes import Pool as Pool
from whet.execute.reference import refer as refer
from whet.execute.reference import resolve as resolve

__all__ = ["Message", "Pool", "Workers", "place", "refer", "resolve"]

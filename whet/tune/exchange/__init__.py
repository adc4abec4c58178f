"""Studies that come from elsewhere and go elsewhere: Optuna, tables, and a document that holds all of one.

`read` takes a file or a URL and returns `Carried`, a study as a value; `Carried.study` puts it in a store. `document`
and `frames` go the other way. Whatever could not be carried over is said, never dropped in silence.
"""

from whet.tune.exchange.carried import Carried
from whet.tune.exchange.document import document
from whet.tune.exchange.read import read

__all__ = ["Carried", "document", "read"]

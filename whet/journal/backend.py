"""What a journal asks of the database it lies in, beside SQL: how to connect, begin and commit, and what failures mean."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import sqlalchemy as sa

from whet.errors import StoreError
from whet.journal.tables import Statements

__all__ = ["PATIENCE", "Backend", "Call", "Patience"]

PATIENCE = 60.0  # seconds to wait for another process that writes, or for a server that is gone
Call = tuple[str, tuple[Any, ...]]  # a statement and its values


class Backend(Protocol):
    """A kind of database. A "raw" connection is the driver's own, in autocommit."""

    where: str  # how messages name the database: never with a password
    errors: tuple[type[Exception], ...]  # what the driver raises
    engine: sa.Engine
    shares: bool  # whether tables of others may lie beside ours

    def place(self, fill: Callable[[sa.Connection], None]) -> None:
        """Make the database when there is none and that is ours to do; `fill` makes its tables."""
        ...

    def connect(self) -> sa.Connection:
        """Return a new connection, in autocommit; raises the errors of the driver or of SQLAlchemy."""
        ...

    def raw(self, c: sa.Connection) -> Any:
        """Return the driver's connection behind `c`, made ready for a journal."""
        ...

    def begin(self, raw: Any, texts: Statements, study: int, after: int) -> tuple[list[Any], list[Any]] | None:
        """Take the study's write lock; return the events from seq `after` on and the leases when that costs nothing."""
        ...

    def commit(self, raw: Any, calls: Sequence[Call]) -> None:
        """Run `calls`, then commit."""
        ...

    def roll_back(self, raw: Any) -> None:
        """End a transaction, if there is one; never fails: what cannot be undone otherwise is, by hanging up."""
        ...

    def run(self, raw: Any, calls: Sequence[Call]) -> None:
        """Run `calls`, inside a transaction."""
        ...

    def exclusive(self, c: sa.Connection) -> AbstractContextManager[None]:
        """Hold a transaction that nobody else can have at the same time on the whole database."""
        ...

    def busy(self, error: BaseException) -> bool:
        """Return whether another process holds the lock and trying again may help."""
        ...

    def lost(self, error: BaseException) -> bool:
        """Return whether the connection is gone."""
        ...

    def explain(self, error: BaseException) -> StoreError:
        """Return the error that says what went wrong and what to do."""
        ...


class Patience:
    """Sleeps between tries, a little longer each time and by chance, until `limit` seconds are over.

    >>> waits = Patience(0.0001, 0.001, limit=60.0)
    >>> waits.more(), waits.tries
    (True, 1)
    >>> Patience(0.1, 1.0, limit=-1.0).more()
    False
    """

    def __init__(self, first: float, longest: float, *, limit: float) -> None:
        self._wait, self._longest, self.limit = first, longest, limit
        self._begun = time.monotonic()
        self.tries = 0

    def more(self) -> bool:
        """Sleep; return False at once when the limit is over."""
        if time.monotonic() - self._begun > self.limit:
            return False
        self.tries += 1
        time.sleep(self._wait * random.uniform(0.5, 1.0))
        self._wait = min(self._longest, self._wait * 1.5)
        return True

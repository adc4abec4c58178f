"""The connection of one journal: its own in each process, patient with locks, and made again when the server was away."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

from whet.errors import StoreError
from whet.journal.backend import PATIENCE, Patience
from whet.journal.database import Database
from whet.journal.process import who

__all__ = ["Connection"]

T = TypeVar("T")
_inherited: list[Any] = []  # connections of the process this one was forked from: not ours to close


class Connection:
    """A driver's connection to `database`.

    losses: how often it was lost; who: the name of this process.

    >>> connection = Connection(Database("sqlite:///example.db"))
    >>> connection.patiently(lambda raw: raw.execute("SELECT 1").fetchone())
    (1,)
    >>> connection.close()
    """

    def __init__(self, database: Database) -> None:
        self.database, self.backend = database, database.backend
        self.losses = 0
        self._closed = False
        self.errors: tuple[type[Exception], ...] = self.backend.errors
        self._retried: tuple[type[Exception], ...] = (StoreError, *self.errors)
        self.open()

    def open(self) -> None:
        """Connect."""
        self._pid, self.who = os.getpid(), who()
        self.sql = self.database.connect()
        with self.database.shielded():
            self._raw = self.backend.raw(self.sql)

    def raw(self) -> Any:
        """Return the driver's connection, a new one in a process that was forked."""
        if os.getpid() != self._pid:
            _inherited.append(self.sql)
            self.open()
        return self._raw

    def patiently(self, act: Callable[[Any], T], meanwhile: Callable[[], object] | None = None) -> T:
        """Return `act(raw)`, again and again while another process is in the way or the server is away.

        meanwhile: work to do once instead of the first sleep, when another process is in the way.
        """
        locked = away = None
        while True:
            try:
                return act(self.raw())
            except self._retried as e:
                cause = e.__cause__ if isinstance(e, StoreError) else e  # of a StoreError: what failed in connecting
                if cause is not None and not self._closed:
                    if self.backend.busy(cause):
                        if meanwhile is not None:
                            work, meanwhile = meanwhile, None
                            work()
                            continue
                        locked = locked or Patience(0.0005, 0.005, limit=PATIENCE)
                        if locked.more():
                            continue
                    elif self.backend.lost(cause):
                        self.losses += away is None
                        away = away or Patience(0.05, 2.0, limit=PATIENCE)
                        if away.more():
                            self._again()
                            continue
                        raise StoreError(
                            f"{self.database.where}: the connection was lost, and for {PATIENCE:g} s the server could "
                            "not be reached. Start PostgreSQL again, then run again: the study goes on where it was."
                        ) from e
                raise (e if isinstance(e, StoreError) else self.backend.explain(e)) from cause

    def _again(self) -> None:
        """Try to connect again."""
        self._drop()
        try:
            self.open()
        except StoreError as e:
            if e.__cause__ is None or not self.backend.lost(e.__cause__):
                raise  # the server is there and will not have us

    def _drop(self) -> None:
        try:
            self.sql.invalidate()
            self.sql.close()
        except Exception:
            pass  # it was lost

    def roll_back(self) -> None:
        """End a transaction, if there is one, without a trace."""
        self.backend.roll_back(self._raw)

    def close(self) -> None:
        """Let go of the database."""
        self._closed = True
        if os.getpid() == self._pid:
            try:
                self.sql.close()
            except Exception:
                self._drop()

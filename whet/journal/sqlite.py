"""A whet database in one SQLite file, in write-ahead mode: one writer at a time, and readers never wait for it.

A transaction takes the write lock at its beginning (`BEGIN IMMEDIATE`), so one that has read cannot fail to write.
SQLite's own way to wait for that lock sleeps up to 0.1 s at a time; a journal waits by itself (`Patience`), in steps of a
few transactions: whoever has the lock does several, and the lock changes hands less often.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from whet.errors import StoreError, one_line
from whet.journal.backend import PATIENCE, Call
from whet.journal.disk import warn_of_network
from whet.journal.tables import Statements

__all__ = ["SqliteFile"]

_SYNCHRONOUS = {"process": "NORMAL", "power": "FULL"}
# The write-ahead log goes into the database when it is this long: SQLite's own way cannot begin a new log while several
# processes write without a pause, and then the log grows without end.
_LOG = 64_000_000  # bytes
_EVERY = 100  # commits between two looks at its length
_PAUSE = 300  # milliseconds to try for: others may have to wait so long for a reader


class SqliteFile:
    """The backend of `sqlite:///FILE`."""

    shares = False

    def __init__(self, url: str, *, durability: str = "process", create: bool = True) -> None:
        self.path = Path(sa.make_url(url).database or "")
        self.where = str(self.path)
        self._log = f"{self.path}-wal"
        self.errors: tuple[type[Exception], ...] = (sqlite3.Error,)
        self._durability = durability
        self._commits = _EVERY - 1  # the first one looks
        if not create and not self.path.exists():
            raise StoreError(
                f"{self.path}: no such study database. Run `whet run` or `whet tune` first, or check the path."
            )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise self.explain(e) from e
        warn_of_network(self.path)
        self.engine = sa.create_engine(
            url, poolclass=sa.NullPool, connect_args={"timeout": PATIENCE, "check_same_thread": False}
        )
        sa.event.listen(self.engine, "connect", self._pragmas)

    def place(self, fill: Callable[[sa.Connection], None]) -> None:
        """Put a new database in place, whole: made beside it, then linked, unless another process was quicker.

        fill: is given a connection inside a transaction.
        """
        if self.path.exists():
            return
        beside = str(self.path.parent / f".new-{uuid.uuid4().hex}.db")
        engine = sa.create_engine("sqlite://", creator=lambda: sqlite3.connect(beside), poolclass=sa.NullPool)
        sa.event.listen(engine, "connect", self._pragmas)
        try:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as c, self.exclusive(c):
                fill(c)
            try:
                os.link(beside, self.path)
            except FileExistsError:
                pass
            except OSError:  # a file system without links
                if not self.path.exists():
                    os.rename(beside, self.path)
        finally:
            for suffix in ("", "-wal", "-shm"):
                Path(beside + suffix).unlink(missing_ok=True)

    def _pragmas(self, connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        # the mode is a property of the file: asking before changing saves a lock
        if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={_SYNCHRONOUS[self._durability]}")
        cursor.close()

    def connect(self) -> sa.Connection:
        """Return a new connection, in autocommit."""
        return self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def raw(self, c: sa.Connection) -> Any:
        """Return the driver's connection behind `c`; it fails at once when another process holds a lock it needs."""
        raw = c.connection.driver_connection
        assert raw is not None
        raw.execute("PRAGMA busy_timeout=0")
        raw.execute("PRAGMA wal_autocheckpoint=0")
        return raw

    def begin(self, raw: Any, texts: Statements, study: int, after: int) -> None:
        """Take the write lock."""
        raw.execute("BEGIN IMMEDIATE")

    def run(self, raw: Any, calls: Sequence[Call]) -> None:
        """Run `calls`."""
        for text, values in calls:
            raw.execute(text, values)

    def commit(self, raw: Any, calls: Sequence[Call]) -> None:
        """Run `calls`, then commit."""
        for text, values in calls:
            raw.execute(text, values)
        raw.execute("COMMIT")
        self._commits += 1
        if self._commits >= _EVERY:
            self._commits = 0
            self._empty_log(raw)

    def _empty_log(self, raw: Any) -> None:
        """Write a long log into the database and begin it anew."""
        try:
            if os.stat(self._log).st_size > _LOG:
                raw.execute(f"PRAGMA busy_timeout={_PAUSE}")
                raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except (OSError, sqlite3.Error):
            pass  # another process is at it, or reads, or the disk is full: nothing is lost, and the next look is soon
        finally:
            raw.execute("PRAGMA busy_timeout=0")

    def roll_back(self, raw: Any) -> None:
        """End a transaction, if there is one."""
        try:
            if raw.in_transaction:
                raw.execute("ROLLBACK")
        except sqlite3.Error:
            pass  # closed, or the failed COMMIT has rolled back already

    @contextmanager
    def exclusive(self, c: sa.Connection) -> Iterator[None]:
        """Hold the write lock; commit at the end, roll back on any exception."""
        c.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            yield
            c.exec_driver_sql("COMMIT")
        except BaseException:
            try:
                c.exec_driver_sql("ROLLBACK")
            except SQLAlchemyError:
                pass  # the failed COMMIT has rolled back already
            raise

    def busy(self, error: BaseException) -> bool:
        """Return whether another process holds the lock."""
        return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY

    def lost(self, error: BaseException) -> bool:
        """Return False: there is no server."""
        return False

    def explain(self, error: BaseException) -> StoreError:
        """Return the StoreError that says what went wrong and what to do."""
        text = one_line(str(error.orig if isinstance(error, DBAPIError) and error.orig is not None else error))
        low = text.lower()
        if "not a database" in low or "malformed" in low:
            return StoreError(f"{self.path}: not a whet database ({text}). Give another file, or --runs DIR.")
        if "disk is full" in low or "no space" in low or "disk i/o" in low:
            return StoreError(f"{self.path}: no space on the disk ({text}). Nothing was lost; make room and run again.")
        if Path(self.path).is_dir():
            return StoreError(f"{self.path}: is a folder. Give a database file, or --runs DIR.")
        if "readonly" in low or "read-only" in low or "permission" in low or "unable to open" in low:
            return StoreError(
                f"{self.path}: cannot be written ({text}). Check the folder's permissions, or give --runs."
            )
        if "locked" in low or "busy" in low:
            return StoreError(
                f"{self.path}: locked by another process for {PATIENCE:g} s. Close what holds it and run again."
            )
        return StoreError(f"{self.path}: {text}")

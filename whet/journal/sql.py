"""The journal in a database, through SQLAlchemy Core: SQLite in write-ahead mode.

One connection a journal, in autocommit, with transactions begun by hand: SQLite takes the write lock at once
(`BEGIN IMMEDIATE`), so a transaction that has read cannot fail to write. Readers never wait for it (WAL).
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from whet.errors import StoreError, one_line
from whet.journal.event import FORMAT, Event, Lease, decode, encode
from whet.journal.process import who

__all__ = ["Database", "SqlJournal"]

_schema = sa.MetaData()
_meta = sa.Table(
    "whet_meta", _schema,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)  # fmt: skip
_studies = sa.Table(
    "studies", _schema,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("at", sa.Float, nullable=False),
)  # fmt: skip
_events = sa.Table(
    "events", _schema,
    sa.Column("study", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("trial", sa.Integer),
    sa.Column("data", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)  # fmt: skip
_leases = sa.Table(
    "leases", _schema,
    sa.Column("study", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("trial", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("worker", sa.Text, nullable=False),
    sa.Column("beat", sa.Integer, nullable=False),
    sa.Column("lapses", sa.Integer, nullable=False),
)  # fmt: skip
_sessions = sa.Table(
    "sessions", _schema,
    sa.Column("study", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("worker", sa.Text, primary_key=True),
    sa.Column("seconds", sa.Float, nullable=False),
)  # fmt: skip

_SYNCHRONOUS = {"process": "NORMAL", "power": "FULL"}
_BUSY = 60.0  # seconds a writer waits for another before it gives up


class Database:
    """A whet database: opens or creates it, and refuses anything else.

    Raises StoreError when the file is no whet database, comes from a newer version, or cannot be written.
    """

    def __init__(self, url: str, *, durability: str = "process", create: bool = True) -> None:
        self.url = url
        self.path = Path(sa.make_url(url).database or "")
        self._durability = durability
        if not create and not self.path.exists():
            raise StoreError(
                f"{self.path}: no such study database. Run `whet run` or `whet tune` first, or check the path."
            )
        self._shield(lambda: self.path.parent.mkdir(parents=True, exist_ok=True))
        self.engine = sa.create_engine(
            url, poolclass=sa.NullPool, connect_args={"timeout": _BUSY, "check_same_thread": False}
        )
        sa.event.listen(self.engine, "connect", self._pragmas)
        if not self.path.exists():
            self._shield(self._create)
        with self.connect() as c:
            self._prepare(c)

    def _create(self) -> None:
        """Put a new database in place, whole: made beside it, then linked, unless another process was quicker."""
        beside = str(self.path.parent / f".new-{uuid.uuid4().hex}.db")
        engine = sa.create_engine("sqlite://", creator=lambda: sqlite3.connect(beside), poolclass=sa.NullPool)
        sa.event.listen(engine, "connect", self._pragmas)
        try:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as c, self.transaction(c):
                _schema.create_all(c)
                c.execute(_meta.insert().values(key="format", value=str(FORMAT)))
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
        return self._shield(lambda: self.engine.connect().execution_options(isolation_level="AUTOCOMMIT"))

    def _prepare(self, c: sa.Connection) -> None:
        tables = set(self._shield(lambda: sa.inspect(c).get_table_names()))
        if "whet_meta" not in tables:
            if tables:
                few = ", ".join(sorted(tables)[:3])
                raise StoreError(
                    f"{self.path}: not a whet database (it has tables {few}). Give another file, or --runs DIR."
                )
            with self.transaction(c):
                _schema.create_all(c)
                have = c.execute(sa.select(_meta.c.value).where(_meta.c.key == "format")).scalar()
                if have is None:
                    c.execute(_meta.insert().values(key="format", value=str(FORMAT)))
        found = self._shield(lambda: c.execute(sa.select(_meta.c.value).where(_meta.c.key == "format")).scalar())
        if found is None or not str(found).isdigit():
            raise StoreError(
                f"{self.path}: not a whet database (its format is {found!r}). Give another file, or --runs DIR."
            )
        if int(found) > FORMAT:
            raise StoreError(
                f"{self.path}: written by a newer whet (format {found}, this one reads up to {FORMAT}). "
                "Upgrade with `pip install --upgrade whet`, or give another file, or --runs DIR."
            )

    def _shield(self, act: Any) -> Any:
        """Run `act`; a failure of the database or the disk becomes a StoreError that says what to do."""
        try:
            return act()
        except (SQLAlchemyError, OSError) as e:
            if isinstance(e, StoreError):
                raise
            raise self.explain(e) from e

    def explain(self, e: BaseException) -> StoreError:
        """Return the StoreError that says what went wrong and what to do."""
        text = one_line(str(e.orig if isinstance(e, DBAPIError) and e.orig is not None else e))
        low = text.lower()
        if "not a database" in low or "malformed" in low:
            return StoreError(f"{self.path}: not a whet database ({text}). Give another file, or --runs DIR.")
        if "disk is full" in low or "no space" in low or "disk i/o" in low:
            return StoreError(f"{self.path}: no space on the disk ({text}). Nothing was lost; make room and run again.")
        if "readonly" in low or "read-only" in low or "permission" in low or "unable to open" in low:
            return StoreError(
                f"{self.path}: cannot be written ({text}). Check the folder's permissions, or give --runs."
            )
        if "locked" in low or "busy" in low:
            return StoreError(
                f"{self.path}: locked by another process for {_BUSY:g} s. Close what holds it and run again."
            )
        return StoreError(f"{self.path}: {text}")

    @contextmanager
    def transaction(self, c: sa.Connection) -> Iterator[None]:
        """Hold the write lock; commit at the end, roll back on any exception."""
        self._shield(lambda: c.exec_driver_sql("BEGIN IMMEDIATE"))
        try:
            yield
            c.exec_driver_sql("COMMIT")
        except BaseException as e:
            try:
                c.exec_driver_sql("ROLLBACK")
            except SQLAlchemyError:
                pass  # the failed COMMIT has rolled back already
            if isinstance(e, SQLAlchemyError):
                raise self.explain(e) from e
            raise

    def studies(self) -> list[tuple[str, float]]:
        """Return (name, creation time) of every study, oldest first."""
        with self.connect() as c:
            rows = self._shield(
                lambda: c.execute(sa.select(_studies.c.name, _studies.c.at).order_by(_studies.c.id)).all()
            )
        return [(n, t) for n, t in rows]

    def delete(self, name: str) -> None:
        """Delete the study `name` with all its events; nothing happens when there is none."""
        with self.connect() as c, self.transaction(c):
            study = c.execute(sa.select(_studies.c.id).where(_studies.c.name == name)).scalar()
            for table in (_events, _leases, _sessions):
                c.execute(table.delete().where(table.c.study == study))
            c.execute(_studies.delete().where(_studies.c.id == study))

    def study_id(self, c: sa.Connection, name: str) -> int:
        """Return the number of the study `name`, creating it when there is none."""
        find = sa.select(_studies.c.id).where(_studies.c.name == name)
        found = self._shield(lambda: c.execute(find).scalar())
        if found is None:
            with self.transaction(c):  # another process may have created it in the meantime
                found = c.execute(find).scalar()
                if found is None:
                    c.execute(_studies.insert().values(name=name, at=time.time()))
                    found = c.execute(find).scalar()
        assert found is not None
        return int(found)


class SqlJournal:
    """The record of one study in a database."""

    durable = True

    def __init__(self, database: Database, name: str) -> None:
        self.name = name
        self.database = database
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._c = database.connect()
        self._study = database.study_id(self._c, name)
        self._who = who()
        e, s = _events.c, self._study
        self._select = (
            sa.select(e.seq, e.kind, e.trial, e.data, e.at, e.who)
            .where(e.study == s, e.seq > sa.bindparam("after"))
            .order_by(e.seq)
        )
        self._last = sa.select(sa.func.coalesce(sa.func.max(e.seq), 0)).where(e.study == s)

    @property
    def _connection(self) -> sa.Connection:
        if os.getpid() != self._pid:  # SQLite connections do not survive a fork
            self._pid, self._c, self._who = os.getpid(), self.database.connect(), who()
        return self._c

    def read(self, after: int = 0) -> list[Event]:
        """Return the events with seq > after, in order."""
        with self._lock:
            try:
                rows = self._connection.execute(self._select, {"after": after}).all()
            except SQLAlchemyError as e:
                raise self.database.explain(e) from e
        return [Event(seq, kind, trial, decode(data), at, by) for seq, kind, trial, data, at, by in rows]

    @contextmanager
    def write(self) -> Iterator[SqlJournal]:
        """Begin a transaction; any exception undoes it."""
        with self._lock, self.database.transaction(self._connection):
            yield self

    def append(self, kind: str, trial: int | None, data: Mapping[str, Any]) -> Event:
        """Append an event at the next seq (inside `write`)."""
        text = encode(data)
        event = Event(
            self._connection.execute(self._last).scalar_one() + 1, kind, trial, decode(text), time.time(), self._who
        )
        row = {"study": self._study, "seq": event.seq, "kind": kind, "trial": trial, "data": text}
        self._connection.execute(_events.insert(), {**row, "at": event.at, "who": event.who})
        return event

    def record(self, topic: str, data: Mapping[str, Any]) -> int:
        """Append a "recorded" event; return how many there are of this topic now."""
        with self.write():
            self.append("recorded", None, {"topic": topic, "data": data})
        return sum(e.kind == "recorded" and e.data["topic"] == topic for e in self.read())

    def leases(self) -> dict[int, Lease]:
        """Return every lease of the study, by trial."""
        c = _leases.c
        with self._lock:
            query = sa.select(c.trial, c.worker, c.beat, c.lapses).where(c.study == self._study)
            rows = self.database._shield(lambda: self._connection.execute(query).all())
        return {r[0]: Lease(*r) for r in rows}

    def take(self, trial: int, worker: str, lapses: int = 0) -> None:
        """Give the trial to `worker`, whoever had it (inside `write`)."""
        self.drop(trial)
        row = {"study": self._study, "trial": trial, "worker": worker, "beat": 0, "lapses": lapses}
        self._connection.execute(_leases.insert(), row)

    def drop(self, trial: int) -> None:
        """End the lease on the trial (inside `write`)."""
        self._connection.execute(_leases.delete().where(_leases.c.study == self._study, _leases.c.trial == trial))

    def beat(self, worker: str) -> None:
        """Raise the beat of every lease of `worker`."""
        c = _leases.c
        with self.write():
            mine = (c.study == self._study) & (c.worker == worker)
            self._connection.execute(_leases.update().where(mine).values(beat=c.beat + 1))

    def spend(self, worker: str, seconds: float) -> None:
        """Note that `worker` has worked on this study for `seconds` in all."""
        c = _sessions.c
        with self.write():
            self._connection.execute(_sessions.delete().where(c.study == self._study, c.worker == worker))
            self._connection.execute(_sessions.insert(), {"study": self._study, "worker": worker, "seconds": seconds})

    def spent(self) -> float:
        """Return the seconds all workers have spent."""
        query = sa.select(sa.func.coalesce(sa.func.sum(_sessions.c.seconds), 0.0)).where(
            _sessions.c.study == self._study
        )
        with self._lock:
            return float(self.database._shield(lambda: self._connection.execute(query).scalar_one()))

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            if os.getpid() == self._pid:
                self._c.close()

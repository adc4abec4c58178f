"""The journal of one study in a database, through SQLAlchemy Core: one connection a journal."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from whet.journal import database as tables
from whet.journal.database import Database
from whet.journal.event import Event, Lease, decode, encode
from whet.journal.process import who

__all__ = ["SqlJournal"]


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
        e, s = tables.events.c, self._study
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

    def pages(self, after: int = 0, size: int = 20_000) -> Iterator[list[Event]]:
        """Yield the events with seq > after, in order."""
        yield self.read(after)

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
        self._connection.execute(tables.events.insert(), {**row, "at": event.at, "who": event.who})
        return event

    def record(self, topic: str, data: Mapping[str, Any]) -> int:
        """Append a "recorded" event; return how many there are of this topic now."""
        with self.write():
            self.append("recorded", None, {"topic": topic, "data": data})
        return sum(e.kind == "recorded" and e.data["topic"] == topic for e in self.read())

    def leases(self) -> dict[int, Lease]:
        """Return every lease of the study, by trial."""
        c = tables.leases.c
        with self._lock:
            query = sa.select(c.trial, c.worker, c.beat, c.lapses).where(c.study == self._study)
            rows = self.database.shield(lambda: self._connection.execute(query).all())
        return {r[0]: Lease(*r) for r in rows}

    def take(self, trial: int, worker: str, lapses: int = 0) -> None:
        """Give the trial to `worker`, whoever had it (inside `write`)."""
        self.drop(trial)
        row = {"study": self._study, "trial": trial, "worker": worker, "beat": 0, "lapses": lapses}
        self._connection.execute(tables.leases.insert(), row)

    def drop(self, trial: int) -> None:
        """End the lease on the trial (inside `write`)."""
        self._connection.execute(
            tables.leases.delete().where(tables.leases.c.study == self._study, tables.leases.c.trial == trial)
        )

    def beat(self, worker: str) -> None:
        """Raise the beat of every lease of `worker`."""
        c = tables.leases.c
        with self.write():
            mine = (c.study == self._study) & (c.worker == worker)
            self._connection.execute(tables.leases.update().where(mine).values(beat=c.beat + 1))

    def spend(self, worker: str, seconds: float) -> None:
        """Note that `worker` has worked on this study for `seconds` in all."""
        c = tables.sessions.c
        with self.write():
            self._connection.execute(tables.sessions.delete().where(c.study == self._study, c.worker == worker))
            self._connection.execute(
                tables.sessions.insert(), {"study": self._study, "worker": worker, "seconds": seconds}
            )

    def spent(self) -> float:
        """Return the seconds all workers have spent."""
        query = sa.select(sa.func.coalesce(sa.func.sum(tables.sessions.c.seconds), 0.0)).where(
            tables.sessions.c.study == self._study
        )
        with self._lock:
            return float(self.database.shield(lambda: self._connection.execute(query).scalar_one()))

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            if os.getpid() == self._pid:
                self._c.close()

"""The journal of one study in a database: one connection a journal, and a handful of statements compiled once."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from whet.errors import LostConnection, Rewound, StoreError
from whet.journal.backend import Call
from whet.journal.connection import Connection
from whet.journal.database import Database
from whet.journal.event import Event, Lease, decode, decode_all, encode
from whet.journal.process import anew_in_child

__all__ = ["SqlJournal"]

LAST = 2**31 - 1
_KNOWN = 4096  # ends of reads to remember


@dataclass
class _Transaction:
    """What a transaction knows and has not written yet."""

    last: int | None = None  # the last seq, once it was asked for
    fetched: tuple[int, list[Any]] | None = None  # the events from a seq on that came with the lock
    leases: dict[int, Lease] | None = None
    calls: list[Call] = field(default_factory=list)
    made: list[tuple[int, str, float]] = field(default_factory=list)  # seq, data, time of its own events
    after: list[Callable[[], object]] = field(default_factory=list)  # what is done once it is written


class SqlJournal:
    """The record of one study in a database.

    >>> journal = SqlJournal(Database("sqlite:///example.db"), "s")
    >>> with journal.write() as w:
    ...     event = w.append("noted", 0, {"note": "hello"})
    >>> [e.data["note"] for e in journal.read()]
    ['hello']
    >>> journal.close()
    """

    durable = True

    def __init__(self, database: Database, name: str) -> None:
        self.name = name
        self.database = database
        self._backend, self._texts = database.backend, database.statements
        self._lock = threading.RLock()
        self._tx: _Transaction | None = None
        self._known: dict[int, tuple[float, str]] = {}  # the time and writer of events at which a read ended
        self._end = 0  # the seq up to which all was read or written
        self._study, self.uid = database.study(name)
        self._connection = Connection(database)
        anew_in_child(self)

    def anew(self) -> None:
        """Begin afresh in a process that was forked: another thread may have held the lock, and a transaction, there."""
        self._lock, self._tx = threading.RLock(), None

    @property
    def losses(self) -> int:
        """How often the connection was lost: what one watched for a while was not seen meanwhile."""
        return self._connection.losses

    def _query(self, text: str, *values: Any) -> list[Any]:
        """Return the rows of one statement, inside the transaction when there is one."""
        if self._tx is None:
            return self._connection.patiently(lambda raw: raw.execute(text, values).fetchall())
        try:
            raw = self._connection.raw()
            if self._tx.calls:
                calls, self._tx.calls = self._tx.calls, []
                self._backend.run(raw, calls)
            return raw.execute(text, values).fetchall()
        except self._connection.errors as e:
            raise self._failed(e) from e

    def _failed(self, e: Exception) -> StoreError:
        """Return what a failure inside a transaction means."""
        if not self._backend.lost(e):
            return self._backend.explain(e)
        self._connection.losses += 1
        return LostConnection(f"{self.database.where}: the connection was lost; nothing was written. Do it again.")

    # -- events

    def read(self, after: int = 0) -> list[Event]:
        """Return the events with seq > after, in order; raise Rewound when `after` is not there as it was."""
        with self._lock:
            return self._events(after, LAST)

    def pages(self, after: int = 0, size: int = 20_000, *, brief: bool = False) -> Iterator[list[Event]]:
        """Yield the events with seq > after in lists of at most `size`, in order; brief: without their time and writer."""
        while True:
            with self._lock:
                events = self._brief(after, after + size) if brief else self._events(after, after + size)
            if not events:
                return
            yield events
            after = events[-1].seq

    def _events(self, after: int, last: int) -> list[Event]:
        tx = self._tx
        if tx is not None and not tx.made and tx.fetched is not None and (tx.fetched[0], LAST) == (after, last):
            rows = list(tx.fetched[1])
        else:
            rows = self._query(self._texts.read, self._study, after, last)
        if after:
            self._check(after, rows)
            del rows[0]
        end = rows[-1][0] if rows else after
        if rows and not (tx is not None and tx.made):
            self._remember(end, rows[-1][4], rows[-1][5])
        if last == LAST:
            self._end = end
            if tx is not None:
                tx.last = end
        return self._made(rows) if rows else []

    def _brief(self, after: int, last: int) -> list[Event]:
        rows = self._query(self._texts.brief, self._study, after + 1, last)
        if rows:  # the last one is what the next read is held against
            end = self._query(self._texts.read, self._study, rows[-1][0], rows[-1][0])
            self._remember(rows[-1][0], end[0][4], end[0][5])
        return self._made(rows) if rows else []

    def _made(self, rows: list[Any]) -> list[Event]:
        # the collector of cycles looks at every new object again and again, and JSON has none
        pause = len(rows) > 1000 and gc.isenabled()
        if pause:
            gc.disable()
        try:
            try:
                data = decode_all([row[3] for row in rows])
            except ValueError:
                data = [self._decode(row[0], row[3]) for row in rows]
            make = tuple.__new__  # three times as fast as Event(...), which looks at each argument
            if len(rows[0]) == 4:
                return [make(Event, (s, k, t, d, 0.0, "")) for (s, k, t, _), d in zip(rows, data, strict=True)]
            return [make(Event, (s, k, t, d, a, w)) for (s, k, t, _, a, w), d in zip(rows, data, strict=True)]
        finally:
            if pause:
                gc.enable()

    def _decode(self, seq: int, text: str) -> dict[str, Any]:
        try:
            return decode(text)
        except ValueError as e:
            raise StoreError(
                f"{self.database.where}: study '{self.name}': event {seq} is damaged ({e}). "
                "Restore the database from a backup."
            ) from e

    def _check(self, after: int, rows: list[Any]) -> None:
        """Raise Rewound when the first row is not the event `after` that this process knows."""
        there = bool(rows) and rows[0][0] == after
        if not there or self._known.get(after, rows[0][4:6]) != rows[0][4:6]:
            raise Rewound(
                f"{self.database.where}: study '{self.name}': event {after} is not there any more as it was written (a "
                "crash of the server, another copy of the database, or the study was deleted). Open the study again."
            )

    def _remember(self, seq: int, at: float, by: str) -> None:
        self._known[seq] = (at, by)
        if len(self._known) > _KNOWN:
            del self._known[next(iter(self._known))]

    # -- a transaction

    @contextmanager
    def write(self, meanwhile: Callable[[], object] | None = None) -> Iterator[SqlJournal]:
        """Begin a transaction; any exception undoes it. `meanwhile` is called once when another process is in the way."""
        with self._lock:
            end = self._end
            try:
                self._begin(meanwhile)
                end = self._end  # it may have read on
                tx = self._inside
                yield self
                self._commit()
            except BaseException:
                self._tx, self._end = None, end
                self._connection.roll_back()
                raise
            self._tx = None
            for act in tx.after:
                act()

    def _begin(self, meanwhile: Callable[[], object] | None = None) -> None:
        assert self._tx is None, "a transaction inside a transaction"
        begin, end, study = self._backend.begin, self._end, self._study
        came = self._connection.patiently(lambda raw: begin(raw, self._texts, study, end), meanwhile)
        self._tx = _Transaction()
        if came is not None:
            self._tx.fetched = (end, came[0])
            self._tx.leases = {r[0]: Lease(*r) for r in came[1]}

    def _commit(self) -> None:
        tx = self._tx
        assert tx is not None
        try:
            self._backend.commit(self._connection.raw(), tx.calls)
        except self._connection.errors as e:
            failure = self._failed(e)
            if not isinstance(failure, LostConnection) or not tx.made or not self._arrived(tx):
                raise failure from e
        if tx.made:
            seq, _, at = tx.made[-1]
            self._remember(seq, at, self._connection.who)
            self._end = seq

    def _arrived(self, tx: _Transaction) -> bool:
        """Return whether the events of a transaction whose commit was lost are there after all."""
        self._tx = None
        self._begin()  # with the lock nobody else has it: what was going to be committed is
        rows = self._query(self._texts.read, self._study, tx.made[0][0], tx.made[-1][0])
        self._connection.roll_back()
        return [(r[0], r[3], r[4], r[5]) for r in rows] == [(s, d, a, self._connection.who) for s, d, a in tx.made]

    @property
    def _inside(self) -> _Transaction:
        assert self._tx is not None, "outside a transaction"
        return self._tx

    def append(self, kind: str, trial: int | None, data: Mapping[str, Any]) -> Event:
        """Append an event at the next seq (inside `write`)."""
        tx, text, at = self._inside, encode(data), time.time()
        if tx.last is None:
            tx.last = int(self._query(self._texts.last, self._study)[0][0])
        tx.last += 1
        tx.calls.append((self._texts.append, (self._study, tx.last, kind, trial, text, at, self._connection.who)))
        tx.made.append((tx.last, text, at))
        return Event(tx.last, kind, trial, decode(text), at, self._connection.who)

    def record(self, topic: str, data: Mapping[str, Any]) -> int:
        """Append a "recorded" event; return how many there are of this topic now."""
        with self.write():
            self.append("recorded", None, {"topic": topic, "data": data})
            rows = self._query(self._texts.records, self._study, "recorded")
            return sum(decode(r[0])["topic"] == topic for r in rows)

    # -- leases and time

    def leases(self) -> dict[int, Lease]:
        """Return every lease of the study, by trial."""
        with self._lock:
            if self._tx is not None and self._tx.leases is not None:
                return dict(self._tx.leases)
            found = {r[0]: Lease(*r) for r in self._query(self._texts.leases, self._study)}
            if self._tx is not None:
                self._tx.leases = dict(found)
            return found

    def take(self, trial: int, worker: str, lapses: int = 0) -> None:
        """Give the trial to `worker`, whoever had it (inside `write`)."""
        self._inside.calls.append((self._texts.take, (self._study, trial, worker, 0, lapses)))
        self._inside.leases = None

    def drop(self, trial: int) -> None:
        """End the lease on the trial (inside `write`)."""
        self._inside.calls.append((self._texts.drop, (self._study, trial)))
        self._inside.leases = None

    def after(self, act: Callable[[], object]) -> None:
        """Do `act` once the transaction is written (inside `write`)."""
        self._inside.after.append(act)

    def beat(self, worker: str) -> None:
        """Raise the beat of every lease of `worker`; without one nothing happens."""
        with self._lock:
            if self._query(self._texts.held, self._study, worker)[0][0]:
                with self.write():
                    self._inside.calls.append((self._texts.beat, (self._study, worker)))

    def spend(self, worker: str, seconds: float) -> None:
        """Note that `worker` has worked on this study for `seconds` in all."""
        with self._lock:
            self._connection.patiently(
                lambda raw: raw.execute(self._texts.spend, (self._study, worker, float(seconds))) and None
            )

    def spent(self) -> float:
        """Return the seconds all workers have spent."""
        with self._lock:
            return float(self._query(self._texts.spent, self._study)[0][0])

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            self._connection.close()

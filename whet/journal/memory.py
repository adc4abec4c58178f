"""A journal in memory: for `store=None`, tests and quick searches. It lives and dies with the process."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from whet.journal.event import Event, Lease, decode, encode

__all__ = ["MemoryJournal"]


class MemoryJournal:
    """The record of one study as a list.

    >>> j = MemoryJournal("s")
    >>> j.record("note", {"text": "hello"}), j.read()[0].kind
    (1, 'recorded')
    """

    durable = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.uid = uuid.uuid4().hex
        self._events: list[Event] = []
        self._leases: dict[int, Lease] = {}
        self._seconds: dict[str, float] = {}
        self._lock = threading.RLock()

    def read(self, after: int = 0) -> list[Event]:
        """Return the events with seq > after, in order."""
        return self._events[after:]

    def pages(self, after: int = 0, size: int = 20_000, *, brief: bool = False) -> Iterator[list[Event]]:
        """Yield the events with seq > after in lists of at most `size`, in order."""
        while events := self._events[after : after + size]:
            yield events
            after += len(events)

    @contextmanager
    def write(self, meanwhile: Callable[[], object] | None = None) -> Iterator[MemoryJournal]:
        """Begin a transaction: an exception undoes it. `meanwhile` is not needed: there is nobody to wait for."""
        with self._lock:
            length, leases = len(self._events), dict(self._leases)
            self._after: list[Callable[[], object]] = []
            try:
                yield self
            except BaseException:
                del self._events[length:]
                self._leases = leases
                raise
            for act in self._after:
                act()

    def append(self, kind: str, trial: int | None, data: Mapping[str, Any]) -> Event:
        """Append an event at the next seq."""
        # through JSON and back, so that memory and disk hold exactly the same
        event = Event(len(self._events) + 1, kind, trial, decode(encode(data)), time.time())
        self._events.append(event)
        return event

    def record(self, topic: str, data: Mapping[str, Any]) -> int:
        """Append a "recorded" event; return how many there are of this topic now."""
        with self.write():
            self.append("recorded", None, {"topic": topic, "data": data})
        return sum(e.kind == "recorded" and e.data["topic"] == topic for e in self._events)

    def leases(self) -> dict[int, Lease]:
        """Return every lease, by trial."""
        return dict(self._leases)

    def take(self, trial: int, worker: str, lapses: int = 0) -> None:
        """Give the trial to `worker`, whoever had it."""
        self._leases[trial] = Lease(trial, worker, 0, lapses)

    def drop(self, trial: int) -> None:
        """End the lease on the trial."""
        self._leases.pop(trial, None)

    def after(self, act: Callable[[], object]) -> None:
        """Do `act` once the transaction is written (inside `write`)."""
        self._after.append(act)

    def beat(self, worker: str) -> None:
        """Do nothing: whoever could have the lease dies with the journal."""

    def spend(self, worker: str, seconds: float) -> None:
        """Note that `worker` has worked for `seconds` in all."""
        self._seconds[worker] = seconds

    def spent(self) -> float:
        """Return the seconds all workers have spent."""
        return sum(self._seconds.values())

    def close(self) -> None:
        """Do nothing."""

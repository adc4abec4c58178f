"""The events a study is made of, and what a journal can do. This format is version 1 and only grows.

A study is an append-only list of events with a dense `seq` (1, 2, 3 ...). Everything else, trials included, is a fold
over them. `seen` is the seq up to which a decision had looked, so that any process can make it again. `at` (wall time) and `who` (host and process) are for people: nothing is decided from them.

| kind | trial | data |
|---|---|---|
| created | | format, version, space, goals, steps, seed, search, schedule (each {name, options}), asked (the names as given) |
| enqueued | id | params (may be partial), note; again: true when a repetition was asked for |
| imported | id | params, state, value, curve [[step, value, cost, metrics], ...], cost, parent, error, tags, note, origin, account (when and by whom it was worked on): a trial made elsewhere |
| asked | id | seen; parent, origin, params: the scheduler's, when it gave them |
| proposed | id | params, origin, seen: at first the seq of its asking; draw: which random stream of the trial it came from |
| resumed | id | seen; by: "finish" when no more trials could start |
| reported | id | step, value, cost, metrics, checkpoint (a file's name), verdict, seen |
| repeated | id | step, cost: a step that had to be trained again; the curve stays |
| told | id | value, metrics |
| failed | id | error {type, message, traceback}, transient: true when it may be tried again |
| noted | id | note, tags |
| recorded | | topic, data: what the recipe did (checks, ensemble, test split opened, ...) |
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from whet.errors import StoreError

__all__ = ["FORMAT", "KINDS", "Event", "Journal", "Lease", "Writer", "decode", "encode"]

FORMAT = 1
KINDS = frozenset(
    "created enqueued imported asked proposed resumed reported repeated told failed noted recorded".split()
)  # fmt: skip


class Event(NamedTuple):
    """One thing that happened; see the table above.

    >>> Event(1, "told", 0, {"value": 0.5}).kind
    'told'
    """

    seq: int
    kind: str
    trial: int | None
    data: Mapping[str, Any]
    at: float = 0.0
    who: str = ""

    @property
    def bare(self) -> tuple[int, str, int | None, Mapping[str, Any]]:
        """The event without time and place: what two runs of the same study have in common."""
        return (self.seq, self.kind, self.trial, self.data)


class Lease(NamedTuple):
    """Who works on a trial: a row that is overwritten, not an event.

    beat: a counter the worker raises; lapses: how often a worker disappeared from this trial.
    """

    trial: int
    worker: str
    beat: int = 0
    lapses: int = 0


class Writer(Protocol):
    """A transaction on one study: nobody else writes until it ends; an exception undoes all of it."""

    def read(self, after: int) -> list[Event]:
        """Return the events with seq > after."""
        ...

    def append(self, kind: str, trial: int | None, data: Mapping[str, Any]) -> Event:
        """Append an event at the next seq."""
        ...

    def leases(self) -> dict[int, Lease]:
        """Return every lease of the study, by trial."""
        ...

    def take(self, trial: int, worker: str, lapses: int = 0) -> None:
        """Give the trial to `worker`, whoever had it."""
        ...

    def drop(self, trial: int) -> None:
        """End the lease on the trial."""
        ...


class Journal(Protocol):
    """The record of one study."""

    name: str
    durable: bool

    def read(self, after: int = 0) -> list[Event]:
        """Return the events with seq > after, in order."""
        ...

    def pages(self, after: int = 0, size: int = 20_000) -> Iterator[list[Event]]:
        """Yield the events with seq > after, in order, `size` at a time."""
        ...

    def leases(self) -> dict[int, Lease]:
        """Return every lease of the study, by trial, without waiting for a writer."""
        ...

    def write(self) -> AbstractContextManager[Writer]:
        """Begin a transaction."""
        ...

    def record(self, topic: str, data: Mapping[str, Any]) -> int:
        """Append a "recorded" event; return how many there are of this topic now."""
        ...

    def beat(self, worker: str) -> None:
        """Raise the beat of every lease of `worker`."""
        ...

    def spend(self, worker: str, seconds: float) -> None:
        """Note that `worker` has worked on this study for `seconds` in all."""
        ...

    def spent(self) -> float:
        """Return the seconds all workers have spent."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...


def _plain(value: Any) -> Any:
    """Return `value` with what is not JSON made so: NumPy numbers, tuples; numbers that are not finite become text."""
    if isinstance(value, (str, bool, int)) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": str(value)}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        return _plain(value.item())
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    raise StoreError(
        f"journal: {value!r} of type {type(value).__name__} is not JSON. Give numbers, text, lists or dicts."
    )


def encode(data: Mapping[str, Any]) -> str:
    """Return the data of an event as one line of JSON; raise StoreError when something in it is not JSON.

    >>> encode({"a": (1, float("inf"))})
    '{"a":[1,{"$float":"inf"}]}'
    """
    try:
        text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError):
        data = _plain(data)
        text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a character, as in a file name that is not UTF-8
        text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text


def _revive(pairs: dict[str, Any]) -> Any:
    found = pairs.get("$float") if len(pairs) == 1 else None
    return float(found) if found in ("nan", "inf", "-inf") else pairs


def decode(text: str) -> dict[str, Any]:
    """Return what `encode` was given (tuples as lists).

    >>> decode(encode({"a": [1.5, float("inf")]}))
    {'a': [1.5, inf]}
    """
    if '"$float"' in text:
        return json.loads(text, object_hook=_revive)
    return json.loads(text)

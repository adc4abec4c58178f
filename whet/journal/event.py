"""The events a study is made of, and what a journal can do. This format is version 2 and only grows.

A study is an append-only list of events with a dense `seq` (1, 2, 3 ...). Everything else, trials included, is a fold
over them. `seen` is the seq up to which a decision had looked, so that any process can make it again. `at` (wall time) and `who` (host and process) are for people: nothing is decided from them.

| kind | trial | data |
|---|---|---|
| created | | format, version, space, goals, steps, seed, search, schedule (each {name, options}), asked (the names as given); like: earlier studies it learns from, [{study, seq, space, goals, steps, trials [[id, params, state, value, step], ...]}, ...] |
| enqueued | id | params (may be partial), note; again: true when a repetition was asked for |
| imported | id | params, state, value, curve [[step, value, cost, metrics], ...], cost, parent, error, tags, note, origin, account (when and by whom it was worked on): a trial made elsewhere, which costs nothing of the budget |
| asked | id | seen; parent, origin, params: the scheduler's, when it gave them |
| proposed | id | params, origin, seen: at first the seq of its asking; draw: which random stream of the trial it came from |
| resumed | id | seen; by: "finish" when no more trials could start |
| reported | id | step, value, seconds; cost, metrics, verdict, seen: left out where they are the steps since the last report, none, GO, and the event before; checkpoint (a file's name), bytes: its size, dropped: [names] of the checkpoints that go with this event |
| repeated | id | step, cost: a step that had to be trained again; the curve stays |
| told | id | value, metrics; dropped |
| collected | | names: [names] of checkpoints deleted for the quota |
| failed | id | error {type, message, traceback; seconds and memory (peak resident bytes), when known}, transient: true when it may be tried again; step and cost: of a value that was not finite; dropped |
| noted | id | note, tags |
| recorded | | topic, data: what the recipe did (checks, ensemble, test split opened, ...); topic "stopped" ends the study: data {why} |

Format 2 has `imported`, `collected`, and in a report `bytes` and `dropped`; every event of format 1 reads the same in it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from whet.errors import StoreError

__all__ = ["FORMAT", "KINDS", "Event", "Journal", "Lease", "Writer", "decode", "decode_all", "encode"]

FORMAT = 2
KINDS = frozenset(
    "created enqueued imported asked proposed resumed reported repeated collected told failed noted recorded".split()
)  # fmt: skip
_UNEQUAL = ("seconds", "memory")  # what no two machines have in common


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
        """The event without time, place and what an error cost: what two runs of the same study have in common.

        >>> Event(1, "failed", 0, {"error": {"type": "MemoryError", "seconds": 3.5}}).bare
        (1, 'failed', 0, {'error': {'type': 'MemoryError'}})
        """
        data = {k: v for k, v in self.data.items() if k != "seconds"}
        if isinstance(error := data.get("error"), Mapping):
            data["error"] = {k: v for k, v in error.items() if k not in _UNEQUAL}
        return (self.seq, self.kind, self.trial, data)


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

    def after(self, act: Callable[[], object]) -> None:
        """Do `act` once the transaction is written, and never when it is undone."""
        ...


class Journal(Protocol):
    """The record of one study."""

    name: str
    durable: bool
    uid: str  # random: a study made anew under the same name has another

    def read(self, after: int = 0) -> list[Event]:
        """Return the events with seq > after, in order.

        Raises Rewound when the journal no longer holds event `after` as this process knows it: what was folded from it
        is to be folded anew, from `read()`.
        """
        ...

    def pages(self, after: int = 0, size: int = 20_000, *, brief: bool = False) -> Iterator[list[Event]]:
        """Yield the events with seq > after in lists of at most `size`, in order: long journals in bounded memory.

        brief: they may come without their time and writer, which takes a quarter less time.
        """
        ...

    def leases(self) -> dict[int, Lease]:
        """Return every lease of the study, by trial, without waiting for a writer."""
        ...

    def write(self, meanwhile: Callable[[], object] | None = None) -> AbstractContextManager[Writer]:
        """Begin a transaction.

        meanwhile: something useful to do, outside any transaction, should another process be in the way; it may read.
        Raises LostConnection when the database was lost before its end: nothing was written, do it again.
        """
        ...

    def record(self, topic: str, data: Mapping[str, Any]) -> int:
        """Append a "recorded" event; return how many there are of this topic now."""
        ...

    def beat(self, worker: str) -> None:
        """Raise the beat of every lease of `worker`; without one nothing happens."""
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


_text = json.JSONEncoder(separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode


def encode(data: Mapping[str, Any]) -> str:
    """Return the data of an event as one line of JSON; raise StoreError when something in it is not JSON.

    >>> encode({"a": (1, float("inf"))})
    '{"a":[1,{"$float":"inf"}]}'
    """
    try:
        text = _text(data)
    except (TypeError, ValueError):
        data = _plain(data)
        text = _text(data)
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


def decode_all(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Return `decode` of each text, in one go: much faster, and equal keys are one string in memory.

    >>> decode_all([encode({"a": 1}), encode({"a": float("inf")})])
    [{'a': 1}, {'a': inf}]
    """
    joined = "[" + ",".join(texts) + "]"
    found = json.loads(joined, object_hook=_revive) if '"$float"' in joined else json.loads(joined)
    if len(found) != len(texts):
        raise ValueError("not one value a text")
    return found

"""Which event may follow which: what a journal cannot hold, whatever was decided, if whet wrote it and nobody changed it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from whet import seed as streams
from whet.errors import SpaceError
from whet.journal.event import Event, encode
from whet.tune.claim import CHANCES
from whet.tune.history import History
from whet.tune.trial import State, Verdict
from whet.tune.whole import configuration

__all__ = ["Difference", "breaches", "filled", "same"]

_NEW = frozenset({"enqueued", "imported"})  # kinds that make a trial, beside "asked"
_WORK = frozenset({"reported", "repeated", "told"})  # kinds that need a trial in work


@dataclass(frozen=True)
class Difference:
    """One thing in a journal that is not as it must be.

    seq, trial: which event; what: the part of it; recorded: what the journal says; redone: what it should say.

    >>> print(Difference(17, 3, "verdict", "GO", "PAUSE"))
    event 17, trial 3: verdict is recorded as GO, redone it is PAUSE
    """

    seq: int
    trial: int | None
    what: str
    recorded: Any
    redone: Any

    def __str__(self) -> str:
        where = f"event {self.seq}" + ("" if self.trial is None else f", trial {self.trial}")
        if isinstance(self.recorded, Mapping) and isinstance(self.redone, Mapping):
            names = dict.fromkeys([*self.recorded, *self.redone])
            apart = [n for n in names if not same(self.recorded.get(n), self.redone.get(n))]
            was, now = ({n: side.get(n) for n in apart} for side in (self.recorded, self.redone))
        else:
            was, now = self.recorded, self.redone
        return f"{where}: {self.what} is recorded as {_text(was)}, redone it is {_text(now)}"

    def json(self) -> dict[str, Any]:
        """Return the difference as JSON values."""
        return {
            "seq": self.seq, "trial": self.trial, "what": self.what, "recorded": self.recorded, "redone": self.redone,
        }  # fmt: skip


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k}={_text(v)}" for k, v in value.items()) or "nothing"
    return value if isinstance(value, str) else "nothing" if value is None else encode({"": value})[4:-1]


def same(a: Any, b: Any) -> bool:
    """Return whether two values are the same once written: 1 and True are not, tuples and lists are.

    >>> same({"a": (1, 2.5)}, {"a": [1, 2.5]}), same(1, True), same(float("nan"), float("nan"))
    (True, False, True)
    """
    if isinstance(a, str) and isinstance(b, str):
        return a == b
    return _key(a) == _key(b)


def _key(value: Any) -> str:
    return json.dumps(json.loads(encode({"": value})), sort_keys=True)


def filled(history: History, event: Event) -> Mapping[str, Any]:
    """Return the data of `event`, the next after `history`, with what a report leaves out.

    >>> filled(History(), Event(2, "told", 0, {"value": 1.0}))
    {'value': 1.0}
    """
    if event.kind != "reported" or event.trial is None or not 0 <= event.trial < len(history.progress):
        return event.data
    cost = float(event.data["step"] - history.trials[event.trial].step)
    return {"cost": cost, "metrics": {}, "verdict": "GO", "seen": event.seq - 1, **event.data}


def breaches(history: History, event: Event) -> Iterator[Difference]:
    """Yield what makes `event` impossible after `history`, of which it is the next.

    Raises KeyError, TypeError and the like when the event lacks what its kind must have.
    """

    def wrong(what: str, recorded: Any, redone: Any) -> Difference:
        return Difference(event.seq, event.trial, what, recorded, redone)

    kind, id, data = event.kind, event.trial, filled(history, event)
    if kind == "created":
        if history.terms is not None:
            yield wrong("created", "a second time", "once, at the beginning")
        return
    if kind == "recorded":
        if not (isinstance(data["topic"], str) and isinstance(data["data"], Mapping)):
            yield wrong("record", data, "a topic and its data")
        return
    if history.terms is None:
        yield wrong("order", f"{kind} before the study was created", "created comes first")
        return
    if kind == "collected":
        known = {name for p in history.progress for _, name in p.checkpoints}
        if unknown := [n for n in data["names"] if n not in known]:
            yield wrong("names", unknown, "checkpoints that there are")
        return
    n = len(history.trials)
    expected = n if kind in _NEW else history.waiting[0] if kind == "asked" and history.waiting else None
    expected = n if kind == "asked" and expected is None else expected
    if expected is not None and id != expected:
        yield wrong("trial", id, expected)
    if expected is None and not (isinstance(id, int) and 0 <= id < n):
        yield wrong("trial", id, f"one of the {n} there are")
        return
    if kind in ("asked", "proposed", "resumed") and not 0 < data["seen"] < event.seq:
        yield wrong("seen", data["seen"], f"an event before {event.seq}")
    if kind == "enqueued":
        try:
            history.terms.space.fill(data["params"], streams.rng(history.terms.seed, "check"))
        except SpaceError as e:
            yield wrong("params", data["params"], f"refused ({e})")
    if expected is None and isinstance(id, int):
        yield from _of_trial(history, event, id, wrong)


def _of_trial(history: History, event: Event, id: int, wrong: Any) -> Iterator[Difference]:
    kind, data, trial, progress = event.kind, filled(history, event), history.trials[id], history.progress[id]
    if kind == "proposed" and (progress.proposed or id not in history.open):
        yield wrong("order", "a configuration", f"none for a trial that is {trial.state}")
    elif kind == "proposed":
        if data["seen"] < progress.seen:
            yield wrong("seen", data["seen"], f"{progress.seen}, when it was asked for, or later")
        if (taken := history.taken(configuration(data["params"])) or 0) > data["seen"]:
            yield wrong("params", data["params"], f"another: event {taken} took this one in the meantime")
    if kind == "resumed" and trial.state is not State.PAUSED:
        yield wrong("order", "resumed", f"only a paused trial is; this one is {trial.state}")
    if kind in _WORK and (id not in history.open or trial.state is not State.RUNNING):
        yield wrong("order", kind, f"only a running trial can be; this one is {trial.state}")
    if kind == "failed":
        yield from _failed(history, event, id, wrong)
    if kind in ("told", "reported") and not _number(data["value"]):
        yield wrong("value", data["value"], "failed, as it is no finite number")
    if kind in ("told", "reported") and not isinstance(data["metrics"], Mapping):
        raise TypeError("metrics is no mapping")
    if kind in ("repeated", "reported"):
        assert history.terms is not None
        low, high = (trial.step + 1, history.terms.steps) if kind == "reported" else (1, trial.step)
        if not (_number(data["step"]) and low <= data["step"] <= high and data["step"] == int(data["step"])):
            yield wrong("step", data["step"], f"one from {low} to {high}")
        cost = data.get("cost", 0.0) if kind == "reported" else data["cost"]
        if not (_number(cost) and cost >= 0):
            yield wrong("cost", cost, "a number of at least 0")
    if kind == "reported":
        if data.get("seen", event.seq - 1) != event.seq - 1:  # a report is judged and written in one transaction
            yield wrong("seen", data["seen"], event.seq - 1)
        if data.get("verdict", "GO") not in Verdict.__members__:
            yield wrong("verdict", data["verdict"], f"one of {', '.join(Verdict.__members__)}")
        name = data.get("checkpoint")
        if name is not None and not name.startswith(f"{id}/{data['step']}-"):
            yield wrong("checkpoint", name, f"the name of one of trial {id} at step {data['step']}")


def _failed(history: History, event: Event, id: int, wrong: Any) -> Iterator[Difference]:
    trial, data = history.trials[id], event.data
    if id not in history.open and id not in history.waiting:
        yield wrong("order", "failed", f"only a trial in work can be; this one is {trial.state}")
    elif (
        not history.progress[id].proposed
        and id in history.open
        and data["error"]["type"] not in ("WorkerLost", "UsedUp")
    ):
        yield wrong("order", "failed", "only a running trial can be, unless its workers were lost or nothing was left")
    strikes = history.progress[id].strikes + 1
    if data["transient"] and strikes >= CHANCES:
        yield wrong("transient", True, f"False after {strikes} in a row")
    if "step" in data and not (_number(data["step"]) and data["step"] > trial.step):
        yield wrong("step", data["step"], f"one after {trial.step}")
    if not isinstance(data["error"], Mapping) or not isinstance(data["error"].get("message"), str):
        yield wrong("error", data["error"], "a type and a message")


def _number(value: Any) -> bool:
    """Return whether a number is finite; raise TypeError when it is none."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no number")
    return math.isfinite(value)

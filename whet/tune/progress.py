"""A study as a curve: one point for each time a trial came to rest, in the order of the journal.

What a stopping criterion of a whole study looks at. It is a fold over the events, so every process that has read as far
sees the same curve.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from whet.journal.event import Event
from whet.stop import Better, Reading, best
from whet.stop.gain import NOISE
from whet.tune.whole import configuration

__all__ = ["Progress", "jitter", "spread"]

_REPEATS = 3  # degrees of freedom without which repeated configurations say nothing
_POINTS = 6  # of a curve's end, without which its jitter says nothing


@dataclass(frozen=True)
class _Rest:
    trial: int
    reach: int
    value: float
    cost: float  # of the study since the rest before
    metrics: Mapping[str, float]


class Progress:
    """The curve of a study of at most `steps` steps a trial, kept up to date event by event.

    A trial comes to rest when it is told, paused, stopped, failed for good or imported; one that is resumed comes to rest
    again. A point's step is the number of trials that came to rest until then, its value the trial's, its cost what the
    study spent since the point before. Only values at the highest step that any trial at rest reached can be compared:
    all others, and failures, are NaN, a try that did not improve anything.

    >>> progress = Progress(steps=2)
    >>> progress.take([Event(1, "told", 0, {"value": 0.5, "metrics": {}}), Event(2, "told", 1, {"value": 0.4, "metrics": {}})])
    >>> [(p.step, p.value, p.cost) for p in progress.curve("min")]
    [(1, 0.5, 2.0), (2, 0.4, 2.0)]
    """

    def __init__(self, steps: int) -> None:
        self.seq = 0
        self._steps = steps
        self._rests: list[_Rest] = []
        self._at: dict[int, int] = {}  # trial -> the step it stands at; at first its parent's
        self._values: defaultdict[int, list[float]] = defaultdict(list)  # trial -> reported values
        self._metrics: dict[int, Mapping[str, float]] = {}
        self._keys: dict[int, str] = {}
        self._pending = 0.0

    def take(self, events: Iterable[Event]) -> None:
        """Take in the next events."""
        for event in events:
            if event.trial is not None:
                self._one(event.kind, event.trial, event.data)
            self.seq = event.seq

    def _one(self, kind: str, id: int, data: Mapping[str, Any]) -> None:
        match kind:
            case "asked" if data.get("parent"):
                self._at[id] = int(data["parent"][1])
            case "proposed" if (
                id not in self._at
            ):  # a child's weights are not of its configuration alone: it repeats nobody
                self._keys[id] = configuration(data["params"])
            case "reported":
                step, metrics = int(data["step"]), data.get("metrics") or {}
                self._pending += data.get("cost", step - self._at.get(id, 0))
                self._at[id] = step
                self._values[id].append(data["value"])
                self._metrics[id] = metrics
                if data.get("verdict", "GO") != "GO":
                    self._rest(id, step, data["value"], metrics)
            case "repeated":
                self._pending += data["cost"]
            case "told":
                if id not in self._metrics:
                    self._pending += self._steps - self._at.get(id, 0)
                self._rest(id, self._steps, data["value"], {**self._metrics.get(id, {}), **(data.get("metrics") or {})})
            case "failed" if not data["transient"]:
                self._pending += data.get("cost", 0.0)
                self._rest(id, 0, math.nan, {})
            case "imported":
                curve, value = data.get("curve") or (), data.get("value")
                if not data.get("parent"):
                    self._keys[id] = configuration(data["params"])
                self._values[id] = [p[1] for p in curve]
                reach = self._steps if data.get("state") == "DONE" else curve[-1][0] if curve else 0
                self._rest(id, reach, math.nan if value is None else value, curve[-1][3] if curve else {})

    def _rest(self, id: int, reach: int, value: float, metrics: Mapping[str, float]) -> None:
        self._rests.append(_Rest(id, reach, value, self._pending, metrics))
        self._pending = 0.0

    def curve(self, better: Better) -> list[Reading]:
        """Return the curve; the best point's metrics have its noise as "standard_error", where that is known."""
        top = max((r.reach for r in self._rests), default=0)
        found, seen = [], set()
        for rest in self._rests:
            seen.add(rest.trial)
            value = rest.value if rest.reach == top else math.nan
            found.append(Reading(len(seen), value, rest.cost, rest.metrics))
        if found:
            found[-1] = replace(found[-1], cost=found[-1].cost + self._pending)
        winner = best(found, better)
        if winner is not None and NOISE not in winner.metrics:
            at = next(i for i, p in enumerate(found) if p is winner)
            noise = self._noise(top, self._rests[at].trial)
            if noise is not None:
                found[at] = replace(found[at], metrics={**found[at].metrics, NOISE: noise})
        return found

    def _noise(self, top: int, winner: int) -> float | None:
        groups: defaultdict[str, list[float]] = defaultdict(list)
        for rest in self._rests:
            if rest.reach == top and math.isfinite(rest.value) and rest.trial in self._keys:
                groups[self._keys[rest.trial]].append(rest.value)
        found = spread(groups.values())
        return jitter(self._values[winner]) if found is None else found


def spread(groups: Iterable[Sequence[float]]) -> float | None:
    """Return the pooled standard deviation within groups of repeated trials; None below 3 degrees of freedom.

    >>> spread([[1.0, 3.0], [5.0, 7.0], [0.0, 2.0], [9.0]]), spread([[1.0, 2.0]])
    (1.4142135623730951, None)
    """
    total, degrees = 0.0, 0
    for values in groups:
        mean = math.fsum(values) / max(1, len(values))
        total += math.fsum((v - mean) ** 2 for v in values)
        degrees += max(0, len(values) - 1)
    return math.sqrt(total / degrees) if degrees >= _REPEATS else None


def jitter(values: Sequence[float]) -> float | None:
    """Return the standard deviation of a curve around its course, from its second half; None for less than 11 points.

    From second differences, which a straight course leaves at 0: their variance is 6 times that of independent noise.

    >>> jitter([1.0] * 11), jitter([1.0] * 10), round(jitter([0.0, 1.0] * 6), 3)
    (0.0, None, 0.816)
    """
    end = [v for v in values[len(values) // 2 :] if math.isfinite(v)]
    if len(end) < _POINTS:
        return None
    second = [a - 2 * b + c for a, b, c in zip(end, end[1:], end[2:], strict=False)]
    return math.sqrt(math.fsum(d * d for d in second) / (6 * len(second)))

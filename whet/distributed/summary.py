"""What simulated trainings come to: each rule after its last epoch, and at one moment of virtual time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from whet.distributed.compare import SEQUENTIAL, Outcome
from whet.tune.trial import Point

__all__ = ["Reached", "Summary", "moments", "quickest", "reached", "summary"]


class Summary(NamedTuple):
    """A rule with so many workers, over its seeds.

    value: the mean of the last values that are finite, spread: their standard deviation (nan for one seed); seconds: virtual, of
    the whole training; updates; staleness; n: seeds, diverged: how many of them did not end in finite numbers, died: how many ended
    before the last epoch because all workers had died; speedup: seconds of sequential SGD over its seconds, for the same epochs (nan when
    that was not simulated).
    """

    rule: str
    workers: int
    value: float
    spread: float
    seconds: float
    updates: float
    staleness: float
    n: int
    diverged: int
    speedup: float = math.nan
    died: int = 0

    @property
    def ended(self) -> int:
        """How many seeds came to their end."""
        return self.n - self.diverged - self.died


def summary(outcomes: Sequence[Outcome]) -> list[Summary]:
    """Return one line for each rule and number of workers, in the order in which they came.

    >>> from whet.distributed.compare import Case
    >>> def ended(seed, value, complete=True):
    ...     return Outcome(Case("sync", 2, seed), (Point(1, value, 3.0, {"updates": 9.0}),), 0.0, {}, complete)
    >>> s, = summary([ended(0, 0.5), ended(1, 0.7), ended(2, float("nan"), False)])
    >>> s.value, round(s.spread, 3), s.seconds, s.n, s.diverged
    (0.6, 0.141, 3.0, 3, 1)
    """
    found = []
    for (rule, workers), own in groups(outcomes).items():
        ends = [o.points[-1] for o in own if o.complete]
        value, spread = mean_and_deviation([p.value for p in ends])
        died = sum(o.died for o in own)
        found.append(Summary(
            rule, workers, value, spread, mean_and_deviation([p.cost for p in ends])[0],
            fmean(dict(p.metrics)["updates"] for p in ends) if ends else math.nan,
            mean_and_deviation([o.staleness for o in own])[0], len(own), len(own) - len(ends) - died, died=died,
        ))  # fmt: skip
    alone = next((s.seconds for s in found if s.rule == SEQUENTIAL), math.nan)
    return [s._replace(speedup=alone / s.seconds) for s in found]


class Reached(NamedTuple):
    """How far a rule with so many workers was at a virtual time, over its seeds.

    seconds: the time; epochs: done by then, the begun one as a part; value, spread: mean and standard deviation of what the last evaluation
    before it found (nan before the first), over the seeds that had not diverged by then; n, diverged: seeds.
    """

    rule: str
    workers: int
    seconds: float
    epochs: float
    value: float
    spread: float
    n: int
    diverged: int


def reached(outcomes: Sequence[Outcome], seconds: float) -> list[Reached]:
    """Return how far each rule with each number of workers was at that virtual time.

    >>> from whet.distributed.compare import Case
    >>> points = Point(1, 0.5, 10.0, {}), Point(2, 0.4, 20.0, {})
    >>> found, = reached([Outcome(Case("sync", 2, 0), points, 0.0, {}, True)], 15.0)
    >>> found.epochs, found.value
    (1.5, 0.5)
    """
    found = []
    for (rule, workers), own in groups(outcomes).items():
        before = [[p for p in o.points if p.cost <= seconds] for o in own]
        diverged = sum(bool(b) and not math.isfinite(b[-1].value) for b in before)
        value, spread = mean_and_deviation([b[-1].value for b in before if b])
        epochs = fmean(_epochs(o.points, seconds) for o in own)
        found.append(Reached(rule, workers, seconds, epochs, value, spread, len(own), diverged))
    return found


def quickest(outcomes: Sequence[Outcome]) -> float:
    """Return the virtual time at which the quickest rule had all its epochs, with every seed that came to its end; nan when none had."""
    ends = ([o.points[-1].cost for o in own if o.complete] for own in groups(outcomes).values())
    return min((max(costs) for costs in ends if costs), default=math.nan)


def moments(outcomes: Sequence[Outcome], until: float | None) -> list[tuple[str, list[Reached]]]:
    """Return (what moment it is, how far each was then): the one that is asked for, else when the quickest of so many workers ended."""
    if until is not None:
        return [(f"after {until:,.4g} virtual seconds", reached(outcomes, until))]
    found = []
    alone = [o for o in outcomes if o.case.rule == SEQUENTIAL]
    for workers in dict.fromkeys(o.case.workers for o in outcomes if o.case.rule != SEQUENTIAL):
        own = [o for o in outcomes if o.case.workers == workers and o.case.rule != SEQUENTIAL]
        moment = quickest(own)
        if math.isfinite(moment) and len({o.case.rule for o in own} | {a.case.rule for a in alone}) > 1:
            first = next(rule for (rule, _), its in groups(own).items() if quickest(its) == moment)
            said = f"after {moment:,.0f} virtual seconds, when {first} with {workers} had ended"
            found.append((said, reached([*alone, *own], moment)))
    return found


def groups(outcomes: Sequence[Outcome]) -> dict[tuple[str, int], list[Outcome]]:
    """Return the outcomes by rule and number of workers."""
    found: dict[tuple[str, int], list[Outcome]] = {}
    for o in outcomes:
        found.setdefault((o.case.rule, o.case.workers), []).append(o)
    return found


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and standard deviation of what is finite: nan for none, and a deviation of nan for one."""
    sound = [v for v in values if math.isfinite(v)]
    return fmean(sound) if sound else math.nan, stdev(sound) if len(sound) > 1 else math.nan


def _epochs(points: Sequence[Point], seconds: float) -> float:
    """Return how many epochs were done at a time, on the line between the points before and after it."""
    last, at = 0.0, 0.0
    for p in points:
        if p.cost > seconds:
            return last + (p.step - last) * (seconds - at) / (p.cost - at)
        last, at = float(p.step), p.cost
    return last

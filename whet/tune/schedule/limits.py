"""Which bounds may be held against a trial before its end: those that it breaks by more than any trial ever made good."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from whet.tune.follow import Follow
from whet.tune.goal import Bound
from whet.tune.trial import Curve, Point, Trial, Trials

__all__ = ["Limits", "excess", "said"]

_SHOWN = 3  # trials with two reports before which nothing is known of how a metric changes while training goes on
_FAR = 50.0  # of an excess as a logarithm: what is not above 0 counts as that far away


def excess(bound: Bound, value: float) -> float:
    """Return how far `value` is beyond the limit of `bound`, at most 0 where it holds: the logarithm of how many times the limit it is when that is
    above 0, else the distance.

    >>> round(excess(Bound("ms", "<=", 5.0), 10.0), 2), round(excess(Bound("gain", ">", -1.0), -1.5), 2)
    (0.69, 0.5)
    """
    sign = 1.0 if bound.op in ("<=", "<") else -1.0
    if bound.limit <= 0:
        return sign * (value - bound.limit)
    return sign * (max(math.log(value / bound.limit), -_FAR) if value > 0 else -_FAR)


def said(point: Point, goal: str) -> Mapping[str, float]:
    """Return what a report says by name, its value by the name of the first goal.

    >>> said(Point(1, 0.5, metrics={"ms": 2.0}), "loss")
    {'ms': 2.0, 'loss': 0.5}
    """
    return {**point.metrics, goal: point.value}


class Limits:
    """What trials have shown of every bound among the goals. `see` first, then ask.

    A metric may change while training goes on: an accuracy comes to its bound from below, a number of parameters never moves, a latency
    is a little different each time. So of every bound it is known how much of an excess was made good at most, from one report of a trial to a later one, in any
    trial that reported twice. A trial that is further beyond is held to break the bound, whatever may come. Until three trials have reported twice
    nothing is held against anybody, and what was not reported never is.

    known: of each bound, the excess beyond which it is held to be broken, inf while too little is known.

    >>> from whet.tune.space import Space
    >>> from whet.tune.goal import parse_goals
    >>> curve = [Point(1, 0.9, metrics={"ms": 9.0}), Point(2, 0.5, metrics={"ms": 9.0})]
    >>> goals = parse_goals(["min loss", "loss <= 0.6", "ms <= 8"])
    >>> limits = Limits()
    >>> limits.see(Trials([Trial(i, curve=curve) for i in range(3)], space=Space(), goals=goals, steps=3))
    >>> [round(limits.held({"loss": loss, "ms": ms}), 2) for loss, ms in ((0.7, 7.0), (0.5, 9.0), (2.0, 7.0))]
    [0.0, 0.12, 0.62]
    """

    def __init__(self) -> None:
        self._follow = Follow()
        self._clear(())

    def _clear(self, bounds: tuple[Bound, ...]) -> None:
        self.bounds = bounds
        self._gains = [0.0 for _ in bounds]  # of each, the most that was made good
        self._twice = [0 for _ in bounds]  # of each, how many trials reported its metric more than once
        self._shown: dict[int, _Shown] = {}

    def see(self, trials: Trials) -> None:
        """Take in what is new."""
        again, news = self._follow.news(trials)
        if again:
            self._clear(tuple(g for g in trials.goals if isinstance(g, Bound)))
        if self.bounds:
            for t in news:
                self._take(t, trials.goal.name)

    def _take(self, t: Trial, goal: str) -> None:
        shown = self._shown.get(t.id)
        if shown is not None and not t.curve.continues(shown.curve):  # a report that was judged and never written
            del self._shown[t.id]
            self._gains = [
                max((s.gains[j] for s in self._shown.values()), default=0.0) for j in range(len(self.bounds))
            ]
            self._twice = [sum(s.reports[j] > 1 for s in self._shown.values()) for j in range(len(self.bounds))]
            shown = None
        if shown is None:
            shown = self._shown[t.id] = _Shown(len(self.bounds))
        for point in t.curve[len(shown.curve) :]:
            numbers = said(point, goal)
            for j, bound in enumerate(self.bounds):
                if not math.isfinite(numbers.get(bound.name, math.nan)):
                    continue
                over = excess(bound, numbers[bound.name])
                shown.gains[j] = max(shown.gains[j], shown.most[j] - over)
                shown.most[j] = max(shown.most[j], over)
                shown.reports[j] += 1
                self._gains[j] = max(self._gains[j], shown.gains[j])
                self._twice[j] += shown.reports[j] == 2
        shown.curve = t.curve

    @property
    def known(self) -> tuple[float, ...]:
        """Of each bound the excess beyond which it is held to be broken, inf while too little is known."""
        return tuple(g if n >= _SHOWN else math.inf for g, n in zip(self._gains, self._twice, strict=True))

    def excesses(self, numbers: Mapping[str, float]) -> tuple[float, ...]:
        """Return the excess over every bound, -inf where it holds or nothing finite was reported of it."""
        return tuple(
            -math.inf
            if not math.isfinite(numbers.get(b.name, math.nan)) or b.holds(numbers)
            else excess(b, numbers[b.name])
            for b in self.bounds
        )

    def beyond(self, excesses: Sequence[float]) -> float:
        """Return by how much these `excesses` are more than was ever made good, in all: 0 for a trial that may still keep its bounds."""
        return sum(max(0.0, e - most) for e, most in zip(excesses, self.known, strict=True) if e > 0.0)

    def held(self, numbers: Mapping[str, float]) -> float:
        """Return `beyond` of what was reported by name."""
        return self.beyond(self.excesses(numbers)) if self.bounds else 0.0


class _Shown:
    """What one trial has shown: its curve as far as it was looked at, and of every bound the largest excess, what of it was made good, and how
    many reports there were.
    """

    def __init__(self, bounds: int) -> None:
        self.curve = Curve()
        self.most, self.gains, self.reports = [-math.inf] * bounds, [0.0] * bounds, [0] * bounds

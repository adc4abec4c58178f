"""Rungs: steps at which trials are compared, who reached them, and who may go on; kept up to date, trial by trial."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from whet.tune.follow import Follow
from whet.tune.pareto import targets
from whet.tune.schedule.limits import Limits, said
from whet.tune.schedule.traded import Mark, Traded, plain
from whet.tune.trial import State, Trial, Trials

__all__ = ["Line", "Rank", "Rungs", "levels"]

Key = tuple[float, int]  # score (lower is better), id: equal scores are ranked by age

_WORST = float("inf")


def levels(first: int, factor: int, steps: int) -> tuple[int, ...]:
    """Return the rungs first, first * factor, first * factor ** 2, ... below `steps`, and `steps`.

    A rung from which the last one is less than the square root of `factor` away is left out: most trials that got so
    far would be held back from the small rest.

    >>> levels(1, 3, 27), levels(1, 3, 30), levels(1, 3, 50), levels(5, 3, 4)
    ((1, 3, 9, 27), (1, 3, 9, 30), (1, 3, 9, 27, 50), (4,))
    """
    found = []
    while first * first * factor <= steps * steps and first < steps:
        found.append(first)
        first *= factor
    return (*found, steps)


class Rank(NamedTuple):
    """Which trial goes on first, the least of several: that in the highest rung, then the best, then the oldest.

    below: minus the step of the rung, so that the ranks of different brackets can be compared.

    >>> min(Rank(-3, 0.9, 7), Rank(-3, 0.8, 8), Rank(-1, 0.1, 9)).id
    8
    """

    below: int
    score: float
    id: int


class Line:
    """The trials at a rung of a study with one goal, by their score.

    >>> rung = Line()
    >>> for id, score in enumerate((0.3, 0.1, 0.2)):
    ...     rung.put(id, score, waits=id != 1)
    >>> [rung.place(i) for i in range(3)], rung.foremost()
    ([2, 0, 1], 2)
    """

    def __init__(self) -> None:
        self._scores: dict[int, float] = {}
        self._ranked: list[Key] = []  # every trial here, best first
        self._waiting: list[Key] = []  # those of them that wait here, best first

    def put(self, id: int, mark: float | None, *, waits: bool = False) -> None:
        """Take in the score of trial `id` here, and whether it waits here; None: that it is not here."""
        old = self._scores.get(id)
        if old is not None:
            key = (old, id)
            if (i := bisect.bisect_left(self._waiting, key)) < len(self._waiting) and self._waiting[i] == key:
                del self._waiting[i]
        if old != mark:
            if old is not None:
                del self._ranked[bisect.bisect_left(self._ranked, (old, id))]
                del self._scores[id]
            if mark is not None:
                bisect.insort(self._ranked, (mark, id))
                self._scores[id] = mark
        if waits and mark is not None:
            bisect.insort(self._waiting, (mark, id))

    def __len__(self) -> int:
        return len(self._ranked)

    def place(self, id: int) -> int:
        """Return how many trials are before `id`."""
        return bisect.bisect_left(self._ranked, (self._scores[id], id))

    def score(self, id: int) -> float:
        """Return the score of trial `id`."""
        return self._scores[id]

    def foremost(self) -> int | None:
        """Return the first of those that wait, None when none does."""
        return self._waiting[0][1] if self._waiting else None

    def sound(self) -> bool:
        """Return whether a trial is here that did not fail."""
        return bool(self._ranked) and self._ranked[0][0] < _WORST


class Place(NamedTuple):
    """Where a trial stands: what it said at every rung it reached; the rung it waits in; whether it was interrupted."""

    marks: tuple[float, ...] | tuple[Mark, ...] = ()
    waits: int | None = None
    cut: bool = False


class Rungs:
    """Who stands where. `see` first, then ask.

    A trial that `mine` is not true of does not stand here at all; when it is not given, every trial does.

    The value of a trial at a rung is that of its first point at or past it. A trial that was told to be done has reached
    every rung, with its final value where it has no point. A failed trial is the worst in every rung it reached, and in
    the first even if it did not: its place goes to the next best. A stopped one keeps its values. With several goals, or with bounds,
    the order is that of `whet.tune.schedule.traded.Traded`.

    A paused trial waits in its highest rung, unless it was interrupted between rungs or at the end.

    >>> from whet.tune.space import Space
    >>> from whet.tune.trial import Point
    >>> trials = Trials([Trial(i, state=State.PAUSED, curve=(Point(1, v),)) for i, v in enumerate([0.3, 0.1, 0.2])],
    ...                 space=Space(), steps=3)
    >>> rungs = Rungs(3, (1, 3))
    >>> rungs.see(trials)
    >>> rungs.best()
    Rank(below=-1, score=0.1, id=1)
    """

    def __init__(
        self,
        factor: int,
        at: tuple[int, ...],
        mine: Callable[[Trial], bool] = lambda _: True,
        limits: Limits | None = None,
    ) -> None:
        self.factor, self.at = factor, at
        self._mine = mine
        self._follow = Follow()
        self._limits = limits or Limits()
        self._clear(simple=True)

    def _clear(self, *, simple: bool) -> None:
        self._simple = simple
        self._places: dict[int, Place] = {}
        self._rungs: list[Any] = [Line() if simple else Traded(self._limits, self.factor) for _ in self.at]
        self._cut: set[int] = set()

    def see(self, trials: Trials) -> None:
        """Take in what is new."""
        again, news = self._follow.news(trials)
        self._limits.see(trials)
        if again:
            self._clear(simple=plain(trials))
        for t in news:
            self._put(t, trials)

    def interrupted(self) -> int | None:
        """Return the first trial that was paused where nobody compares it, None when there is none."""
        return min(self._cut, default=None)

    def best(self) -> Rank | None:
        """Return the trial to promote: the best that may go on in the highest rung that has one; None when none may."""
        for k in range(len(self.at) - 2, -1, -1):
            id = self._rungs[k].foremost()
            if id is not None and self._promotable(k, id):
                return self._rank(k, id)
        return None

    def foremost(self) -> Rank | None:
        """Return the best trial waiting in the highest rung in which any waits, None when none waits."""
        for k in range(len(self.at) - 1, -1, -1):
            if (id := self._rungs[k].foremost()) is not None:
                return self._rank(k, id)
        return None

    def arrived(self, trial: Trial) -> int | None:
        """Return the number of the highest rung that the last point of `trial` reached, None when it reached none."""
        step, before = trial.step, trial.curve[-2].step if len(trial.curve) > 1 else 0
        k = bisect.bisect_right(self.at, step) - 1
        return k if k >= 0 and before < self.at[k] else None

    def promotion(self, id: int, k: int) -> Rank | None:
        """Return where trial `id`, which just reached rung `k`, would stand if it waited there; None: it may not go on."""
        return self._rank(k, id) if self._promotable(k, id) else None

    def finished(self) -> bool:
        """Return whether a trial that did not fail has reached the last rung."""
        found: bool = self._rungs[-1].sound()
        return found

    def _promotable(self, k: int, id: int) -> bool:
        # the best floor(n / factor) of the n that reached the rung
        rung = self._rungs[k]
        return bool(rung.place(id) < len(rung) // self.factor)

    def _rank(self, k: int, id: int) -> Rank:
        return Rank(-self.at[k], self._rungs[k].score(id), id)

    def _put(self, t: Trial, trials: Trials) -> None:
        old, new = self._places.get(t.id, Place()), self._place(t, trials) if self._mine(t) else Place()
        if old == new:
            return
        for k in range(max(len(old.marks), len(new.marks))):
            a, b = old.marks[k : k + 1], new.marks[k : k + 1]
            if a != b or (old.waits == k) != (new.waits == k):
                self._rungs[k].put(t.id, b[0] if b else None, waits=new.waits == k)
        (self._cut.add if new.cut else self._cut.discard)(t.id)
        self._places[t.id] = new

    def _place(self, t: Trial, trials: Trials) -> Place:
        reached = bisect.bisect_right(self.at, t.step)
        if t.state is State.FAILED:
            reached = max(1, reached)
        if t.state is State.DONE:
            reached = len(self.at)
        marks: Any = tuple((self._score if self._simple else self._mark)(t, step, trials) for step in self.at[:reached])
        if t.state is not State.PAUSED:
            return Place(marks)
        waits = self.arrived(t)
        if waits is None or waits == len(self.at) - 1:
            return Place(marks, None, True)
        return Place(marks, waits)

    def _score(self, t: Trial, step: int, trials: Trials) -> float:
        """Return the score of trial `t`, which counts as having reached the rung at `step`."""
        i = t.curve.place(step)
        value = t.curve[i].value if i < len(t.curve) else t.value
        return _WORST if value is None or t.state is State.FAILED else trials.goal.score(value)

    def _mark(self, t: Trial, step: int, trials: Trials) -> Mark:
        """Return all that it said there of the goals and bounds."""
        if t.state is State.FAILED:
            return Mark(tuple(_WORST for _ in targets(trials)), failed=True)
        i = t.curve.place(step)
        numbers = said(t.curve[i], trials.goal.name) if i < len(t.curve) else trials.measured(t)
        scores = tuple(g.score(numbers.get(g.name, math.nan)) for g in targets(trials))
        return Mark(scores, self._limits.excesses(numbers))

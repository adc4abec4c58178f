"""Rungs: steps at which trials are compared, who reached them, and who may go on; kept up to date, trial by trial."""

from __future__ import annotations

import bisect
from collections.abc import Callable
from typing import NamedTuple

from whet.tune.follow import Follow
from whet.tune.trial import Goal, State, Trial, Trials

__all__ = ["Rank", "Rungs", "levels"]

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


class Place(NamedTuple):
    """Where a trial stands: its key in every rung it reached; the rung it waits in; whether it was interrupted."""

    keys: tuple[Key, ...] = ()
    waits: int | None = None
    cut: bool = False


class Rungs:
    """Who stands where. `see` first, then ask.

    A trial that `mine` is not true of does not stand here at all; when it is not given, every trial does.

    The value of a trial at a rung is that of its first point at or past it. A trial that was told to be done has reached
    every rung, with its final value where it has no point. A failed trial is the worst in every rung it reached, and in
    the first even if it did not: its place goes to the next best. A stopped one keeps its values.

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

    def __init__(self, factor: int, at: tuple[int, ...], mine: Callable[[Trial], bool] = lambda _: True) -> None:
        self.factor, self.at = factor, at
        self._mine = mine
        self._follow = Follow()
        self._clear()

    def _clear(self) -> None:
        self._places: dict[int, Place] = {}
        self._ranked: list[list[Key]] = [[] for _ in self.at]  # every trial that reached the rung, best first
        self._waiting: list[list[Key]] = [[] for _ in self.at]  # those of them that wait there, best first
        self._cut: set[int] = set()

    def see(self, trials: Trials) -> None:
        """Take in what is new."""
        again, news = self._follow.news(trials)
        if again:
            self._clear()
        for t in news:
            self._put(t, trials.goal)

    def interrupted(self) -> int | None:
        """Return the first trial that was paused where nobody compares it, None when there is none."""
        return min(self._cut, default=None)

    def best(self) -> Rank | None:
        """Return the trial to promote: the best that may go on in the highest rung that has one; None when none may."""
        for k in range(len(self.at) - 2, -1, -1):
            if self._waiting[k] and self._promotable(k, self._waiting[k][0]):
                return self._rank(k, self._waiting[k][0])
        return None

    def foremost(self) -> Rank | None:
        """Return the best trial waiting in the highest rung in which any waits, None when none waits."""
        return next((self._rank(k, w[0]) for k, w in reversed([*enumerate(self._waiting)]) if w), None)

    def arrived(self, trial: Trial) -> int | None:
        """Return the number of the highest rung that the last point of `trial` reached, None when it reached none."""
        step, before = trial.step, trial.curve[-2].step if len(trial.curve) > 1 else 0
        k = bisect.bisect_right(self.at, step) - 1
        return k if k >= 0 and before < self.at[k] else None

    def promotion(self, id: int, k: int) -> Rank | None:
        """Return where trial `id`, which just reached rung `k`, would stand if it waited there; None: it may not go on."""
        key = self._places[id].keys[k]
        return self._rank(k, key) if self._promotable(k, key) else None

    def finished(self) -> bool:
        """Return whether a trial that did not fail has reached the last rung."""
        return bool(self._ranked[-1]) and self._ranked[-1][0][0] < _WORST

    def _promotable(self, k: int, key: Key) -> bool:
        # the best floor(n / factor) of the n that reached the rung
        ranked = self._ranked[k]
        return bisect.bisect_left(ranked, key) < len(ranked) // self.factor

    def _rank(self, k: int, key: Key) -> Rank:
        return Rank(-self.at[k], *key)

    def _put(self, t: Trial, goal: Goal) -> None:
        old, new = self._places.get(t.id, Place()), self._place(t, goal) if self._mine(t) else Place()
        if old == new:
            return
        for k in range(max(len(old.keys), len(new.keys))):
            a, b = old.keys[k : k + 1], new.keys[k : k + 1]
            if a != b:
                _swap(self._ranked[k], a, b)
        if old.waits is not None:
            _swap(self._waiting[old.waits], (old.keys[old.waits],), ())
        if new.waits is not None:
            _swap(self._waiting[new.waits], (), (new.keys[new.waits],))
        (self._cut.add if new.cut else self._cut.discard)(t.id)
        self._places[t.id] = new

    def _place(self, t: Trial, goal: Goal) -> Place:
        reached = bisect.bisect_right(self.at, t.step)
        if t.state is State.FAILED:
            reached = max(1, reached)
        if t.state is State.DONE:
            reached = len(self.at)
        keys = tuple(_key(t, step, goal) for step in self.at[:reached])
        if t.state is not State.PAUSED:
            return Place(keys)
        waits = self.arrived(t)
        if waits is None or waits == len(self.at) - 1:
            return Place(keys, None, True)
        return Place(keys, waits)


def _key(t: Trial, step: int, goal: Goal) -> Key:
    """Return what trial `t`, which counts as having reached the rung at `step`, is ranked by there."""
    i = t.curve.place(step)
    value = t.curve[i].value if i < len(t.curve) else t.value
    return (_WORST if value is None or t.state is State.FAILED else goal.score(value), t.id)


def _swap(keys: list[Key], out: tuple[Key, ...], into: tuple[Key, ...]) -> None:
    for key in out:
        del keys[bisect.bisect_left(keys, key)]
    for key in into:
        bisect.insort(keys, key)

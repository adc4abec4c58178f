"""How many of the others are before a trial at a step, in a study with several goals or with bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from whet.tune.follow import Follow
from whet.tune.pareto import targets
from whet.tune.schedule.limits import Limits, said
from whet.tune.schedule.traded import Mark, standing
from whet.tune.trial import Curve, Goal, Point, State, Trial, Trials

__all__ = ["Crowd"]


class Crowd:
    """Every trial at every step that was ever judged: the running average of each goal, and how far it was beyond the bounds.

    >>> from whet.tune.goal import parse_goals
    >>> from whet.tune.space import Space
    >>> from whet.tune.trial import Point
    >>> said = ((1.0, 5.0), (2.0, 2.0), (5.0, 1.0), (6.0, 6.0))
    >>> trials = [Trial(i, curve=[Point(1, a, metrics={"ms": b})]) for i, (a, b) in enumerate(said)]
    >>> all_ = Trials(trials, space=Space(), goals=parse_goals(["min loss", "min ms"]), steps=3)
    >>> [Crowd().ahead(all_, t, 1, least=2) for t in trials]
    [0.0, 0.0, 0.0, 1.0]
    """

    def __init__(self) -> None:
        self._follow, self._limits = Follow(), Limits()
        self._clear()

    def _clear(self) -> None:
        self._curves: dict[int, Curve] = {}
        self._at: dict[int, dict[int, Mark]] = {}  # step -> trial -> what it is compared with

    def ahead(self, trials: Trials, trial: Trial, step: int, least: int) -> float:
        """Return the share of the others at `step` that are before `trial`, 0 when they are fewer than `least`."""
        again, news = self._follow.news(trials)
        self._limits.see(trials)
        if again:
            self._clear()
        goal = trials.goal.name
        for t in news:
            old, new = self._curves.get(t.id, Curve()), Curve() if t.state is State.FAILED else t.curve
            if not new.continues(old):
                for marks in self._at.values():
                    marks.pop(t.id, None)
            self._curves[t.id] = new
        marks = self._at.setdefault(step, {})
        others = sorted(id for id, curve in self._curves.items() if curve.last >= step and id != trial.id)
        if len(others) < least:
            return 0.0
        for id in others:
            if id not in marks:
                marks[id] = self._average(self._curves[id], step, targets(trials), goal)
        mine = self._best(trial.curve, targets(trials), goal)
        rank = standing([*(marks[id] for id in others), mine], self._limits)
        return float((rank[:-1] < rank[-1]).mean())

    def _average(self, curve: Curve, step: int, goals: tuple[Goal, ...], goal: str) -> Mark:
        """Return the mean scores of the points up to `step`, of the first point when all come later."""
        points = curve[: max(1, curve.place(step + 1))]
        scores = _scores(points, goals, goal)
        return Mark(tuple(scores.mean(axis=0).tolist()), self._limits.excesses(said(points[-1], goal)))

    def _best(self, curve: Curve, goals: tuple[Goal, ...], goal: str) -> Mark:
        """Return the best that a trial had of every goal."""
        scores = _scores(curve[:], goals, goal)
        return Mark(tuple(scores.min(axis=0).tolist()), self._limits.excesses(said(curve[-1], goal)))


def _scores(points: Sequence[Point], goals: tuple[Goal, ...], goal: str) -> np.ndarray:
    """Return the scores (n, m) of reports, inf where there is nothing."""
    rows = [[g.score(numbers.get(g.name, math.nan)) for g in goals] for numbers in (said(p, goal) for p in points)]
    return np.array(rows, dtype=float).reshape(len(rows), len(goals))

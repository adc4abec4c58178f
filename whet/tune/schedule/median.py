"""The median stopping rule: stop a trial that does worse than most did at the same step."""

from __future__ import annotations

import bisect
from array import array
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from whet.errors import StudyError
from whet.tune.follow import Follow
from whet.tune.schedule.crowd import Crowd
from whet.tune.schedule.paused import Paused, Standing
from whet.tune.schedule.traded import plain
from whet.tune.strategy import Resume, Start
from whet.tune.trial import Curve, Goal, Idle, State, Trial, Trials, Verdict

__all__ = ["Median"]


@dataclass(frozen=True)
class Median:
    """Stop a trial whose best value up to its step is worse than the median of the others' running averages there.

    Golovin et al., "Google Vizier", 2017, section 3.2.2. There the others are the completed trials; here they are all
    that reached the step, whatever became of them, but those that failed: were stopped trials left out, only survivors
    would remain to compare with and the rule would grow ever stricter.

    With several goals, or bounds, a trial is stopped when more than half of the others are before it, each with its running averages, the trial with
    the best it had of every goal: by rank of non-domination, those that are held to break a bound behind all that are not (`whet.tune.schedule.limits`).

    grace: steps in which no trial is stopped; least: how many others must have reached the step. Raises StudyError when
    grace is not a whole number >= 0, or least not one >= 1.

    >>> Median(grace=3).least
    5
    """

    grace: int = 1
    least: int = 5

    def __post_init__(self) -> None:
        for name, value, low in (("grace", self.grace, 0), ("least", self.least, 1)):
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise StudyError(f"median: {name} must be a whole number >= {low}, got {value!r}. Use e.g. Median().")

    @cached_property
    def _paused(self) -> Paused:
        return Paused()

    @cached_property
    def _averages(self) -> _Averages:
        return _Averages()

    @cached_property
    def _crowd(self) -> Crowd:
        return Crowd()

    @cached_property
    def _standing(self) -> Standing:
        return Standing()

    def pick(self, trials: Trials, rng: np.random.Generator) -> Start | Resume | Idle:
        """Return Resume of the first interrupted trial, else Start."""
        id = self._paused.first(trials)
        return Start() if id is None else Resume(id)

    def judge(self, trial: Trial, trials: Trials) -> Verdict:
        """Return STOP when the trial is beaten, else GO; GO at the last step, where there is nothing left to save."""
        step = trial.step
        if step <= self.grace or step >= trials.steps:
            return Verdict.GO
        if not plain(trials):
            return Verdict.STOP if self._crowd.ahead(trials, trial, step, self.least) > 0.5 else Verdict.GO
        others = self._averages.others(trials, trial, step, self.least)
        if others is None:
            return Verdict.GO
        best = min(map(trials.goal.score, trial.curve.values()))
        return Verdict.STOP if best > others else Verdict.GO

    def keep(self, trials: Trials) -> set[tuple[int, int]]:
        """Return the last checkpoint of every trial that is not closed."""
        return self._standing.on(trials)


class _Averages:
    """Per step that was ever judged, the sorted running averages of all trials that reached it."""

    def __init__(self) -> None:
        self._follow = Follow()
        self._steps: list[int] = []
        self._at: dict[int, array[float]] = {}  # step -> sorted scores
        self._counted: dict[int, Curve] = {}  # trial -> its curve, as far as it is counted

    def others(self, trials: Trials, trial: Trial, step: int, least: int) -> float | None:
        """Return the median over the trials other than `trial`, None when they are fewer than `least`."""
        again, news = self._follow.news(trials)
        if again:
            self._steps, self._at, self._counted = [], {}, {}
        goal = trials.goal
        for t in news:
            self._count(t, goal)
        if step not in self._at:
            self._add(step, goal)
        scores = self._at[step]
        curve = self._counted[trial.id]
        own = curve.last >= step  # a trial is not compared with itself
        place = bisect.bisect_left(scores, _average(curve, step, goal)) if own else len(scores)
        n = len(scores) - own
        if n < least:
            return None

        def other(i: int) -> float:
            return scores[i + (i >= place)]

        return (other((n - 1) // 2) + other(n // 2)) / 2

    def _add(self, step: int, goal: Goal) -> None:
        bisect.insort(self._steps, step)
        reached = (c for c in self._counted.values() if c.last >= step)
        self._at[step] = array("d", sorted(_average(c, step, goal) for c in reached))

    def _count(self, t: Trial, goal: Goal) -> None:
        old = self._counted.get(t.id, Curve())
        new = Curve() if t.state is State.FAILED else t.curve
        if not new.continues(old):  # failed, so no longer comparable
            for step in self._between(0, old):
                scores = self._at[step]
                del scores[bisect.bisect_left(scores, _average(old, step, goal))]
            old = Curve()
        for step in self._between(old.last, new):
            bisect.insort(self._at[step], _average(new, step, goal))
        self._counted[t.id] = new

    def _between(self, after: int, curve: Curve) -> list[int]:
        """Return the known steps in (after, the last of the curve]."""
        return self._steps[bisect.bisect_right(self._steps, after) : bisect.bisect_right(self._steps, curve.last)]


def _average(curve: Curve, step: int, goal: Goal) -> float:
    """Return the mean score of the points up to `step`, of the first point when all come later."""
    n = max(1, curve.place(step + 1))
    return sum(map(goal.score, curve.values()[:n])) / n

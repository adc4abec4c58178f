"""Brackets: sets of trials that are compared with each other and nobody else, each with a first rung of its own."""

from __future__ import annotations

from collections.abc import Callable

from whet.tune.schedule.limits import Limits
from whet.tune.schedule.rungs import Rank, Rungs, levels
from whet.tune.strategy import Resume
from whet.tune.trial import Idle, State, Trial, Trials, Verdict

__all__ = ["Brackets", "named"]


class Brackets:
    """Asynchronous successive halving in one bracket or in several, and what that says about a trial.

    In bracket 0 trials are compared at every rung, in bracket 1 from the second rung on, and so forth; in the last of
    all they are trained to the end. A trial says in its origin in which bracket it is ("bracket"); one that does not, or
    names one that there is not, is in bracket 0.

    many: have a bracket for each rung, not only the first.

    >>> from whet.tune.space import Space
    >>> from whet.tune.trial import Point
    >>> def paused(id, step, value, bracket):
    ...     curve = [Point(s + 1, value) for s in range(step)]
    ...     return Trial(id, state=State.PAUSED, curve=curve, origin={"bracket": bracket})
    >>> trials = [paused(0, 1, 0.3, 0), paused(1, 1, 0.2, 0), paused(2, 1, 0.4, 0), paused(3, 3, 0.9, 1)]
    >>> brackets = Brackets(3, 1, many=True)
    >>> brackets.pick(Trials(trials, space=Space(), steps=9))
    Resume(id=1)
    """

    def __init__(self, factor: int, first: int, *, many: bool = False) -> None:
        self.factor, self.first, self.many = factor, first, many
        self._steps: int | None = None
        self._all: list[Rungs] = []
        self._limits = Limits()  # what is known of a bound is known in every bracket

    def pick(self, trials: Trials) -> Resume | None:
        """Return Resume of an interrupted trial, else of the best promotable one in the highest rung; None: of none."""
        self._see(trials)
        id = self._interrupted()
        if id is None and (best := self._best()) is not None:
            id = best.id
        return None if id is None else Resume(id)

    def judge(self, trial: Trial, trials: Trials) -> Verdict:
        """Return GO between rungs and at the last step, and where `pick` would resume this very trial; else PAUSE."""
        self._see(trials)
        rungs = self._all[_place(trial, len(self._all))]
        k = rungs.arrived(trial)
        if k is None or trial.step >= trials.steps:
            return Verdict.GO
        rank, best = rungs.promotion(trial.id, k), self._best()
        first = rank is not None and (best is None or rank < best) and self._interrupted() is None
        return Verdict.GO if first else Verdict.PAUSE

    def finish(self, trials: Trials) -> Resume | Idle:
        """Return what to do in place of a Start when no more trials may start.

        When no trial has got to the last step: resume the best of the highest rung that has one, WAIT while others
        run; else DONE.
        """
        self._see(trials)
        if any(rungs.finished() for rungs in self._all):
            return Idle.DONE
        if any(t.state is State.RUNNING or (t.state is State.WAITING and _asked(t)) for t in trials):
            return Idle.WAIT
        found = [rank for rungs in self._all if (rank := rungs.foremost()) is not None]
        return Resume(min(found).id) if found else Idle.DONE

    def _see(self, trials: Trials) -> None:
        if trials.steps != self._steps:
            self._steps = trials.steps
            at = levels(self.first, self.factor, trials.steps)
            n = len(at) if self.many else 1
            self._all = [Rungs(self.factor, at[b:], _among(b, n), self._limits) for b in range(n)]
        for rungs in self._all:
            rungs.see(trials)

    def _interrupted(self) -> int | None:
        found = (rungs.interrupted() for rungs in self._all)
        return min((id for id in found if id is not None), default=None)

    def _best(self) -> Rank | None:
        found = (rungs.best() for rungs in self._all)
        return min((rank for rank in found if rank is not None), default=None)


def named(t: Trial) -> int | None:
    """Return the bracket that trial `t` says it was started in, None when it names none.

    >>> named(Trial(0, origin={"bracket": 2})), named(Trial(1, origin={"bracket": "b"})), named(Trial(2))
    (2, None, None)
    """
    given = t.origin.get("bracket")
    return given if type(given) is int else None


def _place(t: Trial, n: int) -> int:
    b = named(t)
    return b if b is not None and 0 <= b < n else 0


def _among(b: int, n: int) -> Callable[[Trial], bool]:
    return lambda t: _place(t, n) == b


def _asked(t: Trial) -> bool:
    return t.origin.get("search") != "enqueue"

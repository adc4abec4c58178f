"""Asynchronous successive halving: many trials trained a little, the best third of them three times as long, and so on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from whet.errors import StudyError
from whet.tune.schedule.paused import Standing
from whet.tune.schedule.rungs import Rungs, levels
from whet.tune.strategy import Resume, Start
from whet.tune.trial import Idle, State, Trial, Trials, Verdict

__all__ = ["Asha"]


@dataclass(frozen=True)
class Asha:
    """Pause trials at rungs; resume the best 1/factor of each rung, from their checkpoints.

    Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020, algorithm 2: a free worker takes the
    best promotable trial of the highest rung that has one, else starts a new trial. A trial is promotable when it is
    among the best floor(n / factor) of the n that reached its rung. What differs:

    - a trial is not paused when it would be the very next to be resumed: `judge` says GO, and no checkpoint is written
      for nothing. With one worker the epochs trained are the same;
    - a rung too near to the last step is left out (see `rungs`);
    - a failed trial is the worst in every rung, so that the trial behind it moves up; one that was told its final value
      early has reached every rung with it (see `whet.tune.schedule.rungs.Rungs`);
    - `finish`: a study too small for a promotion to the top has one trial trained to the end all the same.

    factor: one of how many is promoted, and how much longer it is trained, >= 2; first: the first rung's step, >= 1.
    Raises StudyError when they are not whole numbers in these ranges.

    >>> Asha().rungs(27)
    (1, 3, 9, 27)
    """

    factor: int = 3
    first: int = 1

    def __post_init__(self) -> None:
        for name, value, low in (("factor", self.factor, 2), ("first", self.first, 1)):
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise StudyError(f"asha: {name} must be a whole number >= {low}, got {value!r}. Use e.g. Asha().")

    @cached_property
    def _seen(self) -> dict[int, Rungs]:
        return {}

    def _rungs(self, trials: Trials) -> Rungs:
        if trials.steps not in self._seen:
            self._seen.clear()
            self._seen[trials.steps] = Rungs(self.factor, self.rungs(trials.steps))
        found = self._seen[trials.steps]
        found.see(trials)
        return found

    def rungs(self, steps: int) -> tuple[int, ...]:
        """Return the steps at which trials of at most `steps` steps are compared; the last is `steps`."""
        return levels(self.first, self.factor, steps)

    @cached_property
    def _standing(self) -> Standing:
        return Standing()

    def pick(self, trials: Trials, rng: np.random.Generator) -> Start | Resume | Idle:
        """Return Resume of an interrupted trial, else of the best promotable one, else Start."""
        rungs = self._rungs(trials)
        for id in (rungs.interrupted(), rungs.best()):
            if id is not None:
                return Resume(id)
        return Start()

    def finish(self, trials: Trials) -> Resume | Idle:
        """Return what to do in place of a Start when no more trials may start.

        When no trial has got to the last step: resume the best of the highest rung that has one, WAIT while others
        run; else DONE.
        """
        rungs = self._rungs(trials)
        if rungs.finished():
            return Idle.DONE
        if any(t.state is State.RUNNING or (t.state is State.WAITING and _asked(t)) for t in trials):
            return Idle.WAIT
        id = rungs.foremost()
        return Idle.DONE if id is None else Resume(id)

    def judge(self, trial: Trial, trials: Trials) -> Verdict:
        """Return GO between rungs and at the last step, and where `pick` would resume this very trial; else PAUSE."""
        rungs = self._rungs(trials)
        k = rungs.arrived(trial)
        if k is None or trial.step >= trials.steps:
            return Verdict.GO
        return Verdict.GO if rungs.interrupted() is None and rungs.leads(trial.id, k) else Verdict.PAUSE

    def keep(self, trials: Trials) -> set[tuple[int, int]]:
        """Return the last checkpoint of every trial that is not closed: as a rung fills, any may be promoted."""
        return self._standing.on(trials)


def _asked(t: Trial) -> bool:
    return t.origin.get("search") != "enqueue"

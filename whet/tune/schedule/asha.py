"""Asynchronous successive halving: many trials trained a little, the best third of them three times as long, and so on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from whet.errors import StudyError
from whet.tune.schedule.brackets import Brackets
from whet.tune.schedule.paused import Standing
from whet.tune.schedule.rungs import levels
from whet.tune.strategy import Resume, Start
from whet.tune.trial import Idle, Trial, Trials, Verdict

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
    def _brackets(self) -> Brackets:
        return Brackets(self.factor, self.first)

    def rungs(self, steps: int) -> tuple[int, ...]:
        """Return the steps at which trials of at most `steps` steps are compared; the last is `steps`."""
        return levels(self.first, self.factor, steps)

    @cached_property
    def _standing(self) -> Standing:
        return Standing()

    def pick(self, trials: Trials, rng: np.random.Generator) -> Start | Resume | Idle:
        """Return Resume of an interrupted trial, else of the best promotable one, else Start."""
        return self._brackets.pick(trials) or Start()

    def finish(self, trials: Trials) -> Resume | Idle:
        """Return what to do in place of a Start when no more trials may start.

        When no trial has got to the last step: resume the best of the highest rung that has one, WAIT while others
        run; else DONE.
        """
        return self._brackets.finish(trials)

    def judge(self, trial: Trial, trials: Trials) -> Verdict:
        """Return GO between rungs and at the last step, and where `pick` would resume this very trial; else PAUSE."""
        return self._brackets.judge(trial, trials)

    def keep(self, trials: Trials) -> set[tuple[int, int]]:
        """Return the last checkpoint of every trial that is not closed: as a rung fills, any may be promoted."""
        return self._standing.on(trials)

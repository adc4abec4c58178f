"""No early stopping: every trial is trained to the end."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from whet.tune.schedule.paused import Paused, Standing
from whet.tune.strategy import Resume, Start
from whet.tune.trial import Idle, Trial, Trials, Verdict

__all__ = ["Full"]


@dataclass(frozen=True)
class Full:
    """Train every trial to its last step, one after the other; interrupted ones first.

    >>> from whet.tune.space import Space
    >>> Full().pick(Trials([], space=Space()), np.random.default_rng(0)) == Start()
    True
    """

    @cached_property
    def _paused(self) -> Paused:
        return Paused()

    @cached_property
    def _standing(self) -> Standing:
        return Standing()

    def pick(self, trials: Trials, rng: np.random.Generator) -> Start | Resume | Idle:
        """Return Resume of the first interrupted trial, else Start."""
        id = self._paused.first(trials)
        return Start() if id is None else Resume(id)

    def judge(self, trial: Trial, trials: Trials) -> Verdict:
        """Return GO."""
        return Verdict.GO

    def keep(self, trials: Trials) -> set[tuple[int, int]]:
        """Return the last checkpoint of every trial that is not closed."""
        return self._standing.on(trials)

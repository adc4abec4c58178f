"""The default searcher: it picks by what a study has, and says for every trial what it picked and why."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from whet.errors import StudyError
from whet.tune.search.gp import GP
from whet.tune.search.sobol import Sobol
from whet.tune.search.tpe import TPE
from whet.tune.space import Space
from whet.tune.strategy import Proposal, Searcher
from whet.tune.trial import State, Trials

__all__ = ["Auto"]

_DEAR = 300  # trials up to which a Gaussian process is asked as well
_FAILING = 0.05  # of all trials, with at least so many:
_FAILED = 3


@dataclass(frozen=True)
class Auto:
    """Propose by `GP` and `TPE` in turn; by `TPE` alone when a trial has several steps, when more than 5 % of them failed, or above 300.

    The two err differently: a Gaussian process is the surest where values change smoothly with every number, a Parzen
    estimator keeps to what was good, whatever the shape. They learn from each other's trials, and on tables of final
    values their mean regret was lower in turn than alone, by about the noise; with two goals what they missed of the hypervolume was, by more than that. Where trials are trained unequally far values
    are forecasts, and on recorded learning curves the estimator alone was better; so it was where half the space fails
    (`benchmarks/`). With many trials the process costs more than it tells. Until there are enough values a Sobol sequence
    is followed. What was picked, and why, is in the origin of each trial ("with", "because").

    seed: of the first, evenly spread, trials; a study that is given "auto" by name sets its own. Raises StudyError when it is no whole
    number >= 0.

    >>> from whet.tune.space import Float
    >>> trials = Trials([], space=Space(lr=Float(1e-4, 1, log=True)))
    >>> dict(Auto().propose(trials, np.random.default_rng(0)).origin)["with"]
    'sobol'
    """

    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.seed, int) or isinstance(self.seed, bool) or self.seed < 0:
            raise StudyError(f"auto: seed must be a whole number >= 0, got {self.seed!r}. Use e.g. Auto(seed=1).")

    @cached_property
    def _gp(self) -> GP:
        return GP(seed=self.seed)

    @cached_property
    def _tpe(self) -> TPE:
        return TPE(seed=self.seed)

    @cached_property
    def _sobol(self) -> Sobol:
        return Sobol(self.seed)

    @property
    def every_goal(self) -> bool:
        """All goals count: they do for both."""
        return True

    def _pick(self, trials: Trials) -> tuple[Searcher, str]:
        """Return who proposes next, and why."""
        if trials.steps > 1:
            return self._tpe, "trials may be trained unequally far"
        if len(trials) > _DEAR:
            return self._tpe, f"more than {_DEAR} trials"
        failed = sum(t.state is State.FAILED for t in trials)
        if failed >= max(_FAILED, _FAILING * len(trials)):
            return self._tpe, "trials fail"
        # `gp` looks around the best when an odd number of trials is known: the trial asked for now is among `trials`
        return (self._tpe if len(trials) % 2 else self._gp), "gp and tpe in turn"

    def propose(self, trials: Trials, rng: np.random.Generator) -> Proposal:
        """Return what the searcher that is picked proposes."""
        picked, because = self._pick(trials)
        made = picked.propose(trials, rng)
        origin = dict(made.origin)
        with_ = origin.pop("start", None) or origin["search"]
        if with_ != origin["search"]:
            because = "the first trials are evenly spread" if with_ == "sobol" else "earlier studies say so"
        return Proposal(made.params, {**origin, "search": "auto", "with": with_, "because": because})

    def size(self, space: Space) -> int | None:
        """Return how many configurations `space` has, None when endless."""
        return space.size

    def left(self, trials: Trials) -> int | None:
        """Return how many configurations no trial has yet, None when endless."""
        return self._sobol.left(trials)

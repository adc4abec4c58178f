"""Random search: independent draws from the space, the baseline of every comparison."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from whet.tune.search.design import believed, has_priors
from whet.tune.search.untried import Tried, draw, key
from whet.tune.space import Space
from whet.tune.strategy import Proposal
from whet.tune.trial import Trials

__all__ = ["Random"]

_BELIEVED = 0.5  # the chance that a draw follows the priors
_DRAWS = 20  # of those, until one is allowed and new


@dataclass(frozen=True)
class Random:
    """Draw every configuration evenly from the space (logarithms where the domain says so).

    Bergstra and Bengio, "Random Search for Hyper-Parameter Optimization", 2012. Unlike there, a finite space is drawn
    from without repetition; `propose` raises StudyError when it is used up. When numbers have priors, every other draw, by chance,
    follows them.

    >>> from whet.tune.space import Float
    >>> trials = Trials([], space=Space(lr=Float(1e-4, 1e-1, log=True)))
    >>> round(Random().propose(trials, np.random.default_rng(0)).params["lr"], 4)
    0.0081
    """

    @property
    def learns(self) -> bool:
        """Whether earlier studies make a difference."""
        return False

    @cached_property
    def _tried(self) -> Tried:
        return Tried()

    @property
    def every_goal(self) -> bool:
        """Of several goals none counts more than another: none counts at all."""
        return True

    def propose(self, trials: Trials, rng: np.random.Generator) -> Proposal:
        """Return a configuration drawn with `rng`."""
        if trials.space.size is not None:
            self._tried.see(trials)
        if has_priors(trials.space) and rng.random() < _BELIEVED:
            for _ in range(_DRAWS):
                params = believed(trials.space, rng)
                if trials.space.allows(params) and (trials.space.size is None or key(params) not in self._tried.keys):
                    return Proposal(params, {"search": "random", "from": "prior"})
        return Proposal(draw(trials.space, self._tried, rng), {"search": "random"})

    def size(self, space: Space) -> int | None:
        """Return how many configurations `space` has, None when endless."""
        return space.size

    def left(self, trials: Trials) -> int | None:
        """Return how many configurations no trial has yet, None when endless."""
        if trials.space.size is None:
            return None
        self._tried.see(trials)
        return self._tried.left(trials.space.size)

"""Bayesian optimisation with a Gaussian process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from whet.errors import StudyError
from whet.tune.search.model.belief import Belief
from whet.tune.search.model.cube import Cube
from whet.tune.search.model.earlier import Recall
from whet.tune.search.model.guide import Guide, check
from whet.tune.search.model.posterior import Posterior, last_fit
from whet.tune.search.model.seen import View
from whet.tune.search.model.worth import Worth
from whet.tune.space import Space
from whet.tune.strategy import Proposal
from whet.tune.trial import Trials

__all__ = ["GP"]


@dataclass(frozen=True)
class GP:
    """Propose where a Gaussian process expects the largest improvement.

    acquisition: "log-ei", "ei", "pi" or "ucb"; start: how many values there are before the model is asked, a Sobol
    sequence until then (default: 4 and half the number of dimensions, at most 12); seed: of that sequence; warp: whether numbers
    are bent, as `Warp` does it, by exponents that are fitted too.

    Jones, Schonlau and Welch 1998 with the changes of 25 years: the kernel of `Features` and `Process`, the outcomes of
    `settle`, the logarithm of expected improvement (Ament et al. 2023), improvement counted from the best posterior mean
    instead of the best value, which noise flatters. Running trials are taken to become what is expected of them (Ginsbourger
    et al. 2010, "kriging believer"). Failed trials teach a second process where trials fail; the acquisition is
    multiplied by the probability that one does not (Gardner et al. 2014), and by that of every bound of the goal, each learnt by a process
    over what was measured. Trials that were not trained to the end count with the value they are forecast to end with. The priors of numbers weigh on the acquisition, less and less (Hvarfner et al.
    2022, "piBO"), and every other of the first trials follows them. What earlier studies say (`Earlier`) is a part of the mean, with weights learnt from the
    trials, and every other of the first trials is one of their best.

    With several goals each has a process of its own, and what counts is the expected growth of the hypervolume that they expect of the trials so far (Emmerich et al. 2011): see
    `whet.tune.search.model.volume`.

    Raises StudyError when an option is none.

    >>> from whet.tune.space import Float
    >>> from whet.tune.trial import State, Trial
    >>> done = [Trial(i, {"x": x}, State.DONE, value=(x - 0.3) ** 2) for i, x in enumerate((0.1, 0.2, 0.5, 0.6, 0.9))]
    >>> trials = Trials(done, space=Space(x=Float(0, 1)))
    >>> 0.2 < GP().propose(trials, np.random.default_rng(0)).params["x"] < 0.4
    True
    """

    acquisition: str = "log-ei"
    start: int | None = None
    seed: int = 0
    warp: bool = False

    def __post_init__(self) -> None:
        check("gp", vars(self))
        if not isinstance(self.warp, bool):
            raise StudyError(f"gp: warp must be True or False, got {self.warp!r}. Use e.g. GP(warp=True).")

    @cached_property
    def _guide(self) -> Guide[Posterior]:
        return Guide("gp", self.start, self.seed, self._make, refine=True, more=5, part=self._part)

    def _make(self, trials: Trials, view: View, cube: Cube) -> Worth[Posterior]:
        if (known := self._fitted.get("worth")) is not None and known[0] is trials:
            return known[1]
        made = Worth(
            self.acquisition,
            Posterior(cube, view, last_fit(trials, view, "theta"), self._recall(cube, trials.like), warp=self.warp),
            Belief(cube),
            len(view.ids),
        )
        self._fitted["worth"] = trials, made
        return made

    def _part(self, trials: Trials, view: View, cube: Cube, name: str) -> Posterior:
        return Posterior(cube, view, last_fit(trials, view, "theta", goal=name), warp=self.warp)

    @property
    def every_goal(self) -> bool:
        """All goals count: each has a model, and what counts is what would be added to the front."""
        return True

    @cached_property
    def _recall(self) -> Recall:
        return Recall()

    @cached_property
    def _fitted(self) -> dict[str, tuple[Trials, Worth[Posterior]]]:
        return {}  # of the trials seen last, so that who asks for `worth` and a proposal waits for one fit

    def propose(self, trials: Trials, rng: np.random.Generator) -> Proposal:
        """Return the configuration with the largest acquisition; before `start` values the next of an evenly spread design."""
        return self._guide.propose(trials, rng)

    def worth(self, trials: Trials) -> Worth[Posterior]:
        """Return what is expected of configurations and what each is worth trying, as values: what `propose` goes by, with several goals
        for the first alone.

        Raises StudyError when no trial has a value yet.
        """
        return self._guide.worth(trials)

    def size(self, space: Space) -> int | None:
        """Return how many configurations `space` has, None when endless."""
        return space.size

    def left(self, trials: Trials) -> int | None:
        """Return how many configurations no trial has yet, None when endless."""
        return self._guide.left(trials)

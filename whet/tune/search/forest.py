"""Search with a random forest and expected improvement."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from whet.tune.search.model.belief import Belief
from whet.tune.search.model.cube import Cube
from whet.tune.search.model.forest_posterior import ForestPosterior, Stand
from whet.tune.search.model.guide import Guide, check, whole
from whet.tune.search.model.posterior import last_fit
from whet.tune.search.model.seen import View
from whet.tune.search.model.worth import Worth
from whet.tune.space import Space
from whet.tune.strategy import Proposal
from whet.tune.trial import Trials

__all__ = ["Forest"]


@dataclass(frozen=True)
class Forest:
    """Propose where a random forest expects the best.

    acquisition: "ucb", "log-ei", "ei" or "pi" (default: "ucb", and "log-ei" in a space with priors, which with a bound are unlearnt slowly); start: how many values there are before the model is asked, a Sobol
    sequence until then (default: 4 and half the number of dimensions, at most 12); trees: how many; seed: of that sequence and of the trees.

    The family of Hutter et al. 2011 ("SMAC"; Lindauer et al. 2022), with these differences. Trees cut at random places (Geurts et al. 2006) and
    see all points, no bootstrap. A bound of mean and twice the standard deviation decides by default: trees are surer than they should be. No configurations are drawn at
    random in between. Trials that
    were not trained to the end count with the value they are forecast to end with. Running trials are taken to become what is
    expected of them, each in leaves of its own. Failed trials teach a Gaussian process where trials fail, and what was measured where the bounds of the goal hold, as in `GP`.
    With several goals there is one forest of their worst when they are weighed, with weights drawn anew for every proposal (Knowles 2006, "ParEGO"): see `whet.tune.search.model.weighed`.

    Raises StudyError when an option is none.

    >>> from whet.tune.space import Float
    >>> from whet.tune.trial import State, Trial
    >>> done = [Trial(i, {"x": x}, State.DONE, value=(x - 0.3) ** 2) for i, x in enumerate((0.1, 0.2, 0.5, 0.6, 0.9))]
    >>> trials = Trials(done, space=Space(x=Float(0, 1)))
    >>> 0.2 < Forest().propose(trials, np.random.default_rng(0)).params["x"] < 0.5
    True
    """

    acquisition: str | None = None
    start: int | None = None
    trees: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        check("forest", {**vars(self), "acquisition": "ucb" if self.acquisition is None else self.acquisition})
        whole("forest", "trees", self.trees)

    @cached_property
    def _guide(self) -> Guide[ForestPosterior]:
        return Guide("forest", self.start, self.seed, self._make, draws=1000, rounds=24, mixed=True)

    @cached_property
    def _stand(self) -> Stand:
        return Stand()

    @property
    def every_goal(self) -> bool:
        """All goals count: they are one score, weighed anew for every proposal."""
        return True

    def _make(self, trials: Trials, view: View, cube: Cube) -> Worth[ForestPosterior]:
        posterior = ForestPosterior(
            cube, view, self.trees, last_fit(trials, view, "sound", "bounds"), seed=self.seed, stand=self._stand
        )
        belief = Belief(cube)
        return Worth(self.acquisition or ("log-ei" if belief.any else "ucb"), posterior, belief, len(view.ids))

    def propose(self, trials: Trials, rng: np.random.Generator) -> Proposal:
        """Return the configuration with the largest acquisition; before `start` values the next of an evenly spread design."""
        return self._guide.propose(trials, rng)

    def worth(self, trials: Trials) -> Worth[ForestPosterior]:
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

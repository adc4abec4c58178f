"""Bayesian optimisation with a Gaussian process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from whet.errors import StudyError, nearest
from whet.tune.search.model.belief import Belief
from whet.tune.search.model.climb import climb
from whet.tune.search.model.earlier import Recall
from whet.tune.search.model.improvement import ACQUISITIONS
from whet.tune.search.model.posterior import Posterior, last_fit
from whet.tune.search.model.seen import Seen, View
from whet.tune.search.model.threads import one_thread
from whet.tune.search.model.worth import Worth
from whet.tune.search.sobol import Sobol
from whet.tune.space import Space
from whet.tune.strategy import Proposal
from whet.tune.trial import Trials

__all__ = ["GP"]


@dataclass(frozen=True)
class GP:
    """Propose where a Gaussian process expects the largest improvement.

    acquisition: "log-ei", "ei", "pi" or "ucb"; start: how many values there are before the model is asked, a Sobol
    sequence until then (default: 4 and half the number of dimensions, at most 12); seed: of that sequence.

    Jones, Schonlau and Welch 1998 with the changes of 25 years: the kernel of `Features` and `Process`, the outcomes of
    `settle`, the logarithm of expected improvement (Ament et al. 2023), improvement counted from the best posterior mean
    instead of the best value, which noise flatters. Running trials are taken to become what is expected of them (Ginsbourger
    et al. 2010, "kriging believer"). Failed trials teach a second process where trials fail; the acquisition is
    multiplied by the probability that one does not (Gardner et al. 2014). Trials that were not trained to the end are
    points of one more dimension of the kernel. The priors of numbers weigh on the acquisition, less and less (Hvarfner et al.
    2022, "piBO"), and every other of the first trials follows them. What earlier studies say (`Earlier`) is a part of the mean, with weights learnt from the
    trials, and every other of the first trials is one of their best.

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

    def __post_init__(self) -> None:
        if self.acquisition not in ACQUISITIONS:
            raise StudyError(
                f"gp: no acquisition {self.acquisition!r}.{nearest(str(self.acquisition), ACQUISITIONS)} "
                f"Allowed: {', '.join(ACQUISITIONS)}."
            )
        if self.start is not None and (
            not isinstance(self.start, int) or isinstance(self.start, bool) or self.start < 1
        ):
            raise StudyError(f"gp: start must be a whole number >= 1, got {self.start!r}. Use e.g. GP(start=8).")
        Sobol(self.seed)

    @cached_property
    def _seen(self) -> Seen:
        return Seen()

    @cached_property
    def _recall(self) -> Recall:
        return Recall()

    @cached_property
    def _sobol(self) -> Sobol:
        return Sobol(self.seed)

    def propose(self, trials: Trials, rng: np.random.Generator) -> Proposal:
        """Return the configuration with the largest acquisition; before `start` values the next of an evenly spread design."""
        view = self._seen.look(trials)
        d = len(trials.space.dims)
        start = self.start or min(12, 4 + (d + 1) // 2)
        told = len(view.ids) + len(view.failed)
        if not len(view.ids) or told < start or not d:
            return self._first(trials, rng)
        with one_thread():
            worth = self._worth(trials, view)
            row = climb(
                worth, self._seen.cube, rng,
                near=view.rows[np.argsort(view.scores, kind="stable")[:5]], tried=self._seen.tried,
            )  # fmt: skip
        if row is None:
            return self._first(trials, rng)
        return Proposal(self._seen.cube.params(row), {"search": "gp", **worth.posterior.record})

    def _first(self, trials: Trials, rng: np.random.Generator) -> Proposal:
        made = self._sobol.propose(trials, rng)
        return Proposal(
            made.params, {**made.origin, "search": "gp", "start": "like" if "like" in made.origin else "sobol"}
        )

    def worth(self, trials: Trials) -> Worth:
        """Return what is expected of configurations and what each is worth trying, as values: what `propose` goes by.

        Raises StudyError when no trial has a value yet.
        """
        view = self._seen.look(trials)
        if not len(view.ids) or not trials.space.dims:
            raise StudyError("gp: no trial has a value yet, so there is no posterior. Run a few trials first.")
        with one_thread():
            return self._worth(trials, view)

    def _worth(self, trials: Trials, view: View) -> Worth:
        posterior = Posterior(self._seen.cube, view, last_fit(trials, view), self._recall(self._seen.cube, trials.like))
        return Worth(self.acquisition, posterior, Belief(self._seen.cube), len(view.ids))

    def size(self, space: Space) -> int | None:
        """Return how many configurations `space` has, None when endless."""
        return space.size

    def left(self, trials: Trials) -> int | None:
        """Return how many configurations no trial has yet, None when endless."""
        return self._sobol.left(trials)

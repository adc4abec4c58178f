"""A Gaussian process over the whole space, and a trust region around the best in which every improvement is looked for in turn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from whet.errors import StudyError
from whet.tune.search.model.belief import Belief
from whet.tune.search.model.cube import Cube
from whet.tune.search.model.earlier import Recall
from whet.tune.search.model.guide import Guide, check, whole
from whet.tune.search.model.posterior import Posterior, last_fit
from whet.tune.search.model.seen import View
from whet.tune.search.model.trust import LEAST, MOST, Trust
from whet.tune.search.model.worth import Worth
from whet.tune.space import Space
from whet.tune.strategy import Proposal
from whet.tune.trial import Trials

__all__ = ["TREGO"]


@dataclass(frozen=True)
class TREGO:
    """Propose where a Gaussian process expects the largest improvement, over the whole space and within a trust region around the best in turn.

    Diouane, Picheny, Le Riche and Scotto Di Perrotolo 2022, "TREGO". The model is that of `GP`, of all trials. A global step looks everywhere; as long as they succeed they go
    on. When `globals` of them in a row did not, `locals` local steps follow, which look only within a region around the best trial: numbers
    are at most half of its length away, whole and ordered ones at most that or one value, and one choice at most is another. A local step that succeeds makes the region longer
    (divides it by beta), one that does not, or fails, makes it shorter (multiplies it). To succeed is to be below the best before by
    more than kappa times the square of half the length, in units of the distance from the best to the median. Where all of a region was tried the step
    is a global one. A region shorter than 1e-3 of a range begins again with the first length.

    Trials that run count as steps that did not succeed, and leave the length alone. With bounds, those that break one are behind all that keep them. Of several goals
    only the first counts. The step, the length and the trial that the region is around are in every trial's origin ("trego").

    length: of the region at first, in ranges (default: that of a cube of a fifth of the volume, 0.2 ** (1 / numbers)); beta: from
    0.1 to 0.99; kappa: at least 0; globals, locals: at least 1; acquisition, start, seed: as for `GP`.

    Raises StudyError when an option is none.

    >>> from whet.tune.space import Float
    >>> from whet.tune.trial import State, Trial
    >>> searcher, space, done = TREGO(), Space(x=Float(0, 1), y=Float(0, 1)), []
    >>> for i in range(25):
    ...     made = searcher.propose(Trials([*done, Trial(i)], space=space), np.random.default_rng(i))
    ...     value = (made.params["x"] - 0.3) ** 2 + (made.params["y"] - 0.6) ** 2
    ...     done.append(Trial(i, made.params, State.DONE, value=value, origin=made.origin))
    >>> min(t.value for t in done) < 1e-4, {t.origin["trego"]["step"] for t in done[5:]} == {"global", "local"}
    (True, True)
    """

    length: float | None = None
    beta: float = 0.9
    kappa: float = 1e-4
    globals: int = 1
    locals: int = 1
    acquisition: str = "log-ei"
    start: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check("trego", vars(self))
        for name in ("globals", "locals"):
            whole("trego", name, getattr(self, name))
        for name, low, high, good in (
            ("length", LEAST, MOST, 0.4),
            ("beta", 0.1, 0.99, 0.9),
            ("kappa", 0.0, 1.0, 1e-4),
        ):
            value = getattr(self, name)
            if name == "length" and value is None:
                continue
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:
                raise StudyError(
                    f"trego: {name} must be a number from {low:g} to {high:g}, got {value!r}. Use e.g. TREGO({name}={good:g})."
                )

    @cached_property
    def _guide(self) -> Guide[Posterior]:
        trust = Trust(self.length, self.beta, self.kappa, (self.globals, self.locals))
        return Guide("trego", self.start, self.seed, self._make, refine=trust.now, more=5)

    @cached_property
    def _recall(self) -> Recall:
        return Recall()

    def _make(self, trials: Trials, view: View, cube: Cube) -> Worth[Posterior]:
        posterior = Posterior(cube, view, last_fit(trials, view, "theta"), self._recall(cube, trials.like))
        return Worth(self.acquisition, posterior, Belief(cube), len(view.ids))

    def propose(self, trials: Trials, rng: np.random.Generator) -> Proposal:
        """Return the configuration with the largest acquisition, everywhere or in the region; before `start` values the next of an evenly spread design."""
        return self._guide.propose(trials, rng)

    def size(self, space: Space) -> int | None:
        """Return how many configurations `space` has, None when endless."""
        return space.size

    def left(self, trials: Trials) -> int | None:
        """Return how many configurations no trial has yet, None when endless."""
        return self._guide.left(trials)

"""Evolution by covariance matrix adaptation: a cloud of trials that moves, stretches and turns towards what does well."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from whet.errors import StudyError
from whet.tune.search.model.climb import fingerprint
from whet.tune.search.model.covariance import sized
from whet.tune.search.model.generations import Generations
from whet.tune.search.model.threads import one_thread
from whet.tune.search.sobol import Sobol
from whet.tune.space import Space
from whet.tune.strategy import Proposal
from whet.tune.trial import Trials

__all__ = ["CMA"]

_DRAWS = 16  # at a time, until one is allowed that no trial has
_TRIES = 12  # times, each time spread wider than before
_WIDER = 1.25


@dataclass(frozen=True)
class CMA:
    """Propose a draw from a normal distribution that adapts to what did well, generation by generation.

    Hansen, "The CMA Evolution Strategy: A Tutorial", 2016, with its default rates and negative weights, over the numbers of a space in the
    unit cube. Whole and ordered numbers keep a chance to change (Hamano et al. 2022, "CMA-ES with Margin"). Each choice has chances of
    its options, which move towards those of the best (Baluja 1994, "PBIL") and keep a least one (that of Hamano et al. 2024, "CatCMA"); a
    choice in a branch learns from trials in that branch.

    The first trials are a Sobol sequence; the distribution begins around the best of them. What lies outside a range is drawn once more, then moved to its end. A
    generation ends when as many trials of it have ended as it has points; what is asked for meanwhile is drawn from it too. Trials that break a bound of the goal
    rank behind all that keep them, failed trials last. When the distribution has become narrower than 1e-5 of every range it begins again elsewhere, with generations twice as
    large. Every trial records where its numbers were drawn, and the first of a generation which trials led to it ("cma" of the origin).

    population: points of a generation (default: 4 + 3 ln d for d dimensions), at least 4; step: the standard deviation at first, in
    ranges; start: how many trials have ended before (default: as many as a generation has points); seed: of the Sobol
    sequence and of new beginnings.

    Raises StudyError when an option is none.

    >>> from whet.tune.space import Float
    >>> from whet.tune.trial import State, Trial
    >>> done = [Trial(i, {"x": x}, State.DONE, value=(x - 0.3) ** 2) for i, x in enumerate((0.1, 0.2, 0.35, 0.6))]
    >>> made = CMA().propose(Trials(done, space=Space(x=Float(0, 1))), np.random.default_rng(0))
    >>> dict(made.origin)
    {'search': 'cma', 'cma': {'generation': 0, 'at': [0.375146044], 'ranked': [2, 1]}}
    """

    population: int | None = None
    step: float = 0.2
    start: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, least in (("population", self.population, 4), ("start", self.start, 1)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise StudyError(
                    f"cma: {name} must be a whole number >= {least}, got {value!r}. Use e.g. CMA({name}=12)."
                )
        if not isinstance(self.step, (int, float)) or isinstance(self.step, bool) or not 0 < self.step <= 1:
            raise StudyError(
                f"cma: step must be a number above 0, at most 1, got {self.step!r}. Use e.g. CMA(step=0.2)."
            )
        Sobol(self.seed)

    @cached_property
    def _generations(self) -> Generations:
        return Generations(self.population, self.step, self.seed)

    @cached_property
    def _sobol(self) -> Sobol:
        return Sobol(self.seed)

    def propose(self, trials: Trials, rng: np.random.Generator) -> Proposal:
        """Return a draw that no trial has and the space allows; before `start` trials, or when none is met, the next of an evenly spread design."""
        made = self._generations
        view = made.look(trials)
        cube = made.seen.cube
        size = self.population or sized(cube.d)
        if not cube.d or not made.begun(view, self.start or size):
            return self._even(trials, rng, "start")
        with one_thread():
            mixture, generation, ranked = made.now(view)
            for i in range(_TRIES):
                raw, points = mixture.draw(made.columns, rng, _DRAWS, _WIDER**i)
                for numbers, row in zip(raw, cube.rows(points), strict=True):
                    if fingerprint(row) in made.seen.tried:
                        continue
                    params = cube.params(row)
                    if cube.constrained and not trials.space.allows(params):
                        continue
                    said = {"generation": generation, "at": numbers.tolist()}
                    if ranked is not None:
                        said["ranked"] = list(ranked[0])
                        if ranked[1]:
                            said["failed"] = ranked[1]
                    return Proposal(params, {"search": "cma", "cma": said})
        return self._even(trials, rng, "fallback")

    def _even(self, trials: Trials, rng: np.random.Generator, why: str) -> Proposal:
        made = self._sobol.propose(trials, rng)
        return Proposal(made.params, {**made.origin, "search": "cma", why: "sobol"})

    def size(self, space: Space) -> int | None:
        """Return how many configurations `space` has, None when endless."""
        return space.size

    def left(self, trials: Trials) -> int | None:
        """Return how many configurations no trial has yet, None when endless."""
        return self._sobol.left(trials)

"""Sobol search: points that fill the space evenly, in every prefix and in every projection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from whet.errors import StudyError
from whet.tune.search.design import DIMENSIONS, design
from whet.tune.search.earlier import Advice
from whet.tune.search.untried import Line, Tried, draw
from whet.tune.space import Params, Space
from whet.tune.strategy import Proposal
from whet.tune.trial import Trials

__all__ = ["Sobol"]

_PATIENCE = 64  # points looked at per trial before a draw takes the place of the sequence


@dataclass(frozen=True)
class Sobol:
    """Propose the points of one scrambled Sobol sequence in order.

    Sobol 1967 with the direction numbers of Joe and Kuo 2008, scrambled by a random linear matrix and a digital shift
    (Matousek 1998), as in SciPy. The sequence depends on `seed` and the number of dimensions only; the next point is
    the first that no trial has. Every branch of a choice has columns of its own, ignored where it does not exist, so
    each branch is covered evenly too.

    When numbers have priors, the first point is the most likely configuration, and then every other point is one of a second
    sequence, moved to the same quantiles of the priors.

    In a study that is like earlier ones, every other of the first trials is one of their best configurations, of each study in turn, none
    near to one before: six at most, and as long as they are no worse than the points of the sequence (medians, at two of each). What
    an earlier study does not know is filled in evenly.

    Points that a constraint forbids, and repetitions in a finite space, are skipped. When the first 64 (n + 1) points
    have nothing for a study of n trials, or the space has more than 21,201 dimensions, the proposal is a random draw
    (origin "fallback").

    seed: any whole number >= 0; a study that is given "sobol" by name sets its own. Raises StudyError when it is not.

    >>> from whet.tune.space import Float
    >>> trials = Trials([], space=Space(x=Float(0, 1)))
    >>> Sobol(seed=1).propose(trials, np.random.default_rng(0)) == Sobol(seed=1).propose(trials, np.random.default_rng(9))
    True
    """

    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.seed, int) or isinstance(self.seed, bool) or self.seed < 0:
            raise StudyError(f"sobol: seed must be a whole number >= 0, got {self.seed!r}. Use e.g. Sobol(seed=1).")

    @cached_property
    def _line(self) -> Line:
        return Line(self._points)

    @cached_property
    def _early(self) -> Advice:
        return Advice(self.seed)

    @cached_property
    def _tried(self) -> Tried:
        return Tried()

    def _points(self, trials: Trials) -> Iterator[Params | None]:
        space = trials.space
        d = len(space.dims)
        if not d:
            yield space.decode(())
        if not 0 < d <= DIMENSIONS:
            return
        yield from design(space, seed=self.seed)

    @property
    def every_goal(self) -> bool:
        """Of several goals none counts more than another: none counts at all."""
        return True

    def propose(self, trials: Trials, rng: np.random.Generator) -> Proposal:
        """Return the next point; `rng` is used only when the sequence has none."""
        if trials.like and (advised := self._early.next(trials)) is not None:
            return Proposal(advised[1], {"search": "sobol", "like": advised[0]})
        found = self._line.next(trials, _PATIENCE * (len(trials) + 1))
        if found is not None:
            return Proposal(found[1], {"search": "sobol", "index": found[0]})
        self._tried.see(trials)
        return Proposal(draw(trials.space, self._tried, rng), {"search": "sobol", "fallback": "random"})

    def size(self, space: Space) -> int | None:
        """Return how many configurations `space` has, None when endless."""
        return space.size

    def left(self, trials: Trials) -> int | None:
        """Return how many configurations no trial has yet, None when endless."""
        if trials.space.size is None:
            return None
        self._tried.see(trials)
        return self._tried.left(trials.space.size)

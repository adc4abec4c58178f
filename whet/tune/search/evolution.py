"""Regularised evolution: the best of a few recent trials gets a child that differs in one hyperparameter, and the oldest dies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from whet.errors import StudyError
from whet.tune.pareto import targets
from whet.tune.search.model.climb import fingerprint
from whet.tune.search.model.mutation import Mutation
from whet.tune.search.model.seen import Seen, View
from whet.tune.search.model.standing import standing
from whet.tune.search.sobol import Sobol
from whet.tune.space import Space
from whet.tune.strategy import Proposal
from whet.tune.trial import State, Trials

__all__ = ["Evolution"]

_TRIES = 16  # children with one change that were tried already or are not allowed; then as many with two, and so on
_MOST = 6  # changes
_ENDED = (State.DONE, State.STOPPED, State.PAUSED)


@dataclass(frozen=True)
class Evolution:
    """Propose a mutation of the best of a few that are drawn from the trials that ended last.

    Real, Aggarwal, Huang and Le 2019, "Regularized Evolution for Image Classifier Architecture Search". The population are the last trials
    that ended with a value, by age, which is the order in which they were asked for: so the oldest dies, not the worst, and a trial that was lucky
    does not rule for long. `sample` of them are drawn with replacement, and the best of these has a child. The child differs in one hyperparameter, on its own
    scale and to a neighbouring value where there is an order; a change of branch keeps what both branches share: see `whet.tune.search.model.mutation`. Workers do not wait for
    each other: whoever asks gets a child of those that have ended.

    The first trials are a Sobol sequence, drawn at random in the paper. A child that some trial has already, or that is not allowed, is made again, after 16 times with two
    changes, and so on; in the paper it is trained again. Failed trials have no children and take no place in the population; trials that break a bound of the
    goal are worse than all that keep them. With several goals the population are the best trials, not the last, since a front is to be kept and
    not wandered from: by rank of non-domination, and of one rank those with more room around them (Deb et al. 2002, "NSGA-II"; its crossover is left out). The parent, and what was changed, are in the origin ("evolution").

    population: how many trials have children, at least 2; sample: how many are drawn, from 1 (chance alone) to `population`; start: how many trials
    have ended before (default: half of `population`); seed: of the Sobol sequence.

    Raises StudyError when an option is none.

    >>> from whet.tune.space import Float
    >>> from whet.tune.trial import Trial
    >>> done = [Trial(i, {"x": x}, State.DONE, value=(x - 0.3) ** 2) for i, x in enumerate((0.1, 0.28, 0.5, 0.9))]
    >>> made = Evolution(population=4, sample=4).propose(Trials(done, space=Space(x=Float(0, 1))), np.random.default_rng(0))
    >>> dict(made.origin)
    {'search': 'evolution', 'evolution': {'parent': 1, 'changed': ['x']}}
    """

    population: int = 20
    sample: int = 10
    start: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, least in (
            ("population", self.population, 2),
            ("sample", self.sample, 1),
            ("start", self.start, 1),
        ):
            if (value is not None or name != "start") and (
                not isinstance(value, int) or isinstance(value, bool) or value < least
            ):
                raise StudyError(
                    f"evolution: {name} must be a whole number >= {least}, got {value!r}. Use e.g. Evolution({name}=8)."
                )
        if self.sample > self.population:
            raise StudyError(
                f"evolution: sample must be at most population ({self.population}), got {self.sample}. "
                f"Use e.g. Evolution(population={self.population}, sample={max(1, self.population // 4)})."
            )
        Sobol(self.seed)

    @cached_property
    def _seen(self) -> Seen:
        return Seen()

    @cached_property
    def _sobol(self) -> Sobol:
        return Sobol(self.seed)

    @cached_property
    def _model(self) -> list[Mutation]:
        return []

    @property
    def every_goal(self) -> bool:
        """All goals count: parents are what few others beat in all of them."""
        return True

    def propose(self, trials: Trials, rng: np.random.Generator) -> Proposal:
        """Return a child that no trial has and the space allows; before `start` trials, or when none is met, the next of an evenly spread design."""
        seen = self._seen
        view = seen.look(trials)
        scores = standing(view)
        members = self._members(trials, view, scores if len(targets(trials)) > 1 else None)
        if not seen.cube.d or not len(members) or not self._begun(trials, view):
            return self._even(trials, rng, "start")
        drawn = members[rng.integers(len(members), size=self.sample)]
        # of equal ones the youngest: on a plateau it is better to wander than to stay
        best = min(drawn.tolist(), key=lambda i: (scores[i], -i))
        parent, mutation = int(view.ids[best]), self._mutation()
        for i in range(_TRIES * min(_MOST, seen.cube.d)):
            row, changed = mutation.of(view.rows[best], rng, 1 + i // _TRIES)
            params = seen.cube.params(row)
            if fingerprint(seen.cube.encode([params])[0]) in seen.tried:  # as trials are seen, to the last bit
                continue
            if seen.cube.constrained and not trials.space.allows(params):
                continue
            said: dict[str, Any] = {"parent": parent, "changed": list(changed)}
            return Proposal(params, {"search": "evolution", "evolution": said})
        return self._even(trials, rng, "fallback")

    def _members(self, trials: Trials, view: View, scores: np.ndarray | None) -> np.ndarray:
        """Return the places in `view` of the population: the latest first, or, when there are scores, the best."""
        found: list[int] = []
        latest = np.arange(len(view.ids))[::-1]
        for i in (latest if scores is None else latest[np.argsort(scores[latest], kind="stable")]).tolist():
            if len(found) == self.population:
                break
            if trials[int(view.ids[i])].state in _ENDED:
                found.append(i)
        return np.array(found, dtype=int)

    def _begun(self, trials: Trials, view: View) -> bool:
        """Return whether so many trials have ended, failed ones too."""
        start, told = self.start or (self.population + 1) // 2, len(view.failed_ids)
        for id in view.ids.tolist():
            if told >= start:
                return True
            told += trials[id].state in _ENDED
        return told >= start

    def _mutation(self) -> Mutation:
        """Return the mutations of the space, made anew when that is another one."""
        kept = self._model
        if not kept or kept[0].cube is not self._seen.cube:
            kept[:] = [Mutation(self._seen.cube)]
        return kept[0]

    def _even(self, trials: Trials, rng: np.random.Generator, why: str) -> Proposal:
        made = self._sobol.propose(trials, rng)
        return Proposal(made.params, {**made.origin, "search": "evolution", why: "sobol"})

    def size(self, space: Space) -> int | None:
        """Return how many configurations `space` has, None when endless."""
        return space.size

    def left(self, trials: Trials) -> int | None:
        """Return how many configurations no trial has yet, None when endless."""
        return self._sobol.left(trials)

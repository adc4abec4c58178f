"""The tree-structured Parzen estimator: where good trials are dense beside all others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from whet.errors import StudyError
from whet.tune.search.model.belief import Belief
from whet.tune.search.model.bounds import Within, within
from whet.tune.search.model.climb import fingerprint
from whet.tune.search.model.parzen import Density, Kernels
from whet.tune.search.model.posterior import chances, due, last_fit, recorded
from whet.tune.search.model.seen import Seen, View
from whet.tune.search.model.sound import Sound, sound
from whet.tune.search.model.split import split
from whet.tune.search.model.standing import standing
from whet.tune.search.model.threads import one_thread
from whet.tune.search.sobol import Sobol
from whet.tune.space import Space
from whet.tune.strategy import Proposal
from whet.tune.trial import Trials

__all__ = ["TPE"]

# of kernels, each times their number to the power -1 / (d + 4) (Scott 1992)
_WIDTH = 0.1  # of numbers
_NARROW = 0.03  # the least of these
_OTHER = 0.5  # of choices, the part that is at other options
_TRIES = 4  # draws, each of `draws` points, until one is met that no trial has


@dataclass(frozen=True)
class TPE:
    """Propose where good trials are dense beside all that were tried.

    Bergstra et al. 2011, with kernels over all columns at once (Falkner et al. 2018, "BOHB"), branches included: see
    `whet.tune.search.model.parzen`. Expected improvement over the best trial that is not good is the ratio of two densities: that of the good
    trials, each weighing as much as it is better (Watanabe 2023), and that of all trials (Song et al. 2022; of the bad ones
    in the first paper, which is the same only when the good ones weigh the same). How trials are called good, trained to the end or not,
    running or done: see `whet.tune.search.model.split`. Failed trials teach a Gaussian process where trials fail, as with `gp`, and one for each bound of the goal where it holds; trials that break
    a bound are not good before all that keep them. With several goals those are good that fewer others dominate, and of one rank those with more room around them
    (Ozaki et al. 2020 order by rank and hypervolume; here by crowding, Deb et al. 2002): see `whet.tune.search.model.standing`. The priors of numbers
    weigh on the ratio, less and less (Hvarfner et al. 2022, "piBO").

    share: of the trials with a value, how many are good; draws: points drawn from the density of the good ones, of which the one with the
    largest ratio is proposed; start: how many values there are before the model is asked, a Sobol sequence until then
    (default: 4 and half the number of dimensions, at most 12); seed: of that sequence.

    Raises StudyError when an option is none.

    >>> from whet.tune.space import Float
    >>> from whet.tune.trial import State, Trial
    >>> done = [Trial(i, {"x": x}, State.DONE, value=(x - 0.3) ** 2) for i, x in enumerate((0.1, 0.2, 0.35, 0.6, 0.9))]
    >>> trials = Trials(done, space=Space(x=Float(0, 1)))
    >>> 0.1 < TPE().propose(trials, np.random.default_rng(0)).params["x"] < 0.5
    True
    """

    share: float = 0.25
    draws: int = 64
    start: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.share, (int, float)) or isinstance(self.share, bool) or not 0 < self.share <= 0.5:
            raise StudyError(
                f"tpe: share must be a number above 0, at most 0.5, got {self.share!r}. Use e.g. TPE(share=0.25)."
            )
        for name, value in (("draws", self.draws), ("start", self.start)):
            if value is None and name == "start":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise StudyError(f"tpe: {name} must be a whole number >= 1, got {value!r}. Use e.g. TPE({name}=20).")
        Sobol(self.seed)

    @cached_property
    def _seen(self) -> Seen:
        return Seen()

    @cached_property
    def _sobol(self) -> Sobol:
        return Sobol(self.seed)

    @property
    def every_goal(self) -> bool:
        """All goals count: good is what few others beat in all of them."""
        return True

    def propose(self, trials: Trials, rng: np.random.Generator) -> Proposal:
        """Return the best of `draws` points; before `start` values, or when all that are drawn were tried, the next of an evenly spread design."""
        seen = self._seen
        view = seen.look(trials)
        d = seen.cube.d
        start = self.start or min(12, 4 + (d + 1) // 2)
        told = len(view.ids) + len(view.failed)
        if len(view.ids) < 2 or told < start or not d:
            return self._first(trials, rng)
        kernels, belief = self._shapes()
        parts = split(replace(view, scores=standing(view)), self.share)
        good = self._density(kernels, parts.good, parts.gain)
        all_ = np.concatenate([np.ones(len(parts.good)), parts.counts])
        every = self._density(kernels, np.vstack([parts.good, parts.others]), all_)
        safe, inside, record = self._chances(trials, view)
        for _ in range(_TRIES):
            points = good.draw(self.draws, rng)
            if belief.any:
                points = np.vstack([points, belief.follow(rng.random((self.draws // 2, d)))])
            rows = seen.cube.rows(points)
            at = kernels.value(rows)
            value = good.log(rows, at) - every.log(rows, at)
            if belief.any:
                value += belief.weight(len(view.ids)) * belief.log(rows)
            with one_thread():
                if inside is not None:
                    value = inside.weigh(value, rows)
                if safe is not None:
                    value = safe.weigh(value, rows)
            for i in np.argsort(-value, kind="stable"):
                if fingerprint(rows[i]) not in seen.tried:
                    params = seen.cube.params(rows[i])
                    if not seen.cube.constrained or trials.space.allows(params):
                        return Proposal(params, {"search": "tpe", "good": len(parts.good), **record})
        return self._first(trials, rng)

    def _first(self, trials: Trials, rng: np.random.Generator) -> Proposal:
        made = self._sobol.propose(trials, rng)
        return Proposal(made.params, {**made.origin, "search": "tpe", "start": "sobol"})

    @cached_property
    def _model(self) -> list[Any]:
        return []

    def _shapes(self) -> tuple[Kernels, Belief]:
        """Return what depends on the space alone, made anew when the space is another one."""
        cube, kept = self._seen.cube, self._model
        if not kept or kept[0] is not cube:
            kept[:] = [cube, Kernels(cube), Belief(cube)]
        return kept[1], kept[2]

    def _density(self, kernels: Kernels, rows: np.ndarray, weights: np.ndarray) -> Density:
        options = np.array(kernels.cube.options)
        fewer = len(rows) ** (-1.0 / (len(options) + 4))
        return Density(kernels, rows, weights, np.where(options > 0, _OTHER * fewer, max(_WIDTH * fewer, _NARROW)))

    def _chances(self, trials: Trials, view: View) -> tuple[Sound | None, Within | None, dict[str, Any]]:
        """Return where trials fail, where they keep the bounds, and what to write down of a fit for the next one to begin from."""
        if not len(view.failed) and not view.bounds:
            return None, None, {}
        last, n = last_fit(trials, view, "sound", "bounds"), len(view.ids) + len(view.failed)
        before = recorded(last, "sound", self._seen.cube.d)
        refit = before is None or due(n, last)
        with one_thread():
            safe = sound(self._seen.cube, view, before, refit=refit)
            inside = within(self._seen.cube, view, last, refit=due(n, last))
        fitted = (safe is not None and refit) or (inside is not None and inside.fitted)
        return safe, inside, {"fit": {"n": n, **chances(safe, inside)}} if fitted else {}

    def size(self, space: Space) -> int | None:
        """Return how many configurations `space` has, None when endless."""
        return space.size

    def left(self, trials: Trials) -> int | None:
        """Return how many configurations no trial has yet, None when endless."""
        return self._sobol.left(trials)

"""What a person believes before the first trial: the `prior` of numbers, as a density that fades as trials come in."""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri

from whet.tune.search.model.cube import Cube

__all__ = ["Belief"]

_SURE = 0.9  # how much of the density follows the prior; the rest is even, so that a wrong prior is unlearnt
_STRENGTH = 10.0  # trials in which a prior weighs more than once


class Belief:
    """The priors of a space. any: whether there are any.

    The prior of a number is a normal density over its scale, cut off at the ends, mixed with one part in ten of an even one.

    >>> from whet.tune.space import Float, Space
    >>> belief = Belief(Cube(Space(lr=Float(1e-4, 1.0, log=True, prior=(1e-3, 0.1)), p=Float(0, 1))))
    >>> belief.any, belief.likely.round(2).tolist(), belief.log(np.array([[0.25, 0.1], [0.9, 0.1]])).round(2).tolist()
    (True, [0.25, 0.5], [1.31, -2.3])
    """

    def __init__(self, cube: Cube) -> None:
        self.likely = np.full(cube.d, 0.5)  # the most likely place of each dimension, the middle where nothing is said
        self._spread = np.full(cube.d, np.inf)
        for j, dim in enumerate(cube.dims):
            if (prior := getattr(dim.domain, "prior", None)) is not None:
                self.likely[j], self._spread[j] = dim.domain.encode(prior[0]), prior[1]
        self._with = np.flatnonzero(np.isfinite(self._spread))
        self.any = bool(len(self._with))

    def _ends(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        at, spread = self.likely[self._with], self._spread[self._with]
        return at, spread, (0.0 - at) / spread, (1.0 - at) / spread

    def log(self, rows: np.ndarray) -> np.ndarray:
        """Return the logarithm of the density (n,) of rows (n, d), beside 0 for an even one; what does not exist plays no part."""
        at, spread, low, high = self._ends()
        u = rows[:, self._with]
        z = (u - at) / spread
        # log(Phi(high) - Phi(low)): never lost, as a prior lies within the range
        mass = log_ndtr(high) + np.log1p(-np.exp(log_ndtr(low) - log_ndtr(high)))
        normal = np.exp(-0.5 * z * z - 0.5 * np.log(2 * np.pi) - np.log(spread) - mass)
        return np.where(np.isnan(u), 0.0, np.log(_SURE * normal + 1.0 - _SURE)).sum(1)

    def follow(self, points: np.ndarray) -> np.ndarray:
        """Return evenly spread points (n, d) moved to the same quantiles of the priors."""
        out = np.array(points, float, copy=True)
        at, spread, low, high = self._ends()
        part = ndtr(low) + out[:, self._with] * (ndtr(high) - ndtr(low))
        out[:, self._with] = np.clip(at + spread * ndtri(part), 0.0, 1.0)
        return out

    def weight(self, n: int) -> float:
        """Return the power to which the density counts after `n` trials (Hvarfner et al. 2022, "piBO", eq. 6)."""
        return _STRENGTH / max(1.0, n)

"""Numbers of the unit interval bent so that what depends on them changes about as fast everywhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whet.tune.search.model.cube import Cube

__all__ = ["Warp", "bendable"]

_EDGE = 1e-6  # the ends of the interval are moved in by so much: slopes are endless at them
_LIMIT = 2.0  # bounds of the logarithms of the exponents
_SPREAD = 0.5  # standard deviation of their normal priors around 0, no bending at all


def bendable(cube: Cube) -> list[int]:
    """Return the columns of a cube that are numbers of at least three values."""
    return [
        j
        for j, (options, levels) in enumerate(zip(cube.options, cube.levels, strict=True))
        if not options and (levels is None or len(levels) > 2)
    ]


class Warp:
    """The distribution function of Kumaraswamy, 1 - (1 - u^a)^b, for some columns (Cowen-Rivers et al. 2022, "HEBO", section 4.1).

    Snoek et al. 2014 use that of the beta distribution, whose shapes are the same but whose derivatives are not closed. The
    exponents a and b of each column are fitted with the hyperparameters of a model; their logarithms have normal priors around 0, where nothing is bent.

    which (k,): the columns; shape (2 k,): the logarithms of a, then those of b; limit: their bound, spread: of their priors.

    >>> warp = Warp([0], np.log([2.0, 1.0]))
    >>> warp(np.array([[0.5, 0.5], [np.nan, 0.1]])).round(4).tolist()
    [[0.25, 0.5], [nan, 0.1]]
    """

    limit, spread = _LIMIT, _SPREAD

    def __init__(self, which: Sequence[int] | np.ndarray, shape: np.ndarray | None = None) -> None:
        self.which = np.asarray(which, dtype=int)
        self.shape = np.zeros(2 * len(self.which)) if shape is None else np.asarray(shape, float)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return rows (n, d) with the columns bent; NaN stays."""
        out = np.array(rows, dtype=float, copy=True)
        _, high, _, b = self._parts(rows)
        out[:, self.which] = -np.expm1(b * high)
        return out

    def slopes(self, rows: np.ndarray) -> np.ndarray:
        """Return the derivatives (2 k, n) of the bent columns of rows (n, d) by `shape`, 0 where nothing exists."""
        low, high, a, b = self._parts(rows)
        power = np.exp(a * low)
        by_a = a * b * np.exp((b - 1.0) * high) * power * low
        by_b = -b * np.exp(b * high) * high
        return np.nan_to_num(np.hstack([by_a, by_b]).T)

    def _parts(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return log u, log(1 - u^a), each (n, k), a and b (k,)."""
        a, b = np.exp(self.shape).reshape(2, -1)
        low = np.log(np.clip(rows[:, self.which], _EDGE, 1.0 - _EDGE))
        return low, np.log(-np.expm1(a * low)), a, b

"""Kernel densities over the unit cube of a space: mixed and conditional, exact where values are cells.

A kernel is a distribution over whole configurations. Centred at a trial, it is a product over the columns that exist:

- a real number: a normal density cut off at 0 and 1;
- a whole or ordered number: the mass which that normal density has in the cell of each value;
- a choice of k options: 1 - b at the trial's own and b / (k - 1) at each other (Aitchison and Aitken 1976);
- a column that exists in the configuration but not at the trial, which is in another branch: even.

The part `LOOSE` of the kernel of a number is even too: a product of many columns would otherwise be next to nothing as
soon as one of them is far off, though it may be one that does not matter. Every kernel sums up to 1 over all branches. So a choice and
the members of its branches move together, and what the trials of one branch say of the columns outside of it counts in all.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.special import ndtr, ndtri

from whet.tune.search.model.cube import Cube

__all__ = ["LOOSE", "Density", "Kernels"]

LOOSE = 0.2  # the even part of the kernel of a number

_ROOT_2PI = np.sqrt(2 * np.pi)
_TABLED = 128  # values of a column up to which its kernels are kept as a table
_REMEMBERED = 200  # tables, at least
_BLOCK = 100  # columns whose kernels are multiplied before a logarithm is taken, so that nothing overflows
_NARROW = 0.5  # of the width of a kernel: cells up to which three points are enough
_GRID = 0.05  # widths are rounded to such a part of themselves, so that tables can be used again


class Kernels:
    """What the kernels of a cube have in common: how wide the cell of each value is, and tables of kernels by width.

    listed: the columns whose kernels are tables; long: those with more values; real: those without cells.

    >>> from whet.tune.space import Choice, Float, Ordered, Space
    >>> kernels = Kernels(Cube(Space(x=Float(0, 1), k=Ordered([1, 2, 4]), o=Choice(["a", "b"]))))
    >>> kernels.real, kernels.listed, kernels.long
    ((0,), (1, 2), ())
    >>> (np.exp(kernels.log_table(2, 0.2))[:2, :2] / 2).round(2)  # the mass at each value (rows) of the kernel of each value
    array([[0.8, 0.2],
           [0.2, 0.8]])
    """

    def __init__(self, cube: Cube) -> None:
        self.cube = cube
        sizes = [0 if levels is None else len(levels) for levels in cube.levels]
        self.real = tuple(j for j in range(cube.d) if not sizes[j])
        self.listed = tuple(j for j in range(cube.d) if cube.options[j] or 0 < sizes[j] <= _TABLED)
        self.long = tuple(j for j in range(cube.d) if sizes[j] > _TABLED and not cube.options[j])
        self._sizes = np.array([sizes[j] for j in self.listed], dtype=np.intp)
        self.starts = np.concatenate([[0], np.cumsum(self._sizes + 1)[:-1]]).astype(np.intp)[: len(sizes)]
        self._even = np.array([np.allclose(np.diff(cube.edges[j]), 1 / sizes[j]) for j in self.listed], dtype=bool)
        room = max(_REMEMBERED, 4 * len(self.listed))
        self.log_table, self.upto = lru_cache(room)(self._log_table), lru_cache(room)(self._upto)

    def value(self, rows: np.ndarray) -> np.ndarray:
        """Return the numbers (listed, n) of the values that rows (n, d) have; of a column that does not exist, how many values it has."""
        u = rows[:, self.listed].T
        there = ~np.isnan(u)
        sizes = self._sizes[:, None]
        at = np.minimum((np.where(there, u, 0.0) * sizes).astype(np.intp), sizes - 1)
        for i in np.flatnonzero(~self._even):
            at[i] = self.cube.index(np.where(there[i], u[i], 0.5), self.listed[i])
        return np.where(there, at, sizes)

    def _mass(self, j: int, h: float) -> np.ndarray:
        """Return the mass (L, L) that the kernel of each value (columns) has at each value (rows)."""
        levels, edges = self.cube.levels[j], self.cube.edges[j]
        assert levels is not None
        k = len(levels)
        if k == 1:
            return np.ones((1, 1))
        if self.cube.options[j]:
            b = min(h, (k - 1) / k)
            return np.where(np.eye(k, dtype=bool), 1.0 - b, b / (k - 1))
        upto = ndtr((edges[:, None] - levels[None]) / h)
        mass = np.diff(upto, axis=0) / (upto[-1] - upto[0])
        return (1.0 - LOOSE) * mass + LOOSE * np.diff(edges)[:, None]

    def _log_table(self, j: int, h: float) -> np.ndarray:
        """Return the logarithms (L + 1, L + 1) of the kernels of width h of column j beside an even one; the last row and column are for not existing."""
        width = np.diff(self.cube.edges[j])
        table = np.zeros((len(width) + 1, len(width) + 1))
        table[:-1, :-1] = np.log(self._mass(j, h) / width[:, None])
        return table

    def _upto(self, j: int, h: float) -> np.ndarray:
        """Return the mass (L, L + 1) up to and with each value of the kernels of column j; the last column is the even one."""
        return np.cumsum(np.column_stack([self._mass(j, h), np.diff(self.cube.edges[j])]), axis=0)


def _mean_normal(low: np.ndarray, high: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return the mean (n, k) of the standard normal densities around `centre` (k,) from `low` to `high` (n,).

    Gauss-Legendre with three points where that is narrow, with an error below 2e-7 of the largest density, at a tenth of the cost of two
    normal distribution functions.
    """
    half, middle = (high - low) / 2, (high + low) / 2
    nodes = np.stack([middle - half * 0.6**0.5, middle, middle + half * 0.6**0.5])
    parts = nodes[:, :, None] - centre
    parts *= parts
    parts *= -0.5
    np.exp(parts, out=parts)
    out: np.ndarray = parts[0]
    out += parts[2]
    out *= 5 / (18 * _ROOT_2PI)
    parts[1] *= 8 / (18 * _ROOT_2PI)
    out += parts[1]
    if len(wide := np.flatnonzero(half > _NARROW / 2)):
        low, high = low[wide, None], high[wide, None]
        out[wide] = (ndtr(high - centre) - ndtr(low - centre)) / (high - low)
    return out


class Density:
    """A mixture of kernels at trials, and an even part.

    rows (k, d): the trials; weights (k,): of each; even: the weight of the even part (all are scaled to sum to 1); widths (d,): of
    numbers the standard deviation of the normal density in [0, 1], of choices the b above.

    >>> from whet.tune.space import Float, Space
    >>> density = Density(Kernels(Cube(Space(x=Float(0, 1)))), np.array([[0.3]]), np.ones(1), np.array([0.1]))
    >>> np.exp(density.log(np.array([[0.3], [0.9]]))).round(2), density.draw(3, np.random.default_rng(0)).shape
    (array([2.19, 0.6 ]), (3, 1))
    """

    def __init__(
        self, kernels: Kernels, rows: np.ndarray, weights: np.ndarray, widths: np.ndarray, *, even: float = 1.0
    ) -> None:
        self.kernels, self.rows = kernels, rows
        total = weights.sum() + even
        self.weights, self.even = weights / total, even / total
        self.widths = np.exp(np.round(np.log(widths) / _GRID) * _GRID)
        self._value = kernels.value(rows)
        free = [*kernels.real, *kernels.long]
        h, centre = self.widths[free], rows[:, free]
        self._there = ~np.isnan(centre)
        self._centre = np.where(self._there, centre, 0.5)
        self._low, self._high = ndtr(-self._centre / h), ndtr((1.0 - self._centre) / h)
        # the logarithm of every kernel at every value of every listed column: (sum of L + 1, k)
        tables = [kernels.log_table(j, float(self.widths[j])) for j in kernels.listed]
        self._logs = np.concatenate([t.take(v, axis=1) for t, v in zip(tables, self._value, strict=True)] or [rows[:0]])

    def log(self, rows: np.ndarray, value: np.ndarray | None = None) -> np.ndarray:
        """Return the logarithm of the density (n,) at rows (n, d), beside 0 for an even one. value: `Kernels.value` of rows, if it is known."""
        kernels, k = self.kernels, len(self.weights)
        if kernels.listed:
            value = kernels.value(rows) if value is None else value
            logs = self._logs.take(value + kernels.starts[:, None], axis=0).sum(0)
        else:
            logs = np.zeros((len(rows), k))
        product = np.ones((len(rows), k))
        for i, j in enumerate((*kernels.real, *kernels.long)):
            if i % _BLOCK == _BLOCK - 1:
                logs += np.log(product)
                product[:] = 1.0
            product *= self._column(rows[:, j], i, j)
        top = np.maximum(logs.max(1), 0.0)
        product *= np.exp(logs - top[:, None])
        product *= self.weights
        return top + np.log(product.sum(1) + self.even * np.exp(-top))

    def _column(self, u: np.ndarray, i: int, j: int) -> np.ndarray:
        """Return the kernels (n, k) of column j, the i-th without a table, at u (n,), as parts of an even one."""
        h, centre, mass = self.widths[j], self._centre[:, i], self._high[:, i] - self._low[:, i]
        gone = np.isnan(u)
        u = np.where(gone, 0.5, u)
        if i < len(self.kernels.real):
            out = u[:, None] - centre
            out /= h
            out *= out
            out *= -0.5
            np.exp(out, out=out)
            out *= (1.0 - LOOSE) / (_ROOT_2PI * h * mass)
        else:
            edges = self.kernels.cube.edges[j]
            at = self.kernels.cube.index(u, j)
            low, high = edges[at], edges[at + 1]
            out = _mean_normal(low / h, high / h, centre / h)
            out *= (1.0 - LOOSE) / (h * mass)
        out += LOOSE
        if self.kernels.cube.conditional[j]:
            out[gone[:, None] | ~self._there[:, i]] = 1.0
        return out

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return points (n, d) drawn from the density, those of numbers without a table not yet moved to the value they mean."""
        kernels = self.kernels
        upto = np.cumsum(np.append(self.weights, self.even))
        which = np.minimum(np.searchsorted(upto, rng.random(n) * upto[-1], side="right"), len(upto) - 1)
        out, loose = rng.random((n, kernels.cube.d)), rng.random((n, kernels.cube.d)) < LOOSE
        k = len(self.weights)
        of, some = np.minimum(which, k - 1), which < k
        free = [*kernels.real, *kernels.long]
        if free:
            u = out[:, free]
            low, high = self._low[of], self._high[of]
            moved = self._centre[of] + self.widths[free] * ndtri(low + u * (high - low))
            normal = self._there[of] & some[:, None] & ~loose[:, free]
            out[:, free] = np.where(normal, np.clip(moved, 0.0, 1.0), u)
        for i, j in enumerate(kernels.listed):
            levels = kernels.cube.levels[j]
            assert levels is not None
            centre = np.where(some, self._value[i, of], len(levels))  # the last column is the even one
            up = kernels.upto(j, float(self.widths[j]))[:, centre]  # (L, n); the even part is within
            out[:, j] = levels[np.minimum((out[:, j] * up[-1] > up).sum(0), len(levels) - 1)]
        return out

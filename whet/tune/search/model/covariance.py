"""Covariance matrix adaptation: a normal distribution that follows what does well, one generation after the other."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np

__all__ = ["Normal", "Rates", "adapted", "rates", "sized"]

_LEAST = 1e-8  # an eigenvalue below zero, by rounding, counts as this
_LONGEST = 1e32  # of a step


@dataclass(frozen=True)
class Rates:
    """What the update of a generation goes by. size: how many points a generation has; best: how many of them pull the mean;
    weights (size,): of the points, the best first, those beyond the first `best` negative; mass: how many equal points
    the first ones count as; towards, step, damping, along, one, all: the learning rates of the mean, the path of the step, the step itself, the
    path of the mean, and of the matrix from the path and from the points; length: that of a normal vector on average.
    """

    size: int
    best: int
    weights: np.ndarray
    mass: float
    step: float
    damping: float
    along: float
    one: float
    all: float
    length: float


@dataclass(frozen=True)
class Normal:
    """A normal distribution N(mean, step^2 matrix) over n columns, and the two paths its mean went.

    mean, path, steps (n,): path is that of the mean, steps the one that the step is judged by; matrix (n, n); generation: how many updates
    it has seen; widened (n,): how much wider than the distribution the points of listed columns are spread (`margin`).

    >>> Normal.at(np.array([0.5, 0.5]), 0.2).root
    array([[1., 0.],
           [0., 1.]])
    """

    mean: np.ndarray
    step: float
    matrix: np.ndarray
    path: np.ndarray
    steps: np.ndarray
    widened: np.ndarray
    generation: int = 0

    @classmethod
    def at(cls, mean: np.ndarray, step: float, spread: np.ndarray | None = None) -> Normal:
        """Return the distribution around mean (n,) with standard deviations step * spread (n,), all equal when not given."""
        n = len(mean)
        matrix = np.eye(n) if spread is None else np.diag(spread**2)
        return cls(np.array(mean, float), float(step), matrix, np.zeros(n), np.zeros(n), np.ones(n))

    @cached_property
    def _axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the matrix without the traces of rounding, its axes and their lengths."""
        values, axes = np.linalg.eigh((self.matrix + self.matrix.T) / 2)
        lengths = np.sqrt(np.where(values < 0, _LEAST, values))
        return (axes * lengths**2) @ axes.T, axes, lengths

    @property
    def root(self) -> np.ndarray:
        """The square root of the matrix, symmetric: so it does not depend on the signs of the axes, which a library is free to choose."""
        _, axes, lengths = self._axes
        return (axes * lengths) @ axes.T

    @property
    def inverse_root(self) -> np.ndarray:
        """One over `root`."""
        _, axes, lengths = self._axes
        return (axes / np.maximum(lengths, 1e-154)) @ axes.T

    @property
    def deviations(self) -> np.ndarray:
        """The standard deviation of each column (n,)."""
        return self.step * np.sqrt(np.diag(self.matrix))

    @property
    def condition(self) -> float:
        """How many times longer than the shortest the longest axis is, squared."""
        lengths = self._axes[2]
        return float((lengths[-1] / max(lengths[0], 1e-154)) ** 2) if len(lengths) else 1.0

    def draw(self, z: np.ndarray) -> np.ndarray:
        """Return points (k, n) of standard normal numbers (k, n)."""
        return self.mean + self.step * (z @ self.root)


def sized(d: int) -> int:
    """Return how many points a generation has in d dimensions.

    >>> sized(1), sized(8)
    (4, 10)
    """
    return 4 + math.floor(3 * math.log(max(1, d)))


@lru_cache(maxsize=64)
def rates(n: int, size: int) -> Rates:
    """Return the default rates for n >= 1 columns and generations of `size` >= 4 points.

    Equations 48 to 58 and Table 1 of Hansen, "The CMA Evolution Strategy: A Tutorial", 2016.

    >>> r = rates(2, 6)
    >>> r.best, r.weights[:3].round(3).tolist(), round(float(r.weights[:3].sum()), 9)
    (3, [0.637, 0.285, 0.078], 1.0)
    """
    best = size // 2
    raw = math.log((size + 1) / 2) - np.log(np.arange(1, size + 1))
    mass = float(raw[:best].sum() ** 2 / (raw[:best] ** 2).sum())
    behind = float(raw[best:].sum() ** 2 / (raw[best:] ** 2).sum())
    one = 2 / ((n + 1.3) ** 2 + mass)
    all_ = min(1 - one - 1e-8, 2 * (mass - 2 + 1 / mass) / ((n + 2) ** 2 + mass))
    least = min(1 + one / all_, 1 + 2 * behind / (mass + 2), (1 - one - all_) / (n * all_))
    weights = np.where(raw >= 0, raw / raw[raw > 0].sum(), least * raw / -raw[raw < 0].sum())
    weights.flags.writeable = False
    step = (mass + 2) / (n + mass + 5)
    return Rates(
        size,
        best,
        weights,
        mass,
        step,
        1 + 2 * max(0.0, math.sqrt((mass - 1) / (n + 1)) - 1) + step,
        (4 + mass / n) / (n + 4 + 2 * mass / n),
        one,
        all_,
        math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2)),
    )


def adapted(normal: Normal, ranked: np.ndarray) -> Normal:
    """Return the distribution after a generation of points (size, n), the best first.

    Equations 38 to 47 of the same, with negative weights ("active" CMA-ES). Points need not come from `normal`.

    >>> before = Normal.at(np.array([0.5, 0.5]), 0.1)
    >>> after = adapted(before, np.array([[0.6, 0.5], [0.55, 0.52], [0.52, 0.45], [0.5, 0.6], [0.4, 0.5], [0.3, 0.4]]))
    >>> after.mean.round(3).tolist(), after.generation
    ([0.58, 0.502], 1)
    """
    size, n = ranked.shape
    r, g = rates(n, size), normal.generation + 1
    matrix, inverse = normal._axes[0], normal.inverse_root
    y = (ranked - normal.mean) / normal.step
    pull = r.weights[: r.best] @ y[: r.best]
    steps = (1 - r.step) * normal.steps + math.sqrt(r.step * (2 - r.step) * r.mass) * (inverse @ pull)
    far = float(np.linalg.norm(steps))
    step = min(normal.step * math.exp(r.step / r.damping * (far / r.length - 1)), _LONGEST)
    # a path that is far too long, as when the step is too short at first, is no direction to believe
    short = far / math.sqrt(1 - (1 - r.step) ** (2 * (g + 1))) < (1.4 + 2 / (n + 1)) * r.length
    path = (1 - r.along) * normal.path + short * math.sqrt(r.along * (2 - r.along) * r.mass) * pull
    distance = ((y @ inverse) ** 2).sum(1)
    weights = np.where(r.weights >= 0, r.weights, r.weights * n / (distance + _LEAST))
    kept = 1 + r.one * (not short) * r.along * (2 - r.along) - r.one - r.all * r.weights.sum()
    new = kept * matrix + r.one * np.outer(path, path) + r.all * (y.T * weights) @ y
    return replace(
        normal, mean=normal.mean + normal.step * pull, step=step, matrix=new, path=path, steps=steps, generation=g
    )

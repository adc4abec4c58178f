"""The values of trials as a model likes them: no tails that rule it, mean 0, variance 1; and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brent
from scipy.special import boxcox1p, inv_boxcox1p

__all__ = ["Scale", "settle"]

_FAR = 4.0  # values worse than the median by so many times what the best is better are pulled in
_POWER = 5  # values from which on the exponent is fitted


@dataclass(frozen=True)
class Scale:
    """The transform of scores, of which the smallest is best, to values with mean 0 and variance 1.

    What is far worse than the median (of those above the best, when half tie there) is pulled in to `4` times as far as the best is on the other side; then the power
    transform of Yeo and Johnson 2000 with the most likely exponent makes the rest as normal as it can be (as in Cowen-Rivers
    et al. 2022, "HEBO", section 4.2). The order is kept, ties beyond the bound aside.

    worst: scores above are pulled in to it; mean, spread: of the scores, spread 0 when all are equal; power: the exponent; middle,
    width: mean and standard deviation after the power; unit: mean and spread count in it, so that the square of no score overflows or
    vanishes.

    >>> scale = Scale.of(np.array([1.0, 2.0, 3.0, 1e9]))
    >>> scale.to(np.array([1.0, 2.0, 3.0, 1e9])).round(2).tolist()
    [-0.9, -0.56, -0.22, 1.68]
    >>> scale.back(np.array([-0.9, 1.68])).round(1).tolist()
    [1.0, 8.5]
    """

    worst: float
    mean: float
    spread: float
    power: float
    middle: float
    width: float
    unit: float = 1.0

    @classmethod
    def of(cls, scores: np.ndarray) -> Scale:
        """Return the transform for scores (n,), n >= 1."""
        scores = np.asarray(scores, float)
        with np.errstate(over="ignore"):
            best, median = float(scores.min()), float(np.median(scores))
            if median == best and scores.max() > best:  # half of them tie: it is the others that may have tails
                median = float(np.median(scores[scores > best]))
            worst = median + _FAR * (median - best) if median > best else np.inf
        scores = np.minimum(scores, worst)
        unit = _unit(scores)
        if scores.max() == best:  # the deviation of equal numbers is often not 0: their mean is rounded
            return cls(worst, best / unit, 0.0, 1.0, 0.0, 1.0, unit)
        scores = scores / unit
        mean, spread = float(scores.mean()), float(scores.std())
        scores = (scores - mean) / spread
        power = _likely(scores) if len(scores) >= _POWER else 1.0
        scores = _yeo_johnson(scores, power)
        return cls(worst, mean, spread, power, float(scores.mean()), float(scores.std()) or 1.0, unit)

    def to(self, scores: np.ndarray) -> np.ndarray:
        """Return the values of scores."""
        if not self.spread:
            return np.zeros(len(scores))
        scores = (np.minimum(np.asarray(scores, float), self.worst) / self.unit - self.mean) / self.spread
        return (_yeo_johnson(scores, self.power) - self.middle) / self.width

    def back(self, values: np.ndarray) -> np.ndarray:
        """Return the scores of values; infinite where the power has no value so large or small."""
        if not self.spread:
            return np.full(np.shape(values), self.mean * self.unit)
        y, p = np.asarray(values, float) * self.width + self.middle, self.power
        with np.errstate(all="ignore"):
            up = inv_boxcox1p(np.maximum(y, 0.0), p)
            down = -inv_boxcox1p(np.maximum(-y, 0.0), 2.0 - p)
            up = np.where(np.isnan(up), np.inf, up)
            down = np.where(np.isnan(down), -np.inf, down)
            return (np.where(y >= 0, up, down) * self.spread + self.mean) * self.unit


def _unit(scores: np.ndarray) -> float:
    size = float(np.abs(scores).max())
    if size == 0.0 or 1e-100 < size < 1e100:
        return 1.0
    return float(2.0 ** (int(np.frexp(size)[1]) - 1))  # a power of two: dividing by it rounds nothing


def _yeo_johnson(x: np.ndarray, power: float) -> np.ndarray:
    return np.where(x >= 0, boxcox1p(np.maximum(x, 0.0), power), -boxcox1p(np.maximum(-x, 0.0), 2.0 - power))


def _likely(x: np.ndarray) -> float:
    """Return the exponent under which `x` is the most likely to be normal; SciPy's answer in a tenth of the time."""
    slopes = float((np.sign(x) * np.log1p(np.abs(x))).sum())

    def cost(power: float) -> float:
        with np.errstate(all="ignore"):
            variance = float(_yeo_johnson(x, power).var())
        if not np.isfinite(variance) or variance < 1e-300:
            return np.inf
        return 0.5 * len(x) * float(np.log(variance)) - (power - 1.0) * slopes

    return float(brent(cost, brack=(-2.0, 2.0)))


def settle(scores: np.ndarray) -> np.ndarray:
    """Return scores (n,) by the `Scale` of their own.

    >>> settle(np.array([1.0, 2.0, 3.0, 1e9])).round(2).tolist()
    [-0.9, -0.56, -0.22, 1.68]
    """
    return Scale.of(scores).to(scores)

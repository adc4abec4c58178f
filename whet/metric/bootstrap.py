"""Intervals: how sure one can be of a number measured on n examples. NumPy only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

__all__ = ["RESAMPLES", "Interval", "bca", "wilson"]

RESAMPLES = 1000
_CHUNK = 4_000_000  # indices drawn at once, 32 MB


@dataclass(frozen=True)
class Interval:
    """A value, the interval that holds the true one with probability `level`, and the n examples it was measured on.

    >>> f"{Interval(0.9, 0.8, 0.95, 50)}"
    '0.9 (95 %: 0.8 to 0.95)'
    """

    value: float
    low: float
    high: float
    n: int
    level: float = 0.95

    def __str__(self) -> str:
        return f"{self.value:.4g} ({100 * self.level:.4g} %: {self.low:.4g} to {self.high:.4g})"


def wilson(hits: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval for a share of `hits` out of `n` (Wilson 1927), good also near 0 and 1.

    >>> [round(x, 4) for x in wilson(81, 263)]
    [0.2553, 0.3662]
    """
    z = NormalDist().inv_cdf(0.5 + level / 2)
    p = hits / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def bca(values: np.ndarray, rng: np.random.Generator, level: float) -> tuple[float, float]:
    """Return the bias-corrected and accelerated bootstrap interval (Efron 1987) of the mean of `values` (n,).

    1000 resamples drawn from `rng`. The acceleration comes from the mean's jackknife in closed form, so there are no n
    refits. Values without spread give an interval without width.

    >>> low, high = bca(np.arange(101.0), np.random.default_rng(0), 0.95)
    >>> 43 < low < 46 and 54 < high < 57
    True
    """
    n = len(values)
    rows = max(1, _CHUNK // n)
    means = np.concatenate(
        [values[rng.integers(0, n, (min(rows, RESAMPLES - i), n))].mean(1) for i in range(0, RESAMPLES, rows)]
    )
    mean = values.mean()
    dev = values - mean  # mean minus the mean without example i is dev[i] / (n - 1): the n - 1 cancels in `a`
    spread = float((dev**2).sum())
    if not spread > 0 or not math.isfinite(spread):
        return float(mean), float(mean)
    normal = NormalDist()
    share = float(((means < mean).sum() + 0.5 * (means == mean).sum()) / len(means))
    z0 = normal.inv_cdf(min(max(share, 0.5 / len(means)), 1 - 0.5 / len(means)))
    a = float((dev**3).sum()) / (6 * spread**1.5)
    ends = []
    for tail in ((1 - level) / 2, (1 + level) / 2):
        z = z0 + normal.inv_cdf(tail)
        ends.append(normal.cdf(z0 + z / (1 - a * z)) if a * z < 1 else 1.0)
    low, high = np.quantile(means, ends)
    return float(low), float(high)

"""What is more than noise between two columns of seeds: intervals over seeds, and a paired test that is exact for few of them. NumPy only."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from whet import seed as streams
from whet.metric.bootstrap import bca
from whet.metric.holm import holm

__all__ = ["LEVEL", "enough", "interval", "midranks", "signed_ranks"]

LEVEL = 0.95


def midranks(values: np.ndarray) -> np.ndarray:
    """Return the ranks of (..., k) values along the last axis, the least being 1; what is equal shares the mean of its ranks.

    >>> midranks(np.array([0.3, 0.1, 0.3, np.inf])).tolist()
    [2.5, 1.0, 2.5, 4.0]
    """
    x = np.asarray(values, float)
    below = (x[..., None, :] < x[..., :, None]).sum(-1)
    equal = (x[..., None, :] == x[..., :, None]).sum(-1)
    found: np.ndarray = below + (equal + 1) / 2
    return found


def interval(values: Sequence[float] | np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of the mean of (n,) values, one a seed: the BCa bootstrap over seeds (Efron 1987), 1000 resamples.

    NaN for fewer than two, or for what is not finite.

    >>> low, high = interval([1.0, 2.0, 3.0, 4.0, 5.0])
    >>> 1.5 < low < 2.5, 3.5 < high < 4.5
    (True, True)
    """
    x = np.asarray(values, float)
    if len(x) < 2 or not np.isfinite(x).all():
        return math.nan, math.nan
    return bca(x, streams.rng(seed, "compare"), LEVEL)


def signed_ranks(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test (1945) that a and b (n,), paired by seed, differ only by chance.

    Exact: all 2^n ways in which the signs of the differences could have fallen are counted, given their sizes. Equal sizes share their
    mean rank; differences of 0 take part in the ranking and then fall out (Pratt 1959). A value that is not finite is worse than any other.

    >>> signed_ranks([1, 2, 3, 4, 5, 6], [2, 4, 6, 8, 10, 12]), signed_ranks([1, 1], [1, 1])
    (0.03125, 1.0)
    """
    x, y = np.asarray(a, float), np.asarray(b, float)
    equal = x == y  # inf and inf are
    d = np.where(equal, 0.0, np.subtract(x, y, where=~equal, out=np.zeros(len(x))))
    ranks = np.rint(2 * midranks(np.abs(d))).astype(int)  # doubled, so that they are whole
    there = ranks[d != 0]
    if not len(there):
        return 1.0
    ways = np.zeros(int(there.sum()) + 1)  # share of the sign patterns in which the positive ranks add up to so much
    ways[0] = 1.0
    for r in there:
        moved = np.zeros_like(ways)
        moved[r:] = ways[: len(ways) - r]
        ways = (ways + moved) / 2
    above = int(ranks[d > 0].sum())
    low = min(above, len(ways) - 1 - above)
    return float(min(1.0, 2 * ways[: low + 1].sum()))


def enough(tests: int, level: float = LEVEL) -> int:
    """Return the fewest seeds with which the clearest difference among so many corrected tests can pass for more than noise.

    >>> enough(1), enough(3)
    (6, 7)
    """
    n = 2
    while holm([2.0 ** (1 - n), *[1.0] * (tests - 1)])[0] > 1 - level + 1e-12:
        n += 1
    return n

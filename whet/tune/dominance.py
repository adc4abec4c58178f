"""Which of several points are better in every way: ranks of non-domination, and how crowded each point's place is.

Points are scores (n, m), lower is better in every column, inf where there is nothing. The smaller violation of bounds comes
before everything else (Deb et al. 2002, "NSGA-II", constrained domination).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from whet.tune.goal import Bound

__all__ = ["crowding", "ranks", "violation"]


def violation(bounds: Sequence[Bound], metrics: Mapping[str, float]) -> float:
    """Return by how much the bounds are broken in all: 0 when all hold, inf when a metric was not reported.

    Each counts what is beyond its limit in units of the limit (of 1 where that is 0), so that bytes do not outweigh
    milliseconds.

    >>> violation([Bound("latency", "<=", 5.0), Bound("size", "<", 1e6)], {"latency": 6.0, "size": 2e6})
    1.2
    """
    total = 0.0
    for bound in bounds:
        if bound.holds(metrics):
            continue
        value = metrics.get(bound.name, np.nan)
        over = abs(value - bound.limit) / (abs(bound.limit) or 1.0)
        # a strict bound is broken at its limit too
        total += float(np.inf if np.isnan(over) else max(over, np.finfo(float).tiny))
    return total


def ranks(scores: np.ndarray, broken: np.ndarray | None = None) -> np.ndarray:
    """Return the rank (n,) of each of `scores` (n, m): 0 for those that nothing dominates, 1 for those that only these do, ...

    A point dominates another when it is nowhere worse and somewhere better; equal points have the same rank. broken (n,): by how
    much each breaks its bounds; who breaks them less dominates, and at the same amount scores decide (in the paper, only among those
    that break none). Two columns take n log n steps; more take n times the number of points in a front.

    >>> ranks(np.array([[1.0, 4.0], [2.0, 2.0], [4.0, 1.0], [3.0, 3.0], [5.0, 5.0]])).tolist()
    [0, 0, 0, 1, 2]
    >>> ranks(np.array([[1.0, 4.0], [2.0, 2.0], [3.0, 5.0]]), np.array([0.0, 0.5, 0.0])).tolist()
    [0, 2, 1]
    """
    found = np.zeros(len(scores), dtype=int)
    if broken is None:
        return _sorted(scores) if len(scores) else found
    after = 0
    levels, level_of = np.unique(broken, return_inverse=True)
    order = np.argsort(level_of, kind="stable")
    ends = np.searchsorted(level_of[order], np.arange(len(levels) + 1))
    for start, end in pairwise(ends.tolist()):
        some = order[start:end]
        found[some] = after + (_sorted(scores[some]) if len(some) > 1 else 0)
        after = int(found[some].max()) + 1
    return found


def crowding(scores: np.ndarray) -> np.ndarray:
    """Return the crowding distance (n,) of points (n, m) of one rank: inf at either end of a column (Deb et al. 2002).

    It is the sum over the columns of how far the neighbours on either side are apart, as a part of the column's range. Of equal
    points all but the first have 0: one stands for all.

    >>> crowding(np.array([[0.0, 1.0], [0.25, 0.5], [1.0, 0.0]])).tolist()
    [inf, 2.0, inf]
    """
    once, first = np.unique(scores, axis=0, return_index=True)
    distance = np.zeros(len(once))
    for column in once.T:
        there = np.flatnonzero(np.isfinite(column))
        order = there[np.argsort(column[there], kind="stable")]
        if len(order) == 0 or (width := column[order[-1]] - column[order[0]]) == 0:
            continue
        distance[order[[0, -1]]] = np.inf
        distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / width
    if len(once) <= 2:
        distance[:] = np.inf
    found = np.zeros(len(scores))
    found[first] = distance
    return found


def _sorted(scores: np.ndarray) -> np.ndarray:
    """Return the ranks of scores alone."""
    once, place = np.unique(scores, axis=0, return_inverse=True)  # in lexicographic order: none dominates one before it
    found = _two(once) if scores.shape[1] == 2 else _many(once)
    return found[place.ravel()]


def _two(once: np.ndarray) -> np.ndarray:
    """Rank different points in lexicographic order by the least second score of every front so far, which grow with the rank."""
    least: list[float] = []
    found = np.zeros(len(once), dtype=int)
    for i, y in enumerate(once[:, 1].tolist()):
        k = bisect_right(least, y)
        least[k : k + 1] = [y]
        found[i] = k
    return found


def _many(once: np.ndarray) -> np.ndarray:
    """Rank different points in lexicographic order: each goes to the first front where none dominates it (Zhang et al. 2015, "ENS")."""
    fronts: list[np.ndarray] = []
    found = np.zeros(len(once), dtype=int)
    for i, point in enumerate(once):
        low, high = 0, len(fronts)
        while low < high:  # dominated by one of a front means dominated by one of every front before it
            middle = (low + high) // 2
            if (fronts[middle] <= point).all(axis=1).any():
                low = middle + 1
            else:
                high = middle
        if low == len(fronts):
            fronts.append(point[None])
        else:
            fronts[low] = np.vstack([fronts[low], point])
        found[i] = low
    return found

"""Ranks and crowding: against the definitions, point by point, and against Optuna's."""

from __future__ import annotations

import math

import numpy as np
import pytest

from whet import seed as streams
from whet.tune.dominance import crowding, ranks, violation
from whet.tune.goal import Bound


def dominates(a, b, x, y):
    """Whether the first point, which breaks its bounds by x, dominates the second, which breaks them by y."""
    return x < y or (x == y and bool((a <= b).all() and (a < b).any()))


def peeled(scores, broken):
    """The ranks by their definition: take away what nothing dominates, again and again."""
    left, found, rank = set(range(len(scores))), [0] * len(scores), 0
    while left:
        first = {
            i for i in left if not any(dominates(scores[j], scores[i], broken[j], broken[i]) for j in left if j != i)
        }
        for i in first:
            found[i] = rank
        left, rank = left - first, rank + 1
    return found


@pytest.mark.parametrize("m", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_ranks_are_what_their_definition_says(seed, m):
    """With ties, equal points, points at infinity, and bounds that are broken by equal and by different amounts."""
    rng = streams.rng(seed, m)
    scores = rng.integers(0, 5, (40, m)).astype(float)
    scores[rng.random(scores.shape) < 0.1] = np.inf
    broken = np.where(rng.random(40) < 0.6, 0.0, rng.integers(1, 5, 40))
    assert ranks(scores, broken).tolist() == peeled(scores, broken)
    assert ranks(scores).tolist() == peeled(scores, np.zeros(40))


@pytest.mark.parametrize("m", [2, 3])
def test_ranks_are_those_of_optuna(m):
    theirs = pytest.importorskip("optuna.study._multi_objective")._fast_non_domination_rank
    rng = streams.rng(m)
    scores, broken = rng.random((200, m)), np.maximum(rng.standard_normal(200), 0.0)
    assert ranks(scores).tolist() == theirs(scores).tolist()
    # by what it adds to its own, a penalty is positive where a bound is broken
    assert ranks(scores, broken).tolist() == theirs(scores, penalty=broken).tolist()


def test_nothing_and_one_point_have_ranks():
    assert ranks(np.zeros((0, 2))).tolist() == []
    assert ranks(np.zeros((0, 2)), np.zeros(0)).tolist() == []
    assert ranks(np.array([[np.inf, np.inf]]), np.array([np.inf])).tolist() == [0]


def test_bounds_are_broken_in_units_of_their_limits():
    bounds = [Bound("ms", "<=", 5.0), Bound("size", "<", 1e6), Bound("gain", ">", 0.0)]
    assert violation([], {}) == 0.0
    assert violation(bounds, {"ms": 5.0, "size": 0.5, "gain": 1.0}) == 0.0
    assert violation(bounds, {"ms": 10.0, "size": 1.5e6, "gain": -0.25}) == pytest.approx(1.0 + 0.5 + 0.25)
    # at its limit a strict bound is broken, by less than anything
    assert 0.0 < violation(bounds, {"ms": 5.0, "size": 1e6, "gain": 1.0}) < 1e-300
    assert violation(bounds, {"ms": 1.0, "size": 1.0}) == math.inf
    assert violation(bounds, {"ms": math.nan, "size": 1.0, "gain": 1.0}) == math.inf


def test_crowding_is_that_of_the_paper():
    """Along a line with equal steps all inside are equally crowded; who stands closer is more crowded; the ends are kept."""
    line = np.linspace(0, 1, 6)
    even = crowding(np.column_stack([line, 1 - line]))
    assert even[[0, -1]].tolist() == [np.inf, np.inf]
    assert np.allclose(even[1:-1], 0.8)
    closer = crowding(np.array([[0.0, 1.0], [0.1, 0.5], [0.15, 0.45], [0.5, 0.2], [1.0, 0.0]]))
    assert closer[2] < closer[3]
    assert closer[1] < closer[3]


def test_crowding_takes_any_order_equal_points_and_infinity():
    points = np.array([[0.5, 0.5], [0.0, 1.0], [1.0, 0.0], [0.5, 0.5], [0.2, np.inf]])
    found = crowding(points)
    assert found[1:3].tolist() == [np.inf, np.inf]
    assert sorted([found[0], found[3]])[0] == 0.0
    order = streams.rng(0).permutation(len(points))
    assert sorted(crowding(points[order]).tolist()) == sorted(found.tolist())
    assert crowding(np.zeros((0, 2))).tolist() == []
    assert not np.isnan(crowding(np.full((3, 2), np.inf))).any()

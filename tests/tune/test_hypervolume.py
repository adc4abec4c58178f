"""Hypervolume: closed forms, inclusion and exclusion, Monte Carlo, Optuna's, and what holds of any volume."""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import numpy as np
import pytest

from whet import seed as streams
from whet.tune.hypervolume import contributions, hypervolume


def by_inclusion(scores, reference):
    """The volume of a union of boxes, from those of all their intersections."""
    total = 0.0
    for k in range(1, len(scores) + 1):
        for some in combinations(scores, k):
            total -= (-1) ** k * float(np.prod(np.maximum(reference - np.max(some, axis=0), 0.0)))
    return total


@pytest.mark.parametrize("n", [1, 7, 100])
def test_a_staircase_has_the_volume_of_its_steps(n):
    """n points evenly on x + y = 1 between its ends dominate up to (1, 1) what lies above the line but for n + 1 triangles."""
    x = np.arange(1, n + 1) / (n + 1)
    assert hypervolume(np.column_stack([x, 1 - x]), np.ones(2)) == pytest.approx(0.5 - 0.5 / (n + 1))
    # a column in which all are equal multiplies it by how far that is from the reference
    assert hypervolume(np.column_stack([x, np.full(n, 0.25), 1 - x]), np.ones(3)) == pytest.approx(
        0.75 * (0.5 - 0.5 / (n + 1))
    )


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5])
def test_corners_of_a_cube(m):
    """The m points that are 1/2 in one column and 0 in the others leave the corner where all are below 1/2."""
    assert hypervolume(0.5 * np.eye(m), np.ones(m)) == pytest.approx(1 - 0.5**m if m > 1 else 0.5)


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_sum_over_all_intersections(seed, m):
    """Points beyond the reference, dominated ones and ties included."""
    scores = np.round(streams.rng(seed, m).random((9, m)) * 1.2, 1)
    assert hypervolume(scores, np.ones(m)) == pytest.approx(by_inclusion(scores, np.ones(m)), abs=1e-12)


@pytest.mark.parametrize("m", [2, 3, 4])
@pytest.mark.parametrize("seed", range(2))
def test_it_is_what_random_points_find(seed, m):
    """The share of random points that some point dominates, within 5 standard errors; 40 points on the sphere."""
    rng = streams.rng(seed, m)
    scores = np.abs(rng.standard_normal((40, m)))
    scores /= np.linalg.norm(scores, axis=1, keepdims=True)
    drawn = 1.1 * rng.random((100_000, m))
    hit = np.zeros(len(drawn), bool)
    for point in scores:
        hit |= (point <= drawn).all(axis=1)
    share = hit.mean()
    error = math.sqrt(share * (1 - share) / len(drawn))
    assert abs(hypervolume(scores, np.full(m, 1.1)) / 1.1**m - share) < 5 * error


@pytest.mark.parametrize("m", [2, 3, 4])
def test_it_is_that_of_optuna(m):
    theirs = pytest.importorskip("optuna._hypervolume").compute_hypervolume
    scores, reference = streams.rng(m).random((60, m)), np.full(m, 1.1)
    assert hypervolume(scores, reference) == pytest.approx(theirs(scores, reference), rel=1e-12)


@pytest.mark.parametrize("m", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_what_holds_of_any_volume(seed, m):
    """It does not know the order, grows with every point, is scaled with the axes; a contribution is what is lost without the point."""
    rng = streams.rng(seed, m)
    scores, reference = rng.random((30, m)), np.ones(m)
    whole = hypervolume(scores, reference)
    assert hypervolume(rng.permutation(scores), reference) == pytest.approx(whole, rel=1e-12)
    grown = [hypervolume(scores[: k + 1], reference) for k in range(len(scores))]
    assert all(a <= b + 1e-12 for a, b in pairwise(grown))
    by = np.arange(2, m + 2)
    assert hypervolume(scores * by - 5, reference * by - 5) == pytest.approx(whole * by.prod())
    lost = [whole - hypervolume(np.delete(scores, i, axis=0), reference) for i in range(len(scores))]
    assert contributions(scores, reference) == pytest.approx(np.array(lost), abs=1e-12)


def test_what_is_not_better_than_the_reference_adds_nothing():
    inside = np.array([[0.5, 0.5]])
    beyond = np.array([[1.0, 0.0], [0.0, 2.0], [np.inf, 0.0]])
    assert hypervolume(np.zeros((0, 2)), np.ones(2)) == 0.0
    assert hypervolume(beyond, np.ones(2)) == 0.0
    assert hypervolume(np.vstack([beyond, inside]), np.ones(2)) == 0.25
    assert contributions(beyond, np.ones(2)).tolist() == [0.0, 0.0, 0.0]
    assert contributions(np.vstack([inside, inside]), np.ones(2)).tolist() == [0.0, 0.0]

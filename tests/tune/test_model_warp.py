"""The warp of inputs against the distribution it is named after, and its slopes against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from whet.tune.search.model.cube import Cube
from whet.tune.search.model.warp import Warp, bendable
from whet.tune.space import Choice, Float, Int, Ordered, Space

ROWS = np.array([[0.0, 0.2, 0.9], [0.3, np.nan, 0.1], [1.0, 0.999, 0.5]])


def test_numbers_of_three_values_or_more_are_bent():
    space = Space(
        x=Float(0, 1), k=Int(1, 2), n=Int(1, 3), o=Choice({"a": Space(m=Float(0, 1)), "b": None}), p=Ordered([1, 2, 4])
    )
    cube = Cube(space)
    assert [cube.dims[j].name for j in bendable(cube)] == ["x", "n", "o.m", "p"]


def test_it_is_the_distribution_of_kumaraswamy():
    """Of which U^(1/a) with U the least of b even draws is one, for whole b."""
    a, b = 2.5, 3
    draws = np.random.default_rng(0).random((200_000, b)).min(1) ** (1 / a)
    at = np.array([[0.2], [0.5], [0.8]])
    found = Warp([0], np.log([a, b]))(at)[:, 0]
    assert found == pytest.approx([(draws < u).mean() for u in at[:, 0]], abs=0.004)


def test_at_first_nothing_is_bent_and_what_does_not_exist_stays_so():
    warp = Warp([0, 1])
    assert warp(ROWS) == pytest.approx(ROWS, abs=2e-6, nan_ok=True)
    bent = Warp([0, 1], np.array([0.7, -0.7, 0.2, 0.9]))(ROWS)
    assert np.isnan(bent[1, 1])
    assert bent[:, 2].tolist() == ROWS[:, 2].tolist()
    assert (bent[[0, 2], 0]).round(3).tolist() == [0.0, 1.0]


def test_it_keeps_the_order():
    u = np.linspace(0, 1, 101)[:, None]
    for shape in ([2.0, 2.0], [-2.0, -2.0], [2.0, -2.0], [-2.0, 2.0]):
        bent = Warp([0], np.array(shape))(u)[:, 0]
        assert np.isfinite(bent).all()
        assert (np.diff(bent) >= 0).all()
        assert 0 <= bent[0] <= bent[-1] <= 1


@pytest.mark.parametrize("seed", range(3))
def test_its_slopes_are_those_of_finite_differences(seed):
    rows = np.random.default_rng(seed).random((8, 3))
    rows[0, 1] = np.nan
    shape = np.random.default_rng(seed + 10).normal(0, 0.7, 4)
    slopes = Warp([1, 2], shape).slopes(rows)
    for i, j in enumerate([1, 2, 1, 2]):
        step = np.eye(4)[i] * 1e-6
        apart = Warp([1, 2], shape + step)(rows) - Warp([1, 2], shape - step)(rows)
        assert slopes[i] == pytest.approx(np.nan_to_num(apart[:, j] / 2e-6), abs=1e-6)
    assert slopes[0, 0] == 0.0

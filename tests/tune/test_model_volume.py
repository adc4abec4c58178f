"""What a configuration adds to a front: the closed form against sampling, and what there is of it with one goal."""

from __future__ import annotations

import numpy as np
import pytest

from whet import seed as streams
from whet.tune.hypervolume import gain
from whet.tune.search.model.improvement import log_expected, log_probability
from whet.tune.search.model.volume import Volume


class Normal:
    """A model whose mean and deviation are columns of the rows."""

    def __init__(self, j):
        self.j = j

    def predict(self, rows):
        return rows[:, 2 * self.j], rows[:, 2 * self.j + 1]


def made(rng, m, points):
    """A volume over a random front, and rows of means and deviations."""
    tried = np.full((points, 2 * m), 1e-9)
    tried[:, ::2] = rng.random((points, m)) ** 2
    rows = np.full((8, 2 * m), 0.0)
    rows[:, ::2] = rng.uniform(-0.2, 1.0, (8, m))
    rows[:, 1::2] = rng.uniform(0.05, 0.5, (8, m))
    return Volume.of([Normal(j) for j in range(m)], tried, np.zeros(m), np.ones(m)), rows


def drawn(rng, row, m, n):
    return row[::2] + row[1::2] * rng.standard_normal((n, m))


@pytest.mark.parametrize("m", [2, 3])
@pytest.mark.parametrize("seed", range(2))
def test_it_is_the_mean_growth_of_the_hypervolume(m, seed):
    rng = streams.rng(seed, m)
    volume, rows = made(rng, m, 12)
    corner = np.full(m, 1.1)
    found = volume.value("ei", rows)
    assert np.allclose(np.log(found), volume.value("log-ei", rows))
    for row, value in zip(rows, found, strict=True):
        grown = [gain(point, volume.front, corner) for point in drawn(rng, row, m, 1500)]
        assert abs(np.mean(grown) - value) < 4 * np.std(grown) / 1500**0.5 + 1e-4


@pytest.mark.parametrize("m", [2, 3])
def test_pi_is_the_chance_that_nothing_dominates_it(m):
    rng = streams.rng(m)
    volume, rows = made(rng, m, 12)
    for row, value in zip(rows, np.exp(volume.value("pi", rows)), strict=True):
        points = drawn(rng, row, m, 4000)
        better = [(p < 1.1).all() and not (volume.front <= p).all(1).any() for p in points]
        assert abs(np.mean(better) - value) < 0.035


def test_ucb_is_how_far_before_the_front_a_place_can_be():
    volume, rows = made(streams.rng(0), 2, 12)
    for row, value in zip(rows, volume.value("ucb", rows), strict=True):
        best = row[::2] - 2 * row[1::2]
        # moved back by so much it is just not dominated, and by a little more it is
        assert not (volume.front < best + value - 1e-9).all(1).any()
        assert (volume.front < best + value + 1e-9).all(1).any()


def test_with_one_goal_it_is_the_improvement_of_the_least_mean():
    volume, rows = made(streams.rng(3), 1, 9)
    best = float(volume.front.min())
    assert np.allclose(volume.value("log-ei", rows), log_expected(rows[:, 0], rows[:, 1], best))
    assert np.allclose(volume.value("pi", rows), log_probability(rows[:, 0], rows[:, 1], best))
    assert np.allclose(volume.value("ucb", rows), best - rows[:, 0] + 2 * rows[:, 1])


def test_far_behind_the_front_it_still_says_which_is_better():
    volume, _ = made(streams.rng(4), 2, 9)
    rows = np.array([[40.0, 0.1, 40.0, 0.1], [30.0, 0.1, 40.0, 0.1], [30.0, 0.1, 30.0, 0.1]])
    found = volume.value("log-ei", rows)
    assert np.isfinite(found).all()
    assert (np.diff(found) > 0).all()


def test_a_long_front_of_many_goals_is_thinned_and_never_below_what_it_is():
    """What is left out of the front can only make more seem new."""
    rng = streams.rng(5)
    volume, rows = made(rng, 4, 300)
    assert len(volume.front) > 20
    found = volume.value("ei", rows)
    for row, value in zip(rows, found, strict=True):
        grown = [gain(point, volume.front, np.full(4, 1.1)) for point in drawn(rng, row, 4, 200)]
        assert value > np.mean(grown) - 4 * np.std(grown) / 200**0.5

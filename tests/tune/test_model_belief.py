from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kstest, truncnorm

from whet import Choice, Float, Int, Space
from whet import seed as streams
from whet.tune.search.design import design
from whet.tune.search.model.belief import Belief
from whet.tune.search.model.cube import Cube


@pytest.mark.parametrize(("at", "spread"), [(0.3, 0.1), (0.0, 0.02), (1.0, 0.3), (0.5, 5.0)])
def test_the_density_is_a_cut_off_normal_with_an_even_tenth(at, spread):
    belief = Belief(Cube(Space(x=Float(0, 1, prior=(at, spread)))))
    u = np.linspace(0, 1, 41)
    reference = truncnorm((0 - at) / spread, (1 - at) / spread, loc=at, scale=spread)
    assert np.allclose(np.exp(belief.log(u[:, None])), 0.9 * reference.pdf(u) + 0.1)
    assert quad(lambda x: float(np.exp(belief.log(np.array([[x]]))[0])), 0, 1, points=[at])[0] == pytest.approx(1.0)


@pytest.mark.parametrize(("at", "spread"), [(0.3, 0.1), (1.0, 0.02)])
def test_points_follow_the_prior_at_the_same_quantiles(at, spread):
    belief = Belief(Cube(Space(x=Float(0, 1, prior=(at, spread)), y=Float(0, 1))))
    even = streams.rng(0).random((500, 2))
    points = belief.follow(even)
    reference = truncnorm((0 - at) / spread, (1 - at) / spread, loc=at, scale=spread)
    assert np.allclose(points[:, 0], reference.ppf(even[:, 0]))
    assert np.array_equal(points[:, 1], even[:, 1])
    assert kstest(points[:, 0], reference.cdf).pvalue > 0.01


def test_what_does_not_exist_is_not_believed_or_doubted():
    space = Space(o=Choice({"sgd": Space(m=Float(0, 1, prior=(0.9, 0.05))), "adam": None}), k=Int(1, 9, prior=(3, 0.1)))
    cube = Cube(space)
    rows = cube.encode([{"o": "adam", "k": 3}, {"o": "sgd", "o.m": 0.9, "k": 3}, {"o": "sgd", "o.m": 0.1, "k": 3}])
    adam, likely, unlikely = Belief(cube).log(rows)
    assert unlikely < adam < likely
    assert unlikely == pytest.approx(adam + np.log(0.1))


def test_without_priors_nothing_changes():
    space = Space(x=Float(0, 1), o=Choice(["a", "b"]))
    belief, points = Belief(Cube(space)), streams.rng(1).random((20, 2))
    assert not belief.any
    assert np.array_equal(belief.log(points), np.zeros(20))
    assert np.array_equal(belief.follow(points), points)


def test_a_design_begins_with_the_most_likely_and_keeps_half_of_itself_even():
    space = Space(x=Float(0, 1, prior=(0.9, 0.02)), y=Float(0, 1))
    points = list(islice(design(space, seed=3), 129))
    assert points[0] == {"x": 0.9, "y": 0.5}
    even, likely = (np.array([p["x"] for p in points[i::2]]) for i in (1, 2))
    assert len(even) == len(likely) == 64
    assert np.histogram(even, 8, (0, 1))[0].tolist() == [8] * 8  # a Sobol sequence
    assert np.abs(likely - 0.9).max() < 0.08

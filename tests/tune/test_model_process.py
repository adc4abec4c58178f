"""The Gaussian process against scikit-learn's at the same hyperparameters, and its gradients against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from whet.testing import SPACES
from whet.tune.search.model.cube import Cube
from whet.tune.search.model.features import Features
from whet.tune.search.model.process import Priors, Process, fit, likelihood
from whet.tune.search.model.warp import Warp, bendable
from whet.tune.space import Float, Space

PLAIN = Space(**{f"x{i}": Float(0, 1) for i in range(4)})


def made(space, n, seed):
    cube, rng = Cube(space), np.random.default_rng(seed)
    rows = cube.encode([space.sample(rng) for _ in range(n)])
    return Features(cube), rows, rng


@pytest.mark.parametrize("seed", range(3))
def test_posterior_and_likelihood_are_those_of_scikit_learn(seed):
    features, rows, rng = made(PLAIN, 25, seed)
    values = rng.standard_normal(25)
    theta = np.concatenate([rng.normal(-0.5, 0.5, 4), [0.4, -3.0]])
    kernel = ConstantKernel(np.exp(theta[4])) * Matern(np.exp(theta[:4]), nu=2.5) + WhiteKernel(np.exp(theta[5]) + 1e-8)
    peer = GaussianProcessRegressor(kernel, optimizer=None, alpha=0.0).fit(rows, values)
    ours = Process(features, rows, values, theta)
    others = rng.random((40, 4))
    mean, sd = ours.predict(others)
    peer_mean, peer_sd = peer.predict(others, return_std=True)
    assert mean == pytest.approx(peer_mean, abs=1e-8)
    assert sd**2 + ours.noise + 1e-8 == pytest.approx(peer_sd**2, abs=1e-7)  # theirs is of a noisy value
    assert ours.likelihood() == pytest.approx(peer.log_marginal_likelihood_value_, rel=1e-9)


@pytest.mark.parametrize("name", ["mixed", "branches", "finite", "line"])
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("reach", [False, True])
@pytest.mark.parametrize("warp", [False, True])
def test_the_gradient_is_that_of_finite_differences(warp, reach, name, seed):
    features, rows, rng = made(SPACES[name], 15, seed)
    bends = Warp(bendable(features.cube)) if warp else None
    features = Features(features.cube, reach=reach, warp=bends)
    if reach:
        rows = np.column_stack([rows, rng.random(15)])
    values = rng.standard_normal(15)
    more = [-1.0, 0.3] if reach else []  # drift and offset
    theta = np.concatenate([rng.normal(-0.3, 0.6, features.d), more, [0.2, -2.0]])
    shape = rng.normal(0, 0.5, len(bends.shape)) if bends else np.zeros(0)

    def at(x):
        return likelihood(x[: len(theta)], features.bent(x[len(theta) :]), rows, values)

    whole = np.concatenate([theta, shape])
    value, gradient = at(whole)
    assert value == pytest.approx(Process(features.bent(shape), rows, values, theta).likelihood(), rel=1e-9)
    assert len(gradient) == len(whole)
    step = 1e-5
    for j in range(len(whole)):
        up, down = whole.copy(), whole.copy()
        up[j] += step
        down[j] -= step
        slope = (at(up)[0] - at(down)[0]) / (2 * step)
        assert gradient[j] == pytest.approx(slope, rel=1e-5, abs=1e-6), j
    priors = Priors()
    cost, slope = priors.cost(theta, features)
    for j in range(len(theta)):
        up = theta.copy()
        up[j] += step
        assert slope[j] == pytest.approx((priors.cost(up, features)[0] - cost) / step, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("name", ["mixed", "branches", "line"])
def test_the_smoothed_values_are_the_means_where_it_has_seen(name):
    features, rows, rng = made(SPACES[name], 20, 2)
    process = Process(features, rows, rng.standard_normal(20), np.concatenate([np.full(features.d, -0.8), [0.2, -1.5]]))
    assert process.smoothed() == pytest.approx(process.predict(rows)[0], abs=1e-9)
    assert np.abs(process.smoothed() - process.values).max() > 0.05


@pytest.mark.parametrize("name", ["mixed", "branches", "constrained"])
def test_a_process_given_more_equals_one_made_anew(name):
    features, rows, rng = made(SPACES[name], 20, 3)
    values = rng.standard_normal(20)
    theta = np.concatenate([np.full(features.d, -0.4), [0.1, -4.0]])
    grown = (
        Process(features, rows[:12], values[:12], theta).given(rows[12:13], values[12:13]).given(rows[13:], values[13:])
    )
    anew = Process(features, rows, values, theta)
    for a, b in zip(grown.predict(rows), anew.predict(rows), strict=True):
        assert a == pytest.approx(b, abs=1e-7)
    assert grown.likelihood() == pytest.approx(anew.likelihood(), rel=1e-9)


def test_a_fit_finds_which_dimensions_matter():
    features, rows, _ = made(PLAIN, 60, 0)
    values = np.sin(6 * rows[:, 1])
    values = (values - values.mean()) / values.std()
    process = fit(features, rows, values)
    lengths = process.theta[:4]
    assert lengths.argmin() == 1
    assert lengths[[0, 2, 3]].min() > lengths[1] + 1.0
    fresh = np.random.default_rng(1).random((200, 4))
    truth = (np.sin(6 * fresh[:, 1]) - np.sin(6 * rows[:, 1]).mean()) / np.sin(6 * rows[:, 1]).std()
    assert np.sqrt(np.mean((process.predict(fresh)[0] - truth) ** 2)) < 0.1


def test_a_fit_bends_what_changes_at_one_end_only():
    """A function of u^4 is all change at the upper end: bent, it is told better from as many points."""
    space = Space(x=Float(0, 1), y=Float(0, 1))
    plain, rows, _ = made(space, 30, 0)
    bent = Features(plain.cube, warp=Warp(bendable(plain.cube)))
    truth = lambda rows: np.sin(6 * rows[:, 0] ** 5) / 0.4  # noqa: E731
    made_plain, made_bent = (fit(f, rows, truth(rows)) for f in (plain, bent))
    a, _, b, _ = made_bent.features.warp.shape
    assert a > 0.4
    assert a - b > 0.4
    assert made_bent.likelihood() > made_plain.likelihood() + 1.0
    fresh = np.random.default_rng(1).random((400, 2))
    off = [np.sqrt(np.mean((p.predict(fresh)[0] - truth(fresh)) ** 2)) for p in (made_plain, made_bent)]
    assert off[1] < 0.7 * off[0]


def test_without_points_it_is_the_prior():
    features, rows, _ = made(PLAIN, 3, 0)
    process = Process(features, rows[:0], np.zeros(0), np.array([0.0, 0, 0, 0, np.log(4.0), -6.0]))
    mean, sd = process.predict(rows)
    assert mean.tolist() == [0.0] * 3
    assert sd == pytest.approx([2.0] * 3)

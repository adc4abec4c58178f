"""Acquisitions against numerical integration and an independent high-precision form, far into the tails."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from whet.tune.search.model.improvement import expected, log_expected, log_probability, lower_bound

POINTS = [(0.0, 1.0, 0.0), (1.0, 0.5, 0.2), (-2.0, 3.0, 1.0), (0.3, 0.01, 0.31), (4.0, 1.0, 0.0)]


@pytest.mark.parametrize(("mean", "sd", "best"), POINTS)
def test_expected_improvement_is_the_integral_it_stands_for(mean, sd, best):
    density = stats.norm(mean, sd).pdf
    integral, _ = integrate.quad(lambda y: (best - y) * density(y), mean - 12 * sd, best, epsabs=1e-13, limit=200)
    assert expected(np.array([mean]), np.array([sd]), best)[0] == pytest.approx(integral, rel=1e-7, abs=1e-13)


@pytest.mark.parametrize("z", [3.0, 1.0, 0.0, -0.999, -1.0, -1.001, -3.0, -6.0])
def test_its_logarithm_is_the_logarithm(z):
    mean, sd = np.array([-2.0 * z]), np.array([2.0])
    assert log_expected(mean, sd, 0.0)[0] == pytest.approx(np.log(expected(mean, sd, 0.0)[0]), rel=1e-9)


@pytest.mark.parametrize("z", [10.0, 37.0, 100.0, 999.0, 1001.0, 1e5])
def test_its_logarithm_far_in_the_tail(z):
    # phi(z) integral_0^inf t exp(-z t - t^2 / 2) dt, with the logarithm of phi outside
    inner, _ = integrate.quad(lambda s: s * np.exp(-s - (s / z) ** 2 / 2), 0, 60, epsabs=1e-14)
    exact = -0.5 * z * z - 0.5 * np.log(2 * np.pi) + np.log(inner) - 2 * np.log(z)
    assert log_expected(np.array([z]), np.array([1.0]), 0.0)[0] == pytest.approx(exact, rel=1e-11, abs=1e-5)


def test_it_falls_as_the_mean_rises_everywhere():
    mean = np.linspace(-3, 3000, 20_000)
    assert (np.diff(log_expected(mean, np.ones_like(mean), 0.0)) < 0).all()


def test_probability_and_bound():
    mean, sd = np.array([0.5, 60.0]), np.array([2.0, 1.0])
    assert log_probability(mean, sd, 1.0) == pytest.approx(stats.norm.logcdf([0.25, -59.0]), rel=1e-12)
    assert lower_bound(mean, sd, 1.0) == pytest.approx([3.5, -58.0])

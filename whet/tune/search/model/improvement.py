"""What a model's prediction is worth: expected improvement and its logarithm, probability of improvement, a bound.

All are for a value that should be small, and all are to be maximised.
"""

from __future__ import annotations

import numpy as np
from scipy.special import erfcx, log_ndtr, ndtr

__all__ = ["ACQUISITIONS", "expected", "lower_bound", "log_expected", "log_probability"]

_LOG_ROOT_2PI = 0.5 * np.log(2 * np.pi)
_ROOT_HALF_PI = np.sqrt(np.pi / 2)


def expected(mean: np.ndarray, sd: np.ndarray, best: float) -> np.ndarray:
    """Return how much a value N(mean, sd^2) is expected to be below `best` (Mockus 1978; Jones et al. 1998, eq. 15).

    >>> expected(np.array([0.0]), np.array([1.0]), 0.0).round(4)
    array([0.3989])
    """
    z = (best - mean) / sd
    return sd * (np.exp(-0.5 * z * z - _LOG_ROOT_2PI) + z * ndtr(z))


def log_expected(mean: np.ndarray, sd: np.ndarray, best: float) -> np.ndarray:
    """Return the logarithm of `expected`, exact where that underflows (Ament et al. 2023, eq. 9 and appendix A.1).

    >>> log_expected(np.array([40.0]), np.array([1.0]), 0.0).round(2)
    array([-808.3])
    """
    return np.log(sd) + _log_h((best - np.asarray(mean, float)) / sd)


def _log_h(z: np.ndarray) -> np.ndarray:
    """Return log(phi(z) + z Phi(z))."""
    out = np.empty_like(z)
    near = z > -1.0
    x = z[near]
    out[near] = np.log(np.exp(-0.5 * x * x - _LOG_ROOT_2PI) + x * ndtr(x))
    x = -z[~near]
    # phi(z) (1 - x R(x)) with the Mills ratio R(x) = sqrt(pi/2) erfcx(x / sqrt 2); far out 1 - x R(x) is 1/x^2, to 3e-6 of itself
    far = x > 1e3
    safe = np.where(far, 1e3, x)
    rest = np.log1p(-safe * _ROOT_HALF_PI * erfcx(safe / np.sqrt(2)))
    out[~near] = -0.5 * x * x - _LOG_ROOT_2PI + np.where(far, -2 * np.log(x), rest)
    return out


def log_probability(mean: np.ndarray, sd: np.ndarray, best: float) -> np.ndarray:
    """Return the logarithm of the probability that a value N(mean, sd^2) is below `best` (Kushner 1964).

    >>> log_probability(np.array([0.0]), np.array([1.0]), 0.0).round(4)
    array([-0.6931])
    """
    return log_ndtr((best - mean) / sd)


def lower_bound(mean: np.ndarray, sd: np.ndarray, best: float, beta: float = 2.0) -> np.ndarray:
    """Return minus the lower confidence bound, mean - beta sd (Srinivas et al. 2010); `best` plays no part.

    >>> lower_bound(np.array([1.0]), np.array([0.25]), 0.0)
    array([-0.5])
    """
    return beta * sd - mean


#: By name: what `GP(acquisition=...)` takes.
ACQUISITIONS = {"log-ei": log_expected, "ei": expected, "pi": log_probability, "ucb": lower_bound}

"""A Gaussian process over the columns of `Features`: Matern 5/2, a length scale for each dimension, noise estimated.

Rasmussen and Williams 2006: posterior eq. 2.25-26, marginal likelihood eq. 5.8, its gradient eq. 5.9. The mean is zero:
outcomes are standardised before. With m the Matern correlation, x a configuration and s how far it was trained,

    k = variance m(x, x') + drift m(x, x') m(s, s') + offset m(s, s')

of which only the first term is there when all were trained equally far. So how good a configuration is, is one function
whatever the fidelity, plus what the fidelity does to all of them, plus a small part that changes with both. (A product
alone, as in Klein et al. 2017, forgets what early values say of late ones when its length scale of s is short.)

Known functions z(x), such as what earlier studies say, add the term z(x)' z(x'): a weighted sum of them whose weights have normal
priors of variance 1 around `Features.lean` and are integrated out (section 2.7).

Hyperparameters are logarithms, `theta` = (length scales (d,), [length scale of s, drift, offset,] variance, noise
variance), and are set to their most probable values under the priors of `Priors`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

from whet.tune.search.model.features import Features

__all__ = ["Priors", "Process", "fit", "matern"]

_JITTER = 1e-8
_LOGARITHMS, _NOISE = (-7.0, 5.0), (-14.0, 2.0)  # bounds of the logarithms; of that of the noise


def matern(apart: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the Matern 5/2 correlation at squared distances, and its derivative by the squared distance.

    >>> k, slope = matern(np.array([0.0, 1.0]))
    >>> k.round(4), slope.round(4)
    (array([1.   , 0.524]), array([-0.8333, -0.2882]))
    """
    r = np.sqrt(5.0 * apart)
    e = np.exp(-r)
    return (1.0 + r + r * r / 3.0) * e, (-5.0 / 6.0) * (1.0 + r) * e


@dataclass(frozen=True)
class Priors:
    """Normal priors of the logarithms, as (mean, standard deviation). Outcomes have variance 1, the cube has side 1."""

    lengths: tuple[float, float] = (0.0, 1.0)
    reach: tuple[float, float] = (0.0, 1.0)
    drift: tuple[float, float] = (-3.0, 1.0)
    offset: tuple[float, float] = (0.0, 1.0)
    variance: tuple[float, float] = (0.0, 1.0)
    noise: tuple[float, float] = (-6.0, 1.5)

    def of(self, features: Features) -> np.ndarray:
        """Return the (mean, standard deviation) of every hyperparameter as an array (2, p)."""
        more = [self.reach, self.drift, self.offset] if features.reach else []
        return np.array([*[self.lengths] * features.cube.d, *more, self.variance, self.noise], float).T

    def cost(self, theta: np.ndarray, features: Features) -> tuple[float, np.ndarray]:
        """Return minus the log density at `theta`, up to a constant, and its gradient."""
        mean, sd = self.of(features)
        z = (theta - mean) / sd
        return 0.5 * float(z @ z), z / sd


class Process:
    """A Gaussian process that has seen `values` (n,) at `rows` (n, d), with the hyperparameters `theta`.

    >>> from whet.tune.search.model.cube import Cube
    >>> from whet.tune.space import Float, Space
    >>> features = Features(Cube(Space(x=Float(0, 1))))
    >>> process = Process(features, np.array([[0.2], [0.8]]), np.array([-1.0, 1.0]), np.array([-1.0, 0.0, -9.0]))
    >>> mean, sd = process.predict(np.array([[0.2], [0.5]]))
    >>> mean.round(2).tolist(), sd.round(2).tolist()
    ([-1.0, 0.0], [0.01, 0.59])
    """

    def __init__(self, features: Features, rows: np.ndarray, values: np.ndarray, theta: np.ndarray) -> None:
        self.features, self.rows, self.values, self.theta = features, rows, np.asarray(values, float), theta
        d = features.cube.d
        lengths = np.exp(-theta[: features.d])[features.groups]
        self._scale = np.concatenate([lengths, np.ones(features.known)])  # (m,): one over the length of each column
        self.variance, self.noise = float(np.exp(theta[-2])), float(np.exp(theta[-1]))
        drift, offset = np.exp(theta[d + 1 : d + 3]) if features.reach else (0.0, 0.0)
        self._drift, self._offset = float(drift), float(offset)
        self.prior = (
            self.variance + self._drift + self._offset
        )  # the variance where nothing was seen, known functions aside
        self._columns = features.of(rows) * self._scale
        k = self._cross(self._columns)
        k[np.diag_indices(len(k))] += self.noise + _JITTER
        self._set(cholesky(k, lower=True, check_finite=False) if len(k) else k)

    def _set(self, lower: np.ndarray) -> None:
        self._lower = lower
        rest = self.values - self._lean(self._columns)
        self._weights = cho_solve((lower, True), rest, check_finite=False) if len(lower) else rest

    def _lean(self, columns: np.ndarray) -> np.ndarray | float:
        """Return the mean before anything was seen."""
        features = self.features
        return columns[:, len(features.groups) :] @ features.lean if features.known else 0.0

    def _cross(self, columns: np.ndarray) -> np.ndarray:
        """Return the covariances (k, n) of scaled columns (k, m) with the points seen."""
        m = len(self.features.groups)
        a, b = columns[:, :m], self._columns[:, :m]
        if self.features.reach:
            x = _near(a[:, :-1], b[:, :-1])
            k = self.variance * x + (self._drift * x + self._offset) * _near(a[:, -1:], b[:, -1:])
        else:
            k = self.variance * _near(a, b)
        return k + columns[:, m:] @ self._columns[:, m:].T if self.features.known else k

    def predict(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (mean, standard deviation) of the function (without noise) at rows (k, d), each (k,)."""
        columns = self.features.of(rows) * self._scale
        prior = self.prior + (columns[:, len(self.features.groups) :] ** 2).sum(1)
        if not len(self._lower):
            return np.zeros(len(rows)) + self._lean(columns), np.sqrt(prior)
        k = self._cross(columns)
        left = solve_triangular(self._lower, k.T, lower=True, check_finite=False)
        variance = np.maximum(prior - np.einsum("ij,ij->j", left, left), 1e-12)
        return k @ self._weights + self._lean(columns), np.sqrt(variance)

    def mean(self, columns: np.ndarray) -> np.ndarray:
        """Return the mean (k,) alone at rows whose columns (k, m), of `Features.of`, are these."""
        columns = columns * self._scale
        return self._cross(columns) @ self._weights + self._lean(columns)

    def smoothed(self) -> np.ndarray:
        """Return the mean (n,) at the rows that it has seen, which is their values less what is noise of them."""
        return self.values - (self.noise + _JITTER) * self._weights

    def given(self, rows: np.ndarray, values: np.ndarray) -> Process:
        """Return the process that has also seen `values` at `rows`: the Cholesky factor grows, O(n^2) a point."""
        more = object.__new__(Process)
        more.__dict__.update(self.__dict__)
        columns = self.features.of(rows) * self._scale
        more.rows, more.values = np.vstack([self.rows, rows]), np.concatenate([self.values, values])
        more._columns = np.vstack([self._columns, columns])
        n, k = len(self.rows), len(rows)
        cross = more._cross(columns)  # (k, n + k)
        corner = cross[:, n:]
        corner[np.diag_indices(k)] += self.noise + _JITTER
        left = solve_triangular(self._lower, cross[:, :n].T, lower=True, check_finite=False) if n else np.zeros((0, k))
        lower = np.zeros((n + k, n + k))
        lower[:n, :n], lower[n:, :n] = self._lower, left.T
        lower[n:, n:] = cholesky(corner - left.T @ left, lower=True, check_finite=False)
        more._set(lower)
        return more

    def likelihood(self) -> float:
        """Return the log marginal likelihood of what was seen."""
        n = len(self.values)
        logs = np.log(np.diag(self._lower)).sum()
        rest = self.values - self._lean(self._columns)
        return float(-0.5 * rest @ self._weights - logs - 0.5 * n * np.log(2 * np.pi))


def _apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the squared distances (k, n) between columns (k, m) and (n, m)."""
    apart = a @ b.T
    apart *= -2.0
    apart += (a * a).sum(1)[:, None]
    apart += (b * b).sum(1)[None]
    return np.maximum(apart, 0.0, out=apart)


def _near(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the correlations (k, n) between scaled columns (k, m) and (n, m): `matern`, in place, as this is half of what a proposal costs."""
    apart = _apart(a, b)
    r = np.sqrt(np.multiply(apart, 5.0, out=apart), out=apart)
    out = r * r
    out *= 1.0 / 3.0
    out += r
    out += 1.0
    out *= np.exp(np.negative(r, out=r), out=r)
    return out


def likelihood(theta: np.ndarray, features: Features, rows: np.ndarray, values: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the log marginal likelihood of values (n,) at rows (n, d), and its gradient, at `theta` and the shape of the warp of `features`.

    The gradient (p + 2 k,) is by theta, then by that shape, when there is a warp; -inf where the matrix is not positive definite.
    """
    d, m, n = features.cube.d, len(features.groups), len(values)
    columns = features.of(rows)
    c = columns[:, :m] * np.exp(-theta[: features.d])[features.groups]
    known = columns[:, m:]
    rest = values - known @ features.lean
    variance, noise = np.exp(theta[-2]), np.exp(theta[-1])
    xs = slice(0, m - features.reach)
    x, x_slope = matern(_apart(c[:, xs], c[:, xs]))
    k = variance * x
    by_x = variance  # the derivative of k by x
    if features.reach:
        drift, offset = np.exp(theta[d + 1 : d + 3])
        s, s_slope = matern(_apart(c[:, -1:], c[:, -1:]))
        k = k + (drift * x + offset) * s
        by_x = by_x + drift * s
    if features.known:
        k = k + known @ known.T
    k[np.diag_indices(n)] += noise + _JITTER
    try:
        lower = cholesky(k, lower=True, check_finite=False)
    except np.linalg.LinAlgError:
        return -np.inf, np.zeros(len(theta) + len(features.shape))
    inverse = cho_solve((lower, True), np.eye(n), check_finite=False)
    a = inverse @ rest
    value = -0.5 * rest @ a - np.log(np.diag(lower)).sum() - 0.5 * n * np.log(2 * np.pi)
    outer = 0.5 * (np.outer(a, a) - inverse)  # the derivative of the value by k
    by_c = np.empty_like(c)  # and by the scaled columns
    by_c[:, xs] = _pull(outer * by_x * x_slope, c[:, xs])
    gradient = np.empty_like(theta)
    if features.reach:
        by_c[:, -1:] = _pull(outer * (drift * x + offset) * s_slope, c[:, -1:])
        gradient[d + 1] = drift * np.einsum("ij,ij,ij->", outer, x, s)
        gradient[d + 2] = offset * np.einsum("ij,ij->", outer, s)
    gradient[: features.d] = -np.bincount(features.groups, (c * by_c).sum(0), features.d)
    gradient[-2] = variance * np.einsum("ij,ij->", outer, x)
    gradient[-1] = noise * np.trace(outer)
    if features.warp is not None:
        by_column = by_c * np.exp(-theta[: features.d])[features.groups]
        gradient = np.concatenate([gradient, features.bending(rows, columns[:, :m], by_column)])
    return float(value), gradient


def _pull(by_apart: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return the derivative by columns c (n, m) of a function whose derivative by their squared distances (n, n) this is."""
    return 4.0 * (by_apart.sum(1)[:, None] * c - by_apart @ c)


def fit(
    features: Features,
    rows: np.ndarray,
    values: np.ndarray,
    *,
    starts: Iterable[np.ndarray] = (),
    priors: Priors | None = None,
    iterations: int = 60,
) -> Process:
    """Return the process with the most probable hyperparameters found from `starts` and from the means of the priors.

    With a warp its exponents are fitted too, and a start may hold them after the others; the process has them in its `features`.
    """
    priors = priors or Priors()
    mean = priors.of(features)[0]
    p, warp = len(mean), features.warp
    bounds = [*[_LOGARITHMS] * (p - 1), _NOISE]
    if warp is not None:
        bounds += [(-warp.limit, warp.limit)] * len(warp.shape)

    def cost(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = likelihood(x[:p], features.bent(x[p:]), rows, values)
        if not np.isfinite(value):
            return 1e10, np.zeros_like(x)
        extra, slope = priors.cost(x[:p], features)
        if warp is not None:
            z = x[p:] / warp.spread
            extra, slope = extra + 0.5 * float(z @ z), np.concatenate([slope, z / warp.spread])
        return extra - value, slope - gradient

    low, high = np.array(bounds).T
    found = [
        minimize(
            cost, np.clip(np.pad(start, (0, len(bounds) - len(start))), low, high), jac=True, method="L-BFGS-B", bounds=bounds,
            options={"maxiter": iterations},
        )
        for start in [mean, *starts]
    ]  # fmt: skip
    best = np.asarray(min(found, key=lambda r: float(r.fun)).x)
    return Process(features.bent(best[p:]), rows, values, best[:p])

"""Whether a series wanders: the tests of Dickey and Fuller (null: a unit root) and of Kwiatkowski et al. (null: a level)."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

__all__ = ["dickey_fuller", "kpss"]

# MacKinnon (1994): the distribution of the t of a unit root, with a constant: Phi of a polynomial on either side of SPLIT.
SPLIT, LOW, HIGH = -1.61, -18.83, 2.74
BELOW = (2.1659, 1.4412, 0.038269)
ABOVE = (1.7339, 0.93202, -0.12745, -0.010368)


def dickey_fuller(x: np.ndarray) -> tuple[float, float, int]:
    """Return (t, p, lags) of the augmented test of x (n,) with a constant; the lags of the differences are chosen by AIC.

    p is that of a unit root (MacKinnon 1994). As `statsmodels.tsa.stattools.adfuller`.

    >>> noise = np.random.default_rng(0).normal(size=300)
    >>> dickey_fuller(noise)[1] < 1e-6, dickey_fuller(np.cumsum(noise))[1] > 0.05
    (True, True)
    """
    n = len(x)
    most = max(0, min(int(np.ceil(12 * (n / 100) ** 0.25)), n // 2 - 2))
    y, columns = _regression(x, most)
    q, _ = np.linalg.qr(columns)  # the columns are nested: one decomposition gives the squares of every number of lags
    left = y @ y - np.cumsum((q.T @ y) ** 2)
    sums = np.maximum(left[1 : most + 2], 1e-300)
    aic = len(y) * np.log(sums / len(y)) + 2 * np.arange(2, most + 3)
    lags = int(np.argmin(aic))
    y, columns = _regression(x, lags)
    q, r = np.linalg.qr(columns)
    beta = np.linalg.solve(r, q.T @ y)
    rest = y - columns @ beta
    error = np.sqrt((rest @ rest) / (len(y) - columns.shape[1]) * (np.linalg.inv(r)[1] ** 2).sum())
    t = float(beta[1] / error)
    if t > HIGH:
        return t, 1.0, lags
    if t < LOW:
        return t, 0.0, lags
    return t, float(ndtr(np.polynomial.polynomial.polyval(t, BELOW if t <= SPLIT else ABOVE))), lags


def _regression(x: np.ndarray, lags: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the differences and their regressors: a constant, the level before, and `lags` differences before."""
    d = np.diff(x)
    columns = [np.ones(len(d) - lags), x[lags:-1], *(d[lags - k : len(d) - k] for k in range(1, lags + 1))]
    return d[lags:], np.stack(columns, 1)


def kpss(x: np.ndarray) -> tuple[float, float]:
    """Return (statistic, p) of x (n,): whether it stays at one level; p is between 0.01 and 0.1, where the table ends.

    The variance is Newey and West's, its lags those of Hobijn, Franses and Ooms (1998). As
    `statsmodels.tsa.stattools.kpss(x, "c", nlags="auto")`.

    >>> noise = np.random.default_rng(0).normal(size=300)
    >>> kpss(noise)[1], kpss(np.cumsum(noise))[1]
    (0.1, 0.01)
    """
    n = len(x)
    rest = x - x.mean()
    eta = float((np.cumsum(rest) ** 2).sum()) / n**2
    few = int(n ** (2 / 9))
    terms = np.array([rest[k:] @ rest[: n - k] / (n / 2) for k in range(1, few + 1)])
    weight = float(np.arange(1, few + 1) @ terms) / (rest @ rest / n + terms.sum())
    lags = min(int(1.1447 * (weight**2) ** (1 / 3) * n ** (1 / 3)), n - 1)
    spread = rest @ rest + 2 * sum((1 - k / (lags + 1)) * (rest[k:] @ rest[: n - k]) for k in range(1, lags + 1))
    statistic = eta / (float(spread) / n)
    return statistic, float(np.interp(statistic, (0.347, 0.463, 0.574, 0.739), (0.1, 0.05, 0.025, 0.01)))

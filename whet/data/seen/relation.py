"""How much a column by itself has to do with the target: one number from 0 to 1, whatever the two are."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

__all__ = ["relation"]


def relation(x: np.ndarray, y: np.ndarray, *, ordered: bool = True, classes: bool = True) -> float:
    """Return the strength, 0 to 1, of the relation between a column x (n,) and the target y (n,).

    Numbers (ordered) and numbers: Spearman's rank correlation, without its sign. Numbers and classes, either way round: the
    root of epsilon squared of Kruskal and Wallis' test (Kelley 1935: the share of the ranks' variance that lies between classes,
    less what chance gives). Categories and classes: Cramer's V less what chance gives (Bergsma 2013). Rows where a
    number is missing are left out; 0 with under ten rows, or where either is constant.

    >>> y = np.arange(100) % 2
    >>> relation(y + 0.0, y), round(relation(np.arange(100.0), y), 2), relation(np.arange(50.0) ** 3, np.arange(50.0), classes=False)
    (1.0, 0.0, 1.0)
    """
    known = np.ones(len(x), bool)
    known &= np.isfinite(x.astype(float)) if ordered else True
    known &= np.isfinite(y.astype(float)) if not classes else True
    x, y = x[known], y[known]
    if len(x) < 10 or len(np.unique(x)) < 2 or len(np.unique(y)) < 2:
        return 0.0
    if ordered and not classes:
        return float(abs(np.corrcoef(rankdata(x), rankdata(y))[0, 1]).round(12))
    if ordered or not classes:
        return _between(rankdata(x if ordered else y), y if ordered else x)
    return _cramer(x, y)


def _between(ranks: np.ndarray, group: np.ndarray) -> float:
    _, at = np.unique(group, return_inverse=True)
    sizes, n = np.bincount(at), len(ranks)
    if len(sizes) >= n:
        return 0.0
    means = np.bincount(at, ranks) / sizes
    within = float(((ranks - means[at]) ** 2).sum()) / (n - len(sizes))
    whole = float(((ranks - ranks.mean()) ** 2).sum()) / (n - 1)
    return float(np.sqrt(max(0.0, 1 - within / whole)))


def _cramer(x: np.ndarray, y: np.ndarray) -> float:
    (_, a), (_, b) = np.unique(x, return_inverse=True), np.unique(y, return_inverse=True)
    r, k, n = int(a.max()) + 1, int(b.max()) + 1, len(x)
    table = np.bincount(a * k + b, minlength=r * k).reshape(r, k).astype(float)
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / n
    phi = float(((table - expected) ** 2 / expected).sum()) / n
    phi = max(0.0, phi - (r - 1) * (k - 1) / (n - 1))
    least = min(r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)) - 1
    return float(min(1.0, np.sqrt(phi / least))) if least > 0 else 0.0

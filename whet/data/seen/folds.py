"""Out-of-fold predictions of a quick model: what an example's neighbours and a few weights say of it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from whet.seed import key

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["probabilities"]

TREES = 2000  # rows from which gradient-boosted trees beat a linear model on a table


def probabilities(
    x: np.ndarray | csr_matrix, y: np.ndarray, k: int, *, table: bool = False, seed: int = 0
) -> np.ndarray:
    """Return out-of-fold class probabilities (n, k) for features x (n, p) and class numbers y (n,).

    Gradient-boosted trees for a table of 2,000 rows or more; logistic regression for the sparse weights of words; else the
    mean of logistic regression and 10 neighbours. Five
    folds, stratified; three past 20,000 rows. Classes in fewer examples than folds are predicted where they were seen.

    >>> x = np.repeat([[0.0], [1.0]], 50, axis=0) + np.random.default_rng(0).normal(0, 0.1, (100, 1))
    >>> p = probabilities(x, np.repeat([0, 1], 50), 2)
    >>> p.shape, bool((p.argmax(1) == np.repeat([0, 1], 50)).all())
    ((100, 2), True)
    """
    from sklearn.model_selection import StratifiedKFold

    out = np.zeros((len(y), k))
    folds = StratifiedKFold(5 if len(y) <= 20_000 else 3, shuffle=True, random_state=key(seed, "folds") % 2**31)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rare classes, and solvers that stop early: both are good enough here
        for fit, hold in folds.split(x, y):
            models = _models(table and len(y) >= TREES, seed) if isinstance(x, np.ndarray) else [_sparse()]
            for model in models:
                p = model.fit(x[fit], y[fit]).predict_proba(x[hold])
                out[np.ix_(hold, model.classes_)] += p / len(models)
    return out


def _sparse() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=5.0, max_iter=200, tol=1e-3)


def _models(trees: bool, seed: int) -> list[Any]:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if trees:
        return [
            HistGradientBoostingClassifier(max_iter=60, early_stopping=False, random_state=key(seed, "trees") % 2**31)
        ]
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=100, tol=1e-3))
    near = KNeighborsClassifier(10, weights="distance", algorithm="brute")
    return [linear, near]

"""How well each column alone predicts the target, out of fold: one that nearly does it by itself is suspicious."""

from __future__ import annotations

import warnings

import numpy as np

from whet.seed import key, rng

__all__ = ["lone_scores", "stands_out"]

ROWS = 10_000
COLUMNS = 300


def lone_scores(columns: np.ndarray, y: np.ndarray, *, classes: bool, seed: int = 0) -> np.ndarray:
    """Return (d,) how well each column of `columns` (n, d) predicts y (n,) by itself, out of fold.

    A tree of at most 16 leaves a column, five folds, at most 10,000 rows and 300 columns (the rest score 0). Classes: the mean
    over classes of the AUC of one against the rest; quantities: R2. Columns that reach 0.9 on neither of two halves of
    2,000 rows are left with what they reached there.

    >>> y = np.arange(400) % 2
    >>> s = lone_scores(np.c_[y + 0.001 * np.arange(400), np.arange(400) // 2], y, classes=True)
    >>> bool(s[0] > 0.99), bool(s[1] < 0.7)
    (True, True)
    """
    draw = rng(seed, "lone")
    order = draw.permutation(len(y))[:ROWS]
    out = np.zeros(columns.shape[1])
    for j in range(min(columns.shape[1], COLUMNS)):
        x, t = columns[order, j], y[order]
        if len(np.unique(x[:2000])) < 2:
            continue
        out[j] = _score(x[:2000], t[:2000], 2, classes, seed)
        if out[j] > 0.9 and len(t) > 100:
            out[j] = _score(x, t, 5, classes, seed)
    return out


def _score(x: np.ndarray, y: np.ndarray, folds: int, classes: bool, seed: int) -> float:
    from sklearn.metrics import r2_score
    from sklearn.model_selection import KFold, StratifiedKFold
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    state, x = key(seed, "lone") % 2**31, x[:, None]
    split = (StratifiedKFold if classes else KFold)(folds, shuffle=True, random_state=state)
    k = int(y.max()) + 1 if classes else 1
    out = np.zeros((len(y), k))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes rarer than folds
        for fit, hold in split.split(x, y):
            if classes:
                tree = DecisionTreeClassifier(max_leaf_nodes=16, min_samples_leaf=5, random_state=state).fit(
                    x[fit], y[fit]
                )
                out[np.ix_(hold, tree.classes_)] = tree.predict_proba(x[hold])
            else:
                leaf = DecisionTreeRegressor(max_leaf_nodes=64, min_samples_leaf=5, random_state=state).fit(
                    x[fit], y[fit]
                )
                out[hold, 0] = leaf.predict(x[hold])
    if not classes:
        return max(0.0, float(r2_score(y, out[:, 0])))
    present = np.flatnonzero(np.bincount(y, minlength=k) >= 2)
    return float(np.mean([_auc(out[:, c], y == c) for c in present]))


def _auc(score: np.ndarray, yes: np.ndarray) -> float:
    """Return the area under the ROC curve, ties counted half."""
    from scipy.stats import rankdata

    n, m = int(yes.sum()), int((~yes).sum())
    if n == 0 or m == 0:
        return 0.5
    return float((rankdata(score)[yes].sum() - n * (n + 1) / 2) / (n * m))


def stands_out(scores: np.ndarray, *, least: float = 0.99) -> list[int]:
    """Return the columns that score `least` or more while the best of the others falls short ten times as far.

    >>> stands_out(np.array([0.995, 0.8, 0.7])), stands_out(np.array([0.995, 0.98])), stands_out(np.array([0.9, 0.5]))
    ([0], [], [])
    """
    high = np.flatnonzero(scores >= least)
    others = scores[scores < least]
    if len(high) == 0 or len(high) > 3 or len(others) == 0:
        return []
    return high.tolist() if (1 - others.max()) > 10 * (1 - scores[high].min()) else []

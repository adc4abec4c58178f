"""Whether training and validation come from one distribution: a test a column, and a classifier that tells them apart."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from whet.seed import key, rng

__all__ = ["Apart", "apart", "column_p"]


def column_p(train: np.ndarray, valid: np.ndarray, *, ordered: bool = True) -> tuple[float, float]:
    """Return (statistic, p) of the hypothesis that two samples come from one distribution.

    Numbers (ordered): Kolmogorov-Smirnov's largest difference of distribution functions. Categories: Cramer's V of chi-squared, values
    expected under five times taken together.

    >>> d, p = column_p(np.arange(100.0), np.arange(100.0) + 50)
    >>> d, p < 1e-9, column_p(np.arange(100) % 3, np.arange(60) % 3, ordered=False)[1] > 0.9
    (0.5, True, True)
    """
    from scipy import stats

    if ordered:
        a, b = train[np.isfinite(train)], valid[np.isfinite(valid)]
        if min(len(a), len(b)) < 5:
            return 0.0, 1.0
        # The asymptotic p is conservative for ties and close for the rest.
        result = stats.ks_2samp(a, b, method="asymp")
        return float(result.statistic), float(result.pvalue)
    values, at = np.unique(np.concatenate([train, valid]), return_inverse=True)
    counts = np.stack([np.bincount(x, minlength=len(values)) for x in np.split(at, [len(train)])])
    rare = counts.sum(0) * min(len(train), len(valid)) / len(at) < 5
    if rare.any():
        counts = np.concatenate([counts[:, ~rare], counts[:, rare].sum(1, keepdims=True)], 1)
        if counts[:, -1].sum() * min(len(train), len(valid)) / len(at) < 5:
            counts = counts[:, :-1]
    if counts.shape[1] < 2:
        return 0.0, 1.0
    chi2, p, _, _ = stats.chi2_contingency(counts, correction=False)
    return float(np.sqrt(chi2 / counts.sum())), float(p)


@dataclass(frozen=True)
class Apart:
    """How well a classifier tells validation from training examples it was not fitted on.

    auc: 0.5 is not at all; p: one-sided, of an AUC as high without any difference; n: examples it was judged on.

    >>> Apart(0.5, 0.5, 100).n
    100
    """

    auc: float
    p: float
    n: int


def apart(features: np.ndarray, valid: np.ndarray, *, most: int = 4000, seed: int = 0) -> Apart | None:
    """Return the classifier two-sample test (Lopez-Paz and Oquab 2017) of features (n, p); `valid` (n,) bool names the sample.

    As many of each side, half to fit gradient-boosted trees and half to judge them by the rank-sum test, so that its p is
    exact whatever the classifier does. None with under 40 of either.

    >>> x = np.random.default_rng(0).normal(size=(400, 2)); v = np.arange(400) % 2 == 1
    >>> apart(x, v).p > 0.001, apart(x + 2 * v[:, None], v).auc > 0.9
    (True, True)
    """
    from scipy.stats import mannwhitneyu
    from sklearn.ensemble import HistGradientBoostingClassifier

    draw = rng(seed, "apart")
    sides = [np.flatnonzero(valid), np.flatnonzero(~valid)]
    size = min(len(sides[0]), len(sides[1]), most // 2)
    if size < 40:
        return None
    chosen = [draw.choice(s, size, replace=False) for s in sides]
    fit = np.concatenate([c[: size // 2] for c in chosen])
    judge = np.concatenate([c[size // 2 :] for c in chosen])
    model = HistGradientBoostingClassifier(
        max_iter=40,
        max_depth=4,
        min_samples_leaf=min(20, size // 8),
        early_stopping=False,
        random_state=key(seed, "apart") % 2**31,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        score = model.fit(features[fit], valid[fit]).decision_function(features[judge])
    a, b = score[valid[judge]], score[~valid[judge]]
    result = mannwhitneyu(a, b, alternative="greater")
    return Apart(float(result.statistic / (len(a) * len(b))), float(result.pvalue), len(judge))

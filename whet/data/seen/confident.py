"""Suspected label errors: confident learning from out-of-sample probabilities (Northcutt, Jiang, Chuang, JAIR 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whet.errors import DataError
from whet.seed import rng

__all__ = ["Confident", "confident"]


@dataclass(frozen=True)
class Confident:
    """Which labels look wrong, worst first.

    suspects: (m,) indices, by self-confidence, the least first; suggested: (m,) the class the model gives; score: (m,) the
    probability of the given label; joint: (k, k) estimated number of examples by given label (row) and true label (column);
    rate: estimated share of wrong labels, with its interval (95 %, bootstrap over examples; the model's own mistakes count
    as wrong labels, so of a hard task it is an upper bound).

    >>> Confident(np.array([3]), np.array([1]), np.array([0.02]), np.eye(2), 0.1, (0.0, 0.2)).rate
    0.1
    """

    suspects: np.ndarray
    suggested: np.ndarray
    score: np.ndarray
    joint: np.ndarray
    rate: float
    interval: tuple[float, float]


def confident(probabilities: np.ndarray, labels: np.ndarray, *, seed: int = 0) -> Confident:
    """Return the suspected label errors of `labels` (n,), given out-of-sample `probabilities` (n, k).

    A class's threshold is the mean probability of that class among the examples labelled so. An example counts for the likeliest
    class over its threshold; the counts, scaled to the number of labels of each class, estimate how many examples labelled i
    are j. Of the examples labelled i as many are suspects as that says, those with the largest margin p_j - p_i ("prune by
    noise rate"), less those whose likeliest class is the given one. Agrees with `cleanlab.filter.find_label_issues`.

    Raises DataError when shapes do not fit.

    >>> p = np.repeat([[0.9, 0.1], [0.1, 0.9]], 20, axis=0)
    >>> y = np.repeat([0, 1], 20); y[3] = 1
    >>> c = confident(p, y)
    >>> c.suspects.tolist(), c.suggested.tolist()
    ([3], [0])
    """
    p, y = np.asarray(probabilities, float), np.asarray(labels)
    if p.ndim != 2 or y.shape != (len(p),) or len(y) == 0 or y.min() < 0 or y.max() >= p.shape[1]:
        raise DataError(
            f"labels: shape {y.shape} do not fit probabilities {p.shape}. Give (n,) labels below k and (n, k)."
        )
    counts, bins = _counts(p, y)
    joint = _calibrated(counts, np.bincount(y, minlength=p.shape[1]))
    mask = _prune(p, y, joint)
    mask &= p.argmax(1) != y
    given = p[np.arange(len(y)), y]
    order = np.flatnonzero(mask)
    order = order[np.argsort(given[order], kind="stable")]
    rate = 1 - float(np.trace(joint)) / len(y)
    return Confident(order, p[order].argmax(1), given[order], joint, rate, _interval(y, bins, p.shape[1], seed))


def _counts(p: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the confident joint (k, k), not yet calibrated, and the class every example counts for, -1 for none."""
    k = p.shape[1]
    n = np.bincount(y, minlength=k)
    given = p[np.arange(len(y)), y]
    thresholds = np.where(n > 0, np.bincount(y, given, minlength=k) / np.maximum(n, 1), np.inf)
    over = p >= thresholds - 1e-6
    likeliest = np.where(over.sum(1) > 1, p.argmax(1), over.argmax(1))  # as cleanlab: the likeliest of all, if several
    bins = np.where(over.any(1), likeliest, -1)
    return _table(y, bins, k), bins


def _table(y: np.ndarray, bins: np.ndarray, k: int) -> np.ndarray:
    sure = bins >= 0
    return np.bincount(y[sure] * k + bins[sure], minlength=k * k).reshape(k, k)


def _calibrated(counts: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return counts as whole numbers whose rows sum to the number of labels of each class."""
    counts = counts.astype(float)
    np.fill_diagonal(counts, np.maximum(np.diag(counts), 1))
    scaled = counts / counts.sum(1, keepdims=True) * n[:, None]
    return np.stack([_rounded(row) for row in scaled])


def _rounded(row: np.ndarray) -> np.ndarray:
    """Return a row as whole numbers of the same sum: what is short goes where rounding took the most away."""
    whole = np.round(row)
    short = round(float(row.sum() - whole.sum()))
    if short:
        order = np.argsort(row - whole)  # of equal ones the later goes up first, as in cleanlab
        chosen = order[::-1][:short] if short > 0 else order[:-short]
        whole[chosen] += np.sign(short)
    return whole


def _prune(p: np.ndarray, y: np.ndarray, joint: np.ndarray) -> np.ndarray:
    mask = np.zeros(len(y), bool)
    for given in range(p.shape[1]):
        rows = np.flatnonzero(y == given)
        if len(rows) <= 1:
            continue
        for true in np.flatnonzero(joint[given] > 0):
            if true != given:
                margin = p[rows, true] - p[rows, given]
                order = np.argsort(-margin, kind="stable")
                mask[rows[order[: int(joint[given, true])]]] = True
    return mask


def _interval(y: np.ndarray, bins: np.ndarray, k: int, seed: int, times: int = 300) -> tuple[float, float]:
    """Return the middle 95 % of the noise rate over examples drawn again, thresholds held."""
    n = np.bincount(y, minlength=k).astype(float)
    sure = np.bincount(y[bins >= 0], minlength=k)
    wrong = np.bincount(y[(bins >= 0) & (bins != y)], minlength=k)
    draw = rng(seed, "confident")
    sizes = np.maximum(draw.binomial(n.astype(int), np.where(n > 0, sure / np.maximum(n, 1), 0), (times, k)), 1)
    rates = draw.binomial(sizes, np.where(sure > 0, wrong / np.maximum(sure, 1), 0)) / sizes
    low, high = np.quantile(rates @ (n / n.sum()), [0.025, 0.975])
    return float(low), float(high)

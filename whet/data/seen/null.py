"""Whether preparing the features looked at the labels of held-out examples: with shuffled labels nothing may be predictable."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from whet.finding import Finding, Severity
from whet.seed import key, rng

__all__ = ["Null", "Scaled", "null_finding", "null_labels", "scaled_together"]

Prepare = Callable[[np.ndarray, np.ndarray], np.ndarray]
ALPHA = 1e-3
STANDARD, RANGED = 1e-5, 1e-6  # so near are mean and deviation, and the ends of a range, when float32 computed them


@dataclass(frozen=True)
class Null:
    """Cross-validated scores under shuffled labels, less what chance gives.

    excess: mean over shuffles (accuracy less chance, or correlation); interval: its 99.9 % interval; p: one-sided, that it is
    this high when nothing leaks; n: examples; shuffles: how many.

    >>> Null(0.2, (0.15, 0.25), 1e-9, 100, 20).p < 1e-3
    True
    """

    excess: float
    interval: tuple[float, float]
    p: float
    n: int
    shuffles: int


def null_labels(
    x: np.ndarray,
    y: np.ndarray,
    prepare: Prepare | None = None,
    *,
    classes: bool = True,
    shuffles: int = 20,
    seed: int = 0,
) -> Null:
    """Return what cross-validation scores when the labels y (n,) are shuffled before x (n, p) is prepared.

    prepare(x, y) -> features (n, q): the preparation as it is done before the examples are divided (selection of columns, target
    encoding, oversampling that keeps the order, ...). It gets shuffled labels, all examples at once; then five-fold cross-
    validation of a linear model. A preparation that uses labels of what is later held out predicts even those. What never looks
    at labels, such as a scaler, does not show here. Chance is the agreement of predictions and labels with both shares held;
    p is Student's, over shuffles.

    >>> draw = np.random.default_rng(0); x, y = draw.normal(size=(60, 500)), np.arange(60) % 2
    >>> def best(x, y):
    ...     return x[:, np.argsort(-np.abs(x[y == 1].mean(0) - x[y == 0].mean(0)))[:10]]
    >>> null_labels(x, y, best).p < 1e-3, null_labels(x, y).p > 1e-3
    (True, True)
    """
    from scipy.stats import t

    excess = np.empty(shuffles)
    for i in range(shuffles):
        draw = rng(seed, "null", i)
        shuffled = y[draw.permutation(len(y))]
        features = np.asarray(x if prepare is None else prepare(x, shuffled), float)
        excess[i] = _excess(features.reshape(len(features), -1), shuffled, classes, key(seed, "null", i) % 2**31)
    mean, error = float(excess.mean()), max(float(excess.std(ddof=1)) / shuffles**0.5, 1e-12)
    reach = float(t.ppf(1 - ALPHA / 2, shuffles - 1)) * error
    return Null(mean, (mean - reach, mean + reach), float(t.sf(mean / error, shuffles - 1)), len(y), shuffles)


def _excess(x: np.ndarray, y: np.ndarray, classes: bool, state: int) -> float:
    """Return what five-fold cross-validation of a linear model scores above chance."""
    from sklearn.linear_model import Ridge, RidgeClassifier
    from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model: Any = make_pipeline(StandardScaler(), RidgeClassifier(1.0) if classes else Ridge(1.0))
    folds = (StratifiedKFold if classes else KFold)(5, shuffle=True, random_state=state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said = cross_val_predict(model, x, y, cv=folds)
    if classes:
        chance = sum(float((said == c).mean() * (y == c).mean()) for c in np.unique(y))
        return float((said == y).mean()) - chance
    return float(np.corrcoef(said, y)[0, 1]) if said.std() > 0 and y.std() > 0 else 0.0


def null_finding(null: Null) -> Finding | None:
    """Return a finding when shuffled labels are predicted better than chance, p < 1e-3; else None.

    >>> null_finding(Null(0.0, (-0.1, 0.1), 0.5, 100, 20)) is None
    True
    """
    if null.p >= ALPHA:
        return None
    low, high = null.interval
    evidence = {
        "excess": null.excess,
        "interval": [low, high],
        "p": null.p,
        "threshold": ALPHA,
        "n": null.n,
        "shuffles": null.shuffles,
    }
    text = f"with shuffled labels cross-validation still scores {null.excess:.3f} above chance (99.9 %: {low:.3f} to {high:.3f})"
    fix = "fit selection and encoding inside each fold: make_pipeline(select, model)"
    return Finding("NULL", Severity.WARN, "preparation", evidence, f"{text}: the preparation saw held-out labels", fix)


@dataclass(frozen=True)
class Scaled:
    """Columns that were scaled in one way over training and validation together.

    how: what they have over both; columns: their numbers; threshold: they have it to within so much.

    >>> Scaled("mean 0 and deviation 1", (0, 3), 1e-5).columns
    (0, 3)
    """

    how: str
    columns: tuple[int, ...]
    threshold: float


def scaled_together(train: np.ndarray, valid: np.ndarray) -> list[Scaled]:
    """Return the columns that were scaled over training and validation together, by the way: arrays (n, d) and (m, d).

    Such a column has mean 0 and standard deviation 1 over both, to the precision of float32, and not over training alone; by
    chance no column has. Or it has one value that is 0 (-1) and one that is 1, nothing beyond them, not both in training, and no
    other value often: ends that are limits, as of shares or pixels, are reached more than once. Scaling over a sealed test split as well does not show.

    >>> x = np.random.default_rng(0).normal(5, 3, (100, 2)); z = (x - x.mean(0)) / x.std(0)
    >>> scaled_together(z[:70], z[70:])
    [Scaled(how='mean 0 and deviation 1', columns=(0, 1), threshold=1e-05)]
    >>> scaled_together((x[:70] - x[:70].mean(0)) / x[:70].std(0), z[70:])
    []
    """
    both = np.concatenate([train, valid]).astype(np.float64)
    mean, alone = both.mean(0), train.astype(np.float64)
    spread = np.stack([both.std(0), both.std(0, ddof=1)])
    whole = (np.abs(mean) < STANDARD) & (np.abs(spread - 1) < STANDARD).any(0)
    apart = (np.abs(alone.mean(0)) > 1e-4) | (np.abs(alone.std(0) - 1) > 1e-2)
    standard = whole & apart
    ranged, at_zero = _ranged(both, alone) & ~standard, np.abs(both.min(0)) < RANGED
    ways = (
        ("mean 0 and deviation 1", standard, STANDARD),
        ("the range 0 to 1", ranged & at_zero, RANGED),
        ("the range -1 to 1", ranged & ~at_zero, RANGED),
    )
    return [Scaled(how, tuple(np.flatnonzero(of).tolist()), near) for how, of, near in ways if of.any()]


def _ranged(both: np.ndarray, alone: np.ndarray) -> np.ndarray:
    """Return (d,) bool: which columns reach the ends of 0 to 1, or -1 to 1, once each in both (n, d), and not in training `alone`."""
    low, high = both.min(0), both.max(0)
    ends = ((np.abs(low) < RANGED) | (np.abs(low + 1) < RANGED)) & (np.abs(high - 1) < RANGED)
    lacking = (alone.min(0) > low + RANGED) | (alone.max(0) < high - RANGED)
    found = ends & lacking
    for j in np.flatnonzero(found):
        values, times = np.unique(both[:, j], return_counts=True)
        found[j] = times[0] == times[-1] == 1 and 2 * len(values) > len(both)
    return found

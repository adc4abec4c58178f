"""Metrics of predictions, and how sure one can be of them: NumPy only, so reports and strategies need no torch.

Outputs are what a model returns: (n, C) logits or log-probabilities, (n,) or (n, 1) logits of two classes, integer (n,)
class predictions, or (n,), (n, 1) or (n, k) predicted numbers. Targets are (n,) class numbers, or (n,) or (n, k) numbers; of
positions in a sequence (n, T) with outputs (n, T, C) or (n, C, T): each counts, but those of target -100 (`whet.metric.align`).
A softmax of log-probabilities gives the probabilities back, so both may be handed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from whet import seed as seeds
from whet.errors import UsageError, nearest
from whet.metric.align import counted, paired_rows
from whet.metric.bootstrap import RESAMPLES, Interval, bca, wilson

__all__ = ["METRICS", "Interval", "Metric", "default_metrics", "interval", "metric"]

Array = np.ndarray


@dataclass(frozen=True)
class Metric:
    """A number that says how good predictions are.

    name; better: "min" or "max"; compute: (outputs, targets) -> float, NaN where it is not defined; kind:
    "classification", "regression" or None for both; each: (outputs, targets) -> (n,) where the metric is `of` their mean.

    >>> metric("accuracy").compute(np.array([[0.2, 0.8], [0.9, 0.1]]), np.array([1, 1]))
    0.5
    """

    name: str
    better: Literal["min", "max"]
    compute: Callable[[Array, Array], float]
    kind: Literal["classification", "regression"] | None = None
    each: Callable[[Array, Array], Array] | None = None
    of: Callable[[float], float] = float


# -- what outputs say


def predicted(outputs: Array) -> Array:
    """Return the class numbers (n,) that outputs stand for; integers are class numbers already."""
    outputs = np.asarray(outputs)
    if outputs.ndim == 2 and outputs.shape[1] > 1:
        return outputs.argmax(1)
    flat = outputs.reshape(-1)
    return flat if flat.dtype.kind in "iub" else (flat > 0).astype(np.int64)


def log_probabilities(outputs: Array) -> Array:
    """Return the log-probabilities (n, C) in float64 that logits, or log-probabilities, stand for."""
    z = np.asarray(outputs)
    if z.dtype.kind in "iub":
        raise UsageError(f"outputs: got class predictions ({z.dtype}); this metric needs logits (n, C).")
    z = z.astype(np.float64)
    if z.ndim == 1 or z.shape[1] == 1:
        z = np.stack([np.zeros(len(z)), z.reshape(-1)], 1)
    z = z - z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def numbers(outputs: Array, targets: Array) -> tuple[Array, Array]:
    """Return predictions and targets as float64 (n, k); raise UsageError when their shapes differ."""
    y = np.asarray(targets, np.float64)
    y = y.reshape(len(y), -1)
    p = np.asarray(outputs, np.float64)
    p = p.reshape(len(p), -1)
    if p.shape != y.shape:
        raise UsageError(
            f"outputs: {np.shape(outputs)} do not fit targets {np.shape(targets)} of kind 'regression'. Give one "
            "prediction for each number."
        )
    return p, y


# -- one value per example


def right(outputs: Array, targets: Array) -> Array:
    """Return (n,) whether each prediction is right."""
    outputs, targets = paired_rows(outputs, targets, "accuracy")
    return np.asarray(predicted(outputs) == targets)


def surprise(outputs: Array, targets: Array) -> Array:
    """Return (n,) the negative log-likelihood in nats: cross-entropy, or the squared error of numbers."""
    if np.asarray(targets).dtype.kind == "f":
        return square(outputs, targets)
    outputs, targets = paired_rows(outputs, targets, "loss")
    return -log_probabilities(outputs)[np.arange(len(targets)), targets]


def square(outputs: Array, targets: Array) -> Array:
    """Return (n,) squared errors, the mean over k."""
    p, y = numbers(outputs, targets)
    return np.asarray(((p - y) ** 2).mean(1))


def distance(outputs: Array, targets: Array) -> Array:
    """Return (n,) absolute errors, the mean over k."""
    p, y = numbers(outputs, targets)
    return np.asarray(np.abs(p - y).mean(1))


def brier(outputs: Array, targets: Array) -> Array:
    """Return (n,) squared distances of the probabilities from the truth, halved for two classes (Brier 1950)."""
    outputs, targets = paired_rows(outputs, targets, "brier")
    p = np.exp(log_probabilities(outputs))
    p[np.arange(len(p)), targets] -= 1
    return np.asarray((p**2).sum(1) / (2 if p.shape[1] == 2 else 1))


# -- metrics that are no means


def _counts(outputs: Array, targets: Array) -> tuple[Array, Array, Array]:
    """Return (hits, predicted, actual) counts of the classes to average over: class 1 of two, else all that occur."""
    outputs, y = paired_rows(outputs, targets, "f1, precision or recall")
    p = predicted(outputs)
    columns = outputs.shape[1] if outputs.ndim == 2 else 0
    size = max(int(y.max(initial=0)), int(p.max(initial=0)), columns - 1, 1) + 1
    hits, guesses, actual = (np.bincount(a, minlength=size) for a in (y[y == p], p, y))
    use = np.arange(size) == 1 if size == 2 else (guesses + actual) > 0
    return hits[use].astype(float), guesses[use].astype(float), actual[use].astype(float)


def _ratio(a: Array, b: Array) -> float:
    return float(np.divide(a, b, out=np.zeros_like(a), where=b > 0).mean())


def precision(outputs: Array, targets: Array) -> float:
    """Return the precision: of class 1 of two, the plain mean over the classes of more; 0 where nothing was predicted."""
    hits, guesses, _ = _counts(outputs, targets)
    return _ratio(hits, guesses)


def recall(outputs: Array, targets: Array) -> float:
    """Return the recall: of class 1 of two, the plain mean over the classes of more."""
    hits, _, actual = _counts(outputs, targets)
    return _ratio(hits, actual)


def f1(outputs: Array, targets: Array) -> float:
    """Return F1: of class 1 of two, the plain mean over the classes of more."""
    hits, guesses, actual = _counts(outputs, targets)
    return _ratio(2 * hits, guesses + actual)


def balanced(outputs: Array, targets: Array) -> float:
    """Return the mean recall over the classes that occur in the targets."""
    outputs, y = paired_rows(outputs, targets, "balanced_accuracy")
    total, hits = np.bincount(y), np.bincount(y, weights=right(outputs, y))
    return float((hits[total > 0] / total[total > 0]).mean())


def auc(outputs: Array, targets: Array) -> float:
    """Return the area under the ROC curve; the mean of one against the rest for more than two classes.

    Mann-Whitney's U with ties halved. Two classes are ranked by their log-odds, which do not saturate as probabilities
    do. Classes without examples, or with all of them, are left out; NaN when none remains.
    """
    outputs, y = paired_rows(outputs, targets, "auc")
    z, raw = log_probabilities(outputs), np.asarray(outputs, np.float64)
    if z.shape[1] == 2:  # from the outputs as they are: rounding in between would break ties
        return _area(raw[:, 1] - raw[:, 0] if raw.ndim == 2 and raw.shape[1] == 2 else raw.reshape(-1), y == 1)
    areas = [_area(z[:, c], y == c) for c in range(z.shape[1])]
    areas = [a for a in areas if not math.isnan(a)]
    return float(np.mean(areas)) if areas else math.nan


def _area(score: Array, positive: Array) -> float:
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return math.nan
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2  # the mean rank of each group of ties
    return float((rank[place[positive]].sum() - n * (n + 1) / 2) / (n * m))


def r2(outputs: Array, targets: Array) -> float:
    """Return the coefficient of determination, the mean over k; NaN when the targets are constant."""
    p, y = numbers(outputs, targets)
    total = ((y - y.mean(0)) ** 2).sum(0)
    return float((1 - ((p - y) ** 2).sum(0) / total).mean()) if (total > 0).all() else math.nan


def ece(outputs: Array, targets: Array) -> float:
    """Return the expected calibration error of the top class over 15 equal bins (Guo et al. 2017, arXiv:1706.04599)."""
    outputs, targets = paired_rows(outputs, targets, "ece")
    p = np.exp(log_probabilities(outputs))
    sure, hit = p.max(1), p.argmax(1) == targets
    bins = np.clip(np.ceil(sure * 15).astype(int) - 1, 0, 14)
    gap = np.bincount(bins, weights=hit, minlength=15) - np.bincount(bins, weights=sure, minlength=15)
    return float(np.abs(gap).sum() / len(p))


def _mean(
    name: str, better: Literal["min", "max"], kind: Any, each: Any, of: Callable[[float], float] = float
) -> Metric:
    return Metric(name, better, lambda o, t: float(of(float(each(o, t).mean()))), kind, each, of)


METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        _mean("accuracy", "max", "classification", right),
        _mean("error", "min", "classification", lambda o, t: ~right(o, t)),
        _mean("loss", "min", None, surprise),
        _mean("brier", "min", "classification", brier),
        Metric("f1", "max", f1, "classification"),
        Metric("precision", "max", precision, "classification"),
        Metric("recall", "max", recall, "classification"),
        Metric("balanced_accuracy", "max", balanced, "classification"),
        Metric("auc", "max", auc, "classification"),
        Metric("ece", "min", ece, "classification"),
        _mean("mse", "min", "regression", square),
        _mean("rmse", "min", "regression", square, math.sqrt),
        _mean("mae", "min", "regression", distance),
        Metric("r2", "max", r2, "regression"),
    )
}


def metric(name: str | Metric) -> Metric:
    """Return the metric called `name`; raise UsageError when there is none.

    >>> metric("rmse").compute(np.array([1.0, 3.0]), np.array([1.0, 1.0]))  # doctest: +ELLIPSIS
    1.41421...
    """
    if isinstance(name, Metric):
        return name
    if name not in METRICS:
        raise UsageError(f"metric: got {name!r}. Allowed: {', '.join(METRICS)}.{nearest(str(name), METRICS)}")
    return METRICS[name]


def default_metrics(kind: str) -> tuple[str, ...]:
    """Return the names of the metrics to report for a kind of data.

    >>> default_metrics("regression")
    ('rmse', 'mae', 'r2')
    """
    return ("accuracy", "loss") if kind == "classification" else ("rmse", "mae", "r2")


# -- intervals


def interval(
    name: str | Metric, outputs: Array, targets: Array, *, kind: str, level: float = 0.95, seed: int = 0
) -> Interval:
    """Return a metric of `outputs` against `targets` with the interval that n examples allow.

    Shares (accuracy, error) get Wilson's interval. Other means over examples get the BCa bootstrap (Efron 1987), its
    acceleration from the mean's jackknife, which is exact and needs no n refits; the rest the percentile bootstrap. 1000
    resamples of the examples, drawn from `seed`. kind: "classification" or "regression"; raises UsageError for a metric
    of the other kind, or without examples. Positions within an example are no examples of their own: where there are
    several, or none, whole examples are drawn, and n counts those.

    >>> str(interval("accuracy", np.array([1] * 8 + [0] * 2), np.ones(10, int), kind="classification"))
    '0.8 (95 %: 0.4902 to 0.9433)'
    """
    m = metric(name)
    outputs, targets = np.asarray(outputs), np.asarray(targets)
    n = len(targets)
    if m.kind not in (None, kind):
        allowed = ", ".join(k for k, v in METRICS.items() if v.kind in (None, kind))
        raise UsageError(f"metric: {m.name} is for {m.kind}, the data are for {kind}. Allowed: {allowed}.")
    if n == 0 or len(outputs) != n:
        raise UsageError(f"metric: got {len(outputs)} outputs for {n} targets. Give one each, and at least one.")
    if not 0 < level < 1:
        raise UsageError(f"level: must be between 0 and 1, got {level!r}. Use e.g. 0.95.")
    value, rng = float(m.compute(outputs, targets)), seeds.rng(seed, "bootstrap")
    each = None if m.each is None else np.asarray(m.each(outputs, targets), np.float64)
    rows = np.ones(n, int) if kind == "regression" else counted(targets)
    if each is not None and (rows == 1).all():
        if m.name in ("accuracy", "error"):
            return Interval(value, *wilson(value * n, n, level), n, level)
        low, high = bca(each, rng, level)
        return Interval(value, m.of(low), m.of(high), n, level)
    picks = (rng.integers(0, n, n) for _ in range(RESAMPLES))
    if each is not None:
        sums = np.bincount(np.repeat(np.arange(n), rows), weights=each, minlength=n)
        draws = [m.of(float(sums[i].sum() / rows[i].sum())) for i in picks if rows[i].any()]
    else:
        draws = [float(m.compute(outputs[i], targets[i])) for i in picks]
    sound = np.array([d for d in draws if not math.isnan(d)])
    low, high = np.quantile(sound, [(1 - level) / 2, (1 + level) / 2]) if len(sound) else (math.nan, math.nan)
    return Interval(value, float(low), float(high), n, level)

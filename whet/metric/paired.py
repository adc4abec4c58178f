"""What the difference of two models on the same examples is worth: paired intervals. NumPy only."""

from __future__ import annotations

import math

import numpy as np

from whet import seed as seeds
from whet.errors import UsageError
from whet.metric.align import counted
from whet.metric.bootstrap import RESAMPLES, Interval, bca, wilson
from whet.metric.score import Metric, metric

__all__ = ["newcombe", "paired"]


def newcombe(a: np.ndarray, b: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of mean(b) - mean(a) for two (n,) arrays of hits (0 or 1) on the same examples.

    Newcombe's square-and-add of two Wilson intervals with the correlation of the pairs (1998, method 10): what
    McNemar's test asks, as an interval, good also when few examples differ.

    >>> a, b = np.repeat([1, 0, 1, 0], [36, 12, 2, 0]), np.repeat([1, 1, 0, 0], [36, 12, 2, 0])
    >>> [round(x, 4) for x in newcombe(a, b)]  # as published
    [0.0569, 0.3404]
    """
    a, b = np.asarray(a, bool), np.asarray(b, bool)
    n = len(a)
    both, only_b, only_a = int((a & b).sum()), int((b & ~a).sum()), int((a & ~b).sum())
    none = n - both - only_a - only_b
    p, q = (both + only_b) / n, (both + only_a) / n
    (low_p, high_p), (low_q, high_q) = wilson(p * n, n, level), wilson(q * n, n, level)
    product = (both + only_b) * (only_a + none) * (both + only_a) * (only_b + none)
    cross = float(both * none - only_a * only_b)
    cross = max(cross - n / 2, 0.0) if cross > 0 else cross
    phi = cross / math.sqrt(product) if product else 0.0

    def side(x: float, y: float) -> float:
        return math.sqrt(max(0.0, x * x - 2 * phi * x * y + y * y))

    return p - q - side(p - low_p, high_q - q), p - q + side(high_p - p, q - low_q)


def paired(
    name: str | Metric,
    a: np.ndarray,
    b: np.ndarray,
    targets: np.ndarray,
    *,
    kind: str,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return metric(b) - metric(a) with the interval that n examples allow, both having seen the same ones.

    Shares of right answers get Newcombe's interval, other means over examples the BCa bootstrap of the differences, the
    rest the percentile bootstrap of the pairs: 1000 resamples drawn from `seed`. name: or the metric itself; kind: "classification" or "regression".

    Raises UsageError for a metric of the other kind, or outputs that do not fit the targets.

    >>> paired("mae", np.array([1.0, 2.0]), np.array([1.0, 1.0]), np.ones(2), kind="regression").value
    -0.5
    """
    m = metric(name) if isinstance(name, str) else name
    a, b, targets = np.asarray(a), np.asarray(b), np.asarray(targets)
    n = len(targets)
    if m.kind not in (None, kind):
        raise UsageError(f"metric: {m.name} is for {m.kind}, the data are for {kind}.")
    if n == 0 or len(a) != n or len(b) != n:
        raise UsageError(f"metric: got {len(a)} and {len(b)} outputs for {n} targets. Give one each, and at least one.")
    value = float(m.compute(b, targets)) - float(m.compute(a, targets))
    single = kind == "regression" or bool((counted(targets) == 1).all())  # else positions: whole examples are drawn
    if single and m.name in ("accuracy", "error"):
        assert m.each is not None
        return Interval(value, *newcombe(m.each(a, targets), m.each(b, targets), level), n, level)
    rng = seeds.rng(seed, "paired")
    if single and m.each is not None and m.of is float:
        each = np.asarray(m.each(b, targets), np.float64) - np.asarray(m.each(a, targets), np.float64)
        return Interval(value, *bca(each, rng, level), n, level)
    picks = (rng.integers(0, n, n) for _ in range(RESAMPLES))
    if m.each is not None and not single:  # sums over the positions of each example: nothing is scored twice
        rows = counted(targets)
        sums = [
            np.bincount(np.repeat(np.arange(n), rows), weights=np.asarray(m.each(o, targets), np.float64), minlength=n)
            for o in (a, b)
        ]
        draws = [
            m.of(float(sums[1][i].sum() / rows[i].sum())) - m.of(float(sums[0][i].sum() / rows[i].sum()))
            for i in picks
            if rows[i].any()
        ]
    else:
        draws = [float(m.compute(b[i], targets[i])) - float(m.compute(a[i], targets[i])) for i in picks]
    sound = np.array([d for d in draws if not math.isnan(d)])
    low, high = np.quantile(sound, [(1 - level) / 2, (1 + level) / 2]) if len(sound) else (math.nan, math.nan)
    return Interval(value, float(low), float(high), n, level)

"""SHIFT in a series: whether validation, which is later, is like training, given that neighbours are alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import distributions

from whet.data.seen.outcome import Outcome
from whet.data.seen.series_season import autocorrelation, decompose, filled
from whet.data.split import Data
from whet.finding import Finding, Severity
from whet.metric.holm import holm

__all__ = ["drifted", "effective", "later_p"]

ALPHA = 1e-3
OUTSIDE = 0.1  # of the validation targets beyond all of training: from here on it is worth saying


def effective(x: np.ndarray) -> float:
    """Return how many independent values x (n,) is worth: n / (1 + 2 sum of its autocorrelations up to the first <= 0).

    >>> noise = np.random.default_rng(0).normal(size=400)
    >>> effective(noise) > 200, effective(np.cumsum(noise)) < 10
    (True, True)
    """
    r = autocorrelation(x)[1:]
    end = int(np.argmax(r <= 0)) if (r <= 0).any() else len(r)
    return len(x) / (1 + 2 * float(r[:end].sum()))


def later_p(train: np.ndarray, valid: np.ndarray) -> tuple[float, float]:
    """Return (D, p) of Kolmogorov and Smirnov's test of two stretches of a series, each counted as its effective number.

    >>> x = np.random.default_rng(0).normal(size=600)
    >>> later_p(x[:400], x[400:])[1] > 0.01, later_p(x[:400], x[400:] + 1)[1] < 1e-6
    (True, True)
    """
    both = np.sort(np.concatenate([train, valid]))
    share = [np.searchsorted(np.sort(part), both, side="right") / len(part) for part in (train, valid)]
    d = float(np.abs(share[0] - share[1]).max())
    n = effective(train)
    m = min(effective(valid), n * len(valid) / len(train))  # a short stretch sees little of slow swings
    return d, float(distributions.kstwobign.sf(d * np.sqrt(n * m / (n + m))))


def drifted(data: Data, columns: Mapping[str, np.ndarray], ids: np.ndarray, season: int = 0) -> Outcome:
    """Return whether validation is like training: the target's range, and every column's distribution without its season.

    columns: of the visible rows `ids` (n,), in the order of time, the target first. A trend takes validation out of the range of
    training: that is said, as expected, and what helps. Else WARN below p 1e-3 after Holm's correction.

    >>> import pandas as pd
    >>> from whet.data.table import table
    >>> frame = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=200).astype(str), "y": np.arange(200) ** 1.5})
    >>> [f.severity.value for f in drifted(table(frame, "y"), {"y": frame.y.to_numpy()}, np.arange(200)).findings]
    ['INFO']
    """
    valid = np.isin(ids, data.valid.ids)
    begins = int(np.argmax(valid))
    tests = {}
    for name, x in columns.items():
        rest = filled(x)
        rest = rest - (decompose(rest, season).season if season and len(rest) >= 2 * season else 0.0)
        if np.ptp(rest[:begins]) > 0 and min(begins, len(rest) - begins) >= 20:
            tests[name] = later_p(rest[:begins], rest[begins:])
    p = dict(sorted(zip(tests, holm([t[1] for t in tests.values()]), strict=True), key=lambda item: item[1]))
    y, before = data.valid.targets.numpy(), data.train.targets.numpy()
    above, below = float((y > before.max()).mean()), float((y < before.min()).mean())
    facts = {"tests": len(tests), "least_p": min(p.values(), default=1.0), "above": above, "below": below,
             "columns": {n: {"statistic": tests[n][0], "p": p[n]} for n in list(p)[:20]}}  # fmt: skip
    found = []
    if max(above, below) > OUTSIDE:
        side = (
            ("above the highest", above, before.max()) if above >= below else ("below the lowest", below, before.min())
        )
        text = f"{side[1]:.0%} of the validation targets lie {side[0]} of training ({side[2]:.6g}): expected of a trend, and beyond "
        text += "what the model has seen"
        evidence = {"above": above, "below": below, "threshold": OUTSIDE, "n": len(y)}
        fix = "predict differences or ratios to the last value"
        found.append(Finding("SHIFT", Severity.INFO, "target", evidence, text, fix))
    bad = [n for n in p if p[n] < ALPHA]
    if bad:
        shown = ", ".join(f"{n} (KS {tests[n][0]:.2g})" for n in bad[:5]) + (", ..." if len(bad) > 5 else "")
        text = (
            f"validation, which is later, differs from training in {shown}; p {facts['least_p']:.1g} after correction"
        )
        numbers: dict[str, Any] = {"p": facts["least_p"], "threshold": ALPHA, "tests": len(tests), "n": [begins, len(ids) - begins],
                    "columns": {n: {"statistic": tests[n][0], "p": p[n]} for n in bad[:20]}}  # fmt: skip
        fix = "something changed in between: train on what came after it, or say it with a column"
        found.append(Finding("SHIFT", Severity.WARN, "train, valid", numbers, text, fix))
    return Outcome({"shift": facts}, tuple(found))

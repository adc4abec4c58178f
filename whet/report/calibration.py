"""Whether a model is right as often as it says it is (Guo et al. 2017, On calibration of modern neural networks)."""

from __future__ import annotations

import numpy as np

from whet.report.block import Plot, Table
from whet.report.judged import Judged
from whet.report.quantity import Share

__all__ = ["calibration"]

_BINS = 10
_FEWEST = 50


def calibration(judged: Judged) -> Plot | None:
    """Return how often the model is right, by how sure it is, or None for regression or under 50 examples.

    The expected calibration error is over ten bins of equal width, as in the paper.

    >>> outputs, targets = np.log([[0.5, 0.5 - 1e-6]] * 60), np.arange(60) % 2
    >>> calibration(Judged(outputs, targets, ("no", "yes"))).title
    'The model is right about as often as it says: expected calibration error 0.0 %'
    """
    if judged.classes is None or len(judged) < _FEWEST:
        return None
    sure = np.exp(judged.log_probabilities.max(1))
    right = judged.predictions == judged.truth
    place = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    rows = []
    for b in range(_BINS):
        inside = place == b
        n = int(inside.sum())
        if n:
            rows.append(
                (
                    f"{b / _BINS:.1f} to {(b + 1) / _BINS:.1f}",
                    n,
                    Share(sure[inside].mean()),
                    Share(right[inside].mean()),
                )
            )
    gap = float(sum(n * abs(s - r) for _, n, s, r in rows) / len(judged))
    lean = float(sure.mean() - right.mean())
    error = f"expected calibration error {gap * 100:.1f} %"
    if gap < 0.03:
        title = f"The model is right about as often as it says: {error}"
    else:
        title = f"The model is {'surer' if lean > 0 else 'less sure'} than it is right: {error}"
    y = [100 * r for *_, r in rows]
    noise = [100 * float(np.sqrt(max(r * (1 - r), 0.25 / n) / n)) * 1.96 for _, n, _, r in rows]
    data = [
        {"type": "scatter", "mode": "lines", "x": [0, 100], "y": [0, 100], "line": {"color": "@faint", "width": 1, "dash": "dot"}, "hoverinfo": "skip"},
        {
            "type": "scatter", "mode": "markers+lines", "x": [100 * s for *_, s, _ in rows], "y": y,
            "line": {"color": "@accent", "width": 1.5},
            "marker": {"color": "@accent", "size": [6 + 14 * (n / len(judged)) ** 0.5 for _, n, *_ in rows]},
            "error_y": {"type": "data", "symmetric": False, "color": "@faint", "thickness": 1, "width": 3,
                        "array": [min(e, 100 - v) for e, v in zip(noise, y, strict=True)],
                        "arrayminus": [min(e, v) for e, v in zip(noise, y, strict=True)]},
            "text": [f"{n:,} examples" for _, n, *_ in rows],
            "hovertemplate": "says %{x:.1f} %, right %{y:.1f} %<br>%{text}<extra></extra>",
        },
    ]  # fmt: skip
    low = max(0.0, min(100 * s for *_, s, _ in rows) - 5)
    layout = {
        "xaxis": {"title": {"text": "how sure it says it is (%)"}, "range": [low, 102]},
        "yaxis": {"title": {"text": "how often it is right (%)"}, "range": [-3, 105]},
    }
    table = Table(("says", "examples", "says, mean", "is right"), rows)
    note = (
        f"On {judged.split}, {len(judged):,} examples; the area of a dot is its number of examples, whiskers are 95 %."
    )
    return Plot(title, {"data": data, "layout": layout}, table, 360, note=note, square=True)

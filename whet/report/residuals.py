"""What a regression leaves unexplained."""

from __future__ import annotations

import numpy as np

from whet.report.block import Plot, Table
from whet.report.judged import Judged
from whet.report.quantity import show

__all__ = ["residuals"]

_POINTS = 2000


def residuals(judged: Judged) -> Plot | None:
    """Return residuals against predictions, or None for classification or without an example; at most 2,000 are drawn.

    >>> residuals(Judged(np.array([1.0, 2.0]), np.array([1.5, 1.5]))).title
    'Half of the predictions are within 0.5 of the truth'
    """
    if judged.classes is not None or not len(judged):
        return None
    p, r = judged.predictions, judged.truth - judged.predictions
    rmse = float(np.sqrt(np.mean(r**2)))
    spread = float(judged.truth.std())
    title = f"Half of the predictions are within {show(float(np.median(np.abs(r))))} of the truth"
    if len(r) >= 10 and spread > 0:
        title += f"; the model explains {max(0.0, 1 - rmse**2 / spread**2) * 100:.0f} % of the variance"
    chosen = np.arange(len(r)) if len(r) <= _POINTS else np.linspace(0, len(r) - 1, _POINTS).astype(int)
    data = [
        {
            "type": "scatter", "mode": "markers", "x": p[chosen].tolist(), "y": r[chosen].tolist(),
            "marker": {"color": "@accent", "size": 6 if len(chosen) < 500 else 4, "opacity": 0.6},
            "text": [f"example {judged.id(int(i))}" for i in chosen],
            "hovertemplate": "%{text}<br>predicted %{x:.4g}<br>true minus predicted %{y:.4g}<extra></extra>",
        }
    ]  # fmt: skip
    line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "layer": "below"}
    shapes = [{**line, "y0": 0, "y1": 0, "line": {"color": "@muted", "width": 1}}]
    shapes += [
        {**line, "y0": s * rmse, "y1": s * rmse, "line": {"color": "@faint", "width": 1, "dash": "dot"}}
        for s in (-1, 1)
    ]
    layout = {
        "xaxis": {"title": {"text": "predicted (in units of the target)"}},
        "yaxis": {"title": {"text": "true minus predicted (in units of the target)"}},
        "shapes": shapes,
    }
    parts = np.array_split(np.argsort(p, kind="stable"), min(8, max(1, len(p) // 10)))
    rows = [
        (
            f"{show(float(p[k].min()))} to {show(float(p[k].max()))}",
            len(k),
            float(r[k].mean()),
            float(np.sqrt(np.mean(r[k] ** 2))),
        )
        for k in parts
        if len(k)
    ]
    note = f"On {judged.split}, {len(r):,} examples; dotted lines: plus and minus the rmse, {show(rmse)}."
    if len(chosen) < len(r):
        note += f" Drawn: {len(chosen):,} of them."
    return Plot(
        title,
        {"data": data, "layout": layout},
        Table(("predicted", "examples", "mean residual", "rmse"), rows),
        380,
        note=note,
    )

"""Which classes are taken for which."""

from __future__ import annotations

from typing import Any

import numpy as np

from whet.report.block import Plot, Table, label
from whet.report.judged import Judged
from whet.report.quantity import Share, clean, shorten

__all__ = ["confusion"]

_CLASSES = 20


def _title(judged: Judged, wrong: np.ndarray, sizes: np.ndarray) -> str:
    if not wrong.any():
        return f"No class is mistaken for another on {judged.split}"
    row, column = np.unravel_index(int(wrong.argmax()), wrong.shape)
    n, of = int(wrong[row, column]), int(sizes[row])
    a, b = shorten(judged.name(int(row)), 40), shorten(judged.name(int(column)), 40)
    return f"{a} is most often mistaken for {b}: {n:,} of its {of:,} examples"


def confusion(judged: Judged) -> Plot | None:
    """Return the confusion matrix, or None when it is not classification or there is no example.

    Right answers and mistakes have colour scales of their own: on one scale the few mistakes cannot be seen. Of many
    classes those with most mistakes are drawn; the table lists the commonest mistakes of all classes.

    >>> confusion(Judged(np.eye(2)[[0, 1, 1]], np.array([0, 1, 0]), ("cat", "dog"))).title
    'cat is most often mistaken for dog: 1 of its 2 examples'
    """
    if judged.classes is None or not len(judged):
        return None
    c = max(len(judged.classes), int(judged.predictions.max()) + 1)
    matrix = np.bincount(judged.truth * c + judged.predictions, minlength=c * c).reshape(c, c)
    wrong = matrix - np.diag(np.diag(matrix))
    sizes = matrix.sum(1)
    shown = np.arange(c)
    note = "Rows are what is true, columns what was predicted; shades are shares of a row."
    if c > _CLASSES:
        shown = np.sort(np.argsort(-(wrong.sum(0) + wrong.sum(1)), kind="stable")[:_CLASSES])
        note += f" Drawn: the {_CLASSES} of {c:,} classes with the most mistakes."
    part = matrix[np.ix_(shown, shown)]
    share = part / np.maximum(sizes[shown][:, None], 1)
    k = len(shown)
    names = [label(judged.name(int(i)), 18 if k <= 12 else 14) for i in shown]
    on = np.eye(k, dtype=bool)

    def heat(keep: np.ndarray, colours: list[list[Any]], top: float) -> dict[str, Any]:
        return {
            "type": "heatmap", "x": list(range(k)), "y": list(range(k)), "xgap": 2, "ygap": 2,
            "z": [[float(v) if ok else None for v, ok in zip(r, m, strict=True)] for r, m in zip(share, keep, strict=True)],
            "text": [[f"{v}" if ok and v else "" for v, ok in zip(r, m, strict=True)] for r, m in zip(part.tolist(), keep, strict=True)],
            "texttemplate": "%{text}", "textfont": {"size": 12 if k <= 12 else 10},
            "colorscale": colours, "zmin": 0, "zmax": top, "showscale": False, "hoverongaps": False,
            "customdata": None, "hoverinfo": "skip",
        }  # fmt: skip

    most = float(np.where(on, 0, share).max()) or 1.0
    data = [
        heat(~on, [[0, "@panel"], [1, "@bad"]], max(most, 0.1)),
        heat(on, [[0, "@panel"], [1, "@soft"]], 1.0),
    ]
    for trace in data:
        trace.pop("customdata")
    axis = {
        "tickmode": "array",
        "tickvals": list(range(k)),
        "ticktext": names,
        "showgrid": False,
        "constrain": "domain",
    }
    layout = {
        "xaxis": {
            **axis,
            "title": {"text": "predicted class"},
            "constraintoward": "left",
            "tickangle": 0 if max(map(len, names)) <= 3 else -45,
        },
        "yaxis": {**axis, "title": {"text": "true class"}, "autorange": "reversed", "scaleanchor": "x"},
    }
    pairs = [(int(r), int(q)) for r, q in zip(*np.nonzero(wrong), strict=True)]
    pairs.sort(key=lambda p: (-int(wrong[p]), p))
    rows = [
        (clean(judged.name(r)), clean(judged.name(q)), int(wrong[r, q]), Share(wrong[r, q] / sizes[r]))
        for r, q in pairs[:60]
    ]
    left = f"The commonest 60 of {len(pairs):,} kinds of mistake." if len(pairs) > 60 else ""
    table = Table(("true class", "predicted", "examples", "of the class"), rows, note=left)
    side = min(640, max(320, 110 + 44 * k))
    return Plot(_title(judged, wrong, sizes), {"data": data, "layout": layout}, table, side, square=True, note=note)

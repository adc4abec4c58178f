"""The descents of a search along gradients: where each went, and what it gained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from whet.errors import SpaceError
from whet.report.block import Plot, Table, label
from whet.report.listing import trial_axis
from whet.report.parallel import axis_name, spaced, ticks
from whet.report.quantity import Id, clean, count
from whet.tune.domain import Float
from whet.tune.layout import Dim
from whet.tune.search.model.downhill import Descent, gradient_of, walked
from whet.tune.trial import Trials

__all__ = ["downhill_plot"]

_ROWS = 6  # hyperparameters drawn
_ROW = 130  # pixels


def downhill_plot(trials: Trials) -> Plot | None:
    """Return the plot, None when no step along a gradient is on record.

    >>> from whet.tune.space import Space
    >>> from whet.tune.trial import Point, State, Trial
    >>> done = [Trial(i, {"x": 0.8 - 0.2 * i}, State.DONE, (Point(1, 1 - i, metrics={"gradient.x": 1.0}),), 1 - i,
    ...               origin={"hypergradient": {"from": i - 1}} if i else {}) for i in range(3)]
    >>> downhill_plot(Trials(done, space=Space(x=Float(0, 1)))).title
    '1 descent moved x most'
    """
    try:
        found = walked(trials)
    except SpaceError:  # trials that are not of this space
        return None
    dims = [(j, d) for j, d in enumerate(trials.space.dims) if isinstance(d.domain, Float)]
    moved = {j: max((_moved(d, j) for d in found), default=0.0) for j, _ in dims}
    if not found or not any(moved.values()):
        return None
    shown = sorted(sorted(dims, key=lambda x: -moved[x[0]])[:_ROWS], key=lambda x: x[0])
    shown = [x for x in shown if moved[x[0]] > 0]
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {"showlegend": False, "margin": {"l": 76, "r": 12, "t": 8, "b": 44}}
    for row, (j, dim) in enumerate(shown):
        for descent in found:
            data += _traces(descent, j, row)
        layout |= _axes(dim, row, len(shown), len(trials))
    most = max(dims, key=lambda x: moved[x[0]])[1]
    note = (
        "A line is a descent: a dot each place that did better than the one before, a hollow one a step that did not, joined to where it was made from; "
        "the large dot is its start."
    )
    if len(shown) < len(dims):
        note += f" Shown: {len(shown)} of {len(dims)} real numbers, those that moved most."
    followed = {gradient_of(trials[d.path[0].id])[0] for d in found} - {""}
    if followed:
        note += f" They followed the gradient of {', '.join(sorted(followed))}, since {trials.goal.name} has none."
    title = f"{count(len(found), 'descent')} moved {label(most.name)} most"
    return Plot(title, {"data": data, "layout": layout}, _table(trials, found), 60 + _ROW * len(shown), note=note)


def _moved(descent: Descent, j: int) -> float:
    u = [p.u[j] for p in (*descent.path, *(p for _, p in descent.lost))]
    return float(np.ptp(u)) if not any(math.isnan(x) for x in u) else 0.0


def _traces(descent: Descent, j: int, row: int) -> list[dict[str, Any]]:
    """Return the line of a descent along one hyperparameter, and its steps that did no better."""
    if math.isnan(descent.path[0].u[j]):
        return []
    n = "" if row == 0 else str(row + 1)
    axes = {"type": "scatter", "xaxis": f"x{n}", "yaxis": f"y{n}"}
    path = descent.path
    found: list[dict[str, Any]] = [{
        **axes, "mode": "lines+markers", "x": [p.id for p in path], "y": [float(p.u[j]) for p in path], "line": {"color": "@accent", "width": 1.5},
        "marker": {"size": [10] + [6] * (len(path) - 1), "color": "@accent"}, "customdata": [p.id for p in path], "hovertemplate": "%{text}<extra></extra>",
    }]  # fmt: skip
    for here, p in descent.lost:
        found.append({
            **axes, "mode": "lines+markers", "x": [here.id, p.id], "y": [float(here.u[j]), float(p.u[j])], "line": {"color": "@faint", "width": 1},
            "marker": {"size": [0, 6], "color": "@page", "line": {"color": "@faint", "width": 1.5}},
            "customdata": [here.id, p.id], "hovertemplate": "%{text}<extra></extra>",
        })  # fmt: skip
    return found


def _axes(dim: Dim, row: int, rows: int, trials: int) -> dict[str, Any]:
    n, height = "" if row == 0 else str(row + 1), 1 / rows
    top = 1 - row * height
    marks = spaced(ticks(dim, 4), 0.2)
    return {
        f"xaxis{n}": {
            **trial_axis(trials, titled=row == rows - 1), "anchor": f"y{n}", "showticklabels": row == rows - 1,
            **({"matches": "x"} if n else {}),
        },
        f"yaxis{n}": {
            "anchor": f"x{n}", "domain": [top - 0.86 * height, top], "range": [-0.03, 1.03],
            "tickvals": [m[0] for m in marks], "ticktext": [m[1] for m in marks], "title": {"text": axis_name(dim.name)},
        },
    }  # fmt: skip


def _table(trials: Trials, found: Sequence[Descent]) -> Table:
    rows = []
    for d in found:
        first, last = (trials[p.id] for p in (d.path[0], d.path[-1]))
        rows.append((Id(first.id), Id(last.id), len(d.path) - 1, len(d.lost), first.value, last.value))
    name = clean(trials.goal.name)
    return Table(("start", "best", "steps", "no better", f"{name} at the start", f"{name} at the best"), rows)

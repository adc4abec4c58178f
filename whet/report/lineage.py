"""The lineage of the best trial: which values it and those it comes from were trained with, step by step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from whet.errors import SpaceError, StudyError
from whet.report.block import Plot, Table, label
from whet.report.listing import thinned
from whet.report.parallel import axis_name, spaced, ticks
from whet.report.quantity import Id, clean, count, show
from whet.tune.domain import same
from whet.tune.plan import Plan, Stretch, ancestry
from whet.tune.space import Dim
from whet.tune.trial import Trials

__all__ = ["lineage_plot"]

_ROWS = 6  # hyperparameters drawn
_ROW = 130  # pixels
_LINES = 200  # trials drawn behind
_HOVER = "trial %{customdata}<extra></extra>"


def lineage_plot(trials: Trials) -> Plot | None:
    """Return the plot, None when the best trial did not go on from another one's weights with other values.

    >>> from whet.tune.space import Float, Space
    >>> from whet.tune.trial import Point, State, Trial
    >>> first = Trial(0, {"lr": 0.5}, State.STOPPED, (Point(1, 3.0), Point(2, 2.0)), 2.0)
    >>> child = Trial(1, {"lr": 0.25}, State.DONE, (Point(2, 2.0), Point(3, 1.0)), 1.0, parent=(0, 2))
    >>> lineage_plot(Trials([first, child], space=Space(lr=Float(0, 1, live=True)), steps=3)).title
    'Trial 1 comes from 1 other trial; its lr went from 0.5 to 0.25'
    """
    best = trials.best
    if best is None or best.parent is None:
        return None
    try:
        stretches = ancestry(trials, best.id)
    except StudyError:  # a part of a study, without those it comes from
        return None
    changed = Plan(stretches, trials.steps).changed()
    dims = _dims(trials, stretches[-1].params, changed)
    if not dims:
        return None
    shown = dims[:_ROWS]
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {"showlegend": False, "margin": {"l": 76, "r": 12, "t": 8, "b": 44}}
    for row, dim in enumerate(shown):
        _draw(trials, stretches, dim, row, len(shown), data=data, layout=layout)
    title = f"Trial {best.id} comes from {count(len(stretches) - 1, 'other trial')}; {_went(dims, stretches)}"
    note = (
        "The heavy line is the value in each epoch of the training that made the best model; a ring stands where a trial went on "
        "from the weights of another one. Thin lines are all other trials. One training follows it: "
        "whet study schedule STUDY --out FILE, then whet train TASK --schedule FILE."
    )
    if len(shown) < len(dims):
        note += f" Shown: {len(shown)} of {len(dims)} that changed."
    return Plot(
        title, {"data": data, "layout": layout}, _table(trials, stretches, dims), 60 + _ROW * len(shown), note=note
    )


def _went(dims: list[Dim], stretches: tuple[Stretch, ...]) -> str:
    """Return where the first hyperparameter that did not come back went, or by what one came back."""
    for dim in dims:
        first, *_, last = (show(s.params[dim.name]) for s in stretches)
        if first != last:
            return f"its {label(dim.name)} went from {first} to {last}"
    first, *between = (show(s.params[dims[0].name]) for s in stretches)
    by = next((v for v in between if v != first), first)
    return f"its {label(dims[0].name)} went from {first} over {by} back to {first}"


def _dims(trials: Trials, params: Mapping[str, Any], changed: tuple[str, ...]) -> list[Dim]:
    """Return the dimensions that changed along the lineage, of the branches that are taken."""
    found: dict[str, Dim] = {}
    for dim in trials.space.dims:
        if dim.name in changed and all(same(params.get(n), v) for n, v in dim.when):
            found[dim.name] = dim
    return list(found.values())


def _draw(
    trials: Trials, stretches: tuple[Stretch, ...], dim: Dim, row: int, rows: int, *, data: list[dict[str, Any]], layout: dict[str, Any]
) -> None:  # fmt: skip
    """Add the row of one hyperparameter to a figure: all trials, the lineage, axes."""
    n = "" if row == 0 else str(row + 1)
    axes = {"xaxis": f"x{n}", "yaxis": f"y{n}", "type": "scatter"}
    ours = {s.trial for s in stretches}
    x: list[float | None] = []
    y: list[float | None] = []
    ids: list[int | None] = []
    for t in thinned([t for t in trials if t.curve and t.id not in ours], _LINES):
        if math.isfinite(at := _place(dim, t.params)):
            x += [t.parent[1] if t.parent else 0, t.step, None]
            y += [at, at, None]
            ids += [t.id, t.id, None]
    data.append({
        **axes, "mode": "lines", "x": x, "y": y, "customdata": ids, "line": {"color": "@faint", "width": 1}, "hovertemplate": _HOVER,
    })  # fmt: skip
    places = [_place(dim, s.params) for s in stretches]
    data.append({
        **axes, "mode": "lines", "x": [e for s in stretches for e in (s.first - 1, s.last)], "y": [p for p in places for _ in range(2)],
        "customdata": [s.trial for s in stretches for _ in range(2)], "line": {"color": "@accent", "width": 3}, "hovertemplate": _HOVER,
    })  # fmt: skip
    data.append({
        **axes, "mode": "markers", "x": [s.first - 1 for s in stretches[1:]], "y": places[1:], "customdata": [s.trial for s in stretches[1:]],
        "marker": {"size": 8, "color": "@page", "line": {"color": "@accent", "width": 2}}, "hovertemplate": _HOVER,
    })  # fmt: skip
    marks, height = spaced(ticks(dim, 4), 0.2), 1 / rows
    layout[f"xaxis{n}"] = {
        "anchor": f"y{n}",
        "range": [0, trials.steps],
        "showticklabels": row == rows - 1,
        **({"matches": "x"} if n else {}),
        **({"title": {"text": "training (epochs)"}} if row == rows - 1 else {}),
    }
    layout[f"yaxis{n}"] = {
        "anchor": f"x{n}",
        "domain": [1 - (row + 0.86) * height, 1 - row * height],
        "range": [-0.05, 1.05],
        "tickvals": [m[0] for m in marks],
        "ticktext": [m[1] for m in marks],
        "title": {"text": axis_name(dim.name)},
    }


def _place(dim: Dim, params: Mapping[str, Any]) -> float:
    if not all(same(params.get(n), v) for n, v in dim.when):  # another branch, which may have the same name
        return math.nan
    try:
        return float(dim.domain.encode(params[dim.name]))
    except (SpaceError, KeyError, TypeError, ValueError):
        return math.nan


def _table(trials: Trials, stretches: tuple[Stretch, ...], dims: list[Dim]) -> Table:
    rows = []
    for s in stretches:
        trial = trials.get(s.trial or 0)
        last = trial.at(s.last)
        cells = [s.params.get(d.name) for d in dims]
        rows.append((f"{s.first} to {s.last}", Id(trial.id), None if last is None else last.value, *cells))
    return Table(("epochs", "trial", f"{trials.goal.name} at their end", *(clean(d.name) for d in dims)), rows)

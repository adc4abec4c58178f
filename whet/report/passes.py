"""The passes of a search that zooms: the range of every number in each, and the trials in them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from whet.errors import SpaceError
from whet.report.block import Plot, Table, label
from whet.report.listing import sound, trial_axis
from whet.report.parallel import axis_name, spaced, ticks
from whet.report.quantity import Id, clean, show
from whet.tune.domain import same
from whet.tune.layout import apart
from whet.tune.search.model.passes import Pass, passes
from whet.tune.space import Choice, Dim, Float, Int, Params
from whet.tune.trial import Trials

__all__ = ["passes_plot"]

_ROWS = 6  # hyperparameters drawn
_ROW = 130  # pixels


def passes_plot(trials: Trials) -> Plot | None:
    """Return the plot, None when fewer than two passes are on record or no hyperparameter has an order.

    >>> from whet.tune.space import Space
    >>> from whet.tune.trial import State, Trial
    >>> said = [{"pass": 0}, {"pass": 0}, {"pass": 1, "since": 0, "around": 1, "ranges": {"x": [0.25, 0.5]}}]
    >>> done = [Trial(i, {"x": 0.2 * i}, State.DONE, value=0.0, origin={"zoom": z}) for i, z in enumerate(said)]
    >>> passes_plot(Trials(done, space=Space(x=Float(0, 1)))).title
    '2 passes narrowed x to 0.25 to 0.5'
    """
    found = passes(trials)
    named = dict(zip(apart(trials.space.dims), trials.space.dims, strict=True))
    numbers = [n for n, d in named.items() if not isinstance(d.domain, Choice)]
    if len(found) < 2 or not numbers:
        return None
    last = {n: _ends(found[-1][0], named[n], n) for n in numbers}
    # those that were narrowed most are the ones to look at
    width = {n: _width(named[n], last[n]) for n in numbers}
    shown = sorted(sorted(numbers, key=lambda n: width[n])[:_ROWS], key=numbers.index)
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {"showlegend": False, "margin": {"l": 76, "r": 12, "t": 8, "b": 44}, "shapes": []}
    for row, name in enumerate(shown):
        _draw(trials, (named[name], name), found, row, len(shown), data=data, layout=layout)
    narrowest = min(numbers, key=lambda n: width[n])
    title = f"{len(found):,} passes"
    if (ends := last[narrowest]) is not None and width[narrowest] < 1.0:
        low, high = ends
        title += f" narrowed {label(narrowest)} to {show(low)} to {show(high)}"
    note = "A band is the range that a pass looks at, a dot a trial, the ring the best of all. Lines stand where a pass begins."
    if any(p.since and p.ranges is None for p, _ in found):
        note += " Where the bands are whole again the search had become as narrow as it gets, and began anew."
    if len(shown) < len(numbers):
        note += f" Shown: the {len(shown)} of {len(numbers)} that were narrowed most."
    return Plot(
        title, {"data": data, "layout": layout}, _table(trials, found, named), 60 + _ROW * len(shown), note=note
    )


def _draw(
    trials: Trials,
    of: tuple[Dim, str],
    found: Sequence[tuple[Pass, tuple[int, ...]]],
    row: int,
    rows: int,
    *,
    data: list[dict[str, Any]],
    layout: dict[str, Any],
) -> None:
    """Add the row of one hyperparameter, and what it is called, to a figure: bands, trials, axes."""
    dim, name = of
    n = "" if row == 0 else str(row + 1)
    height = 1 / rows
    top = 1 - row * height
    starts = [min(ids) for _, ids in found]
    for k, (p, _) in enumerate(found):
        ends = _ends(p, dim, name)
        low, high = (0.0, 1.0) if ends is None else _places(dim, ends)
        upto = starts[k + 1] if k + 1 < len(starts) else len(trials)
        layout["shapes"].append({
            "type": "rect", "xref": f"x{n}", "yref": f"y{n}", "x0": starts[k] - 0.5, "x1": upto - 0.5, "y0": low, "y1": high,
            "fillcolor": "@soft", "opacity": 0.45, "line": {"width": 0}, "layer": "below",
        })  # fmt: skip
        if k:
            layout["shapes"].append({
                "type": "line", "xref": f"x{n}", "yref": f"y{n}", "x0": starts[k] - 0.5, "x1": starts[k] - 0.5, "y0": 0, "y1": 1,
                "line": {"color": "@line", "width": 1}, "layer": "below",
            })  # fmt: skip
    best = trials.best
    dots = [(t.id, u, t is best) for t in trials if sound(t) and math.isfinite(u := _at(dim, t.params))]
    data.append({
        "type": "scatter", "mode": "markers", "x": [d[0] for d in dots], "y": [d[1] for d in dots], "xaxis": f"x{n}", "yaxis": f"y{n}",
        "marker": {
            "size": [9 if d[2] else 5 for d in dots], "color": ["@page" if d[2] else "@accent" for d in dots],
            "line": {"color": "@ink", "width": [2 if d[2] else 0 for d in dots]},
        },
        "customdata": [d[0] for d in dots], "hovertemplate": "%{text}<extra></extra>",
    })  # fmt: skip
    marks = spaced(ticks(dim, 4), 0.2)
    layout[f"xaxis{n}"] = {
        **trial_axis(len(trials), titled=row == rows - 1),
        "anchor": f"y{n}",
        "showticklabels": row == rows - 1,
        **({"matches": "x"} if n else {}),
    }
    layout[f"yaxis{n}"] = {
        "anchor": f"x{n}",
        "domain": [top - 0.86 * height, top],
        "range": [-0.03, 1.03],
        "tickvals": [m[0] for m in marks],
        "ticktext": [m[1] for m in marks],
        "title": {"text": axis_name(name)},
    }


def _at(dim: Dim, params: Params) -> float:
    if any(not same(params.get(choice), option) for choice, option in dim.when):  # another branch, with the same name
        return math.nan
    try:
        return float(dim.domain.encode(params[dim.name]))
    except (SpaceError, KeyError, TypeError, ValueError):  # not of this space
        return math.nan


def _ends(p: Pass, dim: Dim, name: str) -> list[Any] | None:
    """Return the range of a hyperparameter in a pass, or the options left of it; None when it is whole, or not of this space."""
    said = (p.ranges or {}).get(name)
    try:
        ends = [dim.domain.check(v) for v in said or ()]
    except (SpaceError, TypeError):
        return None
    return ends if len(ends) == 2 or (ends and isinstance(dim.domain, Choice)) else None


def _places(dim: Dim, ends: Sequence[Any]) -> tuple[float, float]:
    """Return where the range from one value to another is drawn: to the ends of the cells of values that are listed."""
    low, high = (float(dim.domain.encode(v)) for v in ends)
    if isinstance(dim.domain, Float):
        return low, high
    half = 0.5 / (dim.domain.size or 1) if not isinstance(dim.domain, Int) else 0.0
    if isinstance(dim.domain, Int):  # a cell on a logarithmic scale is not as wide at either side
        domain = dim.domain
        low, high = max(0.0, float(domain.encode(ends[0] - 0.5))), min(1.0, float(domain.encode(ends[1] + 0.5)))
    return low - half, high + half


def _width(dim: Dim, ends: Sequence[Any] | None) -> float:
    if ends is None:
        return 1.0
    low, high = _places(dim, ends)
    return high - low


def _table(trials: Trials, found: Sequence[tuple[Pass, tuple[int, ...]]], named: Mapping[str, Dim]) -> Table:
    rows = []
    for p, ids in found:
        values = [trials[i].value for i in ids if sound(trials[i])]
        best = None
        if values:
            best = min((v for v in values if v is not None), key=trials.goal.score)
        cells = [_text(d, _ends(p, d, name)) for name, d in named.items()]
        around = None if p.around is None else Id(p.around)
        rows.append((p.number, len(ids), best, around, *cells))
    return Table(("pass", "trials", f"best {trials.goal.name}", "around trial", *map(clean, named)), rows)


def _text(dim: Dim, ends: Sequence[Any] | None) -> str:
    if ends is None:
        return "all"
    if isinstance(dim.domain, Choice):
        return ", ".join(clean(str(o)) for o in ends)
    return f"{show(ends[0])} to {show(ends[1])}"

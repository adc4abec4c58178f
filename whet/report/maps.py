"""What a model expects over two dimensions at once, as maps with the trials on them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from whet.report.block import Plot, Table, label
from whet.report.frame import Frame
from whet.report.marks import aside, axis_of, columns, dots, numbers, shown, value_of, word
from whet.report.quantity import clean, show
from whet.report.scale import Scale
from whet.tune.slice import Axis, Slice
from whet.tune.space import Choice, Float

__all__ = ["maps"]

_SIDE = 8  # values of each axis in the table
_SAFE = 0.05  # a chance of failing that is no finding
_CELLS = 5  # ticks beside the colours


def maps(s: Slice, *, best: int | None = None, all: bool = True) -> list[Plot]:
    """Return the maps of a slice over two dimensions: expected value, worth trying, and when `all` the doubt and the chance of failing."""
    plots = [_expected(s, best), *([_doubt(s, best)] if all else []), _worth(s, best)]
    return [*plots, _failing(s, best)] if all and s.failing is not None else plots


def _map(
    s: Slice,
    z: np.ndarray,
    *,
    title: str,
    best: int | None,
    colours: list[str],
    bar: dict[str, Any],
    ends: tuple[float, float],
    texts: list[list[str]],
) -> Plot:
    x, y = s.axes
    smooth = all(isinstance(a.domain, Float) for a in s.axes) and bool(s.allowed.all())
    steps = [i / (len(colours) - 1) for i in range(len(colours))]
    heat = {
        "type": "heatmap", "x": x.places.tolist(), "y": y.places.tolist(),
        "z": [[float(v) if math.isfinite(v) else None for v in row] for row in z.T], "zmin": ends[0], "zmax": ends[1],
        "zsmooth": "best" if smooth else False, "colorscale": [[p, c] for p, c in zip(steps, colours, strict=True)],
        "colorbar": {"thickness": 10, "outlinewidth": 0, "len": 1.0, "x": 1.02, "xpad": 4, "ypad": 0, **bar},
        "text": texts, "hovertemplate": "%{text}<extra></extra>", "hoverongaps": False,
        "xgap": _gap(x), "ygap": _gap(y),
    }  # fmt: skip
    layout = {
        "xaxis": {**axis_of(x), "showgrid": False, "range": _range(x.places), "constrain": "domain"},
        "yaxis": {**axis_of(y, room=0.07), "showgrid": False, "range": _range(y.places)},
    }
    points = dots(s, lambda m: aside(m, y, m.places[1], up=True), best)
    return Plot(title, {"data": [heat, *points], "layout": layout}, _table(s), 400, half=True)


def _gap(axis: Axis) -> int:
    """Return the pixels between cells: few values are seen to be separate ones."""
    return 0 if isinstance(axis.domain, Float) or len(axis.values) > 16 else 1


def _range(places: np.ndarray) -> list[float]:
    """Return the ends of the outer cells."""
    if len(places) < 2:
        return [0.0, 1.0]
    return [float(places[0] - (places[1] - places[0]) / 2), float(places[-1] + (places[-1] - places[-2]) / 2)]


def _texts(s: Slice, last: Any) -> list[list[str]]:
    (x, y), (nx, ny) = s.axes, s.median.shape
    names = [[f"{label(a.name)} {label(word(v, a.domain))}" for v in a.values] for a in (x, y)]
    return [
        [f"{names[0][i]}, {names[1][j]}<br>{last(i, j)}" if s.allowed[i, j] else "" for i in range(nx)]
        for j in range(ny)
    ]


def _near(s: Slice, at: tuple[int, ...]) -> str:
    return ", ".join(f"{clean(a.name)} {word(a.values[i], a.domain)}" for a, i in zip(s.axes, at, strict=True))


def _both(s: Slice) -> str:
    return " and ".join(clean(a.name) for a in s.axes)


def _expected(s: Slice, best: int | None) -> Plot:
    finite = s.median[np.isfinite(s.median)]
    frame = Frame.of(s.goal, [s])
    inside = [float(v) for v in finite if frame.low <= frame.line(float(v)) <= frame.high] or [float(v) for v in finite]
    scale = Scale.of(s.goal, inside)
    height = np.vectorize(lambda v: scale.height(float(v)) if np.isfinite(v) else np.nan)(s.median)
    marks = scale.ticks()
    marks = marks[:: max(1, -(-len(marks) // _CELLS))]
    bar = {"tickvals": [scale.height(v) for v in marks], "ticktext": [show(v) for v in marks]}
    goal = label(s.goal.name)

    def text(i: int, j: int) -> str:
        return (
            f"expected {goal} {show(float(s.median[i, j]))} ({show(float(s.low[i, j]))} to {show(float(s.high[i, j]))})"
        )

    top = show(float(s.median[s.best]))
    title = f"{_both(s)} together: best expected {clean(s.goal.name)} {top}, near {_near(s, s.best)}"
    if not s.clear:
        title = f"{_both(s)} together: no difference that the model is sure of"
    return _map(
        s,
        height,
        title=title,
        best=best,
        colours=["@panel", "@soft", "@accent"],
        bar=bar,
        ends=(0.0, 1.0),
        texts=_texts(s, text),
    )


def _top(z: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(np.nanargmax(z)), z.shape))


def _worth(s: Slice, best: int | None) -> Plot:
    title = f"Most worth trying near {_near(s, _top(s.worth))}"
    if s.next is not None:
        title += "; next try " + ", ".join(word(v, a.domain) for a, v in zip(s.axes, s.next.at, strict=True))
    texts = _texts(s, lambda i, j: f"worth trying {s.worth[i, j]:.2f}")
    bar = {"tickvals": [0, 0.5, 1], "ticktext": ["0", "0.5", "1"]}
    return _map(
        s, s.worth, title=title, best=best, colours=["@panel", "@second"], bar=bar, ends=(0.0, 1.0), texts=texts
    )


def _doubt(s: Slice, best: int | None) -> Plot:
    half = (s.high - s.low) / 2
    half = np.where(np.isfinite(half), half, np.nan)
    top = float(np.nanmax(half)) or 1.0
    at = _top(half)
    title = f"Least sure near {_near(s, at)}: {clean(s.goal.name)} +- {show(float(f'{half[at]:.2g}'))}"
    texts = _texts(s, lambda i, j: f"95 %: +- {show(float(half[i, j]))}")
    marks = [0.0, top / 2, top]
    bar = {"tickvals": marks, "ticktext": [show(float(f"{v:.2g}")) for v in marks]}
    return _map(s, half, title=title, best=best, colours=["@panel", "@doubt"], bar=bar, ends=(0.0, top), texts=texts)


def _failing(s: Slice, best: int | None) -> Plot:
    assert s.failing is not None
    at = _top(s.failing)
    chance = float(s.failing[at])
    title = f"Most likely to fail near {_near(s, at)}: {shown(chance)}"
    if chance < _SAFE:
        title = f"No place of this map fails with more than {shown(_SAFE)}"
    texts = _texts(s, lambda i, j: f"fails with chance {s.failing[i, j]:.2f}")
    bar = {"tickvals": [0, 0.5, 1], "ticktext": ["0 %", "50 %", "100 %"]}
    return _map(s, s.failing, title=title, best=best, colours=["@panel", "@bad"], bar=bar, ends=(0.0, 1.0), texts=texts)


def _table(s: Slice) -> Table:
    chosen = []
    for a in s.axes:
        n = len(a.values)
        every = n if isinstance(a.domain, Choice) else min(n, _SIDE)
        chosen.append(np.unique(np.linspace(0, n - 1, every).round().astype(int)))
    rows = [
        [value_of(s.axes[0], int(i)), value_of(s.axes[1], int(j)), *numbers(s, (int(i), int(j)))]
        for i in chosen[0] for j in chosen[1] if s.allowed[i, j]
    ]  # fmt: skip
    return Table((*(clean(a.name) for a in s.axes), *columns(s)), rows)

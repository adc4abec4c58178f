"""What a model expects along one dimension: the value with its band, the trials, the next one, and what is worth trying."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from whet.report.block import Plot, Table, label
from whet.report.frame import Frame
from whet.report.marks import axis_of, columns, dots, numbers, shown, value_of, word
from whet.report.quantity import clean, count, show
from whet.tune.slice import Slice
from whet.tune.space import Choice, Float

__all__ = ["slice_plot"]

_ROWS = 25
_WHISKERS = 12  # values up to which each gets a whisker of its own instead of a band


def slice_plot(s: Slice, frame: Frame, *, first: bool = False, best: int | None = None) -> Plot:
    """Return the picture of a slice along one dimension.

    frame: the part of the metric's axis that is shown; first: whether this is the dimension along which most is expected to differ; best: the trial that is marked.
    """
    axis = s.axes[0]
    discrete = isinstance(axis.domain, Choice) or (not isinstance(axis.domain, Float) and len(axis.values) <= _WHISKERS)
    data = _whiskers(s, frame) if discrete else _band(s, frame)
    data += dots(s, lambda m: frame.rail if m.value is None or m.kind == "failed" else frame.place(m.value), best)
    data += _strip(s, discrete)
    layout: dict[str, Any] = {
        "xaxis": {**axis_of(axis), "anchor": "y2", "showgrid": not discrete},
        "yaxis": {**frame.axis(), "title": {"text": frame.scale.title("")}, "domain": [0.3, 1.0]},
        "yaxis2": {"domain": [0.0, 0.2], "range": [0.0, 1.08], "tickvals": [0, 1], "showgrid": False, "zeroline": True, "anchor": "x"},
        "annotations": _labels(s),
        "bargap": 0.55,
    }  # fmt: skip
    if s.next is not None:
        line = {"color": "@second", "width": 1, "dash": "dot"}
        layout["shapes"] = [
            {"type": "line", "x0": s.next.places[0], "x1": s.next.places[0], "yref": "paper", "y0": 0, "y1": 1, "line": line, "layer": "below"}
        ]  # fmt: skip
    return Plot(_title(s, first), {"data": data, "layout": layout}, _table(s), 360, half=True, note=_note(s, frame))


def _texts(s: Slice) -> list[str]:
    name, goal, domain = label(s.axes[0].name), label(s.goal.name), s.axes[0].domain
    return [
        f"{name} {label(word(v, domain))}<br>expected {goal} {show(float(m))} ({show(float(a))} to {show(float(b))})"
        for v, m, a, b in zip(s.axes[0].values, s.median, s.low, s.high, strict=True)
    ]


def _runs(allowed: np.ndarray) -> list[np.ndarray]:
    """Return the stretches of indices that are allowed."""
    found = np.flatnonzero(allowed)
    return [part for part in np.split(found, np.flatnonzero(np.diff(found) > 1) + 1) if len(part)]


def _band(s: Slice, frame: Frame) -> list[dict[str, Any]]:
    x = s.axes[0].places.tolist()
    edge_x: list[float | None] = []
    edge_y: list[float | None] = []
    for part in _runs(s.allowed):
        there, back = [x[i] for i in part], [x[i] for i in part[::-1]]
        edge_x += [*there, *back, None]
        edge_y += [*(frame.place(s.low[i]) for i in part), *(frame.place(s.high[i]) for i in part[::-1]), None]
    band = {
        "type": "scatter", "mode": "lines", "x": edge_x[:-1], "y": edge_y[:-1], "fill": "toself", "fillcolor": "@soft",
        "line": {"width": 0, "color": "@soft"}, "opacity": 0.6, "hoverinfo": "skip",
    }  # fmt: skip
    median = [frame.place(v) if ok else None for v, ok in zip(s.median, s.allowed, strict=True)]
    line = {
        "type": "scatter", "mode": "lines", "x": x, "y": median, "line": {"color": "@accent", "width": 2.5},
        "text": _texts(s), "hovertemplate": "%{text}<extra></extra>",
    }  # fmt: skip
    return [band, line]


def _whiskers(s: Slice, frame: Frame) -> list[dict[str, Any]]:
    kept = np.flatnonzero(s.allowed)
    middle = [frame.place(s.median[i]) for i in kept]
    ends = [sorted((frame.place(s.low[i]), frame.place(s.high[i]))) for i in kept]
    texts = _texts(s)
    ordered = not isinstance(s.axes[0].domain, Choice)
    return [{
        "type": "scatter", "mode": "lines+markers" if ordered else "markers",
        "x": [float(s.axes[0].places[i]) for i in kept], "y": middle,
        "line": {"color": "@soft", "width": 1.5}, "marker": {"color": "@accent", "size": 18, "symbol": "line-ew", "line": {"color": "@accent", "width": 3}},
        "error_y": {
            "type": "data", "symmetric": False, "array": [max(b - m, 0.0) for m, (_, b) in zip(middle, ends, strict=True)],
            "arrayminus": [max(m - a, 0.0) for m, (a, _) in zip(middle, ends, strict=True)], "color": "@soft", "thickness": 8, "width": 0,
        },
        "text": [texts[i] for i in kept], "hovertemplate": "%{text}<extra></extra>",
    }]  # fmt: skip


def _strip(s: Slice, discrete: bool) -> list[dict[str, Any]]:
    """Return the traces of the lower strip: what is worth trying, and the chance of failing."""
    x = s.axes[0].places.tolist()
    texts = [f"{label(s.axes[0].name)} {label(word(v, s.axes[0].domain))}" for v in s.axes[0].values]

    def points(values: np.ndarray) -> list[float | None]:
        return [float(v) if math.isfinite(v) else None for v in values]

    worth: dict[str, Any] = {
        "x": x, "y": points(s.worth), "yaxis": "y2", "text": texts,
        "hovertemplate": "%{text}: worth trying %{y:.2f}<extra></extra>",
    }  # fmt: skip
    if discrete:
        worth |= {"type": "bar", "marker": {"color": "@second"}, "textposition": "none"}
    else:
        worth |= {"type": "scatter", "mode": "lines", "line": {"color": "@second", "width": 1.5}}
    if s.failing is None:
        return [worth]
    failing = {
        "type": "scatter", "mode": "markers" if discrete else "lines", "x": x, "y": points(s.failing), "yaxis": "y2", "text": texts,
        "line": {"color": "@bad", "width": 1.5, "dash": "dot"}, "marker": {"color": "@bad", "symbol": "line-ew", "size": 22, "line": {"color": "@bad", "width": 2}},
        "hovertemplate": "%{text}: fails with chance %{y:.2f}<extra></extra>",
    }  # fmt: skip
    return [worth, failing]


def _labels(s: Slice) -> list[dict[str, Any]]:
    plain = {"xref": "paper", "yref": "paper", "y": 0.205, "showarrow": False, "yanchor": "bottom"}
    labels = [{**plain, "x": 0, "xanchor": "left", "text": "worth trying", "font": {"color": "@second", "size": 11}}]
    if s.failing is not None:
        font = {"color": "@bad", "size": 11}
        labels.append({**plain, "x": 1, "xanchor": "right", "text": "chance of failing (dotted)", "font": font})
    return labels


def _note(s: Slice, frame: Frame) -> str:
    """Return how much the best of the lower strip is worth beside the next trial, and how many trials are not seen."""
    note = (
        "" if s.peak is None or s.peak > 1.0 else f"At its best this line is worth {shown(s.peak)} of the next trial. "
    )
    told = [frame.line(m.value) for m in s.marks if m.value is not None and m.kind != "failed"]
    if outside := sum(not frame.low <= v <= frame.high for v in told):
        note += f"{count(outside, 'worse trial')} outside the picture."
    return note.strip()


def _title(s: Slice, first: bool) -> str:
    axis, name = s.axes[0], clean(s.axes[0].name)
    lead = f"{'Most along ' if first and s.clear else ''}{name} ({shown(s.weight[0])})"
    following = "" if s.next is None else f"; next try {word(s.next.at[0], axis.domain)}"
    if not s.clear:
        return f"{lead}: no difference that the model is sure of{following}"
    at = s.best[0]
    value = word(axis.values[at], axis.domain)
    if isinstance(axis.domain, Choice):
        return f"{lead}: best with {value}{following}"
    end = {0: "lower", len(axis.values) - 1: "upper"}.get(at)
    where = (
        f"at {value}, the {end} end of its range"
        if end
        else f"near {value}"
        if isinstance(axis.domain, Float)
        else f"at {value}"
    )
    return f"{lead}: best {where}{following}"


def _table(s: Slice) -> Table:
    axis = s.axes[0]
    kept = np.flatnonzero(s.allowed)
    kept = kept[np.unique(np.linspace(0, len(kept) - 1, min(_ROWS, len(kept))).round().astype(int))]
    rows = [[value_of(axis, int(i)), *numbers(s, (int(i),))] for i in kept]
    return Table((clean(axis.name), *columns(s)), rows)

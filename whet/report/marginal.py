"""What a metric is on average along one dimension, over all the others, with the band of the trees."""

from __future__ import annotations

from typing import Any

import numpy as np

from whet.report.block import Plot, Table, label
from whet.report.marks import axis_of, shown, value_of, word
from whet.report.quantity import clean, show
from whet.report.scale import Scale
from whet.tune.importance.result import Importance, Part
from whet.tune.space import Choice, Float

__all__ = ["marginal_plot"]

_ROWS = 25
_WHISKERS = 12  # values up to which each gets a whisker of its own instead of a band


def marginal_plot(found: Importance, part: Part) -> Plot:
    """Return the picture of the curve of a dimension.

    >>> from whet.tune.importance import importance
    >>> from whet.tune.space import Space
    >>> from whet.tune.trial import State, Trial, Trials
    >>> done = [Trial(k, {"lr": k / 39}, State.DONE, value=(k / 39 - 0.3) ** 2) for k in range(40)]
    >>> found = importance(Trials(done, space=Space(lr=Float(0, 1))))
    >>> marginal_plot(found, found.parts[0]).title
    'lr (100 %): best on average near 0.289'
    """
    axis = part.axis
    discrete = isinstance(axis.domain, Choice) or (not isinstance(axis.domain, Float) and len(axis.values) <= _WHISKERS)
    scale = Scale.of(found.goal, [*map(float, part.mean)])
    if scale.kind == "lack" and max(part.high) >= 1.0:  # means of trees may pass what a share can be
        scale = Scale(found.goal, "linear", scale.low, scale.high)
    if scale.kind == "log" and min(part.low) <= 0.0:
        scale = Scale(found.goal, "linear", scale.low, scale.high)
    x, texts = axis.places.tolist(), _texts(found, part)
    middle, ends = [scale.place(v) for v in part.mean], [[scale.place(v) for v in e] for e in (part.low, part.high)]
    low, high = [min(a, b) for a, b in zip(*ends, strict=True)], [max(a, b) for a, b in zip(*ends, strict=True)]
    line: dict[str, Any] = {
        "type": "scatter", "mode": "lines", "x": x, "y": middle, "line": {"color": "@accent", "width": 2.5}, "text": texts,
        "hovertemplate": "%{text}<extra></extra>",
    }  # fmt: skip
    if discrete:
        data = [{
            **line, "mode": "markers" if isinstance(axis.domain, Choice) else "lines+markers", "line": {"color": "@soft", "width": 1.5},
            "marker": {"color": "@accent", "size": 18, "symbol": "line-ew", "line": {"color": "@accent", "width": 3}},
            "error_y": {
                "type": "data", "symmetric": False, "array": [b - m for m, b in zip(middle, high, strict=True)],
                "arrayminus": [m - a for m, a in zip(middle, low, strict=True)], "color": "@soft", "thickness": 8, "width": 0,
            },
        }]  # fmt: skip
    else:
        band = {
            "type": "scatter", "mode": "lines", "x": [*x, *x[::-1]], "y": [*low, *high[::-1]], "fill": "toself", "fillcolor": "@soft",
            "line": {"width": 0, "color": "@soft"}, "opacity": 0.6, "hoverinfo": "skip",
        }  # fmt: skip
        data = [band, line]
    layout = {
        "xaxis": {**axis_of(axis), "showgrid": not discrete}, "yaxis": {**scale.axis(), "title": {"text": scale.title("mean")}},
        "showlegend": False,
    }  # fmt: skip
    where = f"Where it exists: with {clean(part.when)}." if part.when else ""
    return Plot(_title(found, part), {"data": data, "layout": layout}, _table(found, part), 300, half=True, note=where)


def _title(found: Importance, part: Part) -> str:
    name, at = clean(part.name), part.best(found.goal)
    value = word(part.axis.values[at], part.axis.domain)
    lead = f"{name} ({shown(part.alone.value)})"
    if part.verdict != "matters":
        return f"{lead}: {'it does not matter' if part.verdict == 'does not matter' else 'one cannot tell whether it matters'}"
    if np.ptp(part.mean) <= float(np.median(part.high - part.low)):
        return f"{lead}: no difference on average that is larger than the band"
    how = "with" if isinstance(part.axis.domain, Choice) else "near" if isinstance(part.axis.domain, Float) else "at"
    return f"{lead}: best on average {how} {value}"


def _texts(found: Importance, part: Part) -> list[str]:
    name, goal = label(part.name), label(found.goal.name)
    return [
        f"{name} {label(word(v, part.axis.domain))}<br>mean {goal} {show(float(m))} ({show(float(a))} to {show(float(b))})"
        for v, m, a, b in zip(part.axis.values, part.mean, part.low, part.high, strict=True)
    ]


def _table(found: Importance, part: Part) -> Table:
    at = np.unique(np.linspace(0, len(part.mean) - 1, min(_ROWS, len(part.mean))).round().astype(int))
    rows = [[value_of(part.axis, int(i)), float(part.mean[i]), float(part.low[i]), float(part.high[i])] for i in at]
    return Table((clean(part.name), f"mean {clean(found.goal.name)}", "from", "to"), rows)

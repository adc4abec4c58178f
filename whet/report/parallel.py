"""Parallel coordinates: every configuration a line through its values, ending at what it reached.

Drawn as plain lines rather than with Plotly's own trace of this kind, which needs WebGL, has no place for a value that
does not exist in a branch, and cannot say on hover which configuration a line is.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np

from whet.errors import SpaceError
from whet.report.block import Plot, Table, label
from whet.report.listing import leading, ranked, sound, thinned, verbatim
from whet.report.maker import by_hand
from whet.report.quantity import clean, shorten, show
from whet.report.scale import Scale, round_ticks
from whet.tune.space import Dim, Float, Int
from whet.tune.trial import Trial, Trials

__all__ = ["parallel", "ticks"]

_LINES = 150
_AXES = 12
HINT = "Point at where a line meets an axis for its configuration, click it to dim the others."
_ABSENT = -0.12  # where the value of a branch that was not taken is drawn


def power(value: float) -> str:
    """Return a tick's number, a small or large power of ten as such."""
    exponent = round(math.log10(value)) if value > 0 else 0
    return f"1e{exponent}" if abs(exponent) > 2 and math.isclose(value, 10.0**exponent) else show(float(value))


def ticks(dim: Dim, most: int = 6) -> list[tuple[float, str]]:
    """Return places in [0, 1] and texts for the axis of one dimension, on its own (log) scale.

    >>> [t for _, t in ticks(Dim("lr", Float(1e-5, 1e-1, log=True)))]
    ['1e-5', '1e-4', '1e-3', '0.01', '0.1']
    """
    domain = dim.domain
    if isinstance(domain, (Float, Int)):
        if domain.log:
            ratio = 2.0 if isinstance(domain, Int) else 10.0
            first, last = math.ceil(math.log(domain.low, ratio) - 1e-9), math.floor(math.log(domain.high, ratio) + 1e-9)
            values: list[Any] = [ratio**k for k in range(first, last + 1)]
            values = values[:: max(1, math.ceil(len(values) / most))]
            if len(values) < 2:
                values = [domain.low, math.sqrt(domain.low * domain.high), domain.high]
        else:
            values = list(round_ticks(domain.low, domain.high, most))
        if isinstance(domain, Int):
            values = sorted({round(v) for v in values})
        return [(domain.encode(v), str(v) if isinstance(v, int) else power(v)) for v in values]
    options = list(domain.options if hasattr(domain, "options") else domain.values)
    stride = math.ceil(len(options) / (2 * most))
    # True, 3 and "relu" alike: an option is a name here, so 1024 is not written 1,024.
    return [(domain.encode(o), label(o if not isinstance(o, float) else show(o), 14)) for o in options[::stride]]


def _chosen(trials: Trials) -> list[tuple[Trial, np.ndarray]]:
    found = []
    for t in thinned([t for t in ranked(trials) if sound(t)], _LINES):
        try:
            found.append((t, trials.space.encode(t.params)))
        except (SpaceError, KeyError, TypeError, ValueError):
            continue  # a configuration that is not complete has no line
    return found


def axis_name(name: str) -> str:
    """Return a name short enough to stand above an axis: of a branch's member, when long, without the branch.

    >>> axis_name("lr"), axis_name("optimizer.momentum")
    ('lr', 'momentum')
    """
    return label(name if len(name) <= 14 else name.rpartition(".")[2], 14)


def spaced(marks: list[tuple[float, str]], room: float = 0.045) -> list[tuple[float, str]]:
    """Return the marks that have room beside those before them.

    >>> spaced([(0.0, "a"), (0.01, "b"), (0.5, "c")])
    [(0.0, 'a'), (0.5, 'c')]
    """
    kept: list[tuple[float, str]] = []
    for y, text in marks:
        if all(abs(y - other) >= room for other, _ in kept):
            kept.append((y, text))
    return kept


def leanings(dims: tuple[Dim, ...], encoded: np.ndarray, leaders: int) -> list[tuple[str, float]]:
    """Return, for each dimension, how likely the leading rows would sit this close together by chance; least likely first.

    A permutation test on the spread of the encoded values: 2,000 draws of as many rows, the same draws every time.

    >>> u = np.linspace(0, 1, 40)[:, None]
    >>> leanings((Dim("lr", Float(0, 1)),), u, 5)[0][1] < 0.01
    True
    """
    rng = np.random.default_rng(0)
    found = []
    for i, dim in enumerate(dims):
        column = encoded[:, i]
        top, every = column[:leaders], column[np.isfinite(column)]
        top = top[np.isfinite(top)]
        if len(top) < 4 or len(every) < 2 * len(top) or every.std() == 0:
            continue
        draws = rng.permuted(np.broadcast_to(every, (2000, len(every))), axis=1)[:, : len(top)]
        found.append((dim.name, float((1 + (draws.std(1) <= top.std() + 1e-12).sum()) / 2001)))
    return sorted(found, key=lambda f: f[1])


def parallel(trials: Trials) -> Plot | None:
    """Return the plot, or None when there is nothing to compare: fewer than two sound trials, or no dimension.

    >>> from whet.tune.space import Space
    >>> from whet.tune.trial import Point, State
    >>> done = [Trial(k, {"lr": k / 9}, State.DONE, (Point(1, k / 9),), k / 9) for k in range(9)]
    >>> trials = Trials(done, space=Space(lr=Float(0, 1)))
    >>> parallel(trials).table.columns[:2]
    ('name', 'best trial')
    """
    chosen, dims = _chosen(trials), trials.space.dims
    if len(chosen) < 2 or not dims:
        return None
    encoded = np.array([e for _, e in chosen])
    leaders = min(len(chosen), leading(sum(sound(t) for t in trials)))
    close = leanings(dims, encoded, leaders)
    kept = list(range(len(dims)))
    if len(dims) > _AXES:
        first = {name: k for k, (name, _) in enumerate(close)}
        kept = sorted(sorted(kept, key=lambda i: first.get(dims[i].name, len(dims)))[:_AXES])
    reached = [float(t.value or 0.0) for t, _ in chosen]
    scale = Scale.of(trials.goal, reached)
    height = [scale.height(v) for v in reached]

    data: list[dict[str, Any]] = []
    for row in range(len(chosen) - 1, -1, -1):
        places = [float(encoded[row, i]) if math.isfinite(encoded[row, i]) else _ABSENT for i in kept]
        colour, width, opacity = (
            ("@accent", 3.0, 1.0) if row == 0 else ("@accent", 1.25, 0.75) if row < leaders else ("@faint", 1.0, 0.45)
        )
        data.append({
            "type": "scatter", "mode": "lines", "x": list(range(len(kept) + 1)), "y": [*places, float(height[row])],
            "line": {"color": colour, "width": width}, "opacity": opacity,
            "meta": chosen[row][0].id, "hovertemplate": "%{text}<extra></extra>",
        })  # fmt: skip
        if by_hand(chosen[row][0]):
            sizes = [0] * len(kept) + [9]
            data[-1] |= {"mode": "lines+markers", "marker": {"symbol": "diamond", "size": sizes, "color": colour}}
    top = [(scale.height(v), show(v)) for v in scale.ticks()]
    marks = [ticks(dims[i]) for i in kept] + [top]
    names = [axis_name(dims[i].name) for i in kept] + [axis_name(trials.goal.name)]
    layout = _axes(names, marks, [bool((~np.isfinite(encoded[:, i])).any()) for i in kept] + [False])
    note = f"The heavy line is trial {chosen[0][0].id}, lines of its colour are the best {leaders:,} of {sum(map(sound, trials)):,}."
    note += f" The axis of {trials.goal.name} has the better end on top."
    if any(by_hand(t) for t, _ in chosen):
        note += " A diamond at its end: made by hand."
    if len(chosen) < sum(map(sound, trials)):
        note += f" Drawn: {len(chosen):,} trials."
    if len(kept) < len(dims):
        note += f" Shown: the {len(kept)} of {len(dims)} dimensions where the best sit closest together."
    return Plot(
        _title(close, leaders),
        {"data": data, "layout": layout},
        _table(trials, dims, encoded, leaders),
        440,
        note=note,
        hint=HINT,
        isolate=True,
    )


def listed(names: list[str]) -> str:
    """Return names as a sentence has them.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    texts = [shorten(n, 40) for n in names]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def _title(close: list[tuple[str, float]], leaders: int) -> str:
    narrow = [name for name, chance in close if chance * len(close) < 0.05][:3]  # Bonferroni: one test a dimension
    if narrow:
        return f"The best {leaders:,} trials sit closer together in {listed(narrow)} than chance would put them"
    return (
        f"No single hyperparameter sets the best {leaders:,} trials apart"
        if leaders > 1
        else "Every configuration and what it reached"
    )


def _axes(names: list[str], marks: list[list[tuple[float, str]]], absent: list[bool]) -> dict[str, Any]:
    shapes, notes = [], []
    plain = {"xref": "x", "yref": "y", "showarrow": False}
    for k, (name, mark) in enumerate(zip(names, marks, strict=True)):
        shapes.append(
            {
                "type": "line",
                "x0": k,
                "x1": k,
                "y0": 0,
                "y1": 1,
                "layer": "below",
                "line": {"color": "@muted", "width": 1},
            }
        )
        notes.append({**plain, "yref": "paper", "x": k, "y": 1, "text": name, "textangle": -18 if len(names) > 7 else 0,
                      "xanchor": "left" if len(names) > 7 else "center", "yanchor": "bottom", "font": {"color": "@ink", "size": 12}})  # fmt: skip
        for y, text in [*spaced(mark), *([(_ABSENT, "none")] if absent[k] else [])]:
            notes.append(
                {
                    **plain,
                    "x": k,
                    "y": y,
                    "text": text,
                    "xanchor": "left",
                    "xshift": 4,
                    "font": {"color": "@muted", "size": 11},
                    "bgcolor": "@page",
                }
            )
    return {
        "xaxis": {
            "visible": False,
            "range": [-0.1, len(names) - 1 + 0.05],
            "fixedrange": True,
        },
        "yaxis": {"visible": False, "range": [_ABSENT - 0.06, 1.04], "fixedrange": True},
        "margin": {"l": 8 if len(names) > 7 else 28, "r": 68, "t": 74 if len(names) > 7 else 44, "b": 8},
        "shapes": shapes,
        "annotations": notes,
    }


def _table(trials: Trials, dims: tuple[Dim, ...], encoded: np.ndarray, leaders: int) -> Table:
    rows = []
    for i, dim in enumerate(dims):
        top = encoded[:leaders, i][np.isfinite(encoded[:leaders, i])]
        low = middle = high = None
        if len(top) and isinstance(dim.domain, (Float, Int)):
            low, middle, high = (
                show(dim.domain.decode(float(np.quantile(top, q, method="nearest")))) for q in (0, 0.5, 1)
            )
        elif len(top):  # options have no lowest and highest
            counts = Counter(str(dim.domain.decode(float(u))) for u in top)
            middle = ", ".join(f"{clean(option)} ({n})" for option, n in counts.most_common())
        best = verbatim(trials.best.params).get(dim.name) if trials.best else None
        rows.append((clean(dim.name), None if best is None else show(best), low, middle, high))
    return Table(("name", "best trial", f"best {leaders}: lowest", "middle or counts", "highest"), rows)

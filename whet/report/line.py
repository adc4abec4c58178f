"""A series drawn along its time, the splits apart, suspicious points marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from whet.report.block import Plot, Table, label
from whet.report.quantity import shorten, show

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["line_plot", "moments", "thin"]

_POINTS = 2000


def moments(frame: pd.DataFrame, names: Sequence[str]) -> list[Any]:
    """Return when each row is: its time as ISO text, or a number; the number of the row where the columns cannot be read.

    >>> import pandas as pd
    >>> moments(pd.DataFrame({"year": [2024], "month": [2], "day": [29]}), ["year", "month", "day"])
    ['2024-02-29T00:00:00']
    """
    import pandas as pd

    from whet.data.column import as_dates, as_numbers, kind_of

    times: pd.Series | None = None
    if len(names) == 1:
        kind, form = kind_of(frame[names[0]])
        if kind == "number":
            x = as_numbers(frame[names[0]])
            return x.tolist() if np.isfinite(x).all() else list(range(len(frame)))
        times = as_dates(frame[names[0]], form) if kind == "date" else None
    elif {"year", "month", "day"} <= set(names):
        known = [n for n in names if n in ("year", "month", "day", "hour", "minute")]
        times = pd.to_datetime(frame[known], errors="coerce")
    if times is None or times.isna().any():
        return list(range(len(frame)))
    return times.dt.strftime("%Y-%m-%dT%H:%M:%S").tolist()


def thin(y: np.ndarray, most: int = _POINTS) -> np.ndarray:
    """Return the positions of at most `most` values of y (n,) that look like all of them: the ends of every stretch.

    >>> thin(np.array([0.0, 9.0, 0.0, 0.0, -9.0, 0.0]), 4).tolist()
    [0, 1, 3, 4]
    """
    if len(y) <= most:
        return np.arange(len(y))
    kept = []
    for part in np.array_split(np.arange(len(y)), most // 2):
        known = part[np.isfinite(y[part])]
        kept += [part[0]] if not len(known) else [known[y[known].argmin()], known[y[known].argmax()]]
    return np.unique(kept)


def line_plot(
    name: str, when: Sequence[Any], y: np.ndarray, first: int, *, odd: Sequence[int] = (), half: bool = False
) -> Plot:
    """Return a column y (n,) along its time; from row `first` on it is validation; odd: rows that are marked.

    >>> line_plot("sales", [1, 2, 3], np.array([4.0, 6.0, 5.0]), 2).title
    'sales: 4 to 6, from 1 to 3'
    """
    at = thin(y)
    x = [when[i] for i in at]
    data: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines", "x": x, "y": [float(v) if np.isfinite(v) else None for v in y[at]],
            "line": {"color": "@accent", "width": 1.5}, "hovertemplate": "%{x}: %{y:.6g}<extra></extra>",
        }
    ]  # fmt: skip
    marked = [i for i in odd if np.isfinite(y[i])]
    if marked:
        data.append({
            "type": "scatter", "mode": "markers", "x": [when[i] for i in marked], "y": [float(y[i]) for i in marked],
            "marker": {"color": "@bad", "size": 8, "symbol": "circle-open", "line": {"width": 2, "color": "@bad"}},
            "hovertemplate": "suspicious, %{x}: %{y:.6g}<extra></extra>",
        })  # fmt: skip
    shapes, notes = [], []
    if 0 < first < len(y):
        shapes = [{"type": "rect", "xref": "x", "x0": when[first], "x1": when[-1], "yref": "paper", "y0": 0, "y1": 1, "layer": "below",
                   "line": {"width": 0}, "fillcolor": "@grid"}]  # fmt: skip
        notes += [] if half else ["Shaded: validation. The test rows, which follow, stay sealed."]
    notes += ["Circles: suspicious."] if marked else []
    notes += [f"Drawn: {len(at):,} of {len(y):,} points, the ends of every stretch."] if len(at) < len(y) else []
    dated = isinstance(when[0], str)
    layout = {
        "xaxis": {"title": {"text": "time"}} | ({"type": "date"} if dated else {}), "yaxis": {"title": {"text": label(name, 32)}},
        "shapes": shapes,
    }  # fmt: skip
    known = y[np.isfinite(y)]
    low, high = (show(float(f"{f(known):.4g}")) for f in (np.min, np.max)) if len(known) else ("-", "-")
    ends = [str(t)[:10] if dated else show(t) for t in (when[0], when[-1])]
    table = Table(("time", shorten(name, 40)), [(str(when[i]) if dated else when[i], float(y[i])) for i in at])
    title = f"{shorten(name, 40)}: {low} to {high}, from {ends[0]} to {ends[1]}"
    return Plot(title, {"data": data, "layout": layout}, table, 260 if half else 340, half=half, note=" ".join(notes))

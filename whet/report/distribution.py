"""How the values of a column are spread: training against validation, and what the target does along it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from whet.report.block import Plot, Table, label
from whet.report.quantity import Share, clean, shorten, show

__all__ = ["Target", "category_plot", "number_plot"]

_LINES = 5  # classes whose shares are drawn along a column; more of them hide each other
_BARS = 12
_PARTS = 10
_LEGEND = {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "traceorder": "normal"}
_MARGIN = {"l": 56, "r": 16, "t": 28, "b": 44}
_COLOURS = ("@accent", "@second", "@doubt", "@bad", "@muted")


@dataclass(frozen=True)
class Target:
    """What a column is compared with.

    y: (n,) training targets, class numbers or quantities; classes: their names, None for quantities; strength: of the
    relation, 0 to 1.

    >>> Target(np.array([0, 1]), ("no", "yes"), 0.5).drawn
    [(1, 'yes')]
    """

    y: np.ndarray
    classes: Sequence[str] | None
    strength: float

    @property
    def drawn(self) -> list[tuple[int, str]]:
        """The classes whose shares are drawn: of two the second, of up to five all, of more none."""
        names = list(enumerate(self.classes or ()))
        return names[1:] if len(names) == 2 else names if len(names) <= _LINES else []

    def along(self, parts: Sequence[np.ndarray]) -> list[tuple[str, list[float]]]:
        """Return (name, one value a part): the mean target, or the share of each drawn class in percent."""
        if self.classes is None:
            return [("mean target", [float(self.y[p].mean()) for p in parts])]
        return [(name, [float((self.y[p] == c).mean() * 100) for p in parts]) for c, name in self.drawn]

    def axis(self) -> str:
        """Return what stands beside the axis."""
        if self.classes is None:
            return "mean target"
        return f"share of {label(self.drawn[0][1], 12)} (%)" if len(self.drawn) == 1 else "share of a class (%)"


def _edges(x: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return the edges of bins, and whether the outer ones stand for all beyond: far values would press the rest together."""
    low, high = float(x.min()), float(x.max())
    inner, outer = (float(q) for q in np.quantile(x, [0.005, 0.995]))
    beyond = high - low > 3 * (outer - inner) > 0
    low, high = (inner, outer) if beyond else (low, high)
    if high <= low:
        return np.array([low - 0.5, low + 0.5]), False
    most = min(40, max(8, int(len(x) ** 0.5)))
    if (x == np.round(x)).all():
        step = max(1, int(np.ceil((np.floor(high) - np.ceil(low) + 1) / most)))
        return np.arange(np.ceil(low) - 0.5, np.floor(high) + 0.5 + step, step), beyond
    return np.linspace(low, high, most + 1), beyond


def _head(name: str, what: str, missing: float, target: Target | None) -> str:
    parts = [what]
    if target is not None:
        parts.append(f"relation to the target {target.strength:.2f}")
    if missing:
        parts.append(f"{show(Share(missing))} missing")
    return f"{shorten(name, 40)}: {'; '.join(parts)}"


def number_plot(name: str, train: np.ndarray, valid: np.ndarray, target: Target | None = None) -> Plot | None:
    """Return the histogram of a column of numbers, NaN where missing; None without a number.

    Below it the target along the column, over ten parts of the training examples with as many each.

    >>> number_plot("age", np.arange(101.0), np.arange(101.0)).title
    'age: half lie between 25 and 75'
    """
    missing = float(np.mean(~np.isfinite(np.concatenate([train, valid]))))
    sides = {"train": train[np.isfinite(train)], "valid": valid[np.isfinite(valid)]}
    sides = {n: x for n, x in sides.items() if len(x)}
    if not sides:
        return None
    edges, beyond = _edges(np.concatenate(list(sides.values())))
    middle = (edges[:-1] + edges[1:]) / 2
    shares = {n: np.histogram(np.clip(x, edges[0], edges[-1]), edges)[0] / len(x) * 100 for n, x in sides.items()}
    data: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines", "name": n, "x": middle.tolist(), "y": s.tolist(),
            "line": {"shape": "hvh", "color": _COLOURS[i], "width": 2, "dash": ["solid", "dash"][i]},
            "hovertemplate": "%{x:.4g}: %{y:.1f} % of " + n + "<extra></extra>",
        }
        for i, (n, s) in enumerate(shares.items())
    ]  # fmt: skip
    layout: dict[str, Any] = {
        "showlegend": True, "legend": _LEGEND, "margin": _MARGIN,
        "xaxis": {"title": {"text": label(name, 32)}},
        "yaxis": {"title": {"text": "share (%)"}, "rangemode": "tozero"},
    }  # fmt: skip
    known = np.flatnonzero(np.isfinite(train))
    below = target is not None and len(known) >= 2 * _PARTS and (target.classes is None or target.drawn)
    if below and target is not None:
        order = known[np.argsort(train[known], kind="stable")]
        values = train[order]
        # Equal values belong to one part.
        cuts = np.unique(
            np.searchsorted(values, values[np.linspace(0, len(order), _PARTS + 1)[1:-1].astype(int)], "right")
        )
        parts = [p for p in np.split(order, cuts) if len(p)]
        at = [float(np.clip(train[p].mean(), edges[0], edges[-1])) for p in parts]
        data += _along(target, parts, at)
        layout["xaxis"] |= {"anchor": "y2"}
        layout["yaxis"] |= {"domain": [0.46, 1]}
        layout["yaxis2"] = {"title": {"text": target.axis()}, "domain": [0, 0.36], "rangemode": "normal"}
    first = next(iter(sides.values()))
    distinct, counts = np.unique(first, return_counts=True)
    low, high = (show(float(f"{np.quantile(first, q):.4g}")) for q in (0.25, 0.75))
    what = f"half lie between {low} and {high}"
    if len(distinct) <= _PARTS or low == high:
        top = show(float(distinct[counts.argmax()]))
        what = f"{top} is the commonest of {len(distinct):,} values, {show(Share(counts.max() / len(first)))}"
    table = Table(
        ("from", "to", *shares), [(float(a), float(b), *(Share(s[i] / 100) for s in shares.values()))
                                  for i, (a, b) in enumerate(pairwise(edges))],
    )  # fmt: skip
    note = (
        f"The outer steps hold what lies beyond: values reach from {show(float(min(map(np.min, sides.values()))))} to "
    )
    note += f"{show(float(max(map(np.max, sides.values()))))}."
    return Plot(
        _head(name, what, missing, target), {"data": data, "layout": layout}, table, 340 if below else 240, half=True,
        note=note if beyond else "",
    )  # fmt: skip


def _along(target: Target, parts: Sequence[np.ndarray], at: list[float]) -> list[dict[str, Any]]:
    several = len(target.drawn) > 1
    return [
        {
            "type": "scatter", "mode": "lines+markers", "name": label(n), "x": at, "y": y, "yaxis": "y2", "showlegend": several,
            "line": {"color": _COLOURS[i % 5] if several else "@ink", "width": 1.5}, "marker": {"size": 5},
            "hovertemplate": "%{x:.4g}: " + label(n).replace("%", "") + " %{y:.4g}<extra></extra>",
        }
        for i, (n, y) in enumerate(target.along(parts))
    ]  # fmt: skip


def category_plot(name: str, train: np.ndarray, valid: np.ndarray, target: Target | None = None) -> Plot | None:
    """Return the shares of a column's commonest values, None where missing, and the target for each of them.

    >>> x = np.array(["a", "a", "b", None], dtype=object)
    >>> category_plot("colour", x, x).title
    'colour: a is the commonest of 2 values, 50 %; 25 % missing'
    """
    gone = [np.array([v is None for v in x], bool) for x in (train, valid)]
    texts = [np.array([str(v) for v in x], dtype=object) for x in (train, valid)]
    values, counts = np.unique(np.concatenate([t[~g] for t, g in zip(texts, gone, strict=True)]), return_counts=True)
    if not len(values):
        return None
    order = np.argsort(-counts, kind="stable")[:_BARS]
    shown = [str(values[i]) for i in order]
    shares = {
        n: [float(np.mean(t == v) * 100) if len(t) else 0.0 for v in shown]
        for n, t in zip(("train", "valid"), texts, strict=True)
    }
    y = list(range(len(shown)))[::-1]
    data: list[dict[str, Any]] = [
        {
            "type": "bar", "orientation": "h", "name": n, "y": y, "x": s, "marker": {"color": ["@accent", "@second"][i]},
            "hovertemplate": "%{x:.1f} % of " + n + "<extra></extra>",
        }
        for i, (n, s) in enumerate(shares.items())
    ]  # fmt: skip
    layout: dict[str, Any] = {
        "barmode": "group", "bargap": 0.3, "showlegend": True, "legend": _LEGEND, "margin": _MARGIN,
        "xaxis": {"title": {"text": "share (%)"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": label(name, 32)}, "tickmode": "array", "tickvals": y,
                  "ticktext": [label(v, 18) + " " for v in shown], "showgrid": False, "range": [-0.6, len(y) - 0.4]},
    }  # fmt: skip
    if target is not None and (target.classes is None or target.drawn):
        parts = [np.flatnonzero(texts[0] == v) for v in shown]
        full = [i for i, p in enumerate(parts) if len(p)]
        for trace in _along(target, [parts[i] for i in full], []):
            data.append({
                **trace, "mode": "markers", "x": trace["y"], "y": [y[i] for i in full], "xaxis": "x2", "yaxis": "y",
                "marker": {"size": 8, "color": trace["line"]["color"]}, "hovertemplate": trace["hovertemplate"].replace("%{x:.4g}: ", "").replace("%{y", "%{x"),
            })  # fmt: skip
        layout["xaxis"] |= {"domain": [0, 0.6]}
        layout["xaxis2"] = {
            "title": {"text": target.axis()},
            "domain": [0.7, 1],
            "nticks": 4,
            "rangemode": "tozero" if target.classes else "normal",
        }
    n = sum(map(len, texts))
    top = f"{shorten(shown[0], 24)} is the commonest of {len(values):,} values, {show(Share(counts[order[0]] / n))}"
    missing = sum(int(g.sum()) for g in gone) / n
    table = Table(
        ("value", *shares), [(clean(v), *(Share(s[i] / 100) for s in shares.values())) for i, v in enumerate(shown)]
    )
    note = f"Drawn: the {_BARS} commonest of {len(values):,} values." if len(values) > _BARS else ""
    return Plot(
        _head(name, top, missing, target),
        {"data": data, "layout": layout},
        table,
        130 + 26 * len(shown),
        half=True,
        note=note,
    )

"""What pictures of a slice have in common: its axes, the trials on it, its values as words and as cells of a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from whet.report.block import label
from whet.report.parallel import spaced, ticks
from whet.report.quantity import Id, Share, clean, show
from whet.tune.slice import Axis, Mark, Slice
from whet.tune.space import Choice, Dim, Float, Int

__all__ = ["aside", "axis_of", "columns", "dots", "numbers", "shown", "value_of", "word"]

_MARKS = 300  # trials drawn, those nearest to the slice first
_FIGURES = 3  # significant figures of a value in a title


def word(value: Any, domain: Any = None) -> str:
    """Return a value of a configuration as a sentence has it.

    >>> word(0.0041234), word(1024), word(True), word("relu")
    ('0.00412', '1024', 'True', 'relu')
    """
    if isinstance(value, float) and not isinstance(domain, Choice):
        return show(float(f"{value:.{_FIGURES}g}"))
    return clean(value)


def shown(share: float) -> str:
    """Return a share in whole percent.

    >>> shown(0.623), shown(0.004)
    ('62 %', 'under 1 %')
    """
    return "under 1 %" if share < 0.01 else f"{share:.0%}".replace("%", " %")


def axis_of(axis: Axis, *, room: float = 0.11) -> dict[str, Any]:
    """Return Plotly's axis for a dimension drawn by its places in [0, 1]."""
    marks = spaced(ticks(Dim(axis.name, axis.domain), 5), room if not isinstance(axis.domain, Choice) else 0.0)
    return {
        "title": {"text": f"{label(axis.name, 32)} ({_unit(axis)})"},
        "tickmode": "array", "tickvals": [u for u, _ in marks], "ticktext": [t for _, t in marks],
        "range": [-0.025, 1.025],
    }  # fmt: skip


def _unit(axis: Axis) -> str:
    """Return what stands for a unit: what kind of dimension it is."""
    d = axis.domain
    if not isinstance(d, (Float, Int)):
        return "choice" if isinstance(d, Choice) else "in order"
    return "log scale" if d.log else f"{d.low:g} to {d.high:g}"


def aside(mark: Mark, axis: Axis, place: float, *, up: bool = False) -> float:
    """Return the place of a mark, moved a little within its cell where there are few, so that trials do not hide each other.

    up: along the second axis, where it is moved by another sequence, or all would lie on a diagonal.
    """
    if mark.kind == "next" or isinstance(axis.domain, Float) or len(axis.places) > 24:
        return place
    return place + ((mark.id or 0) * (0.754878 if up else 0.618034) % 1.0 - 0.5) * 0.4 / len(axis.places)


def dots(s: Slice, y: Callable[[Mark], float], best: int | None) -> list[dict[str, Any]]:
    """Return the traces of the trials and of the next one.

    y: mark -> where it stands on the second axis; best: the trial that is marked.
    """
    traces = []
    looks = {
        "partial": ("circle-open", "@ink", 7), "done": ("circle", "@ink", 6), "running": ("triangle-up-open", "@ink", 8),
        "inherited": ("square-open", "@muted", 7), "failed": ("x-thin", "@bad", 8),
    }  # fmt: skip
    near = sorted(s.marks, key=lambda m: (-m.near, m.id or 0))[:_MARKS]
    for kind, (symbol, colour, size) in looks.items():
        marks = [m for m in near if m.kind == kind][::-1]
        if not marks:
            continue
        mine = [m.id == best and best is not None for m in marks]
        traces.append({
            "type": "scatter", "mode": "markers",
            "x": [aside(m, s.axes[0], m.places[0]) for m in marks], "y": [y(m) for m in marks],
            "marker": {
                "symbol": ["star" if me else symbol for me in mine], "color": ["@ink" if me else colour for me in mine],
                "size": [13 if me else size for me in mine], "opacity": [1.0 if me else round(0.18 + 0.82 * m.near, 2) for m, me in zip(marks, mine, strict=True)],
                "line": {"width": [1.0 if me else 1.5 if symbol.endswith(("thin", "open")) else 0.0 for me in mine], "color": ["@page" if me else colour for me in mine]},
            },
            "customdata": [m.id for m in marks], "hovertemplate": "%{text}<extra></extra>",
        })  # fmt: skip
    if s.next is not None:
        at = ", ".join(f"{label(a.name)} {label(word(v, a.domain))}" for a, v in zip(s.axes, s.next.at, strict=True))
        value = "" if s.next.value is None else f"<br>expected {label(s.goal.name)} {show(s.next.value)}"
        traces.append({
            "type": "scatter", "mode": "markers", "x": [s.next.places[0]], "y": [y(s.next)],
            "marker": {"symbol": "diamond", "size": 11, "color": "@second", "line": {"width": 1.5, "color": "@page"}},
            "text": [f"next: {at}{value}"], "hovertemplate": "%{text}<extra></extra>",
        })  # fmt: skip
    return traces


def value_of(axis: Axis, i: int) -> Any:
    """Return a value of an axis as a cell of a table."""
    value = axis.values[i]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or isinstance(axis.domain, Choice):
        return clean(value)
    return Id(value) if isinstance(value, int) else float(f"{value:.4g}")


def columns(s: Slice) -> Sequence[str]:
    """Return the heads of the columns of `numbers`."""
    return (
        f"expected {s.goal.name}",
        "from",
        "to",
        "worth trying",
        *(() if s.failing is None else ("chance of failing",)),
    )


def numbers(s: Slice, at: tuple[int, ...]) -> list[Any]:
    """Return what is believed at one place of a slice, as cells of a table."""
    found = [float(a[at]) for a in (s.median, s.low, s.high)]
    worth = round(float(s.worth[at]), 3)
    return [*found, worth] if s.failing is None else [*found, worth, Share(float(s.failing[at]))]

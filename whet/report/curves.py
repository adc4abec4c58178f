"""All learning curves in one picture: who was trained how long, and what came of it."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from typing import Any

from whet.report.block import Plot, Table
from whet.report.listing import leading, ranked, started, thinned
from whet.report.maker import by_hand
from whet.report.quantity import count
from whet.report.scale import Scale
from whet.tune.trial import State, Trial, Trials

__all__ = ["curves", "window"]

_CURVES = 150
_POINTS = 100  # of one curve
_ROWS = 30
HINT = "Point at a line for its configuration, click it to dim the others."


def window(values: list[float], better: str) -> tuple[float, float, int] | None:
    """Return a range that shows where the good values are, and how many values lie outside it, or None to show all.

    The better side is always shown; the worse one is cut when a tenth of the values would take most of the room.

    >>> window([1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 50.0], "min")
    (0.96, 1.92, 1)
    """
    if len(values) < 10:
        return None
    ordered = sorted(values if better == "min" else [-v for v in values])
    best, high, worst = ordered[0], ordered[int(0.9 * (len(ordered) - 1))], ordered[-1]
    reach = high - best
    if reach <= 0 or worst - best <= 3 * reach:
        return None
    low, top = best - 0.05 * reach, high + 0.1 * reach + 0.05 * reach
    top = round(top, 12)
    outside = sum(v > top for v in ordered)
    return (round(low, 12), top, outside) if better == "min" else (-top, -round(low, 12), outside)


def _trace(t: Trial, best: int | None, leaders: set[int], scale: Scale) -> dict[str, Any]:
    points = [p for p in t.curve if math.isfinite(p.value)]
    stride = math.ceil(len(points) / _POINTS)
    kept = points[::stride] + (points[-1:] if stride > 1 and (len(points) - 1) % stride else [])
    if t.id == best:
        line = {"color": "@accent", "width": 3}
    elif t.state is State.FAILED:
        line = {"color": "@bad", "width": 1.25, "dash": "dot"}
    else:
        line = {"color": "@accent" if t.id in leaders else "@faint", "width": 1.25}
    mine = by_hand(t)
    sizes = [0] * (len(kept) - 1) + [9 if t.state is State.FAILED or mine else 7 if t.id == best else 4]
    symbol = "x-thin" if t.state is State.FAILED else "diamond" if mine else "circle"
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [p.step for p in kept],
        "y": [scale.place(p.value) for p in kept],
        "line": line,
        "marker": {
            "size": sizes,
            "symbol": symbol,
            "color": line["color"],
            "line": {"width": 1.5 if t.state is State.FAILED else 0, "color": line["color"]},
        },
        "meta": t.id,
        "hovertemplate": "%{text}<br><br>epoch %{x}: " + scale.hover + "<extra></extra>",
    }


def _rungs(trials: Trials) -> Table:
    values: dict[int, list[float]] = {}
    for t in trials:
        for p in t.curve:
            if math.isfinite(p.value) and t.state is not State.FAILED:
                values.setdefault(p.step, []).append(float(p.value))
    steps = sorted(values)
    stride = math.ceil(len(steps) / _ROWS) or 1
    shown = steps[::stride] + (steps[-1:] if steps and (len(steps) - 1) % stride else [])
    pick = min if trials.goal.better == "min" else max
    rows = [(s, len(values[s]), pick(values[s]), float(statistics.median(values[s]))) for s in shown]
    return Table(("epoch", "trials there", f"best {trials.goal.name}", "median"), rows)


def ends(trials: Trials) -> str:
    """Return one sentence on how far the trials were trained."""
    top = max((t.step for t in trials), default=0)
    through = sum(t.step == top and t.state is not State.FAILED for t in trials)
    early: Counter[int] = Counter(t.step for t in trials if t.state in (State.PAUSED, State.STOPPED) and t.step < top)
    failed = sum(t.state is State.FAILED for t in trials)
    open_ = [t.step for t in trials if t.state is State.RUNNING and 0 < t.step < top]
    reach = (
        f"{top:,} of {count(trials.steps, 'epoch')}"
        if top < trials.steps
        else f"{'all ' if top > 1 else ''}{count(top, 'epoch')}"
    )
    parts = [
        f"{through:,} of {count(started(trials), 'trial')} {'was' if through == 1 else 'were'} trained for {reach}"
    ]
    if early:
        at = sorted(early)
        where = " or ".join([", ".join(map(str, at[:-1])), str(at[-1])] if len(at) > 1 else [str(at[0])])
        parts.append(f"{sum(early.values()):,} stopped earlier" + (f", at {where}" if len(at) <= 5 else ""))
    if open_:
        parts.append(
            f"{len(open_):,} {'is' if len(open_) == 1 else 'are'} on the way"
            + (f", at {open_[0]}" if len(open_) == 1 else "")
        )
    if failed:
        parts.append(f"{failed:,} failed")
    return "; ".join(parts)


def curves(trials: Trials) -> Plot | None:
    """Return the plot, or None when nothing was reported; of very many trials the best and some others are drawn.

    >>> from whet.tune.space import Float, Space
    >>> from whet.tune.trial import Point, State, Trial
    >>> done = [Trial(k, {"lr": k / 9}, State.DONE, (Point(1, k / 9),), k / 9) for k in range(9)]
    >>> trials = Trials(done, space=Space(lr=Float(0, 1)))
    >>> curves(trials).title
    '9 of 9 trials were trained for 1 epoch'
    """
    order = [t for t in ranked(trials) if any(math.isfinite(p.value) for p in t.curve)]
    if not order:
        return None
    chosen = thinned(order, _CURVES)
    best = trials.best.id if trials.best else None
    kept = [t.id for t in order if t.state is not State.FAILED]
    leaders = set(kept[: leading(len(kept))])
    values = [float(p.value) for t in chosen for p in t.curve if math.isfinite(p.value)]
    scale = Scale.of(trials.goal, values)
    axis = scale.axis()
    note = (
        f"The heavy line is trial {best}, lines of its colour are the best {len(leaders)}"
        if best is not None
        else "Each line is a trial"
    )
    note += "; a dotted line that ends in a cross failed" if any(t.state is State.FAILED for t in chosen) else ""
    note += "; one that ends in a diamond was made by hand" if any(map(by_hand, chosen)) else ""
    note += "."
    if len(chosen) < len(order):
        note += f" Drawn: {len(chosen):,} of {len(order):,} trials, the best {_CURVES // 3} and others spread evenly over the rest."
    if scale.kind == "linear" and (cut := window(values, trials.goal.better)):
        axis["range"] = list(cut[:2])
        note += f" {cut[2]:,} worse points lie outside the picture."
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": "training (epochs)"}, "rangemode": "tozero", "tickformat": ",d"},
        "yaxis": axis,
    }
    if max(t.step for t in chosen) <= 10:
        layout["xaxis"] |= {"tick0": 0, "dtick": 1}  # no half epochs
    data = [_trace(t, best, leaders, scale) for t in reversed(chosen)]
    return Plot(ends(trials), {"data": data, "layout": layout}, _rungs(trials), 400, note=note, hint=HINT, isolate=True)

"""Pictures of rules side by side: their curves, how stale what they merged was, and what more workers bring."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from whet.distributed.compare import SEQUENTIAL, Outcome
from whet.distributed.summary import Reached, Summary, groups, mean_and_deviation
from whet.report.block import Plot, Table, label
from whet.report.quantity import Id, count, show
from whet.tune.trial import Point

__all__ = ["LEGEND", "Looks", "best", "by_workers", "curves", "looks", "staleness"]

_COLOURS = ("@accent", "@bad", "@second", "@doubt", "@ink")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross")
_DASHES = ("solid", "dash", "dot", "dashdot")
_AXES = {
    "epochs": "training (epochs)",
    "updates": "training (updates of the weights)",
    "seconds": "virtual time (seconds; a step of one worker takes about 1)",
}
# Above the plot, where it takes as many lines as a narrow window needs.
LEGEND = {
    "showlegend": True,
    "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"color": "@ink", "size": 12}},
}

Looks = Mapping[str, dict[str, Any]]


def looks(rules: Sequence[str], plain_one: str = SEQUENTIAL) -> Looks:
    """Return how each rule is drawn, in all pictures: no two alike in colour, dash and mark, and the baseline, `plain_one`, grey."""
    found: dict[str, dict[str, Any]] = {}
    for rule in dict.fromkeys(rules):
        i = len(found) - (plain_one in found)
        plain = rule == plain_one
        colour = "@muted" if plain else _COLOURS[i % len(_COLOURS)]
        dash = "dash" if plain else _DASHES[(i // len(_COLOURS)) % len(_DASHES)]
        found[rule] = {
            "type": "scatter", "name": label(rule, 40), "legendgroup": rule, "line": {"color": colour, "width": 2, "dash": dash},
            "marker": {"size": 6, "color": colour, "symbol": "circle-open" if plain else _SYMBOLS[i % len(_SYMBOLS)]},
        }  # fmt: skip
    return found


def best(rows: Sequence[Summary], better: str) -> Summary | None:
    """Return the line with the best value among those that came to their end with every seed; None when there is none."""
    sound = [r for r in rows if r.ended == r.n and math.isfinite(r.value)]
    sign = 1.0 if better == "min" else -1.0
    return min(sound, key=lambda r: sign * r.value, default=None)


def curves(
    outcomes: Sequence[Outcome], metric: str, better: str, *, drawn: Looks, then: Sequence[Reached]
) -> list[Plot]:
    """Return the value against epochs, virtual seconds and updates, for rules with one number of workers.

    then: how far each was at the moment that the title of the plot over time speaks of.
    """
    found = []
    for axis in ("epochs", "seconds", "updates"):
        data: list[dict[str, Any]] = []
        rows: list[tuple[Any, ...]] = []
        for (rule, _), own in groups(outcomes).items():
            line = _line(own, axis)
            data += _drawn(line, {**drawn[rule], "mode": "lines+markers"}, axis)
            rows += [(rule, x, y, None if math.isnan(s) else s) for x, y, s in line]
        layout: dict[str, Any] = {
            "xaxis": {"title": {"text": _AXES[axis]}, "rangemode": "tozero"},
            "yaxis": {"title": {"text": metric}},
            **LEGEND,
        }
        if axis == "seconds":  # the baseline takes M times as long: the rest of it is a double click away
            ends = [p.cost for o in outcomes if o.case.rule != SEQUENTIAL for p in o.points[-1:]]
            layout["xaxis"] = {**layout["xaxis"], "range": [0, 1.04 * max(ends, default=1.0)]}
        title = _title(outcomes, axis, metric, better, then)
        found.append(Plot(
            title, {"data": data, "layout": layout}, Table(("rule", axis, metric, "deviation over seeds"), rows), 360, half=True,
            note="Bands are one standard deviation over the seeds." if axis == "epochs" and len(data) > len(groups(outcomes)) else "",
        ))  # fmt: skip
    return found


def _line(outcomes: Sequence[Outcome], axis: str) -> list[tuple[float, float, float]]:
    """Return (place, mean, deviation) after each epoch, over the seeds that came to their end, or over all when none did."""
    ended = [o.points for o in outcomes if o.complete] or [o.points for o in outcomes]
    found = []
    for at in zip(*ended, strict=False):
        value, spread = mean_and_deviation([p.value for p in at])
        if math.isfinite(value):
            found.append((fmean(_place(p, axis) for p in at), value, spread))
    return found


def _place(point: Point, axis: str) -> float:
    if axis == "epochs":
        return float(point.step)
    return point.cost if axis == "seconds" else dict(point.metrics)["updates"]


def _drawn(line: Sequence[tuple[float, float, float]], look: dict[str, Any], axis: str) -> list[dict[str, Any]]:
    xs, ys = [x for x, _, _ in line], [y for _, y, _ in line]
    hover = look["name"].replace("%", "") + f"<br>{axis} %{{x:.4g}}: %{{y:.4g}}<extra></extra>"
    band = [(x, y - s, y + s) for x, y, s in line if math.isfinite(s)]
    drawn = [{**look, "x": xs, "y": ys, "hovertemplate": hover}]
    if band and any(high > low for _, low, high in band):
        drawn.insert(0, {
            "type": "scatter", "mode": "lines", "legendgroup": look["legendgroup"], "showlegend": False, "hoverinfo": "skip",
            "x": [x for x, _, _ in band] + [x for x, _, _ in reversed(band)],
            "y": [low for _, low, _ in band] + [high for _, _, high in reversed(band)],
            "fill": "toself", "fillcolor": look["line"]["color"], "opacity": 0.13, "line": {"width": 0},
        })  # fmt: skip
    return drawn


def _title(outcomes: Sequence[Outcome], axis: str, metric: str, better: str, then: Sequence[Reached]) -> str:
    from whet.distributed.summary import summary

    rows = [r for r in summary(outcomes) if r.rule != SEQUENTIAL]
    if axis == "epochs":
        top = best(rows, better)
        return (
            f"After the same epochs: {top.rule} ends best ({metric} {show(top.value)})"
            if top
            else "After the same epochs"
        )
    if axis == "updates":
        few = min((r for r in rows if math.isfinite(r.updates)), key=lambda r: r.updates, default=None)
        return "After the same updates" + (f": {few.rule} takes fewest ({few.updates:,.0f})" if few else "")
    there = [r for r in then if not r.diverged and math.isfinite(r.value)]
    sign = 1.0 if better == "min" else -1.0
    ahead = min(there, key=lambda r: sign * r.value, default=None)
    said = f": after {ahead.seconds:,.0f} seconds {ahead.rule} is ahead ({metric} {show(ahead.value)})" if ahead else ""
    return "At the same virtual time" + said


def staleness(outcomes: Sequence[Outcome], drawn: Looks) -> Plot | None:
    """Return how often each number of updates lay between a pull and its push, for rules with one number of workers.

    A rule that applies each push as it comes, and refuses none, has a mean of M - 1 with M workers, whatever their speeds.
    None when there is nothing but the baseline.
    """
    own = {rule: o for (rule, _), o in groups(outcomes).items() if rule != SEQUENTIAL}
    if not own:
        return None
    workers = outcomes[-1].case.workers
    data, rows, means = [], [], {}
    for rule, some in own.items():
        counted: dict[int, int] = {}
        for o in some:
            for tau, n in o.histogram.items():
                counted[tau] = counted.get(tau, 0) + n
        total = sum(counted.values())
        if not total:
            continue
        means[rule] = sum(tau * n for tau, n in counted.items()) / total
        places = range(max(counted) + 2)
        shares = [counted.get(tau, 0) / total for tau in places]
        look = {**drawn[rule], "mode": "lines", "line": {**drawn[rule]["line"], "shape": "hvh"}}
        data.append({
            **look, "x": list(places), "y": shares,
            "hovertemplate": look["name"].replace("%", "") + "<br>%{x} updates between: %{y:.3f} of all<extra></extra>",
        })  # fmt: skip
        rows += [(rule, Id(tau), n, n / total) for tau, n in sorted(counted.items())]
    late = max(means.values(), default=0.0)
    title = f"Staleness: M - 1 = {workers - 1} is what {count(workers, 'worker')} make of asynchrony"
    if late > 0.05:
        most = max(means, key=lambda rule: means[rule])
        title = f"Staleness: {most} merges what is {means[most]:.2f} updates old on average (M - 1 = {workers - 1})"
    layout = {
        "xaxis": {"title": {"text": "updates between a pull and its push"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": "share of the pushes"}, "rangemode": "tozero"},
        "shapes": [{
            "type": "line", "x0": workers - 1, "x1": workers - 1, "y0": 0, "y1": 1, "yref": "paper", "layer": "below",
            "line": {"color": "@faint", "width": 2, "dash": "dot"},
        }],
        "annotations": [{
            "x": workers - 1, "y": 1, "yref": "paper", "text": "M - 1", "showarrow": False, "xanchor": "left", "yanchor": "top",
            "xshift": 4, "font": {"color": "@muted"},
        }],
        **LEGEND,
    }  # fmt: skip
    return Plot(
        title, {"data": data, "layout": layout}, Table(("rule", "updates between", "pushes", "share"), rows), 360, half=True,
    )  # fmt: skip


def by_workers(rows: Sequence[Summary], metric: str, drawn: Looks) -> list[Plot]:
    """Return the speed-up and the last value against the number of workers; nothing for one number of them."""
    rules = [r for r in dict.fromkeys(r.rule for r in rows) if r != SEQUENTIAL]
    numbers = sorted({r.workers for r in rows if r.rule != SEQUENTIAL})
    if len(numbers) < 2:
        return []
    found = []
    alone = next((r for r in rows if r.rule == SEQUENTIAL), None)
    axis = {"title": {"text": "workers (log scale)"}, "type": "log", "tickmode": "array", "tickvals": numbers,
            "ticktext": [str(n) for n in numbers]}  # fmt: skip
    for what in ("speed-up", metric) if alone is not None else (metric,):
        data: list[dict[str, Any]] = []
        if what == "speed-up":
            data.append({
                "type": "scatter", "mode": "lines", "name": "one for each worker", "x": numbers, "y": numbers, "hoverinfo": "skip",
                "line": {"color": "@faint", "width": 2, "dash": "dot"},
            })  # fmt: skip
        elif alone is not None:
            data.append(
                {
                    **drawn[SEQUENTIAL],
                    "mode": "lines",
                    "x": numbers,
                    "y": [alone.value] * len(numbers),
                    "hoverinfo": "skip",
                }
            )
        cells = []
        for rule in rules:
            line = [(float(r.workers), r.speedup if what == "speed-up" else r.value, math.nan if what == "speed-up" else r.spread)
                    for r in rows if r.rule == rule]  # fmt: skip
            line = [p for p in line if math.isfinite(p[1])]
            data += _drawn(line, {**drawn[rule], "mode": "lines+markers"}, "workers")
            cells += [(rule, Id(int(w)), y) for w, y, _ in line]
        quick = max(
            (r for r in rows if math.isfinite(r.speedup) and r.rule != SEQUENTIAL),
            key=lambda r: r.speedup,
            default=None,
        )
        if what == "speed-up":
            title = "Speed-up over sequential SGD, for the same epochs"
            title += f": up to {quick.speedup:.3g} ({quick.rule} with {quick.workers})" if quick else ""
        else:
            title = f"What more workers cost: {metric} after the last epoch"
        layout = {
            "xaxis": axis,
            "yaxis": {"title": {"text": what}, **({"rangemode": "tozero"} if what == "speed-up" else {})},
            **LEGEND,
        }
        found.append(
            Plot(title, {"data": data, "layout": layout}, Table(("rule", "workers", what), cells), 360, half=True)
        )
    return found

"""The report of a comparison of strategies: who is ahead of random when, by how much, and whether that is more than noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from whet.report.block import Block, Code, Facts, Headline, Plot, Section, Table
from whet.report.document import Report
from whet.report.quantity import Id, count, show
from whet.report.rules import LEGEND, Looks, looks
from whet.report.scale import Scale
from whet.tune.compare.result import Comparison, Curve

__all__ = ["comparison_report"]


def comparison_report(found: Comparison, *, command: str = "", setting: Mapping[str, Any] | None = None) -> Report:
    """Return the report of a comparison with two seeds or more.

    command: how to do it again; setting: what was compared how, in words.

    Raises ValueError for fewer seeds.

    >>> from whet.tune.compare.line import Line
    >>> from whet.tune.goal import Goal
    >>> lines = {"random": (Line((1,), (2.0,), 4, False),) * 6, "gp": (Line((1, 3), (2.0, 1.0), 4, False),) * 6}
    >>> report = comparison_report(Comparison(Goal("loss", "min"), "trials", tuple(range(6)), lines, name="toy"))
    >>> report.title, [s.name for s in report.sections]
    ('Strategies on toy', ['answer', 'course', 'seeds', 'again'])
    """
    if len(found.seeds) < 2:
        raise ValueError("comparison_report: fewer than two seeds")
    drawn = looks(list(found.lines), found.baseline)
    sections = [
        Section("answer", "The answer", found.sentence, (_headline(found), _table(found))),
        Section("course", "The course of it", "", tuple(_course(found, drawn))),
        Section("seeds", "Seed by seed", "", (_dots(found, drawn), _pairs(found))),
    ]
    how: list[Block] = [Facts(dict(setting), "What was compared")] if setting else []
    if command:
        how.append(Code(command, "Command"))
    sections.append(Section("again", "How to do it again", "", tuple(how)))
    return Report(
        f"Strategies on {found.name}" if found.name else "Strategies", tuple(sections),
        f"{count(len(found.lines), 'strategy').replace('strategys', 'strategies')}, {count(len(found.seeds), 'seed')}, {_end(found)}",
    )  # fmt: skip


def _end(found: Comparison) -> str:
    return f"after {found.end:,} {found.by if found.end != 1 else found.by[:-1]} each"


def _headline(found: Comparison) -> Headline:
    top = found.rows[0]
    items: list[tuple[str, Any, str]] = [("best rank", top.name, f"{top.rank:.2f} on average of {len(found.lines)}")]
    for row in found.rows:
        if row is top or row.name == found.baseline:
            items.append((
                f"{found.goal.name}, {row.name}", float(f"{row.value:.4g}"),
                f"95 %: {show(row.low)} to {show(row.high)}" if math.isfinite(row.low) else "",
            ))  # fmt: skip
    return Headline(tuple(items))


def _table(found: Comparison) -> Table:
    rows = []
    for r in found.rows:
        a = r.against
        rows.append((
            r.name, r.value, _span(r.low, r.high), round(r.rank, 2), _span(r.rank_low, r.rank_high), round(r.over, 2),
            None if a is None else a.gain, "baseline" if a is None else _span(a.low, a.high), None if a is None else a.p,
            "-" if a is None else a.verdict, None if r.caught is None else int(r.caught),
        ))  # fmt: skip
    note = (
        f"{found.goal.name}: mean over {count(len(found.seeds), 'seed')} of the best value {_end(found)}. Gain: over {found.baseline} with the same seed. p: Wilcoxon's "
        f"signed-rank test over seeds, corrected (Holm) for {len(found.lines) - 1}. On the way: the mean rank over the whole course. Caught up: {found.by} after which the mean is what "
        f"{found.baseline} has at the end. "
        "Intervals: 95 %, BCa bootstrap over seeds."
    )
    missing = [
        f"{r.name}: {count(r.missing, 'seed')} without any value, last in rank." for r in found.rows if r.missing
    ]
    columns = (
        "strategy", found.goal.name, "95 %", "rank", "rank 95 %", "on the way", "gain", "gain 95 %", "p", "verdict",
        "caught up",
    )  # fmt: skip
    return Table(columns, rows, "At the end, the best rank first", note=" ".join([note, *missing]))


def _span(low: float, high: float) -> str:
    return f"{show(float(f'{low:.3g}'))} to {show(float(f'{high:.3g}'))}" if math.isfinite(low) else "-"


def _course(found: Comparison, drawn: Looks) -> list[Block]:
    top = found.rows[0]
    curves = {n: found.curve(n) for n in found.lines}
    values = [float(v) for c in curves.values() for v in c.mean]
    x = {"title": {"text": f"{found.by} of each study"}, "rangemode": "tozero", "tickformat": ",d"}
    plots: list[Block] = []
    if values:
        scale = Scale.of(found.goal, values)
        data = [t for n, c in curves.items() for t in _lines(c, drawn[n], scale)]
        base = next(r for r in found.rows if r.name == found.baseline)
        other = found.rows[1] if top is base else base
        ends = [f"{r.name} {'ends at' if r is top else 'at'} {show(float(f'{r.value:.4g}'))}" for r in (top, other)]
        title = f"Best {found.goal.name} so far: {', '.join(ends)}"
        axis, cut = scale.axis(), ""
        if scale.kind == "linear":
            axis["range"] = _room(curves, found)
            cut = " What lies outside came early; a double click shows it."
        plots.append(Plot(
            title, {"data": data, "layout": {"xaxis": x, "yaxis": axis, **LEGEND}}, _numbers(curves, found, found.goal.name), 380,
            note="Lines: means over seeds; bands: their 95 % intervals. Bands may overlap where the same seeds still differ one way: see the next picture." + cut + _covered(curves),
        ))  # fmt: skip
    ahead = {n: found.ahead(n) for n in list(found.lines)[1:]}
    data = [t for n, c in ahead.items() for t in _lines(c, drawn[n], None)]
    zero = {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": 0,
        "y1": 0,
        "line": {"color": "@muted", "width": 1.25, "dash": "dash"},
    }
    better = [r.name for r in found.rows if r.against is not None and r.against.verdict == "better"]
    said = (
        f"{', '.join(better)} {'is' if len(better) == 1 else 'are'} ahead beyond the noise"
        if better
        else "nobody is ahead beyond the noise"
    )
    plots.append(Plot(
        f"Held against {found.baseline} seed by seed: {said} at the end",
        {"data": data, "layout": {"xaxis": x, "yaxis": {"title": {"text": f"{found.goal.name} better than {found.baseline}"}, "range": _room(ahead, found, 0.0)}, "shapes": [zero], **LEGEND}},
        _numbers(ahead, found, "gain"), 340, half=True, note=f"Above 0: better than {found.baseline} with the same seed. Bands: 95 % of the mean gain.",
    ))  # fmt: skip
    ranks = found.ranks(found.places).mean(1)
    data = [
        {**drawn[n], "mode": "lines", "x": found.places.tolist(), "y": ranks[i].tolist(), "line": {**drawn[n]["line"], "shape": "hv"}, "hovertemplate": f"%{{x}}: rank %{{y:.2f}}<extra>{drawn[n]['name']}</extra>"}
        for i, n in enumerate(found.lines)
    ]  # fmt: skip
    rows = [
        (n, int(p), round(float(ranks[i, k]), 3))
        for i, n in enumerate(found.lines)
        for k, p in enumerate(found.places)
        if k % 6 == 0
    ]
    plots.append(Plot(
        f"Ranks: {top.name} has the best at the end, {top.rank:.1f} of {len(found.lines)}",
        {"data": data, "layout": {"xaxis": x, "yaxis": {"title": {"text": "mean rank (1 is best)"}, "autorange": "reversed"}, **LEGEND}},
        Table(("strategy", found.by, "mean rank"), rows), 340, half=True,
    ))  # fmt: skip
    return plots


def _covered(curves: Mapping[str, Curve]) -> str:
    """Return which lines are not seen, as one drawn later has the same values everywhere."""
    names, said = list(curves), ""
    for i, n in enumerate(names):
        over = next((m for m in reversed(names[i + 1 :]) if np.array_equal(curves[m].mean, curves[n].mean)), None)
        if over is not None and len(curves[n].places):
            said += f" {n} and {over} have the same values all the way: the line of {over} covers that of {n}."
    return said


def _room(curves: Mapping[str, Curve], found: Comparison, *also: float) -> list[float] | None:
    """Return the range that holds all means and bands of the last four fifths of the course; None where there is nothing."""
    known = list(also)
    for c in curves.values():
        late = c.places >= found.end / 5
        for part in (c.mean, c.low, c.high):
            known += [float(v) for v in part[late] if math.isfinite(v)]
    if not known or min(known) == max(known):
        return None
    room = 0.05 * (max(known) - min(known))
    return [min(known) - room, max(known) + room]


def _lines(c: Curve, look: dict[str, Any], scale: Scale | None) -> list[dict[str, Any]]:
    """Return the traces of a mean and its band; scale: of the metric, None for a difference."""
    if not len(c.places):
        return []
    place = (lambda v: float(v)) if scale is None else scale.place
    name = look["name"].replace("%", "")
    xs = c.places.tolist()
    line = {
        **look, "mode": "lines", "x": xs, "y": [place(v) for v in c.mean], "line": {**look["line"], "shape": "hv"},
        "text": [show(float(f"{v:.4g}")) for v in c.mean], "hovertemplate": "%{x}: %{text}<extra>" + name + "</extra>",
    }  # fmt: skip
    known = np.isfinite(c.low)
    if not known.any():
        return [line]
    at, low, high = c.places[known].tolist(), c.low[known], c.high[known]
    steps = _stairs(at, [place(v) for v in low]), _stairs(at, [place(v) for v in high])
    band = {
        "type": "scatter", "mode": "lines", "legendgroup": look["legendgroup"], "showlegend": False, "hoverinfo": "skip",
        "x": steps[0][0] + steps[1][0][::-1], "y": steps[0][1] + steps[1][1][::-1],
        "fill": "toself", "fillcolor": look["line"]["color"], "opacity": 0.15, "line": {"width": 0},
    }  # fmt: skip
    return [band, line]


def _stairs(xs: list[float], ys: list[float]) -> tuple[list[float], list[float]]:
    """Return a line that holds each value up to the next place."""
    out_x, out_y = [xs[0]], [ys[0]]
    for (_, y), (b, z) in zip(zip(xs, ys, strict=True), list(zip(xs, ys, strict=True))[1:], strict=False):
        out_x += [b, b]
        out_y += [y, z]
    return out_x, out_y


def _numbers(curves: Mapping[str, Curve], found: Comparison, what: str) -> Table:
    rows = [
        (n, int(c.places[k]), float(c.mean[k]), _span(c.low[k], c.high[k]))
        for n, c in curves.items() for k in range(0, len(c.places), max(1, len(c.places) // 20))
    ]  # fmt: skip
    return Table(("strategy", found.by, what, "95 %"), rows)


def _dots(found: Comparison, drawn: Looks) -> Plot:
    """Return the values at the end, a line for each seed."""
    order = [r.name for r in found.rows]
    values = {n: found.values(n)[:, 0] for n in order}
    known = [float(v) for own in values.values() for v in own if math.isfinite(v)]
    scale = Scale.of(found.goal, known or [0.0])
    data: list[dict[str, Any]] = []
    for k, _ in enumerate(found.seeds):
        there = [(n, float(values[n][k])) for n in order if math.isfinite(values[n][k])]
        data.append({
            "type": "scatter", "mode": "lines", "x": [n for n, _ in there], "y": [scale.place(v) for _, v in there], "showlegend": False,
            "line": {"color": "@faint", "width": 1}, "hoverinfo": "skip",
        })  # fmt: skip
    for n in order:
        own = [(s, float(v)) for s, v in zip(found.seeds, values[n], strict=True) if math.isfinite(v)]
        data.append({
            **drawn[n], "mode": "markers", "x": [n] * len(own), "y": [scale.place(v) for _, v in own], "showlegend": False,
            "text": [f"seed {s}: {show(v)}" for s, v in own], "hovertemplate": "%{text}<extra>" + drawn[n]["name"] + "</extra>",
        })  # fmt: skip
    rows = [
        (Id(s), *(float(values[n][k]) if math.isfinite(values[n][k]) else None for n in order))
        for k, s in enumerate(found.seeds)
    ]
    axis = {"title": {"text": ""}, "type": "category", "categoryorder": "array", "categoryarray": order}
    return Plot(
        f"What each seed came to: {_spread(found)}", {"data": data, "layout": {"xaxis": axis, "yaxis": scale.axis()}},
        Table(("seed", *order), rows), 340, note="A dot is one study; a line joins those with the same seed.",
    )  # fmt: skip


def _spread(found: Comparison) -> str:
    top = found.rows[0]
    values = found.values(top.name)[:, 0]
    known = values[np.isfinite(values)]
    return f"{top.name} from {show(float(known.min()))} to {show(float(known.max()))}" if len(known) else top.name


def _pairs(found: Comparison) -> Table:
    rows = [
        (p.second, p.first, p.gain, _span(p.low, p.high), f"{p.wins} of {p.wins + p.losses}", p.p, p.verdict)
        for p in found.pairs
    ]
    return Table(
        ("strategy", "against", "gain", "95 %", "seeds won", "p", "verdict"), rows, "Every two of them",
        note=f"The gain is that of the first column over the second. p is corrected (Holm) for all {len(rows)}.",
    )  # fmt: skip

"""The report of a simulation: which rule gets how far, by epochs, by updates and by virtual time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from whet.distributed.compare import Outcome
from whet.distributed.rates import Rate
from whet.distributed.summary import Summary, summary
from whet.report.block import Code, Facts, Headline, Plot, Section, Table, label
from whet.report.document import Report
from whet.report.quantity import Id, count, show

__all__ = ["simulation_report"]

_COLOURS = ("@accent", "@bad", "@second", "@doubt", "@muted", "@soft", "@badsoft", "@ink")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
_AXES = {
    "epochs": "training (epochs)",
    "updates": "training (updates of the weights)",
    "seconds": "virtual time (seconds; one step of one worker takes about 1)",
}


def simulation_report(
    name: str, outcomes: Sequence[Outcome], *, metric: str, better: str, params: Mapping[str, Any], command: str = "",
    setting: Mapping[str, Any] | None = None, rates: Mapping[tuple[str, int], Rate] | None = None, until: float | None = None,
) -> Report:  # fmt: skip
    """Return the report of simulated trainings.

    metric: what a point's value is; better: "min" or "max"; setting: how it was simulated, in words, for the reader.

    Raises ValueError when there is no outcome.
    """
    if not outcomes:
        raise ValueError("simulation_report: there is no outcome")
    rows = summary(outcomes)
    answer = Section(
        "answer", "The answer", sentence(rows, metric, better), (_headline(rows, metric, better), _table(rows, metric))
    )
    sections = [answer]
    for workers in dict.fromkeys(o.case.workers for o in outcomes):
        own = [o for o in outcomes if o.case.workers == workers]
        plots = tuple(_plot(own, axis, metric) for axis in _AXES)
        sections.append(Section(f"workers-{workers}", count(workers, "worker"), "", plots))
    how: list[Any] = [Facts({**(setting or {})}, "How it was simulated")] if setting else []
    how.append(Facts(dict(params), "Configuration"))
    if command:
        how.append(Code(command, "Command"))
    sections.append(Section("again", "How to do it again", "", tuple(how)))
    return Report(f"Simulation of {name}", tuple(sections))


def best(rows: Sequence[Summary], better: str) -> Summary | None:
    """Return the line with the best value among those that no seed diverged on; None when there is none."""
    sound = [r for r in rows if not r.diverged and math.isfinite(r.value)]
    sign = 1.0 if better == "min" else -1.0
    return min(sound, key=lambda r: sign * r.value, default=None)


def sentence(rows: Sequence[Summary], metric: str, better: str) -> str:
    """Return what was found, in one sentence.

    >>> lines = [Summary("sync", 8, 0.2, 0.01, 90.0, 30.0, 0.0, 3, 0), Summary("async", 8, 0.3, 0.01, 30.0, 240.0, 7.0, 3, 0)]
    >>> sentence(lines, "error", "min")
    'With 8 workers sync ends best (error 0.2 after 90 virtual seconds); async is first (30, error 0.3).'
    """
    workers = max(r.workers for r in rows)
    own = [r for r in rows if r.workers == workers]
    top = best(own, better)
    if top is None:
        return f"With {count(workers, 'worker')} no rule comes to its end."
    quick = min((r for r in own if math.isfinite(r.seconds)), key=lambda r: r.seconds)
    said = f"With {count(workers, 'worker')} {top.rule} ends best ({metric} {show(top.value)} after {top.seconds:.0f} virtual seconds)"
    if quick.rule != top.rule:
        said += f"; {quick.rule} is first ({quick.seconds:.0f}, {metric} {show(quick.value)})"
    return said + "."


def _headline(rows: Sequence[Summary], metric: str, better: str) -> Headline:
    items = []
    for workers in dict.fromkeys(r.workers for r in rows):
        top = best([r for r in rows if r.workers == workers], better)
        if top is not None:
            items.append((f"best with {count(workers, 'worker')}", top.value, f"{metric} of {top.rule}"))
    return Headline(tuple(items[:5]))


def _table(rows: Sequence[Summary], metric: str) -> Table:
    columns = (
        "rule",
        "workers",
        metric,
        "deviation over seeds",
        "virtual seconds",
        "updates",
        "mean staleness",
        "seeds",
        "diverged",
    )
    cells = [
        (r.rule, Id(r.workers), r.value, None if math.isnan(r.spread) else r.spread, r.seconds, r.updates, r.staleness, Id(r.n), Id(r.diverged))
        for r in rows
    ]  # fmt: skip
    return Table(columns, cells, "Every rule, after the last epoch", sortable=True)


def _plot(outcomes: Sequence[Outcome], axis: str, metric: str) -> Plot:
    """Draw the mean over the seeds of each rule; a seed that diverged ends where it did."""
    data, rows = [], []
    for i, rule in enumerate(dict.fromkeys(o.case.rule for o in outcomes)):
        curves = [o.points for o in outcomes if o.case.rule == rule]
        xs, ys = [], []
        for at in zip(*curves, strict=False):  # epochs that every seed reached
            finite = [p for p in at if math.isfinite(p.value)]
            if finite:
                place = {"epochs": float(at[0].step), "updates": fmean(dict(p.metrics)["updates"] for p in at),
                         "seconds": fmean(p.cost for p in at)}[axis]  # fmt: skip
                xs.append(place)
                ys.append(fmean(p.value for p in finite))
        data.append({
            "type": "scatter", "mode": "lines+markers", "name": label(rule, 40), "x": xs, "y": ys,
            "line": {"color": _COLOURS[i % len(_COLOURS)], "width": 2, "dash": _DASHES[(i // len(_COLOURS)) % len(_DASHES)]},
            "marker": {"size": 5},
            "hovertemplate": label(rule, 40).replace("%", "") + f"<br>{axis} %{{x:.4g}}: %{{y:.4g}}<extra></extra>",
        })  # fmt: skip
        rows += [(rule, x, y) for x, y in zip(xs, ys, strict=True)]
    layout = {"xaxis": {"title": {"text": _AXES[axis]}, "rangemode": "tozero"}, "yaxis": {"title": {"text": metric}}}
    title = {"epochs": "At equal data", "updates": "At equal updates", "seconds": "At equal time"}[axis]
    return Plot(
        f"{title}: {metric} on validation",
        {"data": data, "layout": layout},
        Table(("rule", axis, metric), rows),
        320,
        half=True,
    )

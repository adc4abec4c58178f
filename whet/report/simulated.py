"""The report of a simulation: which rule gets how far, by epochs, by updates and by virtual time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from whet.distributed.compare import SEQUENTIAL, Outcome
from whet.distributed.rates import Rate
from whet.distributed.summary import Reached, Summary, moments, summary
from whet.report.block import Code, Facts, Headline, Section, Table
from whet.report.document import Report
from whet.report.quantity import Id, count, show
from whet.report.rules import best, by_workers, curves, looks, staleness

__all__ = ["sentence", "simulation_report"]


def simulation_report(
    name: str, outcomes: Sequence[Outcome], *, metric: str, better: str, params: Mapping[str, Any], command: str = "",
    setting: Mapping[str, Any] | None = None, rates: Mapping[tuple[str, int], Rate] | None = None, until: float | None = None,
) -> Report:  # fmt: skip
    """Return the report of simulated trainings.

    metric: what a point's value is; better: "min" or "max"; setting: how it was simulated, in words, for the reader; rates: as
    `whet.distributed.rates.tune_rates` found them; until: the virtual second at which rules are compared, when the quickest ended unless given.

    Raises ValueError when there is no outcome.
    """
    if not outcomes:
        raise ValueError("simulation_report: there is no outcome")
    rows = summary(outcomes)
    drawn = looks([o.case.rule for o in outcomes])
    tables = [_table(rows, metric), *(_time(when, then, metric) for when, then in moments(outcomes, until))]
    answer: list[Any] = [_headline(rows, metric, better), *tables, *([_rates(rates, metric)] if rates else [])]
    sections = [Section("answer", "The answer", sentence(rows, metric, better), tuple(answer))]
    more = by_workers(rows, metric, drawn)
    if more:
        sections.append(Section("more-workers", "More workers", "", tuple(more)))
    alone = [o for o in outcomes if o.case.rule == SEQUENTIAL]
    for workers in dict.fromkeys(o.case.workers for o in outcomes if o.case.rule != SEQUENTIAL):
        own = [*alone, *(o for o in outcomes if o.case.workers == workers and o.case.rule != SEQUENTIAL)]
        then = next((then for _, then in moments(own, until)), [])
        plots = [*curves(own, metric, better, drawn=drawn, then=then), staleness(own, drawn)]
        sections.append(
            Section(f"workers-{workers}", count(workers, "worker"), "", tuple(p for p in plots if p is not None))
        )
    how: list[Any] = [Facts({**(setting or {})}, "How it was simulated")] if setting else []
    how.append(Facts(dict(params), "Configuration"))
    if command:
        how.append(Code(command, "Command"))
    sections.append(Section("again", "How to do it again", "", tuple(how)))
    return Report(f"Simulation of {name}", tuple(sections))


def sentence(rows: Sequence[Summary], metric: str, better: str) -> str:
    """Return what was found, in one sentence.

    >>> lines = [Summary("sync", 8, 0.2, 0.01, 90.0, 30.0, 0.0, 3, 0), Summary("async", 8, 0.3, 0.01, 30.0, 240.0, 7.0, 3, 0)]
    >>> sentence(lines, "error", "min")
    'With 8 workers sync ends best (error 0.2 after 90 virtual seconds); async is first (30, error 0.3).'
    """
    own = [r for r in rows if r.rule != SEQUENTIAL]
    if not own:
        return "No rule is simulated yet: sequential SGD alone is."
    workers = max(r.workers for r in own)
    own = [r for r in own if r.workers == workers]
    top = best(own, better)
    if top is None:
        return f"With {count(workers, 'worker')} no rule comes to its end with every seed{_lost(own)}."
    quick = min((r for r in own if math.isfinite(r.seconds)), key=lambda r: r.seconds)
    said = f"With {count(workers, 'worker')} {top.rule} ends best ({metric} {show(top.value)} after {top.seconds:,.0f} virtual seconds)"
    if quick.rule != top.rule:
        said += f"; {quick.rule} is first ({quick.seconds:,.0f}, {metric} {show(quick.value)})"
    alone = next((r for r in rows if r.rule == SEQUENTIAL and math.isfinite(r.value)), None)
    if alone is not None:
        said += f"; sequential SGD ends at {show(alone.value)} after {alone.seconds:,.0f}"
    return said + "."


def _lost(rows: Sequence[Summary]) -> str:
    """Return in how many trainings everybody died, or nothing when that was in none."""
    died, n = sum(r.died for r in rows), sum(r.n for r in rows)
    if not died:
        return ""
    return ": all workers died" + (f" in {died} of {count(n, 'training')}" if died < n else "")


def _headline(rows: Sequence[Summary], metric: str, better: str) -> Headline:
    items = [(SEQUENTIAL, r.value, f"{metric}, one worker") for r in rows if r.rule == SEQUENTIAL]
    own = [r for r in rows if r.rule != SEQUENTIAL]
    for workers in dict.fromkeys(r.workers for r in own):
        top = best([r for r in own if r.workers == workers], better)
        if top is not None:
            items.append((f"best with {count(workers, 'worker')}", top.value, f"{metric} of {top.rule}"))
    return Headline(tuple(items[:5]))


def _table(rows: Sequence[Summary], metric: str) -> Table:
    columns = [
        "rule",
        "workers",
        metric,
        "deviation",
        "virtual seconds",
        "speed-up",
        "updates",
        "mean staleness",
        "seeds",
        "diverged",
    ]
    dead = any(r.died for r in rows)  # a column for where it was: failures are asked for now and then
    cells = [
        (r.rule, Id(r.workers), r.value, _known(r.spread), r.seconds, _known(r.speedup), r.updates, _known(r.staleness), Id(r.n),
         Id(r.diverged), *([Id(r.died)] if dead else []))
        for r in rows
    ]  # fmt: skip
    note = "Deviation: standard, over the seeds. Speed-up: virtual seconds of sequential SGD over those of the rule, for the same epochs."
    return Table(
        (*columns, *(["all workers died"] if dead else [])),
        cells,
        "Every rule, after the last epoch",
        sortable=True,
        note=note,
    )


def _time(when: str, rows: Sequence[Reached], metric: str) -> Table:
    cells = [
        (r.rule, Id(r.workers), r.epochs, _known(r.value), _known(r.spread), Id(r.n), Id(r.diverged)) for r in rows
    ]
    columns = ("rule", "workers", "epochs done", metric, "deviation", "seeds", "diverged")
    note = "The value is that of the last evaluation before; there is one after each epoch. Deviation: standard, over the seeds."
    return Table(columns, cells, f"Every rule at the same time: {when}", sortable=True, note=note)


def _rates(rates: Mapping[tuple[str, int], Rate], metric: str) -> Table:
    listed = sorted({t.rate for found in rates.values() for t in found.tried})
    cells = [
        (rule, Id(workers), found.rate, found.edge or None, *(_known(t.value) for t in found.tried))
        for (rule, workers), found in rates.items()
    ]
    columns = ("rule", "workers", "chosen", "end of the list", *(f"{metric} at {rate:g}" for rate in listed))
    note = "Chosen on seeds of their own, with the same list and the same epochs for each; at an end of the list a better one may lie beyond it."
    return Table(columns, cells, "The learning rate of each", folded=True, note=note)


def _known(x: float) -> float | None:
    return x if math.isfinite(x) else None

"""The front of a study with several goals: what is traded for what, and how far the search came trial by trial."""

from __future__ import annotations

import math
from typing import Any

from whet.report.block import Block, Plot, Section, Table, label
from whet.report.listing import sound, verbatim
from whet.report.parallel import listed
from whet.report.quantity import Id, clean, count, show
from whet.report.scale import Scale
from whet.tune.goal import Bound, Goal
from whet.tune.pareto import advance, front, reported, targets
from whet.tune.trial import Trial, Trials

__all__ = ["front_section", "trade", "volumes"]

_DRAWN = 3  # goals set against the first, each in a plot of its own
_DOTS = 2000  # trials drawn beside the front, evenly among them
_APART = 30.0  # how many times the least the most of a positive goal is, for a logarithmic axis


def front_section(trials: Trials) -> Section | None:
    """Return the section, None for a study with one goal, or where no trial reported all of them.

    >>> from whet.tune.goal import parse_goals
    >>> from whet.tune.space import Space
    >>> from whet.tune.trial import Point, State
    >>> done = [Trial(i, {}, State.DONE, (Point(1, 0.1, metrics={"ms": i}),), 0.1 - 0.01 * i) for i in range(3)]
    >>> front_section(Trials(done, space=Space(), goals=parse_goals(["min loss", "min ms"]))).sentence
    '3 trials of 3 are beaten by none in every goal: loss from 0.08 to 0.1, ms from 0 to 2.'
    """
    goals = targets(trials)
    if len(goals) < 2 or not (found := front(trials)):
        return None
    blocks: list[Block] = [trade(trials, found, other) for other in range(1, min(len(goals), _DRAWN + 1))]
    if (over := volumes(trials)) is not None:
        blocks.append(over)
    blocks.append(_table(found))
    spans = [
        f"{clean(g.name)} from {show(min(v))} to {show(max(v))}" for g, v in zip(goals, _columns(found), strict=True)
    ]
    have = sum(_said(trials, t) is not None for t in trials)
    sentence = f"{count(len(found), 'trial')} of {have:,} {'is' if len(found) == 1 else 'are'} beaten by none in every goal: {', '.join(spans)}."
    if not all(trials.keeps(t) for t in found):
        bounds = [clean(str(g)) for g in trials.goals if isinstance(g, Bound)]
        sentence += f" No trial keeps {listed(bounds)}; these come nearest."
    return Section("front", "The trade-offs", sentence, tuple(blocks))


def trade(trials: Trials, found: Trials, other: int = 1) -> Plot:
    """Return the plot of the first goal over another, by number, with all trials that reported both and the front among them."""
    first, second = targets(trials)[0], targets(trials)[other]
    on = {t.id for t in found}
    rest = [(t, v[0], v[other]) for t in trials if t.id not in on and (v := _said(trials, t)) is not None]
    rest = rest[:: math.ceil(len(rest) / _DOTS) or 1]
    best = sorted(((t, v[0], v[other]) for t in found if (v := _said(found, t)) is not None), key=lambda p: p[2])
    y = Scale.of(first, [p[1] for p in (*rest, *best)])
    kept = [p for p in rest if trials.keeps(p[0]) and trials.reach(p[0]) == trials.reach(found[0])]
    inside = {p[0].id for p in kept}
    lost = [p for p in rest if p[0].id not in inside]
    data: list[dict[str, Any]] = []
    for some, marker, name in (
        (lost, {"size": 5, "color": "@page", "line": {"color": "@faint", "width": 1}}, "left out"),
        (kept, {"size": 5, "color": "@soft", "line": {"width": 0}}, "beaten"),
        (best, {"size": 8, "color": "@accent", "line": {"width": 0}}, "the front"),
    ):
        if not some:
            continue
        data.append({
            "type": "scatter", "mode": "lines+markers" if some is best and len(targets(trials)) == 2 else "markers", "name": name,
            "x": [p[2] for p in some], "y": [y.place(p[1]) for p in some],
            # what lies between two of a front was not measured: only its corner is sure to be beaten
            "line": {"color": "@accent", "width": 1, "shape": "hv" if second.better == "min" else "vh"},
            "marker": marker, "customdata": [p[0].id for p in some], "hovertemplate": "%{text}<extra></extra>",
        })  # fmt: skip
    note = "Blue: no trial is better in every goal."
    if kept:
        note += " Light: beaten by one that is."
    if lost:
        note += " Rings: stopped earlier" + (", or break a bound." if _bounded(trials) else ".")
    if len(targets(trials)) > 2:
        note += " There are more than these two goals, so a blue one may look beaten here."
    x_axis: dict[str, Any] = {"title": {"text": _axis(second)}, "type": _type([p[2] for p in (*rest, *best)])}
    rows = [(Id(t.id), a, b) for t, a, b in sorted(best, key=lambda p: first.score(p[1]))]
    return Plot(
        f"What {clean(first.name)} costs in {clean(second.name)}: {_title(best, first, second)}",
        {"data": data, "layout": {"xaxis": x_axis, "yaxis": y.axis(), "showlegend": False}},
        Table(("trial", first.name, second.name), rows), 340, note=note,
    )  # fmt: skip


def volumes(trials: Trials) -> Plot | None:
    """Return the plot of the hypervolume over trials, None when no trial counts for it."""
    found = advance(trials)
    if len(found.volumes) < 2:
        return None
    last = found.volumes[-1][1]
    if last <= 0:
        return None
    near = next(i for i, v in found.volumes if v >= 0.9 * last)
    shares = [(i, v / last) for i, v in found.volumes]
    line = {
        "type": "scatter", "mode": "lines", "x": [i for i, _ in shares], "y": [100 * s for _, s in shares],
        "line": {"shape": "hv", "color": "@accent", "width": 2}, "hovertemplate": "trial %{x}: %{y:.1f} %<extra></extra>",
    }  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": "trial"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": "hypervolume (% of the last)"}, "range": [0, 104]},
    }
    corner = ", ".join(f"{clean(k)} {show(v)}" for k, v in found.reference.items())
    rows = [(Id(i), v) for k, (i, v) in enumerate(found.volumes) if k == 0 or v > found.volumes[k - 1][1]]
    return Plot(
        f"Nine tenths of what the front dominates were there after trial {near:,}",
        {"data": [line], "layout": layout}, Table(("trial", "hypervolume"), rows), 240,
        note=f"Volume between the front and {corner}, a tenth of the range beyond the worst.",
    )  # fmt: skip


def _title(best: list[tuple[Trial, float, float]], first: Goal, second: Goal) -> str:
    top = min(best, key=lambda p: first.score(p[1]))
    low = min(best, key=lambda p: second.score(p[2]))
    if top[0].id == low[0].id:
        return f"{show(top[1])} at {show(top[2])}"
    return f"{show(top[1])} at {show(top[2])}, {show(low[1])} at {show(low[2])}"


def _said(trials: Trials, trial: Trial) -> list[float] | None:
    """Return what a trial says of each goal, None when it failed or leaves one out."""
    found = [v for v in reported(trials, trial) if v is not None]
    return found if sound(trial) and len(found) == len(targets(trials)) else None


def _columns(found: Trials) -> list[list[float]]:
    rows = [v for t in found if (v := _said(found, t)) is not None]
    return [list(c) for c in zip(*rows, strict=True)]


def _bounded(trials: Trials) -> bool:
    return any(isinstance(g, Bound) for g in trials.goals)


def _type(values: list[float]) -> str:
    return "log" if min(values) > 0 and max(values) > _APART * min(values) else "linear"


def _axis(goal: Goal) -> str:
    return f"{label(goal.name)} ({'lower' if goal.better == 'min' else 'higher'} is better)"


def _table(found: Trials) -> Table:
    names = [n for n in found.space.names if any(n in t.params for t in found)]
    rows = []
    for t in found:
        values = verbatim(t.params)
        rows.append((Id(t.id), t.step or None, *(_said(found, t) or ()), *(values.get(n) for n in names)))
    columns = ("trial", "epochs", *(g.name for g in targets(found)), *map(clean, names))
    return Table(columns, rows, "The front, the best in the first goal first", sortable=True)

"""Who is whose child in a study that evolved: the values over the trials, a line from every parent to its children, and how the best came about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from whet.report.block import Plot, Table
from whet.report.curves import window
from whet.report.listing import ranked, sound, thinned, trial_axis, verbatim
from whet.report.parallel import listed
from whet.report.quantity import Id, clean, count, show
from whet.report.scale import Scale
from whet.tune.search.model.descent import Child, children, line
from whet.tune.trial import State, Trial, Trials

__all__ = ["descent_plot"]

_MOST = 1000  # trials drawn
_TOLD = 4  # names in the title


def descent_plot(trials: Trials) -> Plot | None:
    """Return the plot, None when no trial with a value is a child of one.

    >>> from whet.tune.space import Float, Space
    >>> said = [{}, {"evolution": {"parent": 0, "changed": ["lr"]}}, {"evolution": {"parent": 1, "changed": ["lr"]}}]
    >>> done = [Trial(i, {"lr": i / 9}, State.DONE, value=1.0 - i / 9, origin=o) for i, o in enumerate(said)]
    >>> descent_plot(Trials(done, space=Space(lr=Float(0, 1)))).title
    'Trial 2, the best, is 2 generations from trial 0: lr was changed twice'
    """
    of = children(trials)
    best = trials.best
    if best is None or not any(sound(trials[id]) and sound(trials[c.parent]) for id, c in of.items()):
        return None
    way = line(of, best.id)
    order = [t for t in ranked(trials) if sound(t)]
    shown = {t.id: t for t in thinned(order, _MOST)} | {id: trials[id] for id in way if sound(trials[id])}
    scale = Scale.of(trials.goal, [float(t.value or 0.0) for t in shown.values()])
    axis = scale.axis()
    cut = (
        window([float(t.value or 0.0) for t in shown.values()], trials.goal.better) if scale.kind == "linear" else None
    )
    if cut is not None:
        axis["range"] = list(cut[:2])
    links = [(c.parent, id) for id, c in of.items() if id in shown and c.parent in shown]
    on = set(pairwise(way))
    dots = [t for t in shown.values() if t.id not in way], [t for t in shown.values() if t.id in way]
    data = [
        _links([pair for pair in links if pair not in on], shown, scale, {"color": "@faint", "width": 1}),
        _links([pair for pair in links if pair in on], shown, scale, {"color": "@accent", "width": 2.5}),
        _dots(trials, dots[0], of, scale, "@soft"),
        _dots(trials, dots[1], of, scale, "@accent"),
    ]
    layout = {
        "xaxis": trial_axis(len(trials)),
        "yaxis": axis,
        "showlegend": False,
    }
    title = _title(trials, of, way)
    return Plot(
        title, {"data": data, "layout": layout}, _table(trials, of, way), 340, note=_note(trials, of, shown, cut)
    )


def _links(
    pairs: list[tuple[int, int]], shown: Mapping[int, Trial], scale: Scale, how: dict[str, Any]
) -> dict[str, Any]:
    x: list[int | None] = []
    y: list[float | None] = []
    for pair in pairs:
        x += [*pair, None]
        y += [*(scale.place(float(shown[id].value or 0.0)) for id in pair), None]
    return {"type": "scatter", "mode": "lines", "x": x[:-1], "y": y[:-1], "line": how, "hoverinfo": "skip"}


def _dots(trials: Trials, some: list[Trial], of: Mapping[int, Child], scale: Scale, color: str) -> dict[str, Any]:
    some = sorted(some, key=lambda t: t.id)
    shapes = ["circle" if t.id in of else "square" for t in some]
    open_ = ["" if trials.reach(t) >= trials.steps else "-open" for t in some]
    return {
        "type": "scatter", "mode": "markers", "x": [t.id for t in some], "y": [scale.place(float(t.value or 0.0)) for t in some],
        "marker": {"size": 7, "color": color, "symbol": [a + b for a, b in zip(shapes, open_, strict=True)]},
        "customdata": [t.id for t in some], "hovertemplate": "%{text}<extra></extra>",
    }  # fmt: skip


def _title(trials: Trials, of: Mapping[int, Child], way: list[int]) -> str:
    last = way[-1]
    if len(way) == 1:
        are = (
            f"1 trial of {len(trials):,} is a child"
            if len(of) == 1
            else f"{len(of):,} of {len(trials):,} trials are children"
        )
        return f"{are} of another; the best, trial {last}, is nobody's"
    changed = Counter(name for id in way[1:] for name in of[id].changed)
    told = [(clean(n), _times(k)) for n, k in changed.most_common(_TOLD)]
    names = [f"{n} was changed {k}" if i == 0 else f"{n} {k}" for i, (n, k) in enumerate(told)]
    if len(changed) > len(told):
        names.append(f"{len(changed) - len(told):,} more")
    return f"Trial {last}, the best, is {count(len(way) - 1, 'generation')} from trial {way[0]}: {listed(names)}"


def _times(k: int) -> str:
    return {1: "once", 2: "twice"}.get(k, f"{k:,} times")


def _note(
    trials: Trials, of: Mapping[int, Child], shown: Mapping[int, Trial], cut: tuple[float, float, int] | None
) -> str:
    most = max(c.generation for c in of.values())
    note = f"A line leads from a parent to its child, the heavy one to the best trial. Squares are nobody's child. The youngest are {count(most, 'generation')} deep."
    if any(trials.reach(t) < trials.steps for t in shown.values()):
        note += " Hollow: not trained to the end."
    failed = sum(trials[id].state is State.FAILED for id in of)
    if failed:
        note += f" {count(failed, 'child') if failed == 1 else f'{failed:,} children'} failed."
    have = sum(sound(t) for t in trials)
    if len(shown) < have:
        note += f" Drawn: {len(shown):,} of {have:,} trials."
    if cut is not None:
        note += f" {cut[2]:,} worse {'one lies' if cut[2] == 1 else 'ones lie'} outside the picture."
    return note


def _table(trials: Trials, of: Mapping[int, Child], way: list[int]) -> Table:
    rows = []
    for k, id in enumerate(way):
        t = trials[id]
        parent = trials[way[k - 1]] if k else None
        value = None if t.value is None else float(t.value)
        rows.append(
            (
                k,
                Id(id),
                None if parent is None else Id(parent.id),
                "" if parent is None else _changes(parent, t, of[id]),
                value,
            )
        )
    return Table(("generation", "trial", "child of", "what was changed", trials.goal.name), rows)


def _changes(parent: Trial, t: Trial, child: Child) -> str:
    """Return what a child changed: from what, to what."""
    before, after = verbatim(parent.params), verbatim(t.params)
    return ", ".join(
        f"{clean(n)} {show(before[n])} to {show(after[n])}" if n in before and n in after else clean(n)
        for n in child.changed
    )

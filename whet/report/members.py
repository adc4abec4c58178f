"""Who proposed the trials of a portfolio of searchers, and what the next proposal of each was believed to be worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whet.report.block import Plot, Table, label
from whet.report.listing import sound, trial_axis
from whet.report.parallel import listed
from whet.report.quantity import Share, clean, count
from whet.tune.trial import Trial, Trials

__all__ = ["members_plot"]

_LOOKS = (("@accent", "solid"), ("@second", "dash"), ("@doubt", "dot"), ("@bad", "dashdot"), ("@muted", "longdash"))
_NAMED = 3  # in the title
_ROW = 26  # pixels of a member's line of trials


def members_plot(trials: Trials) -> Plot | None:
    """Return the plot, None for a study without a portfolio.

    >>> from whet.tune.space import Float, Space
    >>> from whet.tune.trial import State
    >>> said = [{"search": "portfolio", "with": w, "credit": {"gp": 0.6, "random": 0.4}} for w in ("gp", "random", "gp")]
    >>> done = [Trial(i, {"x": i / 9}, State.DONE, value=1.0 - i, origin=o) for i, o in enumerate(said)]
    >>> members_plot(Trials(done, space=Space(x=Float(0, 1)))).title
    'gp proposed 2 of 3 trials and random 1; the best is by gp'
    """
    by: dict[str, list[Trial]] = {}
    believed: list[tuple[int, Mapping[str, float]]] = []
    for t in trials:
        who, credit = t.origin.get("with"), t.origin.get("credit")
        if t.origin.get("search") != "portfolio" or not isinstance(who, str) or not isinstance(credit, Mapping):
            continue
        for name in credit:
            by.setdefault(str(name), [])
        by.setdefault(who, []).append(t)
        believed.append((t.id, {str(k): float(v) for k, v in credit.items() if isinstance(v, (int, float))}))
    if not believed:
        return None
    names = sorted(by, key=lambda n: -len(by[n]))
    leads = _leads(trials)
    best = trials.best
    data: list[dict[str, Any]] = []
    for row, name in enumerate(names):
        color, dash = _LOOKS[row % len(_LOOKS)]
        some = by[name]
        data.append({
            "type": "scatter", "mode": "markers", "x": [t.id for t in some], "y": [row] * len(some), "yaxis": "y2",
            "marker": {
                "size": [10 if t is best else 7 if t.id in leads else 5 for t in some], "color": color,
                "symbol": ["star" if t is best else "diamond" if t.id in leads else "circle" for t in some],
            },
            "customdata": [t.id for t in some], "hovertemplate": "%{text}<extra></extra>", "showlegend": False,
        })  # fmt: skip
        worth = [(id, credit[name]) for id, credit in believed if name in credit]
        data.append({
            "type": "scatter", "mode": "lines", "name": label(name), "x": [i for i, _ in worth], "y": [v for _, v in worth],
            "line": {"color": color, "dash": dash, "width": 2}, "hovertemplate": f"{label(name)}, trial %{{x}}: %{{y:.2f}}<extra></extra>",
        })  # fmt: skip
    split = 1 - min(0.5, 0.1 * len(names))
    layout = {
        "xaxis": trial_axis(len(trials)),
        "yaxis": {"title": {"text": "believed worth"}, "range": [0, 1], "domain": [0, split - 0.06]},
        "yaxis2": {
            "domain": [split, 1], "range": [len(names) - 0.5, -0.5], "tickmode": "array", "tickvals": list(range(len(names))),
            "ticktext": [label(n, 14) for n in names], "showgrid": False, "zeroline": False, "anchor": "x",
        },
        "showlegend": True, "legend": {"orientation": "h", "y": -0.2},
    }  # fmt: skip
    note = (
        "Above: who proposed each trial, a diamond where it was the best so far, a star where it is the best of all. Below: what the next proposal of each was believed to be worth"
        " when a trial was asked for, 1 being a new best and 0 a failure; who is next is drawn by that."
    )
    return Plot(_title(names, by, len(believed), best), {"data": data, "layout": layout}, _table(trials, names, by, leads, believed[-1][1]), 260 + _ROW * len(names), note=note)  # fmt: skip


def _leads(trials: Trials) -> set[int]:
    """Return the trials that were the best in the order of their numbers, of those that went as far as the best."""
    best = trials.best
    top, least, found = 0 if best is None else trials.reach(best), float("inf"), set()
    for t in trials:
        if sound(t) and t.value is not None and trials.reach(t) >= top and trials.keeps(t):
            score = trials.goal.score(t.value)
            if score < least:
                least = score
                found.add(t.id)
    return found


def _title(names: list[str], by: Mapping[str, list[Trial]], n: int, best: Trial | None) -> str:
    told = [f"{clean(names[0])} proposed {len(by[names[0]]):,} of {count(n, 'trial')}"]
    named = names if len(names) == _NAMED + 1 else names[:_NAMED]
    told += [f"{clean(name)} {len(by[name]):,}" for name in named[1:]]
    if rest := names[len(named) :]:
        told.append(f"{len(rest)} others {sum(len(by[name]) for name in rest):,}")
    who = next((name for name in names if best is not None and best in by[name]), None)
    return listed(told) + (f"; the best is by {clean(who)}" if who is not None else "")


def _table(
    trials: Trials, names: list[str], by: Mapping[str, list[Trial]], leads: set[int], last: Mapping[str, float]
) -> Table:
    rows = []
    total = sum(len(some) for some in by.values())
    for name in names:
        values = [float(t.value) for t in by[name] if sound(t) and t.value is not None]
        best = min(values, key=trials.goal.score, default=None)
        rows.append((clean(name), len(by[name]), Share(len(by[name]) / total), best, sum(t.id in leads for t in by[name]), last.get(name)))  # fmt: skip
    columns = ("searcher", "trials", "of all", f"best {trials.goal.name}", "new bests", "believed worth at last")
    return Table(columns, rows)

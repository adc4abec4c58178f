"""How much of the best trial's score is luck: raw and corrected side by side, and which trials other examples would have chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whet.report.block import Block, Plot, Prose, Section, Table
from whet.report.quantity import Id, Share, count, show
from whet.report.scale import Scale
from whet.tune.optimism import Optimism
from whet.tune.trial import Goal

__all__ = ["choices_plot", "winner"]

_SHOWN = 12  # trials that have a bar


def choices_plot(found: Optimism) -> Plot:
    """Return how often each trial wins when the choice is made on a part of the examples.

    >>> from whet.metric import Interval
    >>> same = Interval(0.9, 0.8, 0.95, 50)
    >>> choices_plot(Optimism(3, "accuracy", 9, same, same, same, ((3, 0.6), (1, 0.4)), 0.8)).title
    'Trial 3 is the best on 60 % of the halves of the validation examples'
    """
    rows = [(Id(i), Share(share)) for i, share in found.wins]
    shown = found.wins[:_SHOWN]
    own = dict(found.wins).get(found.winner, 0.0)
    data: list[dict[str, Any]] = [
        {
            "type": "bar", "x": [f"trial {i}" for i, _ in shown], "y": [share for _, share in shown],
            "marker": {"color": ["@accent" if i == found.winner else "@muted" for i, _ in shown]},
            "hovertemplate": "%{x}: %{y:.1%}<extra></extra>",
        }
    ]  # fmt: skip
    layout = {
        "xaxis": {"type": "category", "fixedrange": True},
        "yaxis": {"title": {"text": "share of the halves"}, "tickformat": ".0%", "rangemode": "tozero"},
    }
    note = "" if len(found.wins) <= _SHOWN else f"{len(found.wins) - _SHOWN} more win now and then; the table has them."
    title = f"Trial {found.winner} is the best on {own:.0%} of the halves of the validation examples".replace("%", " %")
    return Plot(title, {"data": data, "layout": layout}, Table(("trial", "wins"), rows), 260, note=note)


def _compared(found: Optimism, goal: Goal) -> Plot:
    rows = [
        ("on validation", found.raw),
        ("less luck", found.corrected),
        ("searched again", found.again),
    ]
    y = [2, 1, 0]
    data = [
        {
            "type": "scatter", "mode": "markers", "x": [i.value for _, i in rows], "y": y,
            "marker": {"size": 11, "color": ["@muted", "@accent", "@muted"]},
            "error_x": {"type": "data", "symmetric": False, "thickness": 1.5, "width": 6, "color": "@muted",
                        "array": [i.high - i.value for _, i in rows], "arrayminus": [i.value - i.low for _, i in rows]},
            "text": [f"{name} {show(i)}" for name, i in rows], "hovertemplate": "%{text}<extra></extra>",
        }
    ]  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": Scale(goal, "linear", 0.0, 1.0).title("")}},
        "yaxis": {
            "tickmode": "array", "tickvals": y, "ticktext": [f"{name}  " for name, _ in rows], "range": [-0.6, 2.6],
            "showgrid": False, "fixedrange": True,
        },
    }  # fmt: skip
    table = Table((goal.name, "value", "low", "high"), [(name, i.value, i.low, i.high) for name, i in rows])
    title = f"{show(found.luck)} of the best {goal.name} is the luck of choosing 1 of {count(found.trials, 'trial')}"
    note = (
        "Searched again: what another search like this one would find, its trials drawn anew. All are 95 % intervals."
    )
    return Plot(title, {"data": data, "layout": layout}, table, 216, note=note)


def _again(raced: Mapping[str, Any], goal: Goal) -> list[Block]:
    """Return how the best did on fresh seeds, nothing when they were not run again."""
    rows = [
        (Id(s["trial"]), s["runs"], s["score"], s["error"], None if s["behind"] is None else Share(s["behind"]), "out" if s["out"] else "in")
        for s in raced.get("found") or ()
        if s["runs"]
    ]  # fmt: skip
    said = [f"{line[0].upper()}{line[1:]}." for line in list(raced.get("lines") or ())[:1]]
    head = (
        "trial",
        "fresh seeds",
        f"mean {goal.name}",
        "standard error",
        "chance to be no worse than the first",
        "race",
    )
    return [*map(Prose, said), *([Table(head, rows, title="Run again on fresh seeds")] if rows else [])]


def winner(found: Optimism, goal: Goal, raced: Mapping[str, Any] | None = None) -> Section:
    """Return the section; raced: how the best did on fresh seeds, see `whet.recipe.rerace`.

    >>> from whet.metric import Interval
    >>> raw, left = Interval(0.95, 0.9, 0.98, 100), Interval(0.94, 0.88, 0.97, 100)
    >>> winner(Optimism(3, "accuracy", 20, raw, left, left, ((3, 1.0),), 0.9), Goal("accuracy", "max")).sentence
    'Trial 3 has accuracy 0.95 on validation; less the luck of choosing 1 of 20 trials it is 0.94.'
    """
    blocks: list[Block] = [Prose(f"{d[0].upper()}{d[1:]}.") for d in found.doubts]
    blocks += [_compared(found, goal), choices_plot(found), *_again(raced or {}, goal)]
    sentence = (
        f"Trial {found.winner} has {found.metric} {show(found.raw.value)} on validation; less the luck of choosing 1 of "
        f"{count(found.trials, 'trial')} it is {show(found.corrected.value)}."
    )
    return Section("winner", "How much of it is luck", sentence, tuple(blocks))

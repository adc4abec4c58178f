"""The ensemble: who is in it, with which weight, and what each addition brought."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from whet.report.block import Block, Plot, Section, Table
from whet.report.listing import brief
from whet.report.quantity import Id, Share, show
from whet.report.scale import Scale
from whet.tune.trial import Goal, Trials

__all__ = ["ensemble", "path_plot"]


def path_plot(path: Sequence[float], goal: Goal, single: float | None = None) -> Plot | None:
    """Return the ensemble's value after every greedy addition beside that of the best single trial, or None for none.

    >>> path_plot([0.97, 0.98], Goal("accuracy", "max")).title
    'Averaging 2 picks takes accuracy from 0.97 to 0.98 on validation'
    """
    values = [(k, float(v)) for k, v in enumerate(path, 1) if v is not None and math.isfinite(v)]
    if not values:
        return None
    end, start = values[-1][1], values[0][1] if single is None else float(single)
    gain = goal.score(start) - goal.score(end)
    name = goal.name
    if gain > 0:
        title = f"Averaging {len(path)} picks takes {name} from {show(start)} to {show(end)} on validation"
    else:
        title = f"Averaging {len(path)} picks does not improve {name} on validation: {show(start)} alone, {show(end)} together"
    data: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines+markers", "x": [k for k, _ in values], "y": [v for _, v in values],
            "line": {"color": "@accent", "width": 2}, "marker": {"size": 7, "color": "@accent", "line": {"width": 0}},
            "hovertemplate": "%{x} picks: %{y:.4g}<extra></extra>",
        }
    ]  # fmt: skip
    layout: dict[str, Any] = {
        "xaxis": {
            "title": {"text": "members picked so far (count)"},
            "tickformat": ",d",
            "dtick": max(1, math.ceil(len(path) / 12)),
        },
        "yaxis": {"title": {"text": Scale(goal, "linear", 0.0, 1.0).title()}},
    }
    note = ""
    if single is not None and math.isfinite(single):
        layout["shapes"] = [
            {
                "type": "line",
                "xref": "paper",
                "x0": 0,
                "x1": 1,
                "y0": single,
                "y1": single,
                "line": {"color": "@muted", "width": 1, "dash": "dot"},
            }
        ]
        # A shape does not widen the axis, an invisible point does.
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [values[0][0]],
                "y": [single],
                "marker": {"opacity": 0},
                "hoverinfo": "skip",
            }
        )
        note = f"Dotted: the best single trial, {show(float(single))}. A trial may be picked more than once; that is its weight."
    return Plot(title, {"data": data, "layout": layout}, Table(("members picked", name), values), 300, note=note)


def ensemble(trials: Trials, record: Mapping[str, Any]) -> Section:
    """Return the section.

    record: {"members": [{"trial": id, "weight": w, ...}], "path": [value after each pick], "single": the best single
    trial's value}; any of them may be missing, other keys of a member become columns.

    >>> from whet.tune.space import Float, Space
    >>> from whet.tune.trial import Point, State, Trial
    >>> done = [Trial(k, {"lr": k / 9}, State.DONE, (Point(1, k / 9),), k / 9) for k in range(9)]
    >>> trials = Trials(done, space=Space(lr=Float(0, 1)))
    >>> ensemble(trials, {"members": [{"trial": 0, "weight": 2}, {"trial": 1, "weight": 1}]}).sentence
    '2 trials are averaged by weight.'
    """
    members = [m for m in record.get("members") or () if isinstance(m, Mapping)]
    total = sum(float(m.get("weight") or 0) for m in members)
    members.sort(key=lambda m: -float(m.get("weight") or 0))
    extra = list(dict.fromkeys(k for m in members for k in m if k not in ("trial", "weight")))
    rows = []
    for m in members:
        id = m.get("trial")
        t = trials[id] if isinstance(id, int) and 0 <= id < len(trials) else None
        weight = Share(float(m.get("weight") or 0) / total) if total else None
        value = None if t is None or t.value is None else float(t.value)
        rows.append(
            (
                Id(id) if isinstance(id, int) else id,
                weight,
                value,
                *(m.get(k) for k in extra),
                brief(t.params) if t else None,
            )
        )
    blocks: list[Block] = []
    plot = path_plot(record.get("path") or (), trials.goal, record.get("single"))
    if plot is not None:
        blocks.append(plot)
    if rows:
        blocks.append(
            Table(("trial", "weight", f"{trials.goal.name} alone", *extra, "configuration"), rows, "Members, by weight")
        )
    if not members:
        return Section("ensemble", "The ensemble", "No ensemble was made.", tuple(blocks))
    sentence = (
        f"{len(members)} trials are averaged by weight."
        if len(members) > 1
        else "One trial was chosen: adding others did not help."
    )
    return Section("ensemble", "The ensemble", sentence, tuple(blocks))

"""The anytime curve: the best value seen so far, over the epochs trained and over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from whet.report.block import Plot, Table
from whet.report.maker import by_hand
from whet.report.quantity import Id, Seconds, count, show
from whet.report.scale import Scale
from whet.tune.trial import Bound, State, Trials

__all__ = ["History", "anytime", "improvements"]

History = Sequence[tuple[int, int, float]]
"""Reports in the order they came: (trial, step, seconds since the study began)."""


def replay(trials: Trials) -> list[tuple[int, int, float]]:
    """Return a stand-in for the history: every trial to its end before the next, without times."""
    return [(t.id, p.step, 0.0) for t in trials for p in t.curve]


def improvements(trials: Trials, history: History) -> tuple[list[tuple[int, float, float, int]], int, float]:
    """Return (epochs, seconds, value, trial) at every new best, then all epochs and all seconds. Failed trials never lead.

    Nor does what breaks a bound among the goals, as long as any trial keeps them.

    >>> from whet.tune.space import Space
    >>> from whet.tune.trial import Point, Trial
    >>> t = Trial(0, {}, State.DONE, (Point(1, 2.0, 1.0), Point(2, 3.0, 1.0), Point(3, 1.0, 1.0)), 1.0)
    >>> improvements(Trials([t], space=Space()), [(0, 1, 1.0), (0, 2, 2.0), (0, 3, 3.0)])
    ([(1, 1.0, 2.0, 0), (3, 3.0, 1.0, 0)], 3, 3.0)
    """
    best, epochs, clock, bounds = math.inf, 0, 0.0, held(trials)
    reached: dict[int, int] = {}
    found = []
    for id, step, seconds in history:
        if not 0 <= id < len(trials):
            continue
        trial = trials[id]
        before = reached.get(id, trial.parent[1] if trial.parent else 0)
        epochs += max(0, step - before)
        reached[id] = max(step, before)
        clock = max(clock, seconds) if math.isfinite(seconds) else clock
        point = trial.at(step)
        if point is None or trial.state is State.FAILED:
            continue
        said = {**point.metrics, trials.goal.name: point.value}
        if not all(b.holds(said) for b in bounds):
            continue
        score = trials.goal.score(point.value)
        if score < best:
            best = score
            found.append((epochs, clock, float(point.value), id))
    return found, epochs, clock


def held(trials: Trials) -> list[Bound]:
    """Return the bounds that a trial must keep to be the best: those among the goals, none when no trial keeps them all."""
    best = trials.best
    return [g for g in trials.goals if isinstance(g, Bound)] if best is not None and trials.keeps(best) else []


def unit(seconds: float) -> tuple[str, float]:
    """Return the unit a time axis of this length is read in, and how many seconds it has."""
    return ("s", 1.0) if seconds < 180 else ("min", 60.0) if seconds < 3 * 3600 else ("h", 3600.0)


def anytime(trials: Trials, history: History = ()) -> Plot | None:
    """Return the plot, or None when nothing was reported.

    >>> from whet.tune.space import Float, Space
    >>> from whet.tune.trial import Point, State, Trial
    >>> done = [Trial(k, {"lr": k / 9}, State.DONE, (Point(1, k / 9),), k / 9) for k in range(9)]
    >>> trials = Trials(done, space=Space(lr=Float(0, 1)))
    >>> anytime(trials).title
    'Best loss 0, first seen after 1 of 9 epochs'
    """
    told = bool(history)
    steps, epochs, clock = improvements(trials, history if told else replay(trials))
    if not steps:
        return None
    goal = trials.goal
    last = steps[-1]
    gain = abs(last[2] - steps[0][2])
    near = next(s for s in steps if abs(last[2] - s[2]) <= 0.1 * gain)
    title = f"Best {goal.name} {show(last[2])}, first seen after {last[0]:,} of {count(epochs, 'epoch')}"
    if near is not last:
        title += f"; nine tenths of the gain came in the first {near[0]:,}"
    name, divisor = unit(clock)
    scale = Scale.of(goal, [s[2] for s in steps])
    values = [scale.place(s[2]) for s in (*steps, last)]
    mine = [by_hand(trials[s[3]]) for s in steps]
    line: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines+markers",
        "line": {"shape": "hv", "color": "@accent", "width": 2},
    }
    line |= {
        "marker": {
            "size": [9 if m else 5 for m in mine] + [0],
            "color": "@accent",
            "line": {"width": 0},
            "symbol": ["diamond" if m else "circle" for m in mine] + ["circle"],
        },
        "customdata": [*(s[3] for s in steps), last[3]],
    }
    line["hovertemplate"] = "%{text}<br><br>then: " + scale.hover + "<extra></extra>"
    timed = clock > 0
    data = [{**line, "x": [*(s[0] for s in steps), epochs], "y": values}]
    layout: dict[str, Any] = {
        "xaxis": {
            "title": {"text": "training so far (epochs)"},
            "rangemode": "tozero",
            "domain": [0, 0.475 if timed else 1],
        },
        "yaxis": scale.axis(),
    }
    if timed:
        data.append(
            {
                **line,
                "x": [*(s[1] / divisor for s in steps), clock / divisor],
                "y": values,
                "xaxis": "x2",
                "yaxis": "y2",
            }
        )
        layout["xaxis2"] = {
            "title": {"text": f"time since the start ({name})"},
            "rangemode": "tozero",
            "domain": [0.525, 1],
            "anchor": "y2",
        }
        layout["yaxis2"] = {
            **scale.axis(),
            "title": {"text": ""},
            "matches": "y",
            "anchor": "x2",
            "showticklabels": False,
        }
    rows = [(s[0], Seconds(s[1]), s[2], Id(s[3])) for s in steps]
    note = "A step is a new best value of any trial at any epoch."
    note += " What breaks a bound is left out." if held(trials) else ""
    note += " A diamond: by a trial that was made by hand." if any(mine) else ""
    if not told:
        note += " Trials stand in the order of their numbers, as if each had been trained to its end before the next."
    if trials.best is not None and trials.best.value is not None and trials.best.value != last[2]:
        note += f" The best trial that went furthest, {trials.best.id}, ended at {show(trials.best.value)}."
    return Plot(
        title, {"data": data, "layout": layout}, Table(("epochs", "time", goal.name, "trial"), rows), 320, note=note
    )

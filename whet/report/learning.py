"""How a training learns, drawn: a few examples by heart, predictions on a fixed batch, a sweep of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from whet.report.block import Plot, Table, label
from whet.report.quantity import Id, count, show

__all__ = ["answers", "dynamics", "overfitted", "sweep", "trend"]

_KEEP = 0.8  # of the smoothed loss at each step, as the check keeps it
_LINES = 30  # rows of a table behind a plot


def number(value: Any) -> float:
    """Return a number as JSON may hold it (None and "nan" for what is not finite).

    >>> number(None), number("inf"), number(2)
    (nan, inf, 2.0)
    """
    return math.nan if value is None else float(value)


def _thin(rows: Sequence[Any]) -> list[Any]:
    at = np.linspace(0, max(0, len(rows) - 1), min(_LINES, len(rows))).round().astype(int)
    return [rows[i] for i in at]


def overfitted(fact: Mapping[str, Any]) -> Plot | None:
    """Return the loss of the trainings on a few examples, with its goal, from the facts of the check OF; None without curves.

    >>> fact = {"loss": 0.01, "floor": 0.0, "start": 2.0, "left": 0.005, "warn": 0.01, "n": 16, "steps": 2, "tries": [{
    ... "optimizer": "Adam", "factor": 1.0, "loss": 0.01}], "curves": [{"steps": [0, 1], "losses": [2.0, 0.01]}]}
    >>> overfitted(fact).title
    '16 examples are learned by heart: loss 2 to 0.01 in 2 steps'
    """
    curves, tries = fact.get("curves") or (), fact.get("tries") or ()
    if not curves or len(curves) != len(tries) or not any(c["steps"] for c in curves):
        return None
    floor, start, loss = number(fact["floor"]), number(fact["start"]), number(fact["loss"])
    goal = floor + fact["warn"] * (start - floor)
    learned = number(fact["left"]) <= fact["warn"]
    best = min(
        range(len(tries)),
        key=lambda i: number(tries[i]["loss"]) if math.isfinite(number(tries[i]["loss"])) else math.inf,
    )
    data, rows = [], []
    logged = goal > 0 and all(v is None or v > 0 for c in curves for v in c["losses"])
    for i in sorted(range(len(curves)), key=lambda i: i == best):  # the best on top
        name = f"{tries[i]['optimizer']}, rate x {show(tries[i]['factor'])}"
        own = i == best
        data.append({
            "type": "scatter", "mode": "lines+markers" if len(curves[i]["steps"]) < 12 else "lines", "name": label(name, 40),
            "x": list(curves[i]["steps"]), "y": list(curves[i]["losses"]),
            "line": {"color": "@accent" if own else "@faint", "width": 2.5 if own else 1.25}, "marker": {"size": 5},
            "hovertemplate": label(name, 40).replace("%", "") + "<br>step %{x}: %{y:.4g}<extra></extra>",
        })  # fmt: skip
        rows += [(name, Id(s), v) for s, v in _thin(list(zip(curves[i]["steps"], curves[i]["losses"], strict=True)))]
    last = max(s for c in curves for s in c["steps"])
    level = {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "line": {"color": "@second", "width": 1.25, "dash": "dash"},
    }
    shapes = [{**level, "y0": goal, "y1": goal}]
    note = f"Dashed: {show(goal)}, which is {fact['warn']:.0%} above the floor of {show(floor + 0.0)}: there it counts as learned."
    if len(curves) > 1:
        note += f" Grey: {count(len(curves) - 1, 'other attempt')} at other learning rates, or with Adam(1e-3) for comparison."
    layout = {
        "xaxis": {"title": {"text": "training (steps)"}, "rangemode": "tozero", "tickformat": ",d"} | ({"dtick": 1} if last <= 10 else {}),
        "yaxis": {"title": {"text": "loss"}, "type": "log" if logged else "linear"}, "shapes": shapes,
    }  # fmt: skip
    what = "are learned by heart" if learned else "are not learned by heart"
    title = (
        f"{fact['n']} examples {what}: loss {_short(start)} to {_short(loss)} in {count(int(fact['steps']), 'step')}"
    )
    return Plot(
        title, {"data": data, "layout": layout}, Table(("attempt", "step", "loss"), rows), 320, half=True, note=note
    )


def answers(fact: Mapping[str, Any], classes: Sequence[str] | None = None) -> Table | None:
    """Return targets beside predictions at the least loss of those few examples, from the facts of OF; None without them.

    >>> answers({"answers": {"targets": [1], "predictions": [0], "losses": [0.7]}}, ("no", "yes")).rows
    [('yes', 'no', 0.7, 'wrong')]
    """
    found = fact.get("answers") or {}
    if not found.get("targets"):
        return None
    exact = all(isinstance(v, int) for v in (*found["targets"], *found["predictions"]))

    def word(v: Any) -> Any:
        if not exact:
            return None if v is None else float(v)
        return str(classes[v]) if classes is not None and 0 <= v < len(classes) else str(v)

    rows: list[tuple[Any, ...]] = []
    for t, p, loss in zip(found["targets"], found["predictions"], found["losses"], strict=True):
        last = ("right" if t == p else "wrong") if exact else (None if None in (t, p) else float(p - t))
        rows.append((word(t), word(p), None if loss is None else float(loss), last))
    wrong = sum(row[3] == "wrong" for row in rows)
    title = "Targets and predictions at the least loss"
    if exact:
        title += f": {'all are right' if not wrong else f'{wrong} of {len(rows)} are wrong'}"
    return Table(("target", "prediction", "loss", "verdict" if exact else "prediction minus target"), rows, title)


def dynamics(found: Mapping[str, Any] | None, classes: Sequence[str] | None = None, *, where: str = "") -> Plot | None:
    """Return what a model said of fixed examples while it learned, with a verdict on jitter; None without a record.

    found: see `whet.checks.dynamics.Dynamics.json`; where: what training it was, for the note.

    >>> found = {"steps": [0, 1], "values": [[0.5], [0.9]], "targets": [1], "kind": "classes", "move": 0.2, "turn": 0.9, "n": 1}
    >>> dynamics(found).title
    'No jitter: a step moves predictions by 20 % of their spread, and the next one does not undo it'
    """
    from whet.checks.motion import gait

    if not found or not found.get("steps"):
        return None
    values = np.array([[number(v) for v in row] for row in found["values"]])
    exact = found.get("kind") == "classes"
    known, plain = list(found["targets"]), found.get("kind") == "values"
    names = [
        str(classes[t]) if exact and classes and 0 <= int(t) < len(classes) else show(t if plain else Id(t))
        for t in known
    ]
    shown = values if not plain else values - np.array([number(t) for t in known])
    moved, turned = number(found["move"]), number(found["turn"])
    move = f"{_short(100 * moved)} % of their spread"
    way = gait({"move": moved, "turn": turned})
    title = {
        "alike": "All examples get about the same prediction: a step moves them together, and nothing tells them apart",
        "jitter": f"Predictions jitter: a step moves them by {move} and the next one back; lower the learning rate",
        "still": f"Predictions barely move: {move} a step; raise the learning rate",
        "steady": f"No jitter: a step moves predictions by {move}, and the next one does not undo it",
    }[way]
    steps = list(found["steps"])
    data: list[dict[str, Any]] = []
    for i, name in enumerate(names):
        off = exact and not shown[-1, i] >= 0.5
        data.append({
            "type": "scatter", "mode": "lines", "x": steps, "y": [v if math.isfinite(v) else None for v in shown[:, i].tolist()],
            "line": {"color": "@bad" if off else "@accent", "width": 1.5, "dash": "dot" if off else "solid"}, "opacity": 0.75,
            "hovertemplate": f"example {i + 1}, target {label(name).replace('%', '')}<br>step %{{x}}: %{{y:.3g}}<extra></extra>",
        })  # fmt: skip
    axis = {
        "title": {
            "text": "probability of its class"
            if exact
            else "predicted minus target (in units of the target)"
            if plain
            else "output"
        }
    }
    layout = {
        "xaxis": {"title": {"text": "training (steps)"}, "rangemode": "tozero", "tickformat": ",d"},
        "yaxis": axis | ({"range": [-0.03, 1.03]} if exact else {"zeroline": True}),
    }
    note = f"Each line is one of {len(names)} fixed examples{where}. "
    note += "Dotted: not its own class at the end. " if exact and any(d["line"]["dash"] == "dot" for d in data) else ""
    note += f"Movement over {count(int(found['n']), 'example')} at the end: two steps in a row have a cosine of {show(round(turned, 2))}; below -0.5 they flip back and forth."
    rows = [(Id(s), *row) for s, row in _thin(list(zip(steps, values.tolist(), strict=True)))]
    table = Table(("step", *(f"{i + 1}: {name}" for i, name in enumerate(names))), rows)
    return Plot(title, {"data": data, "layout": layout}, table, 320, half=True, note=note)


def sweep(fact: Mapping[str, Any]) -> Plot | None:
    """Return the loss over a rising learning rate with the range in which it falls, from the facts of the check LRR.

    >>> fact = {"rate": 0.01, "start": 2.0, "falls": 1e-3, "diverges": 1.0, "suggested": 0.05,
    ... "sweep": {"low": 1e-4, "high": 1.0, "losses": [2.0, 1.5, 1.0, 9.0]}}
    >>> sweep(fact).title
    'The loss falls at learning rates from 0.001 to 1; that of the task, 0.01, lies within'
    """
    swept = fact.get("sweep") or {}
    losses = [number(v) for v in swept.get("losses") or ()]
    if len(losses) < 2:
        return None
    rates = np.geomspace(swept["low"], swept["high"], len(losses))
    start, mine = number(fact["start"]), number(fact["rate"])
    smooth, kept = [], start
    for loss in losses:
        kept = _KEEP * kept + (1 - _KEEP) * loss
        smooth.append(kept)
    finite = [v for v in smooth if math.isfinite(v)]
    low = min(finite, default=start)
    top = start + 0.6 * max(start - low, 0.05 * abs(start))
    falls, ends = fact.get("falls"), fact.get("diverges")
    shapes: list[dict[str, Any]] = [{"type": "line", "x0": mine, "x1": mine, "yref": "paper", "y0": 0, "y1": 1,
                                     "line": {"color": "@ink", "width": 1.25, "dash": "dot"}}]  # fmt: skip
    if falls is None:
        title = "The sweep shows no range of learning rates: the loss does not fall by more than its noise"
    else:
        last = number(ends) if ends is not None else float(rates[-1])
        shapes.insert(0, {"type": "rect", "x0": number(falls), "x1": last, "yref": "paper", "y0": 0, "y1": 1,
                          "fillcolor": "@soft", "opacity": 0.35, "line": {"width": 0}, "layer": "below"})  # fmt: skip
        place = (
            "lies within" if number(falls) <= mine <= last else "lies below" if mine < number(falls) else "lies above"
        )
        span = f"from {_short(falls)} to {_short(ends)}" if ends is not None else f"from {_short(falls)} on"
        title = f"The loss falls at learning rates {span}; that of the task, {_short(mine)}, {place}"
    data = [
        {"type": "scatter", "mode": "lines", "x": rates.tolist(), "y": [v if math.isfinite(v) else None for v in y], "name": name,
         "line": {"color": colour, "width": width}, "hovertemplate": "rate %{x:.2g}: " + name + " %{y:.4g}<extra></extra>"}
        for y, name, colour, width in ((losses, "loss", "@faint", 1), (smooth, "smoothed loss", "@accent", 2.5))
    ]  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": "learning rate"}, "type": "log", "exponentformat": "power"},
        "yaxis": {"title": {"text": "loss"}, "range": [low - 0.08 * (top - low), top]}, "shapes": shapes,
    }  # fmt: skip
    note = f"Grey: the loss of each step, cut above {_short(top)}; blue: smoothed. Shaded: the range; dotted: the task's rate."
    if fact.get("suggested") is not None:
        note += f" Steepest, and tried: {_short(fact['suggested'])}."
    rows = _thin(list(zip(rates.tolist(), losses, smooth, strict=True)))
    table = Table(("learning rate", "loss", "smoothed"), rows)
    return Plot(title, {"data": data, "layout": layout}, table, 320, note=note)


def trend(fact: Mapping[str, Any]) -> Plot | None:
    """Return the loss of a watched training, from the facts TREND; None without them.

    >>> trend({"start": 2.0, "loss": 1.0, "n": 2, "looks": 1, "curve": {"steps": [1, 2], "losses": [2.0, 1.0]}}).title
    'The loss goes from 2 to 1 in 2 steps'
    """
    curve = fact.get("curve") or {}
    if not curve.get("steps"):
        return None
    line = {"type": "scatter", "mode": "lines", "x": list(curve["steps"]), "y": list(curve["losses"]), "line": {"color": "@accent", "width": 2.5},
            "hovertemplate": "step %{x}: %{y:.4g}<extra></extra>"}  # fmt: skip
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": "training (steps)"}, "rangemode": "tozero", "tickformat": ",d"},
        "yaxis": {"title": {"text": "loss"}},
    }
    told = [v for v in curve["losses"] if v is not None]
    if told and min(told) > 0 and max(told) > 100 * min(told):
        layout["yaxis"]["type"] = "log"
    rows = _thin([(Id(s), v) for s, v in zip(curve["steps"], curve["losses"], strict=True)])
    title = f"The loss goes from {_short(fact['start'])} to {_short(fact['loss'])} in {count(int(fact['n']), 'step')}"
    note = f"Means of {count(int(curve['steps'][0]), 'step')}; looked at {count(int(fact['looks']), 'time')}."
    return Plot(title, {"data": [line], "layout": layout}, Table(("step", "loss"), rows), 320, half=True, note=note)


def _short(value: Any) -> str:
    return show(float(f"{number(value):.3g}"))

"""The answer: what was found, how good it is and how sure that is, what it cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from whet.report.anytime import History
from whet.report.belief import commonest
from whet.report.block import Block, Facts, Headline, Plot, Section, Table, label
from whet.report.listing import spent, started, verbatim
from whet.report.quantity import Bytes, Seconds, clean, count, point, show
from whet.report.scale import Scale
from whet.tune.pareto import unkept
from whet.tune.trial import Goal, State, Trial, Trials

if TYPE_CHECKING:
    from whet.metric import Interval

__all__ = ["answer", "interval_plot"]


def span(i: Interval) -> str:
    """Return an interval's ends and level in words."""
    return show(i).partition(" (")[2].removesuffix(")")


def agree(a: Interval, b: Interval) -> bool:
    """Return whether two independent scores differ by no more than chance allows.

    The room is the root of the sum of squares of the halves that face each other (Newcombe 1998, method 10).

    >>> from whet.metric import Interval
    >>> agree(Interval(0.9889, 0.9678, 0.9962, 270), Interval(0.9963, 0.9793, 0.9993, 270))
    True
    """
    low, high = sorted((a, b), key=lambda i: i.value)
    return high.value - low.value <= math.hypot(low.high - low.value, high.value - high.low)


def interval_plot(scores: Mapping[str, Interval], goal: Goal) -> Plot | None:
    """Return the scores with their intervals one below the other, or None when fewer than two can be drawn.

    The finding is whether the sealed test lies where the validation said it would.

    >>> from whet.metric import Interval
    >>> scores = {"validation": Interval(0.98, 0.96, 0.99, 270), "test": Interval(0.93, 0.90, 0.95, 270)}
    >>> interval_plot(scores, Goal("accuracy", "max")).title
    'The test is worse than the validation promised, by more than chance allows'
    """
    drawn = {n: i for n, i in scores.items() if all(math.isfinite(float(v)) for v in (i.value, i.low, i.high))}
    if len(drawn) < 2:
        return None
    names = list(drawn)
    rows = [(n, float(i.value), float(i.low), float(i.high), i.n) for n, i in drawn.items()]
    promised = ("ensemble", "corrected", "validation")
    test, seen = drawn.get("test"), next((drawn[n] for n in promised if n in drawn), None)
    if test is None or seen is None:
        title = f"{goal.name.capitalize()} with its 95 % intervals"
    elif agree(test, seen):
        title = "The test agrees with the validation: they differ by no more than their intervals allow"
    else:
        worse = goal.score(test.value) > goal.score(seen.value)
        title = f"The test is {'worse' if worse else 'better'} than the validation promised, by more than chance allows"
    y = list(range(len(names)))[::-1]
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": [r[1] for r in rows],
            "y": y,
            "marker": {"size": 11, "color": ["@accent" if n == "test" else "@muted" for n in names]},
            "error_x": {"type": "data", "symmetric": False, "thickness": 1.5, "width": 6, "color": "@muted",
                        "array": [r[3] - r[1] for r in rows], "arrayminus": [r[1] - r[2] for r in rows]},
            "text": [f"{label(n)} {label(show(i), 60)}" for n, i in drawn.items()],
            "hovertemplate": "%{text}<extra></extra>",
        }
    ]  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": Scale(goal, "linear", 0.0, 1.0).title("")}},
        "yaxis": {
            "tickmode": "array",
            "tickvals": y,
            "ticktext": [label(n) + "  " for n in names],
            "range": [-0.6, len(names) - 0.4],
            "showgrid": False,
            "fixedrange": True,
        },
    }
    table = Table(("split", goal.name, "low", "high", "examples"), rows)
    return Plot(title, {"data": data, "layout": layout}, table, 96 + 40 * len(rows))


def _sentence(trials: Trials, scores: Mapping[str, Interval]) -> str:
    name, best, test = trials.goal.name, trials.best, scores.get("test")
    valid = scores.get("ensemble", scores.get("validation"))
    if test is not None:
        text = f"{name.capitalize()} {point(test)} on the sealed test split ({span(test)}; {count(test.n, 'example')})"
        return text + (f", against {point(valid)} on validation." if valid is not None else ".")
    if valid is not None:
        left = scores.get("corrected") if "ensemble" not in scores else None
        less = "" if left is None else f", {point(left)} less the luck of choosing ({span(left)})"
        said = f"{name.capitalize()} {point(valid)} on validation" + (less or f" ({span(valid)})")
        return f"{said}; the test split was not opened."
    if best is not None:
        return (
            f"{name.capitalize()} {show(best.value)} on validation, by trial {best.id}; the test split was not opened."
        )
    failed = sum(t.state is State.FAILED for t in trials)
    if failed:
        return (
            f"There is no result: {failed:,} of {started(trials):,} trials failed, most often with {commonest(trials)}."
        )
    return "There is no result yet: no trial has reported a value."


_SIZES = ("bytes", "size")


def exported(export: Mapping[str, Any]) -> Facts:
    """Return what an export's record says, sizes and times with their units as its names say them.

    >>> exported({"path": "model.onnx", "bytes": 52_000, "latency_ms": 0.2}).values["bytes"]
    52000
    """
    values: dict[str, Any] = {}
    for name, value in export.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if number and (name in _SIZES or name.endswith("_bytes")):
            value = Bytes(value)
        elif number and name.endswith("_ms"):
            name, value = name.removesuffix("_ms"), Seconds(value / 1000)
        elif number and (name.endswith("_seconds") or name == "seconds"):
            name, value = name.removesuffix("_seconds"), Seconds(value)
        values[name.replace("_", " ")] = value
    return Facts(values, "The exported model")


def answer(
    trials: Trials,
    scores: Mapping[str, Interval],
    export: Mapping[str, Any] | None = None,
    *,
    history: History = (),
    lead: Trial | None = None,
) -> Section:
    """Return the first section.

    scores: by name: "test", "validation" (the best single trial), "corrected" (the same without the luck of choosing), "ensemble" (on
    validation), others as they are;
    export: the record of the exported model, or None; history: see `whet.report.anytime`, for the time it took; lead: the trial
    whose configuration to show, the best by default.

    >>> from whet.tune.space import Float, Space
    >>> from whet.tune.trial import Point, State, Trial
    >>> done = [Trial(k, {"lr": k / 9}, State.DONE, (Point(1, k / 9),), k / 9) for k in range(9)]
    >>> trials = Trials(done, space=Space(lr=Float(0, 1)))
    >>> answer(trials, {}).sentence
    'Loss 0 on validation, by trial 0; the test split was not opened.'
    """
    epochs, seconds = spent(trials, history)
    best = trials.best
    lead = lead or best
    items: list[tuple[str, Any, str]] = []
    name = trials.goal.name
    named = {
        "test": f"test {name}",
        "ensemble": f"validation {name}, ensemble",
        "validation": f"validation {name}, best trial",
        "corrected": "the same, less the luck of choosing",
    }
    for key in (*(k for k in named if k in scores), *(k for k in scores if k not in named)):
        i = scores[key]
        items.append((named.get(key, f"{trials.goal.name}, {key}"), i, f"{span(i)}, {count(i.n, 'example')}"))
    if best is not None and "validation" not in scores:
        items.append((f"validation {name}", best.value, f"trial {best.id} at epoch {best.step}"))
    if len(trials):
        items.append(
            (
                "cost",
                Seconds(seconds) if seconds > 0 else epochs,
                f"{count(epochs, 'epoch')}, {count(started(trials), 'trial')}",
            )
        )
    blocks: list[Block] = [Headline(tuple(items))] if items else []
    if plot := interval_plot(scores, trials.goal):
        blocks.append(plot)
    if lead is not None and lead.params:
        blocks.append(Facts(verbatim(lead.params), f"The best configuration, trial {lead.id}"))
    if export:
        blocks.append(exported(export))
    sentence = _sentence(trials, scores)
    if said := clean(unkept(trials)):
        sentence += f" {said[0].upper()}{said[1:]}."
    return Section("answer", "The answer", sentence, tuple(blocks))

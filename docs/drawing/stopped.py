"""Two goals under early stopping: which trials are trained to the end when the first goal decides, and when both do."""

from __future__ import annotations

import math

from drawing.svg import LEFT, PLOT_H, PLOT_W, TOP, page, words
from drawing.traded import HIGH, LOW, SPACE, measured, py
from whet.testing import play
from whet.tune.schedule.asha import Asha
from whet.tune.search.random import Random
from whet.tune.space import Params, Space
from whet.tune.trial import Trial, Trials

__all__ = ["stopped", "stopping"]

STARTS, STEPS, SEED, GAP = 60, 9, 0, 24
HALF = (PLOT_W - GAP) / 2


def training(_: Space, p: Params, step: int) -> dict[str, float]:
    """Return what the network of `measured` reports after `step` epochs: its error comes down, its latency stays."""
    error, ms = measured(p)
    return {"error": error + 0.3 * (1 / step - 1 / STEPS), "ms": ms}


def stopping(*goals: str) -> Trials:
    """Return the trials of a study with these goals under asha."""
    study = play(Random(), Asha(), SPACE, steps=STEPS, starts=STARTS, seed=SEED, objective=training, goal=list(goals))
    return study.trials


def stopped(first: Trials, both: Trials) -> str:
    """Return the picture as SVG: each trial where it ends, or would have ended; full when it was trained to the end."""
    parts: list[str] = []
    for left, trials, said in (
        (LEFT, first, "the error alone decides"),
        (LEFT + HALF + GAP, both, "both goals decide"),
    ):
        for t in sorted(trials, key=lambda t: t.step):
            parts.append(_dot(t, left))
        parts.append(f'<path class="tl" d="M{left:.0f} {TOP}V{TOP + PLOT_H}H{left + HALF:.0f}" fill="none"/>')
        parts.append(words(left + HALF / 2, TOP - 10, said, "middle", "i", size=15))
        parts += [words(_px(v, left), TOP + PLOT_H + 17, f"{v:g}", "middle", "m") for v in (0.2, 1, 5, 20)]
        parts.append(words(left + HALF / 2, TOP + PLOT_H + 36, "latency (ms, log scale)", "middle", "m"))
    parts.append(
        f'<g transform="translate(16 {TOP + PLOT_H / 2}) rotate(-90)">{words(0, 0, "error in the end", "middle", "m")}</g>'
    )
    parts += [words(LEFT - 8, py(v) + 4, f"{v:g}", "end", "m") for v in (0.0, 0.1, 0.2, 0.3)]
    return page("Which trials are trained to the end with one goal and with two", parts, TOP + PLOT_H + 48)


def _px(ms: float, left: float) -> float:
    return left + HALF * (math.log(ms) - math.log(LOW)) / (math.log(HIGH) - math.log(LOW))


def _dot(t: Trial, left: float) -> str:
    error, ms = measured(t.params)
    kind, r = ("a tb", 5.0) if t.step == STEPS else ("f tf", 2.0 + 1.5 * math.log(t.step, 3))
    return f'<circle class="{kind}" cx="{_px(ms, left):.1f}" cy="{py(error):.1f}" r="{r:.1f}"/>'

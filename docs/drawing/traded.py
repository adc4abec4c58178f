"""A front: what two goals are traded for, and what lies behind it."""

from __future__ import annotations

import json
import math
from pathlib import Path

from drawing.svg import LEFT, PLOT_H, PLOT_W, TOP, framed, page, words
from whet import seed as streams
from whet.tune.pareto import front
from whet.tune.search import searcher
from whet.tune.space import Float, Int, Params, Space
from whet.tune.trial import Curve, Point, State, Trial, Trials, parse_goals

__all__ = ["recorded", "traded", "trading"]

TRIALS, SEED = 60, 0
SPACE = Space(width=Int(8, 1024, log=True), depth=Int(1, 6), lr=Float(1e-4, 1e-1, log=True))
GOALS = parse_goals(["min error", "min ms", "ms <= 20"])
CORNER = {"error": 0.3, "ms": 20.0}
LOW, HIGH = 0.15, 60.0  # milliseconds of the axis, logarithmic
TOP_ERROR = 0.35


def measured(p: Params) -> tuple[float, float]:
    """Return the made-up error and latency (ms) of a network: wide and deep ones err less, take longer, and want a smaller rate."""
    width, depth, lr = (float(p[n]) for n in ("width", "depth", "lr"))  # type: ignore[arg-type]
    off = math.log10(lr) + 2 + 0.25 * math.log10(width)
    error = 0.02 + 0.5 / width**0.5 + 0.06 * abs(depth - 3) / 3 + 0.05 * off**2
    return min(error, 0.9), 0.1 + 0.01 * width * depth**0.8


def trading(search: str = "random", seed: int = SEED) -> Trials:
    """Return the trials of a study with two goals and a bound."""
    made = searcher(search, SPACE, 1, GOALS, seed=seed)
    done: list[Trial] = []
    for i in range(TRIALS):
        said = made.propose(Trials([*done, Trial(i)], space=SPACE, goals=GOALS), streams.rng(seed, i, "propose"))
        error, ms = measured(said.params)
        curve = Curve([Point(1, error, metrics={"ms": ms})])
        done.append(Trial(i, said.params, State.DONE, curve, error, origin=said.origin))
    return Trials(done, space=SPACE, goals=GOALS)


def recorded() -> Trials:
    """Return the trials of `trading("gp")` as they were proposed once: another processor rounds its models otherwise."""
    done: list[Trial] = []
    for i, params in enumerate(json.loads((Path(__file__).parent / "front-gp.json").read_text(encoding="utf-8"))):
        error, ms = measured(params)
        done.append(Trial(i, params, State.DONE, Curve([Point(1, error, metrics={"ms": ms})]), error))
    return Trials(done, space=SPACE, goals=GOALS)


def px(ms: float) -> float:
    """Return the pixel of a latency."""
    return LEFT + PLOT_W * (math.log(ms) - math.log(LOW)) / (math.log(HIGH) - math.log(LOW))


def py(error: float) -> float:
    """Return the pixel of an error; what is above the plot is on its edge."""
    return TOP + PLOT_H * (1 - min(error, TOP_ERROR) / TOP_ERROR)


def place(t: Trial) -> tuple[float, float]:
    """Return the pixels of a trial."""
    return px(t.curve[-1].metrics["ms"]), py(t.curve[-1].value)


def traded(trials: Trials) -> str:
    """Return the picture of the front as SVG, with what it dominates up to the reference shaded."""
    found = [t for t in front(trials) if t.curve[-1].value < CORNER["error"]]
    best = sorted(found, key=lambda t: t.curve[-1].metrics["ms"])
    on = {t.id for t in front(trials)}
    right, top = px(CORNER["ms"]), py(CORNER["error"])
    steps = [f"M{place(best[0])[0]:.1f} {top:.1f}", *(f"H{x:.1f}V{y:.1f}" for x, y in map(place, best))]
    parts = [
        f'<path class="s" fill-opacity="0.35" d="{"".join(steps)}H{right:.1f}V{top:.1f}Z"/>',
        f'<path class="ta" fill="none" stroke-width="1.5" d="{"".join(steps)}H{right:.1f}"/>',
        f'<path class="tf" stroke-dasharray="3 3" d="M{right:.1f} {TOP}V{TOP + PLOT_H}"/>',
        words(right + 5, TOP + PLOT_H - 8, "ms &lt;= 20", "start", "m"),
    ]
    for t in trials:
        x, y = place(t)
        kind = "f" if trials.keeps(t) else "b"
        if t.id not in on:
            parts.append(f'<circle class="{kind} tf" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
    parts += [f'<circle class="a tb" cx="{x:.1f}" cy="{y:.1f}" r="5"/>' for x, y in map(place, best)]
    parts.append(f'<path class="tl" d="M{LEFT} {TOP}V{TOP + PLOT_H}H{LEFT + PLOT_W}" fill="none"/>')
    parts += [words(px(v), TOP + PLOT_H + 17, f"{v:g}", "middle", "m") for v in (0.2, 1, 5, 20)]
    parts += [words(LEFT - 8, py(v) + 4, f"{v:g}", "end", "m") for v in (0.0, 0.1, 0.2, 0.3)]
    parts += framed("latency (ms, log scale)", "error", f"{len(on)} of {len(trials)} trials are beaten by none in both")
    return page("The front of a study with two goals and a bound", parts, TOP + PLOT_H + 48)

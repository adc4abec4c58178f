"""How far each scheduler trains the same trials of one made-up task; and a round of Hyperband."""

from __future__ import annotations

import math

from drawing.searchers import SPACE, loss
from drawing.svg import LEFT, PLOT_H, PLOT_W, TOP, framed, page, words
from whet.testing import SPACES, play
from whet.tune.attempt import Attempt
from whet.tune.schedule.hyperband import Hyperband
from whet.tune.search.random import Random
from whet.tune.space import Params, Space
from whet.tune.study import Study
from whet.tune.trial import State

__all__ = ["brackets", "curve", "scheduled"]

TRIALS, STEPS, SEED = 25, 27, 0


def curve(space: Space, params: Params, step: int) -> float:
    """Return what a trial has after `step` steps: low rates and much dropout begin slowly, the highest rates diverge."""
    u, v = space.encode(params)
    slow, end = 1.0 + 6.0 * max(0.0, 0.8 - u) + 3.0 * v, float(loss(u, v))
    if u > 0.9:
        return round(1.1 + (0.3 + 3.0 * (u - 0.9)) * (1.0 - math.exp(-step / 6)), 6)
    wiggle = 0.02 * math.sin(2.7 * step + 40 * u) / math.sqrt(step)
    return round(end + (1.25 - 0.2 * u - end) * math.exp(-(step - 0.5) / slow) + wiggle, 6)


def objective(params: Params, run: Attempt) -> None:
    """Train a trial, as far as its scheduler lets it."""
    run.load()
    for step in run:
        run.report(curve(SPACE, params, step), state={"step": step})


def scheduled(name: str) -> str:
    """Return the picture of a scheduler: the curves of all trials, as far as they were trained."""
    with Study(SPACE, goal="min loss", search="sobol", schedule=name, steps=STEPS, seed=SEED) as study:
        study.run(objective, trials=TRIALS)
        done = study.trials
    high = 1.75

    def x(step: int) -> float:
        return LEFT + PLOT_W * math.log(step) / math.log(STEPS)

    def y(value: float) -> float:
        return TOP + PLOT_H * (1 - min(value, high) / high)

    def line(params: Params, last: int, begin: int = 1) -> str:
        return " ".join(f"{x(k):.1f},{y(curve(SPACE, params, k)):.1f}" for k in range(begin, last + 1))

    parts = [
        f'<line class="tl" x1="{x(k):.1f}" y1="{TOP}" x2="{x(k):.1f}" y2="{TOP + PLOT_H}"/>' for k in (1, 3, 9, 27)
    ]
    parts += [words(x(k), TOP + PLOT_H + 17, str(k), "middle", "m") for k in (1, 3, 9, 27)]
    parts += [words(LEFT - 8, y(v) + 4, f"{v:g}", "end", "m") for v in (0.0, 0.5, 1.0, 1.5)]
    parts += [
        f'<polyline class="tf" fill="none" stroke-width="1" stroke-dasharray="1 3" points="{line(t.params, STEPS, t.step)}"/>'
        for t in done
        if t.step < STEPS
    ]
    kinds = {State.DONE: "a", State.PAUSED: "m", State.STOPPED: "v"}
    for t in sorted(done, key=lambda t: (t.state is State.DONE, t.id)):
        kind = kinds[t.state]
        if t.step > 1:
            parts.append(
                f'<polyline class="t{kind}" fill="none" stroke-width="1.8" points="{line(t.params, t.step)}"/>'
            )
        parts.append(mark(kind, x(t.step), y(t.curve[-1].value)))
    at = float(LEFT)
    for kind, told in (("a", "to the end"), ("m", "paused"), ("v", "stopped for good")):
        n = sum(kinds[t.state] == kind for t in done)
        if n:
            parts.append(
                mark(kind, at + 6, TOP + PLOT_H + 54) + words(at + 17, TOP + PLOT_H + 58, f"{n} {told}", "start", "m")
            )
            at += 130
    epochs, best = (
        sum(t.step for t in done),
        min(t.value for t in done if t.state is State.DONE and t.value is not None),
    )
    least = min(curve(SPACE, t.params, STEPS) for t in done)
    told = f"{name}: best {best:.2f} after {epochs} of {TRIALS * STEPS} epochs (least {least:.2f})"
    return page(
        f"The same {TRIALS} trials under {name}",
        [*parts, *framed("epochs", "loss", told)],
        TOP + PLOT_H + 74,
    )


def mark(kind: str, x: float, y: float) -> str:
    """Return the end of a curve: full when trained to the end, open when paused, a cross when stopped."""
    if kind == "v":
        return f'<path class="tv" stroke-width="2" d="M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8"/>'
    return f'<circle class="{"a" if kind == "a" else "b"} t{kind}" stroke-width="1.8" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'


def brackets() -> str:
    """Return one round of Hyperband over trials of 27 steps, with random search: every trial a line, as long as it was trained."""
    made = Hyperband()
    shares = made.brackets(STEPS)
    done = play(Random(), made, SPACES["mixed"], steps=STEPS, starts=sum(n for n, _ in shares), seed=SEED)
    rungs, parts, y, left, wide = shares[0][1], [], TOP + 10, 190, 340

    def x(step: int) -> float:
        return left + wide * step / STEPS

    for b, (_, at) in enumerate(shares):
        trials = sorted((t for t in done.trials if t.origin["bracket"] == b), key=lambda t: (-t.step, t.id))
        told = f"compared at {' '.join(map(str, at[:-1]))}" if at[:-1] else "never compared"
        parts.append(words(left - 14, y + 6, f"bracket {b}: {len(trials)} trials", "end", "i"))
        parts.append(words(left - 14, y + 22, told, "end", "m"))
        for t in trials:
            end = "a" if t.step == STEPS else "m"
            parts.append(
                f'<line class="t{end}" stroke-width="2.5" x1="{left}" y1="{y}" x2="{x(t.step):.1f}" y2="{y}"/>'
            )
            parts += [
                f'<circle class="{"b" if r == t.step < STEPS else end} t{end}" cx="{x(r):.1f}" cy="{y}" r="3"/>'
                for r in at
                if r <= t.step
            ]
            y += 9
        y += max(0, 4 - len(trials)) * 9 + 20
    grid = [
        f'<line class="tl" x1="{x(r):.1f}" y1="{TOP - 6}" x2="{x(r):.1f}" y2="{y - 20}"/>'
        + words(x(r), TOP - 12, str(r), "middle", "m")
        for r in rungs
    ]
    return page("One round of Hyperband", [*grid, words(left - 14, TOP - 12, "epochs", "end", "m"), *parts], y)

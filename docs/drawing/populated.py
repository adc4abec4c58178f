"""A population on a made-up task whose best rate falls: the curves of all members, who was copied, and the rates that won."""

from __future__ import annotations

from itertools import pairwise

from drawing.svg import LEFT, PLOT_W, TOP, page, words
from whet.tune.attempt import Attempt
from whet.tune.number import Float
from whet.tune.plan import ancestry
from whet.tune.schedule.population import Population
from whet.tune.space import Params, Space
from whet.tune.study import Study
from whet.tune.trial import State, Trials

__all__ = ["populated"]

SPACE = Space(rate=Float(0.01, 1.0, log=True, live=True))
MEMBERS, STEPS, SEED = 8, 30, 0
UPPER, GAP, LOWER = 230, 46, 110  # pixels of the curves, between, and of the rates


def objective(params: Params, run: Attempt) -> None:
    """Come nearer the faster the higher the rate, and be shaken the more: what is best falls with the steps."""
    state = run.load() or {"far": 1.0, "shaken": 0.0}
    rate = float(params["rate"])  # type: ignore[arg-type]
    for _ in run:
        state["far"] *= 1 - 0.3 * rate
        state["shaken"] += 0.5 * (0.6 * rate - state["shaken"])
        run.report(state["far"] + state["shaken"], state)


def populated() -> str:
    """Return the picture."""
    with Study(SPACE, search="sobol", schedule=Population(MEMBERS), steps=STEPS, seed=SEED) as study:
        study.run(objective, budget=f"{MEMBERS * STEPS}epochs")
        trials = study.trials
    best = trials.best
    assert best is not None
    assert best.value is not None
    lineage = {s.trial: s for s in ancestry(trials, best.id)}
    copies = sum(t.parent is not None for t in trials)
    told = f"population: best {best.value:.3f} after {sum(own(trials))} epochs; {copies} copies"
    floor = TOP + UPPER + GAP
    parts = [words(LEFT, 26, told, "start", "i", size=15)]
    for k in range(0, STEPS + 1, 5):
        parts.append(f'<line class="tl" x1="{x(k):.1f}" y1="{TOP}" x2="{x(k):.1f}" y2="{floor + LOWER}"/>')
        parts.append(words(x(k), floor + LOWER + 17, str(k), "middle", "m"))
    parts += [words(LEFT - 8, y(v) + 4, f"{v:g}", "end", "m") for v in (0.0, 0.5, 1.0)]
    parts += [words(LEFT - 8, rate(r) + 4, f"{r:g}", "end", "m") for r in (0.01, 0.1, 1.0)]
    for t in sorted(trials, key=lambda t: t.id in lineage):
        kind, wide = ("a", 2.2) if t.id in lineage else ("m", 1.2)
        line = " ".join(f"{x(p.step):.1f},{y(p.value):.1f}" for p in t.curve)
        parts.append(f'<polyline class="t{kind}" fill="none" stroke-width="{wide}" points="{line}"/>')
        if t.parent is not None:
            at = t.curve[0]
            parts.append(
                f'<circle class="b t{kind}" stroke-width="1.6" cx="{x(at.step):.1f}" cy="{y(at.value):.1f}" r="3.2"/>'
            )
        if t.state is State.STOPPED:
            end = t.curve[-1]
            parts.append(
                f'<path class="tv" stroke-width="1.6" d="M{x(end.step) - 3:.1f} {y(end.value) - 3:.1f}l6 6m0 -6l-6 6"/>'
            )
    stretches = ancestry(trials, best.id)
    for s in stretches:
        at = rate(float(s.params["rate"]))  # type: ignore[arg-type]
        parts.append(
            f'<line class="ta" stroke-width="2.2" x1="{x(s.first - 1):.1f}" y1="{at:.1f}" x2="{x(s.last):.1f}" y2="{at:.1f}"/>'
        )
    for a, b in pairwise(stretches):
        ends = [rate(float(s.params["rate"])) for s in (a, b)]  # type: ignore[arg-type]
        parts.append(
            f'<line class="ta" stroke-width="1" stroke-dasharray="2 3" x1="{x(a.last):.1f}" y1="{ends[0]:.1f}" x2="{x(a.last):.1f}" y2="{ends[1]:.1f}"/>'
        )
    parts.append(words(LEFT + PLOT_W / 2, floor + LOWER + 34, "epochs", "middle", "m"))
    for at, text in ((TOP + UPPER / 2, "loss"), (floor + LOWER / 2, "rate")):
        parts.append(f'<g transform="translate(16 {at:.0f}) rotate(-90)">{words(0, 0, text, "middle", "m")}</g>')
    parts.append(words(LEFT, floor - 10, "rates of the best member and of those it comes from", "start", "m"))
    below = floor + LOWER + 58
    parts.append(
        f'<circle class="b tm" stroke-width="1.6" cx="{LEFT + 6}" cy="{below - 4}" r="3.2"/>'
        + words(LEFT + 16, below, "a copy begins", "start", "m")
    )
    parts.append(
        f'<path class="tv" stroke-width="1.6" d="M{LEFT + 137} {below - 7}l6 6m0 -6l-6 6"/>'
        + words(LEFT + 152, below, "replaced", "start", "m")
    )
    return page(f"A population of {MEMBERS}", parts, below + 16)


def own(trials: Trials) -> list[int]:
    """Return how many steps each trial trained itself."""
    return [len(t.curve) - (t.parent is not None) for t in trials]


def x(step: float) -> float:
    """Return where a step is drawn."""
    return LEFT + PLOT_W * step / STEPS


def y(value: float) -> float:
    """Return where a loss is drawn."""
    return TOP + UPPER * (1 - min(value, 1.1) / 1.1)


def rate(value: float) -> float:
    """Return where a rate is drawn."""
    return TOP + UPPER + GAP + LOWER * (1 - SPACE["rate"].encode(value))

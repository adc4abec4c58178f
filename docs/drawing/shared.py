"""Who makes the trials of a portfolio on the function of the searchers' pictures, and what each member is believed to be worth."""

from __future__ import annotations

from drawing.searchers import SEED, SPACE, loss
from drawing.svg import LEFT, PLOT_H, PLOT_W, TOP, framed, page, words
from whet import seed as streams
from whet.tune.search.portfolio import Portfolio
from whet.tune.trial import State, Trial, Trials

__all__ = ["shared", "sharing"]

TRIALS = 60
MEMBERS = ("cma", "zoom", "random")
ROW = 26.0  # pixels of a member's line of trials
COLOURS = ("a", "n", "m")


def sharing() -> Trials:
    """Return the first trials of a study with a portfolio."""
    made = Portfolio(MEMBERS, seed=SEED)
    done: list[Trial] = []
    for i in range(TRIALS):
        said = made.propose(Trials([*done, Trial(i)], space=SPACE), streams.rng(SEED, i, "propose"))
        value = float(loss(*SPACE.encode(said.params)))
        done.append(Trial(i, said.params, State.DONE, value=value, origin=said.origin))
    return Trials(done, space=SPACE)


def shared(trials: Trials) -> str:
    """Return the picture as SVG: a dot for each trial in the line of its member, and below a line of what each was believed to be worth."""
    top = TOP + ROW * len(MEMBERS) + 14  # of the lower plot
    height = TOP + PLOT_H - top

    def x(i: float) -> float:
        return LEFT + PLOT_W * (i + 0.5) / len(trials)

    def y(worth: float) -> float:
        return top + height * (1 - worth)

    parts = [f'<path class="tl" fill="none" d="M{LEFT} {y(k / 2):.1f}H{LEFT + PLOT_W}"/>' for k in range(3)]
    parts += [words(LEFT - 8, y(k / 2) + 4, f"{k / 2:g}", "end", "m") for k in range(3)]
    for row, (name, colour) in enumerate(zip(MEMBERS, COLOURS, strict=True)):
        middle = TOP + ROW * (row + 0.5)
        by = [t for t in trials if t.origin["with"] == name]
        parts.append(words(LEFT - 8, middle + 4, name, "end", "m", size=11))
        parts += [f'<circle class="{colour}" cx="{x(t.id):.1f}" cy="{middle:.1f}" r="3.5"/>' for t in by]
        line = "L".join(f"{x(t.id):.1f} {y(t.origin['credit'][name]):.1f}" for t in trials)
        parts.append(f'<path class="t{colour}" fill="none" stroke-width="2" d="M{line}"/>')
        at = LEFT + PLOT_W * row / len(MEMBERS)
        parts.append(f'<circle class="{colour}" cx="{at + 6:.1f}" cy="{TOP + PLOT_H + 54}" r="4"/>')
        parts.append(words(at + 16, TOP + PLOT_H + 58, f"{name}: {len(by)} trials", "start", "m"))
    parts += [words(x(k - 1), TOP + PLOT_H + 17, str(k), "middle", "m") for k in range(10, len(trials) + 1, 10)]
    best = trials.best
    assert best is not None
    parts += framed("trial", "believed worth", f"{len(trials)} trials: best {best.value:.2f}, by {best.origin['with']}")
    return page("Who makes each trial of a portfolio", parts, TOP + PLOT_H + 74)

"""Who is whose child in a study that evolved on the function of the searchers' pictures."""

from __future__ import annotations

from itertools import pairwise

from drawing.searchers import SEED, SPACE, loss
from drawing.svg import LEFT, PLOT_H, PLOT_W, TOP, framed, page, words
from whet import seed as streams
from whet.tune.search.evolution import Evolution
from whet.tune.search.model.descent import children, line
from whet.tune.trial import State, Trial, Trials

__all__ = ["descended", "descending"]

TRIALS = 60


def descending() -> Trials:
    """Return the first trials of a study that evolves."""
    made = Evolution(seed=SEED)
    done: list[Trial] = []
    for i in range(TRIALS):
        said = made.propose(Trials([*done, Trial(i)], space=SPACE), streams.rng(SEED, i, "propose"))
        value = float(loss(*SPACE.encode(said.params)))
        done.append(Trial(i, said.params, State.DONE, value=value, origin=said.origin))
    return Trials(done, space=SPACE)


def descended(trials: Trials) -> str:
    """Return the picture as SVG: a dot for each trial, a line from every parent to its child, the way to the best heavy."""
    of, best = children(trials), trials.best
    assert best is not None
    way = line(of, best.id)

    def place(id: int) -> str:
        value = trials[id].value
        assert value is not None
        return f"{LEFT + PLOT_W * (id + 0.5) / len(trials):.1f} {TOP + PLOT_H * (1 - value):.1f}"

    def links(pairs: list[tuple[int, int]]) -> str:
        return "".join(f"M{place(a)}L{place(b)}" for a, b in pairs)

    on = list(pairwise(way))
    off = [(c.parent, id) for id, c in of.items() if (c.parent, id) not in on]
    parts = [f'<path class="tl" fill="none" d="M{LEFT} {TOP}V{TOP + PLOT_H}H{LEFT + PLOT_W}"/>']
    parts.append(f'<path class="tf" fill="none" d="{links(off)}"/>')
    parts.append(f'<path class="ta" fill="none" stroke-width="2.5" d="{links(on)}"/>')
    for t in trials:
        x, y = place(t.id).split()
        if t.id in of:
            parts.append(f'<circle class="{"a" if t.id in way else "s"} tb" cx="{x}" cy="{y}" r="4.5"/>')
        else:
            left, top = float(x) - 4, float(y) - 4
            kind = "a" if t.id in way else "s"
            parts.append(f'<rect class="{kind} tb" x="{left:.1f}" y="{top:.1f}" width="8" height="8"/>')
    parts += [words(LEFT - 8, TOP + PLOT_H * (1 - k / 2) + 4, f"{k / 2:g}", "end", "m") for k in range(3)]
    parts += [
        words(LEFT + PLOT_W * (k - 0.5) / len(trials), TOP + PLOT_H + 17, str(k), "middle", "m")
        for k in range(10, len(trials) + 1, 10)
    ]
    told = f"{len(trials)} trials: best {best.value:.2f}, {len(way) - 1} generations from trial {way[0] + 1}"
    parts += framed("trial", "loss", told)
    return page("Who is whose child in a study that evolves", parts, TOP + PLOT_H + 48)

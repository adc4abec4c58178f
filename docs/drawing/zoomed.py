"""The passes of a zoom on the function of the searchers' pictures: which part of the plane each looks at."""

from __future__ import annotations

import numpy as np

from drawing.searchers import LEVELS, SEED, SPACE, loss, px, py, region
from drawing.svg import LEFT, ORDER, PLOT_H, TOP, framed, page, words
from whet import seed as streams
from whet.tune.search.model.passes import Pass, passes
from whet.tune.search.zoom import Zoom
from whet.tune.trial import State, Trial, Trials

__all__ = ["zoomed", "zooming"]

TRIALS = 50


def zooming() -> Trials:
    """Return the first trials of a study that zooms."""
    made = Zoom(seed=SEED)
    done: list[Trial] = []
    for i in range(TRIALS):
        said = made.propose(Trials([*done, Trial(i)], space=SPACE), streams.rng(SEED, i, "propose"))
        value = float(loss(*SPACE.encode(said.params)))
        done.append(Trial(i, said.params, State.DONE, value=value, origin=said.origin))
    return Trials(done, space=SPACE)


def corners(p: Pass) -> tuple[float, float, float, float]:
    """Return the pixels x, y, width and height of the part of the plane that a pass looks at."""
    ranges = p.ranges or {}
    ends = [[d.encode(v) for v in ranges.get(name, (d.low, d.high))] for name, d in SPACE.items()]  # type: ignore[union-attr]
    (left, right), (low, high) = ends
    return px(left), py(high), px(right) - px(left), py(low) - py(high)


def box(x: float, y: float, width: float, height: float) -> str:
    """Return the path around a rectangle; two of them, one inside the other, are a frame."""
    return f"M{x:.1f} {y:.1f}H{x + width:.1f}V{y + height:.1f}H{x:.1f}Z"


def zoomed(trials: Trials) -> str:
    """Return the picture of the passes as SVG: a frame for each, and its trials in the same colour."""
    grid = np.linspace(0, 1, 45)
    over = loss(grid[:, None], grid[None])
    parts = [f'<path class="k" fill-rule="evenodd" d="{region(over, level)}"/>' for level in LEVELS]
    found = passes(trials)
    y, x = TOP + PLOT_H + 58, float(LEFT)
    for p, _ in found:
        g = min(p.number, len(ORDER) - 1)
        a, b, w, h = corners(p)
        parts.append(
            f'<rect class="o{g}" fill-opacity="0.08" x="{a:.1f}" y="{b:.1f}" width="{w:.1f}" height="{h:.1f}"/>'
            f'<path class="o{g}" fill-rule="evenodd" d="{box(a, b, w, h)}{box(a + 2, b + 2, w - 4, h - 4)}"/>'
        )
    for p, ids in found:
        g = min(p.number, len(ORDER) - 1)
        places = [SPACE.encode(trials[i].params) for i in ids]
        parts += [f'<circle class="o{g} tb" cx="{px(u):.1f}" cy="{py(v):.1f}" r="5"/>' for u, v in places]
        if g == p.number:
            parts.append(
                f'<circle class="o{g} tb" cx="{x + 6:.1f}" cy="{y - 4}" r="5"/>'
                + words(x + 16, y, f"pass {p.number}", "start", "m")
            )
            x += 86
    best = trials.best
    assert best is not None
    u, v = SPACE.encode(best.params)
    parts.append(f'<circle class="ti" fill="none" stroke-width="2" cx="{px(u):.1f}" cy="{py(v):.1f}" r="9"/>')
    parts += [words(px(k / 4), TOP + PLOT_H + 17, f"{10.0 ** (k - 4):g}", "middle", "m") for k in range(5)]
    parts += [words(LEFT - 8, py(k / 3) + 4, f"{0.2 * k:g}", "end", "m") for k in range(4)]
    parts += framed("learning rate", "dropout", f"{len(found)} passes, {len(trials)} trials: best {best.value:.2f}")
    return page("What each pass of a zoom looks at", parts, TOP + PLOT_H + 74)

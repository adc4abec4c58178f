"""Draw docs/hyperband.svg: one round of Hyperband over trials of 27 steps, played in memory with random search.

    python docs/draw_hyperband.py

Every line is a trial, as long as it was trained; a dot is a rung at which it was compared, an open one where it still waits.
"""

from __future__ import annotations

from pathlib import Path

from whet.testing import SPACES, play
from whet.tune.schedule.hyperband import Hyperband
from whet.tune.search.random import Random
from whet.tune.trial import Trial

STEPS, SEED = 27, 0
LEFT, WIDTH, ROW, GAP, TOP = 190, 500, 9, 22, 34
SHADES = ("#9aa7b2", "#5b8fb9", "#2f6f9f", "#0b3c5d")  # by the number of promotions


def main() -> None:
    """Write the picture beside this program."""
    made = Hyperband()
    brackets = made.brackets(STEPS)
    done = play(Random(), made, SPACES["mixed"], steps=STEPS, starts=sum(n for n, _ in brackets), seed=SEED)
    rungs = brackets[0][1]
    parts, y = [], TOP
    for b, (_, at) in enumerate(brackets):
        trials = sorted((t for t in done.trials if t.origin["bracket"] == b), key=lambda t: (-t.step, t.id))
        parts.append(_text(LEFT - 12, y + 6, f"bracket {b}", "end", bold=True))
        told = f"{len(trials)} trials" + (
            f", compared at {' '.join(map(str, at[:-1]))}" if at[:-1] else ", never compared"
        )
        parts.append(_text(LEFT - 12, y + 20, told, "end"))
        for t in trials:
            parts.append(_line(t, at, y))
            y += ROW
        y += max(0, 4 - len(trials)) * ROW + GAP
    grid = [
        f'<line x1="{_x(r):.1f}" y1="{TOP - 10}" x2="{_x(r):.1f}" y2="{y - GAP}" stroke="#e3e6e8"/>'
        + _text(_x(r), TOP - 16, str(r), "middle")
        for r in rungs
    ]
    grid.append(_text(LEFT - 12, TOP - 16, "steps", "end"))
    size = f'width="{LEFT + WIDTH + 30}" height="{y}" viewBox="0 0 {LEFT + WIDTH + 30} {y}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">'
    back = '<rect width="100%" height="100%" fill="white"/>'
    here = Path(__file__).with_name("hyperband.svg")
    here.write_text("\n".join([head, back, *grid, *parts, "</svg>"]) + "\n")
    print(f"{here}: {len(done.trials)} trials, {sum(t.step for t in done.trials)} steps")


def _x(step: int) -> float:
    return LEFT + WIDTH * step / STEPS


def _line(t: Trial, at: tuple[int, ...], y: int) -> str:
    passed = [r for r in at if r <= t.step]
    shade = SHADES[min(len(passed) - 1, 3)] if t.step < STEPS else SHADES[3]
    drawn = [
        f'<line x1="{LEFT}" y1="{y}" x2="{_x(t.step):.1f}" y2="{y}" stroke="{shade}" stroke-width="3"/>',
        *(
            f'<circle cx="{_x(r):.1f}" cy="{y}" r="3" fill="{"white" if r == t.step < STEPS else shade}" stroke="{shade}"/>'
            for r in passed
        ),
    ]
    return "".join(drawn)


def _text(x: float, y: float, text: str, anchor: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" fill="#333"{weight}>{text}</text>'


if __name__ == "__main__":
    main()

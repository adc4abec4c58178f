"""Draw the pictures of the pages, as small SVG files in docs/pictures. Run it after a change of what they show.

gp.svg: what a Gaussian process believes of a function of one number after five trials, and what it would try next.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from whet.tune.landscape import landscape
from whet.tune.slice import Slice
from whet.tune.space import Float, Space
from whet.tune.trial import State, Trial, Trials

PICTURES = Path(__file__).resolve().parent / "pictures"
WIDTH, HEIGHT, STRIP = 640, 250, 60  # pixels of the upper part and of the strip below it
LEFT, GAP = 12, 34
INK, TRUE, LINE, BAND, NEXT = "#1a1d21", "#5d6670", "#0a62a8", "#cfe2f3", "#3f8f7a"
TRIED = (0.05, 0.22, 0.44, 0.68, 0.95)


def truth(x: float) -> float:
    """The function that is tuned; the model sees it at the trials only."""
    return math.sin(9 * x) * (1 - x) + 1.2 * (x - 0.55) ** 2


def believed() -> Slice:
    """Return what the model believes after the trials of `TRIED`."""
    done = [Trial(i, {"x": x}, State.DONE, value=truth(x)) for i, x in enumerate(TRIED)]
    return landscape(Trials(done, space=Space(x=Float(0, 1)))).slice("x")


def gp(s: Slice) -> str:
    """Return the picture as SVG."""
    x = np.array(s.axes[0].values, float)
    true = np.array([truth(v) for v in x])
    low, high = min(s.low.min(), true.min()), max(s.high.max(), true.max())

    def points(xs: Iterable[float], ys: Iterable[float]) -> str:
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(xs, ys, strict=True))

    def across(values: np.ndarray) -> np.ndarray:
        return LEFT + (WIDTH - 2 * LEFT) * np.asarray(values, float)

    def up(values: np.ndarray) -> np.ndarray:
        return 12 + (HEIGHT - 24) * (high - np.asarray(values, float)) / (high - low)

    base = HEIGHT + GAP + STRIP
    band = points([*across(x), *across(x[::-1])], [*up(s.low), *up(s.high[::-1])])
    worth = points([LEFT, *across(x), WIDTH - LEFT], [base, *(base - STRIP * s.worth), base])
    assert s.next is not None
    assert s.next.value is not None
    nx, ny = float(across(np.array([s.next.places[0]]))[0]), float(up(np.array([s.next.value]))[0])
    dots = "".join(
        f'<circle cx="{a:.1f}" cy="{b:.1f}" r="4.5" fill="{INK}"/>'
        for a, b in zip(across(np.array(TRIED)), up(np.array([truth(v) for v in TRIED])), strict=True)
    )
    text = 'font-family="sans-serif" font-size="13"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{base + 12}" viewBox="0 0 {WIDTH} {base + 12}">',
        f'<rect width="{WIDTH}" height="{base + 12}" fill="#ffffff"/>',
        f'<polygon points="{band}" fill="{BAND}"/>',
        f'<polyline points="{points(across(x), up(true))}" fill="none" stroke="{TRUE}" stroke-width="1.2" stroke-dasharray="4 4"/>',
        f'<polyline points="{points(across(x), up(s.median))}" fill="none" stroke="{LINE}" stroke-width="2.5"/>',
        f'<line x1="{nx:.1f}" y1="8" x2="{nx:.1f}" y2="{base}" stroke="{NEXT}" stroke-dasharray="2 4"/>',
        dots,
        f'<rect x="{nx - 5:.1f}" y="{ny - 5:.1f}" width="10" height="10" fill="{NEXT}" transform="rotate(45 {nx:.1f} {ny:.1f})"/>',
        f'<polygon points="{worth}" fill="{NEXT}" fill-opacity="0.25" stroke="{NEXT}" stroke-width="1.5"/>',
        f'<text x="{LEFT}" y="{HEIGHT + GAP - 14}" {text} fill="{NEXT}">worth trying</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def main() -> None:
    """Write the pictures."""
    PICTURES.mkdir(exist_ok=True)
    path = PICTURES / "gp.svg"
    path.write_text(gp(believed()), encoding="utf-8")
    print(f"{path.relative_to(PICTURES.parent)}  {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

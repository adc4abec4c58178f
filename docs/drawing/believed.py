"""What a Gaussian process believes of a function of one number after five trials."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from drawing.svg import WIDTH, page, words
from whet.tune.landscape import landscape
from whet.tune.slice import Slice
from whet.tune.space import Float, Space
from whet.tune.trial import State, Trial, Trials

__all__ = ["TRIED", "believed", "sliced", "truth"]

TRIED = (0.05, 0.22, 0.44, 0.68, 0.95)


def truth(x: float) -> float:
    """The function of gp.svg; the model sees it at the trials only."""
    return math.sin(9 * x) * (1 - x) + 1.2 * (x - 0.55) ** 2


def believed() -> Slice:
    """Return what the model believes after the trials of `TRIED`."""
    done = [Trial(i, {"x": x}, State.DONE, value=truth(x)) for i, x in enumerate(TRIED)]
    return landscape(Trials(done, space=Space(x=Float(0, 1)))).slice("x")


def sliced(s: Slice) -> str:
    """Return the picture of a slice as SVG."""
    x, (high_px, gap, strip, left) = np.array(s.axes[0].values, float), (250, 34, 60, 12)
    true = np.array([truth(v) for v in x])
    low, high = min(s.low.min(), true.min()), max(s.high.max(), true.max())

    def points(xs: Iterable[float], ys: Iterable[float]) -> str:
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(xs, ys, strict=True))

    def across(values: Iterable[float] | np.ndarray) -> np.ndarray:
        return left + (WIDTH - 2 * left) * np.asarray(values, float)

    def up(values: Iterable[float] | np.ndarray) -> np.ndarray:
        return 12 + (high_px - 24) * (high - np.asarray(values, float)) / (high - low)

    base = high_px + gap + strip
    band = points([*across(x), *across(x[::-1])], [*up(s.low), *up(s.high[::-1])])
    worth = points([left, *across(x), WIDTH - left], [base, *(base - strip * s.worth), base])
    assert s.next is not None
    assert s.next.value is not None
    nx, ny = float(across([s.next.places[0]])[0]), float(up([s.next.value])[0])
    dots = zip(across(TRIED), up([truth(v) for v in TRIED]), strict=True)
    parts = [
        f'<polygon class="s" fill-opacity="0.55" points="{band}"/>',
        f'<polyline class="tm" fill="none" stroke-width="1.2" stroke-dasharray="4 4" points="{points(across(x), up(true))}"/>',
        f'<polyline class="ta" fill="none" stroke-width="2.5" points="{points(across(x), up(s.median))}"/>',
        f'<line class="tn" x1="{nx:.1f}" y1="8" x2="{nx:.1f}" y2="{base}" stroke-dasharray="2 4"/>',
        *(f'<circle class="i" cx="{a:.1f}" cy="{b:.1f}" r="4.5"/>' for a, b in dots),
        f'<rect class="n" x="{nx - 5:.1f}" y="{ny - 5:.1f}" width="10" height="10" transform="rotate(45 {nx:.1f} {ny:.1f})"/>',
        f'<polygon class="n tn" fill-opacity="0.25" stroke-width="1.5" points="{worth}"/>',
        words(left, high_px + gap - 14, "worth trying", "start", "n"),
    ]
    return page("What a Gaussian process believes after five trials", parts, base + 12)

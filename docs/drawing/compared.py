"""A comparison of strategies, drawn from the figures that `whet compare benchmarks/digits_mlp.py` printed with --json."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from drawing.svg import LEFT, PLOT_H, PLOT_W, TOP, framed, page, words

__all__ = ["compared", "measured"]

FIGURES = Path(__file__).with_name("compare-digits.json")
COLOURS = ("m", "a", "v", "n", "i")
SHOWN = (0.1, 0.4)  # losses of the axis, logarithmic


def measured() -> dict[str, Any]:
    """Return what was measured once, on the machine and day that docs/comparing.md names."""
    found: dict[str, Any] = json.loads(FIGURES.read_text(encoding="utf-8"))
    return found


def compared(found: dict[str, Any]) -> str:
    """Return the picture as SVG: the mean of each strategy over what was spent, in the band of its 95 % interval."""
    low, high = SHOWN

    def x(place: float) -> float:
        return LEFT + PLOT_W * place / found["end"]

    def y(value: float) -> float:
        at = (math.log(min(max(value, low), high)) - math.log(low)) / (math.log(high) - math.log(low))
        return TOP + PLOT_H * (1 - at)

    parts = [
        p
        for v in (0.1, 0.15, 0.2, 0.3, 0.4)
        for p in (
            f'<path class="tl" fill="none" d="M{LEFT} {y(v):.1f}H{LEFT + PLOT_W}"/>',
            words(LEFT - 8, y(v) + 4, f"{v:g}", "end", "m"),
        )
    ]
    parts += [words(x(k), TOP + PLOT_H + 17, str(k), "middle", "m") for k in range(0, found["end"] + 1, 20)]
    curves = [(name, colour, c["mean"]) for (name, c), colour in zip(found["curves"].items(), COLOURS, strict=False)]
    for _, colour, points in curves:
        known = [p for p in points if p[2] is not None]
        edge = [(x(at), y(a)) for at, _, a, _ in known] + [(x(at), y(b)) for at, _, _, b in known[::-1]]
        parts.append(
            f'<polygon class="{colour}" fill-opacity="0.14" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in edge)}"/>'
        )
    ranks = {r["name"]: r["rank"] for r in found["rows"]}
    for i, (name, colour, points) in enumerate(curves):
        line = " ".join(f"{x(at):.1f},{y(v):.1f}" for at, v, _, _ in points)
        parts.append(f'<polyline class="t{colour}" fill="none" stroke-width="2.2" points="{line}"/>')
        at = LEFT + PLOT_W * i / len(curves)
        parts.append(f'<rect class="{colour}" x="{at:.1f}" y="{TOP + PLOT_H + 50}" width="14" height="4"/>')
        parts.append(words(at + 20, TOP + PLOT_H + 57, f"{name} {ranks[name]:.1f}", "start", "m", size=12))
    parts += framed(
        "epochs of each study",
        "best validation loss (log scale)",
        f"{len(found['seeds'])} seeds; bands: 95 % of the mean; numbers: mean rank",
    )
    return page("Strategies compared on the digits", parts, TOP + PLOT_H + 74)

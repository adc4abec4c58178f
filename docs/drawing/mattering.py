"""What matters of one made-up task, told from 100 random trials, beside what is true."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from drawing.svg import WIDTH, page, words
from whet.tune.importance import importance
from whet.tune.importance.result import Importance
from whet.tune.space import Choice, Float, Int, Space
from whet.tune.study import Study

__all__ = ["SPACE", "loss", "mattered", "truth", "weighed"]

SPACE = Space(
    lr=Float(1e-5, 1e-1, log=True),
    dropout=Float(0.0, 0.6),
    optimizer=Choice({"sgd": Space(momentum=Float(0.0, 0.99)), "adam": None}),
    width=Int(16, 512, log=True),
)
TRIALS, SEED = 100, 0


def loss(p: Mapping[str, Any]) -> float:
    """Return the loss of the task: adam likes a smaller rate, sgd a large momentum, and the width is all the same."""
    return float(_loss(math.log10(p["lr"]), p["dropout"], p.get("optimizer.momentum"), p["optimizer"] == "adam"))


def _loss(lr: Any, dropout: Any, momentum: Any, adam: bool) -> Any:
    out = 0.3 + 0.12 * (lr + (3.4 if adam else 2.4)) ** 2 + 2.0 * (dropout - 0.2) ** 2
    return out if adam else out + 0.6 * (0.95 - momentum) ** 2


def mattered() -> Importance:
    """Return what 100 trials drawn at random say."""
    study = Study(SPACE, goal="min loss", search="random", seed=SEED)
    study.run(loss, trials=TRIALS)
    return importance(study.trials, pairs=True)


def truth(points: int = 200) -> tuple[dict[str, float], np.ndarray]:
    """Return the shares alone by sums over a fine grid, and the mean over everything else along lr (points,)."""
    at = (np.arange(points) + 0.5) / points
    lr, dropout, momentum = -5 + 4 * at, 0.6 * at, 0.99 * at
    sgd = _loss(lr[:, None, None], dropout[:, None], momentum, False)
    adam = np.broadcast_to(_loss(lr[:, None, None], dropout[:, None], None, True), sgd.shape)
    both = 0.5 * (sgd + adam)
    whole = 0.5 * ((sgd**2).mean() + (adam**2).mean()) - both.mean() ** 2
    parts = {
        "lr": both.mean((1, 2)).var(), "dropout": both.mean((0, 2)).var(),
        "optimizer": (0.5 * (sgd.mean() - adam.mean())) ** 2, "optimizer.momentum": 0.5 * sgd.mean((0, 1)).var(), "width": 0.0,
    }  # fmt: skip
    return {name: float(part / whole) for name, part in parts.items()}, both.mean((1, 2))


def weighed(found: Importance) -> str:
    """Return the shares, with what is true as ticks, and the curve of lr, as SVG."""
    true, curve = truth()
    left, wide, top, row = 150, 392, 44, 34
    parts = [
        words(
            20, 24, "dark: share of the variance alone, with its interval; light: in all; tick: the truth", "start", "m"
        )
    ]
    for k, p in enumerate(found.parts):
        y = top + k * row
        fill = {"matters": "a", "does not matter": "f", "cannot tell": "m"}[p.verdict]
        x0, x1 = left + wide * p.alone.low, left + wide * p.alone.high
        parts += [
            words(left - 8, y + 15, p.name, "end", "i"),
            f'<rect class="s" fill-opacity="0.55" x="{left}" y="{y}" width="{max(wide * p.total.value, 1):.1f}" height="20"/>',
            f'<rect class="{fill}" x="{left}" y="{y + 4}" width="{max(wide * p.alone.value, 1):.1f}" height="12"/>',
            f'<line class="ti" x1="{x0:.1f}" y1="{y + 10}" x2="{x1:.1f}" y2="{y + 10}" stroke-width="1.2"/>',
            f'<line class="tn" x1="{left + wide * true[p.name]:.1f}" y1="{y - 3}" x2="{left + wide * true[p.name]:.1f}" y2="{y + 23}" stroke-width="2.5"/>',
            words(left + wide * max(p.alone.high, p.total.value, true[p.name]) + 8, y + 15, p.verdict, "start", "m", size=12),
        ]  # fmt: skip
    return page("What matters, from 100 random trials", [*parts, *_curve(found, curve, top + len(found.parts) * row + 34)], top + len(found.parts) * row + 250)  # fmt: skip


def _curve(found: Importance, true: np.ndarray, top: int) -> list[str]:
    """Return the curve of lr with its band, and the true one, as parts of a picture."""
    part = next(p for p in found.parts if p.name == "lr")
    left, high = 20, 180
    low, most = min(part.low.min(), true.min()), max(part.high.max(), true.max())

    def across(places: Iterable[float] | np.ndarray) -> np.ndarray:
        return left + (WIDTH - 2 * left) * np.asarray(places, float)

    def up(values: Iterable[float] | np.ndarray) -> np.ndarray:
        return top + high * (most - np.asarray(values, float)) / (most - low)

    def points(xs: Iterable[float], ys: Iterable[float]) -> str:
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(xs, ys, strict=True))

    x, grid = across(part.axis.places), across((np.arange(len(true)) + 0.5) / len(true))
    return [
        words(left, top - 8, "mean loss along lr (band: 95 % of the trees; dashed: the truth)", "start", "m"),
        f'<polygon class="s" fill-opacity="0.55" points="{points([*x, *x[::-1]], [*up(part.low), *up(part.high[::-1])])}"/>',
        f'<polyline class="tn" fill="none" stroke-width="1.5" stroke-dasharray="5 4" points="{points(grid, up(true))}"/>',
        f'<polyline class="ta" fill="none" stroke-width="2.5" points="{points(x, up(part.mean))}"/>',
        *(
            words(float(across([k / 4])[0]), top + high + 20, f"1e-{5 - k}", "start" if k == 0 else "end" if k == 4 else "middle", "m", size=12)
            for k in range(5)
        ),
    ]  # fmt: skip

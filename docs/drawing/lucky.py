"""The best validation score of a study as trials come in: raw, less the luck of choosing, and what the winner is worth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.datasets import make_classification
from sklearn.neighbors import KNeighborsClassifier

from drawing.svg import LEFT, PLOT_H, PLOT_W, TOP, framed, page, words
from whet.metric import Interval
from whet.tune.attempt import Attempt
from whet.tune.optimism import optimism
from whet.tune.space import Choice, Int, Space
from whet.tune.study import Study

__all__ = ["Luck", "lucky", "trying"]

TRIALS, SEED, VALID = 80, 0, 100
LOW, HIGH = 0.5, 0.9
SPACE = Space(k=Int(1, 40), **{f"use_{i}": Choice([True, False]) for i in range(12)})


class Luck(NamedTuple):
    """After so many trials: the raw and the corrected score of the best, and what it has on 20,000 examples nobody saw."""

    trials: int
    raw: float
    left: Interval
    truth: float


def trying() -> list[Luck]:
    """Return how the best of a random search over features and neighbours did, after every fourth trial."""
    x, y = make_classification(
        20_300, 12, n_informative=5, n_redundant=0, flip_y=0.3, class_sep=0.7, random_state=SEED
    )  # fmt: skip
    train, valid, rest = slice(0, 200), slice(200, 200 + VALID), slice(300, None)
    outputs: dict[int, np.ndarray] = {}
    made: dict[int, tuple[Any, np.ndarray]] = {}

    def objective(params: Mapping[str, Any], run: Attempt) -> None:
        use = np.array([i for i in range(12) if params[f"use_{i}"]] or [0])
        for _ in run:
            model = KNeighborsClassifier(params["k"]).fit(x[train][:, use], y[train])
            made[run.id], outputs[run.id] = (model, use), model.predict(x[valid][:, use])
            run.report(float((outputs[run.id] == y[valid]).mean()))

    with Study(SPACE, goal="max accuracy", search="random", schedule="full", seed=SEED) as study:
        study.run(objective, trials=TRIALS)
    found = []
    for n in (1, *range(4, TRIALS + 1, 4)):
        o = optimism({i: outputs[i] for i in range(n)}, y[valid], "accuracy", kind="classification")
        model, use = made[o.winner]
        truth = float((model.predict(x[rest][:, use]) == y[rest]).mean())
        found.append(Luck(n, o.raw.value, o.corrected, truth))
    return found


def lucky(found: list[Luck]) -> str:
    """Return the picture as SVG."""

    def px(n: float) -> float:
        return LEFT + PLOT_W * n / TRIALS

    def py(v: float) -> float:
        return TOP + PLOT_H * (HIGH - v) / (HIGH - LOW)

    def points(values: Iterable[float], order: int = 1) -> str:
        return " ".join(f"{px(f.trials):.1f},{py(v):.1f}" for f, v in list(zip(found, values, strict=True))[::order])

    low, high = points([f.left.low for f in found]), points([f.left.high for f in found], -1)
    last = found[-1]
    parts = [
        f'<polygon class="s" fill-opacity="0.45" points="{low} {high}"/>',
        f'<polyline class="tm" fill="none" stroke-width="2" points="{points([f.raw for f in found])}"/>',
        f'<polyline class="ta" fill="none" stroke-width="2.5" points="{points([f.left.value for f in found])}"/>',
        f'<polyline class="tn" fill="none" stroke-width="1.5" stroke-dasharray="5 4" points="{points([f.truth for f in found])}"/>',
        f'<path class="tl" d="M{LEFT} {TOP}V{TOP + PLOT_H}H{LEFT + PLOT_W}" fill="none"/>',
        words(px(TRIALS) - 6, py(last.raw) - 8, "raw", "end", "m"),
        words(px(TRIALS) - 6, py(last.left.high) - 8, "less luck, 95 %", "end", "a"),
        words(px(2), py(0.53), "dashed: the winner on 20,000 examples that nobody saw", "start", "n"),
    ]
    parts += [words(px(n), TOP + PLOT_H + 17, str(n), "middle", "m") for n in range(0, TRIALS + 1, 20)]
    parts += [words(LEFT - 8, py(v) + 4, f"{v:g}", "end", "m") for v in (0.5, 0.6, 0.7, 0.8, 0.9)]
    title = f"The best of so many trials, by {VALID} validation examples"
    return page(title, [*parts, *framed("trials so far", "accuracy of the best", title)], TOP + PLOT_H + 48)

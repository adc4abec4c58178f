"""How far a race trains each configuration of a cross-validated study of the digits."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import SVC

from drawing.schedulers import mark
from drawing.svg import LEFT, PLOT_H, PLOT_W, TOP, framed, page, words
from whet.tune.attempt import Attempt
from whet.tune.space import Float, Space
from whet.tune.study import Study
from whet.tune.trial import State, Trials

__all__ = ["Folds", "raced", "racing"]

TRIALS, FOLDS, SEED, EXAMPLES = 25, 10, 0, 200
LOW, HIGH = 0.75, 1.0
SPACE = Space(c=Float(0.3, 300, log=True), gamma=Float(1e-4, 0.5, log=True))


class Folds:
    """The accuracy of a support vector machine on each of ten folds of 200 digits, computed once."""

    def __init__(self) -> None:
        x, y = load_digits(return_X_y=True)
        at = np.random.default_rng(SEED).permutation(len(y))[:EXAMPLES]
        self.x, self.y = x[at] / 16, y[at]
        self.folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(self.x, self.y))
        self.score = cache(self._score)

    def _score(self, c: float, gamma: float, fold: int) -> float:
        train, held = self.folds[fold]
        model = SVC(C=c, gamma=gamma).fit(self.x[train], self.y[train])
        return float((model.predict(self.x[held]) == self.y[held]).mean())

    def means(self, params: Mapping[str, Any]) -> list[float]:
        """Return the mean after each fold."""
        scores = [self.score(params["c"], params["gamma"], k) for k in range(FOLDS)]
        return [float(np.mean(scores[: k + 1])) for k in range(FOLDS)]


def racing(folds: Folds) -> Trials:
    """Return the trials of the study."""

    def objective(params: Mapping[str, Any], run: Attempt) -> None:
        scores = run.load() or []
        for fold in run:
            scores = [*scores, folds.score(params["c"], params["gamma"], fold - 1)]
            run.report(float(np.mean(scores)), scores)

    with Study(SPACE, goal="max accuracy", search="random", schedule="race", steps=FOLDS, seed=SEED) as study:
        study.run(objective, trials=TRIALS)
        return study.trials


def raced(folds: Folds, done: Trials) -> str:
    """Return the picture as SVG: the mean over the folds so far, dotted what was not trained."""
    means = {t.id: folds.means(t.params) for t in done}

    def x(fold: int) -> float:
        return LEFT + PLOT_W * (fold - 1) / (FOLDS - 1)

    def y(value: float) -> float:
        return TOP + PLOT_H * (1 - (max(value, LOW) - LOW) / (HIGH - LOW))

    def line(values: list[float], first: int, last: int) -> str:
        return " ".join(f"{x(k):.1f},{y(values[k - 1]):.1f}" for k in range(first, last + 1))

    parts = [
        f'<line class="tl" x1="{x(k):.1f}" y1="{TOP}" x2="{x(k):.1f}" y2="{TOP + PLOT_H}"/>' for k in (1, 3, 5, 10)
    ]
    parts += [words(x(k), TOP + PLOT_H + 17, str(k), "middle", "m") for k in (1, 3, 5, 10)]
    parts += [words(LEFT - 8, y(v) + 4, f"{v:g}", "end", "m") for v in (0.75, 0.8, 0.85, 0.9, 0.95, 1.0)]
    parts += [
        f'<polyline class="tf" fill="none" stroke-width="1" stroke-dasharray="1 3" points="{line(means[t.id], t.step, FOLDS)}"/>'
        for t in done
        if t.step < FOLDS
    ]
    for t in sorted(done, key=lambda t: (t.state is State.DONE, t.id)):
        kind = "a" if t.state is State.DONE else "v"
        parts.append(
            f'<polyline class="t{kind}" fill="none" stroke-width="1.8" points="{line(means[t.id], 1, t.step)}"/>'
        )
        parts.append(mark(kind, x(t.step), y(means[t.id][t.step - 1])))
    at = float(LEFT)
    for kind, told in (("a", "all folds"), ("v", "stopped for good")):
        n = sum((t.state is State.DONE) == (kind == "a") for t in done)
        parts.append(
            mark(kind, at + 6, TOP + PLOT_H + 54) + words(at + 17, TOP + PLOT_H + 58, f"{n} {told}", "start", "m")
        )
        at += 130
    best = done.best
    assert best is not None
    trained, most = sum(t.step for t in done), max(m[-1] for m in means.values())
    told = f"race: best {best.value:.3f} after {trained} of {TRIALS * FOLDS} folds (most {most:.3f})"
    return page(
        f"{TRIALS} configurations raced over {FOLDS} folds",
        [*parts, *framed("folds", "accuracy, mean so far", told)],
        TOP + PLOT_H + 74,
    )

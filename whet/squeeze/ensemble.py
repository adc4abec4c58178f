"""Choose an ensemble from a study's trials, by the validation outputs each left behind.

Greedy selection with replacement of Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble selection from libraries of
models" (ICML 2004), with two of their guards against over-fitting the validation split: the library is cut to its best
models, and selection starts from the best few of them together. Bagging the library, their third, is left out: it
doubles the members a deployed ensemble must run. Three things are ours. The start is the best fifth of the library, five
at most, whole; they choose its length on the same examples, which tends to keep one or two lucky models (41 libraries of
24 perceptrons, gain on unseen examples over the best single one: digits 0.37 against 0.22 points of accuracy, diabetes
0.81 against 0.36 of RMSE, phoneme 0.12 against 0.49 points, each +- 0.15 to 0.4: a mild preference, no more). Ties of the goal are broken by the log loss or squared error, since accuracy on some hundred
examples knows few values. And a cross-fitted comparison, which chooses on part of the examples and scores on the rest,
decides whether an ensemble is worth having at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from whet.data.split import Kind
from whet.errors import DataError, UsageError
from whet.metric import Interval, Metric, interval, metric
from whet.seed import rng
from whet.squeeze.combine import TINY, outputs_of, probabilities

__all__ = ["Ensemble", "Step", "greedy"]

LIBRARY = 32  # models looked at, the best by themselves
START = 5  # the sorted start: one model in so many, and so many at most
FOLDS = 5  # of the cross-fitted comparison
FEWEST = 20  # examples without which nothing is compared
DRAWS = 500  # bootstrap samples of the gain's interval

Key = tuple[float, float]  # (goal, loss), both lower is better


@dataclass(frozen=True)
class Step:
    """One step of the selection: the trial it added, and the goal's value of the ensemble from then on.

    >>> Step(3, 0.98)
    Step(added=3, score=0.98)
    """

    added: int
    score: float


@dataclass(frozen=True)
class Ensemble:
    """What `greedy` chose.

    members: (trial id, weight) with weights that sum to 1, heaviest first; the single best trial alone when `why` says
    that more did not pay. path: the selection step by step, all `most` of them. score: the goal's value of `members`
    on the examples they were chosen on, so flattering; single, single_score: the same of the best single trial.
    honest, honest_single: what choosing an ensemble, or the best single trial, scores on examples it was not
    chosen on (5-fold cross-fitted), with a 95 % interval; gain: their difference, positive when the ensemble is better.
    None when there are too few examples or one model only. All of them leave out that the search itself was led by this
    validation split: only the test split knows. outputs: of `members` on the validation split, shaped like a member's.

    >>> Ensemble(((3, 1.0),), (), 0.9, 3, 0.9, None, None, None, "one model only", np.zeros(2)).size
    1
    """

    members: tuple[tuple[int, float], ...]
    path: tuple[Step, ...]
    score: float
    single: int
    single_score: float
    honest: Interval | None
    honest_single: Interval | None
    gain: Interval | None
    why: str
    outputs: np.ndarray

    @property
    def size(self) -> int:
        """How many different models it has."""
        return len(self.members)

    def json(self) -> dict[str, Any]:
        """Return it as JSON values, without the outputs."""
        return {k: v for k, v in asdict(self).items() if k != "outputs"} | {"members": [list(m) for m in self.members]}


def greedy(
    outputs: Mapping[int, np.ndarray],
    targets: np.ndarray,
    goal: str | Metric,
    *,
    kind: Kind,
    most: int = 10,
    seed: int = 0,
) -> Ensemble:
    """Return the ensemble of at most `most` members, repeats counted, that does best by `goal` on these examples.

    outputs: per trial id what it answers on the validation split, (n, C) logits or log-probabilities or (n,) values, all
    of one shape; trials with a value that is not finite are left out. targets: (n,); where they are (n, T), a class each
    position, the single best is returned. goal: the name of a metric, or a
    `Metric`. The seed draws the folds and the bootstrap samples only. An ensemble is returned when it does strictly
    better than the best single trial on these examples and, cross-fitted, on examples it was not chosen on (goal first,
    on a tie the log loss or squared error); else the best single trial, and `why` says so.

    Raises DataError when shapes do not fit or no output is finite, UsageError for most < 1.

    >>> rng_ = np.random.default_rng(0)
    >>> y = rng_.normal(size=200)
    >>> noisy = {i: y + rng_.normal(size=200) for i in range(8)}  # eight equally good models with independent errors
    >>> e = greedy(noisy, y, "rmse", kind="regression")
    >>> e.size > 4, e.score < 0.6 * e.single_score, e.gain.low > 0
    (True, True, True)
    """
    if most < 1:
        raise UsageError(f"most: got {most}, allowed >= 1, the number of members of an ensemble.")
    goal = metric(goal)
    if kind == "classification" and np.asarray(targets).ndim > 1:
        return best_alone(outputs, np.asarray(targets), goal)
    models, shape = finite(outputs, len(targets))
    y = fitting(np.asarray(targets), kind, shape)
    judge = Judge(goal, y, kind, shape)
    every = np.arange(len(y))
    stack = np.stack([o if kind == "regression" else probabilities(o) for o in models.values()])  # (k, n) or (k, n, C)
    alone = sorted(range(len(stack)), key=lambda j: (judge(stack[j], every), j))[:LIBRARY]
    ids, stack = [list(models)[j] for j in alone], stack[alone]

    order, keys, length = select(stack, every, judge, most)
    first = judge(stack[0], every)
    honest = cross_fit(stack, judge, most, seed) if len(stack) > 1 and len(y) >= FEWEST else None
    if len(stack) == 1:
        why = "one model only"
    elif not keys[length - 1] < first:
        why = f"no ensemble does better than trial {ids[0]} on the examples it is chosen on"
    elif honest is None:
        why = f"too few examples to tell an ensemble from luck: {len(y)}, at least {FEWEST} are needed"
    elif not honest.pays:
        why = f"chosen on part of the examples and scored on the rest, an ensemble is no better by {goal.name}"
    else:
        why = f"chosen on part of the examples and scored on the rest, an ensemble is better by {honest.by}"
    keep = order[:length] if honest is not None and honest.pays and keys[length - 1] < first else [0]
    counts = sorted(((keep.count(j), -j) for j in set(keep)), reverse=True)
    mean = stack[keep].mean(axis=0)
    return Ensemble(
        members=tuple((ids[-j], count / len(keep)) for count, j in counts),
        path=tuple(Step(ids[j], judge.sign * key[0]) for j, key in zip(order, keys, strict=True)),
        score=judge.sign * judge(mean, every)[0],
        single=ids[0],
        single_score=judge.sign * first[0],
        honest=honest.ensemble if honest else None,
        honest_single=honest.single if honest else None,
        gain=honest.gain if honest else None,
        why=why,
        outputs=judge.outputs(mean),
    )


def best_alone(outputs: Mapping[int, np.ndarray], targets: np.ndarray, goal: Metric) -> Ensemble:
    """Return the single best trial: where each position has a class, no ensemble is chosen."""
    sign, kept = (1.0 if goal.better == "min" else -1.0), {i: o for i, o in outputs.items() if np.isfinite(o).all()}
    if not kept:
        raise DataError("ensemble: every trial's outputs hold values that are not finite. Leave such trials out.")
    scores = {i: float(goal.compute(kept[i], targets)) for i in sorted(kept)}
    best = min(scores, key=lambda i: (math.isnan(scores[i]), sign * scores[i]))
    why = "ensembles are chosen where an example has one class, and here each position has"
    return Ensemble(
        ((best, 1.0),), (Step(best, scores[best]),), scores[best], best, scores[best], None, None, None, why, kept[best]
    )


def finite(outputs: Mapping[int, np.ndarray], n: int) -> tuple[dict[int, np.ndarray], tuple[int, ...]]:
    """Return the outputs without those that hold a value that is not finite, by id, and their shape. Raises DataError."""
    arrays = {i: np.asarray(outputs[i], dtype=np.float64) for i in sorted(outputs)}
    if not arrays:
        raise DataError("ensemble: no outputs to choose from. Give those of at least one trial.")
    shape = next(iter(arrays.values())).shape
    for i, array in arrays.items():
        if array.shape != shape or array.ndim not in (1, 2) or len(array) != n:
            raise DataError(
                f"ensemble: outputs of trial {i} have shape {array.shape}, of trial {min(arrays)} {shape}, and there are "
                f"{n} targets. Give every trial's outputs on the same examples, (n, C) or (n,)."
            )
    arrays = {i: a for i, a in arrays.items() if np.isfinite(a).all()}
    if not arrays:
        raise DataError("ensemble: every trial's outputs hold values that are not finite. Leave such trials out.")
    return arrays, shape


def fitting(y: np.ndarray, kind: Kind, shape: tuple[int, ...]) -> np.ndarray:
    """Return the targets, class numbers as int64 (n,); raise DataError when they do not fit outputs of `shape`."""
    if kind == "regression":
        if y.size != int(np.prod(shape)):
            raise DataError(f"ensemble: targets {y.shape} do not fit outputs {shape}. Give one value for each output.")
        return y
    classes = shape[1] if len(shape) == 2 and shape[1] > 1 else 2
    flat = y.reshape(-1)
    numbers = flat.astype(np.int64)
    if len(flat) != len(y) or (numbers != flat).any() or numbers.min() < 0 or numbers.max() >= classes:
        raise DataError(f"ensemble: targets {y.dtype} {y.shape}, allowed a class number from 0 to {classes - 1} each.")
    return numbers


@dataclass(frozen=True)
class Judge:
    """Scores means of predictions by the goal and, for ties, by the loss; shape: of one model's outputs."""

    goal: Metric
    y: np.ndarray
    kind: Kind
    shape: tuple[int, ...]

    @property
    def sign(self) -> float:
        """What turns the goal's value into lower is better, and back."""
        return 1.0 if self.goal.better == "min" else -1.0

    def outputs(self, mean: np.ndarray) -> np.ndarray:
        """Return a mean of predictions as model outputs."""
        return mean if self.kind == "regression" else outputs_of(mean, (len(mean), *self.shape[1:]))

    def __call__(self, mean: np.ndarray, rows: np.ndarray) -> Key:
        """Return the key of predictions `mean` for the examples `rows`; NaN is worst."""
        target = self.y[rows]
        if self.kind == "regression":
            loss = float(np.mean((mean.reshape(target.shape) - target) ** 2))
        else:
            right = mean[np.arange(len(mean)), target]
            loss = float(-np.mean(np.log(np.maximum(right, TINY))))
        value = self.sign * float(self.goal.compute(self.outputs(mean), target))
        # 12 digits: a mean of equal models differs from one of them by rounding, and that is no gain.
        return (float(f"{value:.12g}") if np.isfinite(value) else np.inf, float(f"{loss:.12g}"))


def select(stack: np.ndarray, rows: np.ndarray, judge: Judge, most: int) -> tuple[list[int], list[Key], int]:
    """Return the members in the order they were added, the key of the ensemble after each, and how many are best.

    stack: (k, n, ...) predictions of the library; rows: (m,) the examples looked at. The sorted start is taken as a whole.
    """
    seen = stack[:, rows]
    ranked = sorted(range(len(seen)), key=lambda j: (judge(seen[j], rows), j))
    start = min(START, most, -(-len(seen) // START))
    order: list[int] = []
    keys: list[Key] = []
    total = np.zeros_like(seen[0])
    while len(order) < most:
        options = ranked if len(order) >= start else [ranked[len(order)]]
        tried = [judge((total + seen[j]) / (len(order) + 1), rows) for j in options]
        at = tried.index(min(tried))
        order.append(options[at])
        keys.append(tried[at])
        total = total + seen[options[at]]
    return order, keys, 1 + min(range(start - 1, most), key=lambda t: keys[t])  # the first of equals: the smallest


@dataclass(frozen=True)
class Honest:
    """The cross-fitted comparison of the ensemble with the best single trial."""

    ensemble: Interval
    single: Interval
    gain: Interval
    pays: bool
    by: str


def cross_fit(stack: np.ndarray, judge: Judge, most: int, seed: int) -> Honest:
    """Choose on all folds but one, predict that one, for every fold; compare the ensemble with the best single trial."""
    goal, y, kind = judge.goal, judge.y, judge.kind
    fold = folds(y, kind, seed)
    many, one = np.empty_like(stack[0]), np.empty_like(stack[0])
    for f in range(FOLDS):
        rows, held = np.flatnonzero(fold != f), np.flatnonzero(fold == f)
        order, _, length = select(stack, rows, judge, most)
        many[held] = stack[order[:length]][:, held].mean(axis=0)
        one[held] = stack[min(range(len(stack)), key=lambda j: (judge(stack[j][rows], rows), j)), held]
    every = np.arange(len(y))
    a, b = judge(many, every), judge(one, every)
    draw = rng(seed, "ensemble", "gain")
    picks = (draw.integers(len(y), size=len(y)) for _ in range(DRAWS))
    drawn = [judge(one[rows], rows)[0] - judge(many[rows], rows)[0] for rows in picks]
    drawn = [d for d in drawn if np.isfinite(d)] or [0.0]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Honest(
        interval(goal, judge.outputs(many), y, kind=kind, seed=seed),
        interval(goal, judge.outputs(one), y, kind=kind, seed=seed),
        Interval(b[0] - a[0], float(low), float(high), len(y)),
        a < b,
        goal.name if a[0] < b[0] else f"the loss, {goal.name} being equal",
    )


def folds(y: np.ndarray, kind: Kind, seed: int) -> np.ndarray:
    """Return the fold (n,) of every example; every class is spread evenly over the folds."""
    shuffled = rng(seed, "ensemble", "folds").permutation(len(y))
    if kind == "classification":  # a stable sort by class keeps the shuffled order within each
        shuffled = shuffled[np.argsort(y.reshape(-1)[shuffled], kind="stable")]
    fold = np.empty(len(y), dtype=np.int64)
    fold[shuffled] = np.arange(len(y)) % FOLDS
    return fold

"""How much of the best trial's score is luck: choosing the best of many by one set of examples flatters it. NumPy only.

The choice is made again and again on a half of the validation examples, and the trial that wins there is scored on the other half, which
had no say. This is the idea of Bootstrap Bias Corrected CV (Tsamardinos, Greasidou and Borboudakis 2018), with two
changes. A bootstrap sample holds 63 % of the examples, but some of them several times, so that a mean over it is as
noisy as one over half of them, and 37 % remain to score on. Halves are drawn without repetition: the same evidence for the choice, and more to
score on. A choice on half of the examples is worse than the real one, which makes the correction a little too large; on larger parts
nearly every one chooses the same trial, and the correction rests on few examples (`benchmarks/winner.py` has the figures). Where it matters
most any part is exact: with trials that are all equally good, the winner's expected score on the rest is what they are all worth. And what is
reported is the winner's own score less what choosing costs on the same rest, so that a winner by far keeps its score to the digit, and
metrics that have another mean on fewer examples (ECE, F1) are not taken for luck.

What is not seen: that the search proposed its later trials by the same examples, that a schedule stopped others by them,
and that an early end chose the best epoch by them. Only the sealed test split knows of all three.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from whet.errors import UsageError
from whet.metric import Interval, Metric, interval, metric, wilson
from whet.seed import rng
from whet.tune.parts import Means, Others, drawn, scorer, worst

__all__ = ["Optimism", "optimism"]

SPLITS = 1000  # times the choice is made again
_CALLS = 8_000  # computations of a metric that is no mean, over all splits and trials
_HALVES = 100  # splits in halves that say how reproducible the ranking is
_RIVAL = 0.05  # share of the choices from which on a trial is called a rival
_SHAKY = 0.5  # correlation below which a ranking is not reproducible
_Z95 = 1.959964

Array = np.ndarray


@dataclass(frozen=True)
class Optimism:
    """What the best trial's validation score is worth.

    winner: the trial's id; metric: by which it was chosen; trials: from how many. raw: its score on the examples it was
    chosen on; corrected: what is left without the luck of the choice, with an interval for its score on new examples;
    again: what a search like this one would find, the trials drawn again too. wins: (id, share) how often each
    trial wins on a part of the examples, most often first. agreement: the rank correlation of the trials on these
    examples and on as many others, from halves (Spearman-Brown), None for fewer than three trials.

    >>> same = Interval(0.9, 0.8, 0.95, 50)
    >>> Optimism(3, "accuracy", 1, same, same, same, ((3, 1.0),), None).luck
    0.0
    """

    winner: int
    metric: str
    trials: int
    raw: Interval
    corrected: Interval
    again: Interval
    wins: tuple[tuple[int, float], ...]
    agreement: float | None

    @property
    def luck(self) -> float:
        """By how much the raw score is better than the corrected one, in the metric's unit; never negative."""
        return abs(self.raw.value - self.corrected.value)

    @property
    def noise(self) -> float:
        """The standard error of the raw score, from its 95 % interval."""
        return (self.raw.high - self.raw.low) / (2 * _Z95)

    @property
    def overfitted(self) -> bool:
        """Whether the luck is more than the standard error: the search has over-fitted the examples it was led by."""
        return self.luck > self.noise > 0

    @property
    def shaky(self) -> bool:
        """Whether other examples would rank the trials otherwise."""
        return self.agreement is not None and self.agreement < _SHAKY

    @property
    def rivals(self) -> list[int]:
        """The trials, the winner included, that win on at least 5 % of the parts: these examples do not tell them apart."""
        return [i for i, share in self.wins if share >= _RIVAL] or [self.winner]

    @property
    def doubts(self) -> list[str]:
        """What is to be doubted, a sentence each; none where the choice is sound."""
        found = []
        if self.overfitted:
            found.append(
                f"{self.luck:.2g} of the best {self.metric} is luck, more than its standard error ({self.noise:.2g}): the search over-fitted "
                f"the {self.raw.n:,} validation examples. Use more of them, or fewer trials"
            )
        if self.shaky:
            rest = [i for i in self.rivals if i != self.winner]
            as_good = f"; as good may be {', '.join(map(str, rest[:5]))}" if rest else ""
            found.append(f"other examples would rank the trials otherwise (correlation {self.agreement:.2f}){as_good}")
        return found

    def json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        more = {"luck": self.luck, "overfitted": self.overfitted, "shaky": self.shaky, "doubts": self.doubts}
        return {**asdict(self), "wins": [list(w) for w in self.wins], **more}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Optimism:
        """Return what `json` was made from."""
        return cls(
            int(data["winner"]), str(data["metric"]), int(data["trials"]), Interval(**data["raw"]), Interval(**data["corrected"]),
            Interval(**data["again"]), tuple((int(i), float(s)) for i, s in data["wins"]), data["agreement"],
        )  # fmt: skip


def optimism(
    outputs: Mapping[int, Array],
    targets: Array,
    goal: str | Metric,
    *,
    kind: str,
    winner: int | None = None,
    part: float = 0.5,
    splits: int = SPLITS,
    seed: int = 0,
) -> Optimism:
    """Return how much of the best trial's score is luck, and what is left.

    outputs: by trial id what it answers on the validation examples, as for `whet.metric.interval`; targets: (n, ...); goal:
    the metric by which the best is chosen; kind: "classification" or "regression"; winner: the trial that was chosen,
    the best by `goal` (the first of equals) when None; part: of the examples on which the choice is made again; splits: how
    often, drawn from `seed` (fewer for metrics that are no mean over examples: 8,000 computations at most).

    The corrected interval is that of the raw score, moved, and wider by what was taken off. Raises UsageError for fewer than two examples, no trials, or a part
    that leaves none.

    >>> coin = np.random.default_rng(0)
    >>> y = coin.integers(0, 2, 100)
    >>> guesses = {i: coin.integers(0, 2, 100) for i in range(50)}  # nobody knows anything
    >>> found = optimism(guesses, y, "accuracy", kind="classification")
    >>> found.raw.value > 0.6, 0.45 < found.corrected.value < 0.55, found.overfitted, found.shaky
    (True, True, True, True)
    """
    m, y = metric(goal), np.asarray(targets)
    ids = sorted(outputs)
    scores = scorer(m, [np.asarray(outputs[i]) for i in ids], y, kind)
    n = len(y)
    if not ids or n < 2 or not 0 < part < 1:
        raise UsageError(
            f"optimism: got {len(ids)} trials, {n} examples and part {part!r}. Give at least one trial, two examples and a part "
            "between 0 and 1."
        )
    every = np.ones((1, n))
    whole = scores(every)[0]
    best = int(np.argmin(worst(whole))) if winner is None else ids.index(winner)
    raw = interval(m, outputs[ids[best]], y, kind=kind, seed=seed)
    if len(ids) == 1:
        return Optimism(ids[0], m.name, 1, raw, raw, raw, ((ids[0], 1.0),), None)

    draw = rng(seed, "optimism")
    times = splits if isinstance(scores, Means) else max(50, min(splits, _CALLS // len(ids)))
    size = min(max(round(part * n), 1), n - 1)
    costs: list[Array] = []
    costs_again: list[Array] = []
    chosen: list[Array] = []
    gaps: list[Array] = []
    for inside in drawn(n, size, times, draw):
        here = worst(scores(inside))
        first = here.argmin(1)
        taken = draw.integers(0, len(ids), here.shape)  # trials, as another search would have had others
        lost = np.ones(here.shape, bool)
        np.put_along_axis(lost, taken, False, 1)
        other = np.where(lost, np.inf, here).argmin(1)
        there = scores.some(1 - inside, np.stack([np.full_like(first, best), first, other], 1))
        costs.append(there[:, 1] - there[:, 0])
        costs_again.append(there[:, 2] - there[:, 0])
        chosen.append(first)
        gaps.append(whole[other] - whole[best])
    sign = 1.0 if m.better == "min" else -1.0  # `scores` are lower is better
    luck = max(0.0, _mean(costs))
    corrected = _moved(raw, sign * luck, m, n, isinstance(scores, Means) and scores.single)
    apart = np.concatenate(gaps)
    again = _spread(corrected, sign * (max(luck, _mean(costs_again)) - luck), sign * apart[np.isfinite(apart)])
    counts = np.bincount(np.concatenate(chosen), minlength=len(ids))
    order = sorted(np.flatnonzero(counts), key=lambda j: (-counts[j], ids[j]))
    wins = tuple((ids[j], round(float(counts[j] / counts.sum()), 4)) for j in order)
    return Optimism(ids[best], m.name, len(ids), raw, corrected, again, wins, _agreement(scores, n, len(ids), seed))


def _mean(parts: list[Array]) -> float:
    """Return the mean of what is finite: a part may hold too few examples for a metric."""
    values = np.concatenate(parts)
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else 0.0


def _moved(raw: Interval, by: float, m: Metric, n: int, single: bool) -> Interval:
    """Return the interval of a score that is `by` away from the raw one, shares as Wilson has them, wider by `by` itself.

    What is taken off is an estimate and about as unsure as it is large: it lies between nothing and twice as much, and the two
    errors add as independent ones do.
    """
    value = raw.value + by
    low, high = raw.low + by, raw.high + by
    if share := single and m.name in ("accuracy", "error"):
        value = min(max(value, 0.0), 1.0)
        low, high = wilson(value * n, n, raw.level)
    low, high = value - math.hypot(value - low, by), value + math.hypot(high - value, by)
    return Interval(value, max(low, 0.0) if share else low, min(high, 1.0) if share else high, n, raw.level)


def _spread(around: Interval, by: float, gaps: Array) -> Interval:
    """Return an interval `by` further away, and wider by the spread that other trials would bring."""
    value = around.value + by
    if not len(gaps):
        return Interval(value, around.low + by, around.high + by, around.n, around.level)
    low, high = np.quantile(gaps - gaps.mean(), [0.025, 0.975])
    return Interval(
        value, value - math.hypot(around.value - around.low, float(low)),
        value + math.hypot(around.high - around.value, float(high)), around.n, around.level,
    )  # fmt: skip


def _agreement(scores: Means | Others, n: int, trials: int, seed: int) -> float | None:
    """Return the rank correlation between n examples and n others, from halves; None where it cannot be told."""
    if trials < 3 or n < 4:
        return None
    from scipy.stats import rankdata

    times = _HALVES if isinstance(scores, Means) else max(10, min(_HALVES, _CALLS // (4 * trials)))
    found = []
    for inside in drawn(n, n // 2, times, rng(seed, "halves")):
        a, b = (rankdata(worst(scores(part)), axis=1) for part in (inside, 1 - inside))
        a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
        length = np.sqrt((a**2).sum(1) * (b**2).sum(1))
        found.append(((a * b).sum(1)[length > 0]) / length[length > 0])
    if not sum(map(len, found)):  # every trial is as good as the others on each half: there is nothing to rank
        return None
    half = float(np.concatenate(found).mean())
    return round(2 * half / (1 + half) if half > 0 else half, 4)  # below 0 the formula leaves -1 to 1

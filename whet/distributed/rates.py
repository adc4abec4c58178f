"""A learning rate for each rule, with the same budget for all: a rule is worth no more than the rate it was given."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Literal, NamedTuple, Unpack

from whet.distributed.compare import Case, Outcome, Setting, compare
from whet.errors import UsageError
from whet.task import Task
from whet.tune.space import Params
from whet.tune.trial import Goal

__all__ = ["Rate", "Tried", "tune_rates"]

Edge = Literal["", "lowest", "highest"]


class Tried(NamedTuple):
    """What a rate was worth: the mean of the last values of the seeds that came to their end; seeds; how many diverged, and how many lost all workers."""

    rate: float
    value: float
    n: int
    diverged: int
    died: int = 0

    @property
    def ended(self) -> int:
        """How many seeds came to their end."""
        return self.n - self.diverged - self.died


class Rate(NamedTuple):
    """The rate of a rule with so many workers, and all that were tried.

    edge: "lowest" or "highest" when it is the last of the list on that side, so that a better one may lie beyond.
    """

    rate: float
    tried: tuple[Tried, ...]
    edge: Edge


def tune_rates(
    task: Task, params: Params, *, rules: Sequence[str], workers: Sequence[int], rates: Sequence[float],
    seeds: Sequence[int] = (1_000, 1_001), name: str = "lr", baseline: bool = False,
    watch: Callable[[Case, float, float], object] = lambda case, rate, epochs: None,
    stopping: Callable[[], bool] = lambda: False, **setting: Unpack[Setting],
) -> dict[tuple[str, int], Rate]:  # fmt: skip
    """Return the rate that is best for each rule with each number of workers, keyed by (rule, workers).

    Each tries every one of `rates` on every one of `seeds`, in the same simulation as it is then used in: the same budget for all. The
    best has the best mean of the task's goal on validation after the last epoch; one that comes to its end on more seeds goes before.
    Report on other seeds than these, since a choice among rates is lucky on those it was made on; the validation split is the same.

    rates: at least one, above 0; name: of the hyperparameter; baseline: one for `compare.SEQUENTIAL` with one worker too; watch: called
    after every event with the case, the rate and the epochs done; stopping: asked after every event, those that are not done are left out
    when it says yes. Everything else is as in `whet.distributed.compare.compare`, which takes what is found as
    `own={pair: {name: found.rate}}`.

    Raises UsageError, before anything is simulated, when a rate is none or something cannot be simulated.

    >>> from whet.tasks import resolve
    >>> found = tune_rates(resolve("diabetes"), {"net": "linear", "optimizer": "sgd", "batch": 16}, rules=["sync"], workers=[2],
    ...                    rates=[1e-5, 1e-2], seeds=[7], steps=2)
    >>> found["sync", 2].rate, found["sync", 2].edge
    (0.01, 'highest')
    """
    listed = sorted(dict.fromkeys(float(r) for r in rates))
    if not listed or not all(0 < r < math.inf for r in listed):
        raise UsageError(f"rates: must be numbers above 0, at least one, got {list(rates)}. Use e.g. 0.02,0.05,0.1.")
    if not seeds:
        raise UsageError("rates: need a seed to choose on, got none. Use e.g. seeds=(1000, 1001).")
    for dotted in (n for n in params if n.endswith(f".{name}")):
        raise UsageError(f"rates: the configuration has {dotted}, which goes before {name}. Use name={dotted!r}.")
    goal = task.goals(task.data(params))[0]
    assert isinstance(goal, Goal)  # the first always is
    ends: dict[tuple[str, int, float], list[Outcome]] = {}
    for rate in listed:

        def seen(case: Case, epochs: float, rate: float = rate) -> None:
            watch(case, rate, epochs)

        for outcome in compare(
            task, {**params, name: rate}, rules=rules, workers=workers, seeds=seeds, baseline=baseline, watch=seen,
            stopping=stopping, **setting,
        ):  # fmt: skip
            ends.setdefault((outcome.case.rule, outcome.case.workers, rate), []).append(outcome)
    return {
        (rule, count): chosen([tried(r, ends[rule, count, r]) for r in listed], goal.better)
        for rule, count in dict.fromkeys((rule, count) for rule, count, _ in ends)
        if all(len(ends.get((rule, count, r), ())) == len(seeds) for r in listed)
    }


def tried(rate: float, outcomes: Sequence[Outcome]) -> Tried:
    """Return what a rate was worth, from what became of its seeds."""
    sound, died = [o.points[-1].value for o in outcomes if o.complete], sum(o.died for o in outcomes)
    value = fmean(sound) if sound else math.nan
    return Tried(rate, value, len(outcomes), len(outcomes) - len(sound) - died, died)


def chosen(rates: Sequence[Tried], better: str) -> Rate:
    """Return the best of rates in rising order; of equals, and when none came to its end, the lowest.

    better: "min" or "max".

    >>> chosen([Tried(0.1, 0.3, 2, 0), Tried(0.2, 0.2, 2, 0), Tried(0.4, 0.1, 2, 1)], "min")[0]
    0.2
    """
    sign = 1.0 if better == "min" else -1.0

    def order(t: Tried) -> tuple[int, float]:
        return t.n - t.ended, sign * t.value if math.isfinite(t.value) else math.inf

    best = min(rates, key=order)
    edge: Edge = ""
    if len(rates) > 1:
        edge = "lowest" if best == rates[0] else "highest" if best == rates[-1] else ""
    return Rate(best.rate, tuple(rates), edge)


def settings(found: Mapping[tuple[str, int], Rate], name: str = "lr") -> dict[tuple[str, int], dict[str, float]]:
    """Return the rates as `compare` takes them.

    >>> settings({("sync", 4): Rate(0.1, (), "")})
    {('sync', 4): {'lr': 0.1}}
    """
    return {pair: {name: rate.rate} for pair, rate in found.items()}

"""Cross-validated studies: a step of a trial is a fold, trained afresh, and the value is the mean over the folds so far."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np

from whet.data.folds import Fold, deal, folded, pooled
from whet.data.split import Data
from whet.distributed.together import Together, rule_in
from whet.errors import DivergedError, StudyError, TaskError, UsageError
from whet.journal.store import Store
from whet.metric import interval
from whet.recipe.words import dealt
from whet.seed import key
from whet.stop.gain import NOISE
from whet.task import Task
from whet.tasks import restore
from whet.train.early import Early
from whet.train.run import Run
from whet.train.scored import goal_metric
from whet.tune.attempt import Attempt
from whet.tune.budget import Price
from whet.tune.goal import Goal
from whet.tune.schedule import describe as describe_schedule
from whet.tune.schedule.race import DEAL
from whet.tune.search import describe as describe_search
from whet.tune.strategy import Scheduler, Searcher
from whet.tune.study import Study
from whet.tune.trial import Trial
from whet.tune.worker import training_seed

__all__ = [
    "Crossed", "check_data", "check_same", "check_words", "judged", "objective", "schedule", "tag", "train_folds",
]  # fmt: skip

_LARGE = 1 << 25  # bytes of inputs from which on one fold at a time is held
# they go by the curve of one training, or go on from its weights, and a fold is a training of its own
_OF_EPOCHS = {
    "freeze-thaw": "forecasts the curve of one training",
    "population": "goes on from another trial's weights",
}


def tag(again: int) -> str:
    """Return the tag of a trial that is run on the deal with this number.

    >>> tag(2)
    'deal-2'
    """
    return f"{DEAL}{again}"


def schedule(given: Any, goals: Sequence[Any]) -> Any:
    """Return the schedule of a cross-validated study: "race" for "auto", with several goals "asha", else what was given.

    >>> from whet.tune.goal import parse_goals
    >>> schedule("auto", parse_goals("max accuracy")), schedule("full", parse_goals("max accuracy"))
    ('race', 'full')
    """
    several = sum(isinstance(g, Goal) for g in goals) > 1
    return given if given != "auto" else "asha" if several else "race"


def check_words(
    folds: int | None, *, search: str | Searcher, schedule: str | Scheduler, price: Price | str | None = None
) -> None:
    """Raise UsageError when `--folds` makes no sense, or not with these.

    >>> check_words(1, search="auto", schedule="auto")
    Traceback (most recent call last):
    ...
    whet.errors.UsageError: --folds: must be at least 2, got 1. Use e.g. 5.
    """
    if folds is None:
        return
    if folds < 2:
        raise UsageError(f"--folds: must be at least 2, got {folds}. Use e.g. 5.")
    how = schedule if isinstance(schedule, str) else describe_schedule(schedule)["name"]
    if how in _OF_EPOCHS:
        raise UsageError(
            f"--schedule {how}: {_OF_EPOCHS[how]}, and with --folds each step is a training of its own. Use race, asha, "
            "hyperband, median or full."
        )
    if (search if isinstance(search, str) else describe_search(search)["name"]) == "hypergradient":
        raise UsageError(
            "--search hypergradient: goes by the gradient of one training, and with --folds a trial is several. Use another searcher."
        )
    if price is not None and Price.of(price).unit == "epoch":
        raise UsageError(f"--price {price}: with --folds a step is a fold. Give what an hour or a trial costs.")


def check_same(store: Store, name: str, folds: int | None) -> None:
    """Raise StudyError when there is a study of this name that deals its examples in another number of folds."""
    if name not in store.names():
        return
    with closing(Study.open(store, name)) as study:
        before = dealt(study)
    if before != (folds or 0):
        have, now = (f"with --folds {k}" if k else "without --folds" for k in (before, folds))
        raise StudyError(
            f"study '{name}': was created {have}, not {now}. Use the same, another --name, or start over (--fresh)."
        )


class Crossed:
    """A task on folds of its visible examples.

    task: one of its own, which nothing else trains: what a task remembers of one fold must not reach another; k: folds.

    >>> from whet.tasks import resolve
    >>> task, fold = Crossed(resolve("diabetes"), 4).fold({}, 0, 1)
    >>> len(task.data({}).train) == len(fold.train), len(fold.valid)
    (True, 94)
    """

    def __init__(self, task: Task, k: int) -> None:
        self.task, self.k = task, k
        self._deals: dict[int, list[Fold]] = {}
        self._made: dict[tuple[int, int], tuple[Data, Data]] = {}  # (deal, step) -> the task's data, and the fold's

    def fold(self, params: Mapping[str, Any], again: int, step: int) -> tuple[Task, Fold]:
        """Return the task of fold `step`, from 1, of the deal `again`, and the fold."""
        if again not in self._deals:
            data = self.task.data(dict(params))
            self._deals = {again: deal(data, self.k, seed=self.task.seed, again=again)}
            self._made = {}
        fold = self._deals[again][step - 1]

        def data_of(given: Mapping[str, Any]) -> Data:
            whole = self.task.data(dict(given))
            known = self._made.get((again, step))
            if known is None or known[0] is not whole:  # else the same examples were prepared before
                if sum(p.nbytes for p in whole.train.parts) > _LARGE:
                    self._made.clear()
                known = self._made[again, step] = (whole, folded(whole, fold))
            return known[1]

        task = copy.copy(self.task)
        # what a method remembers in a dict of the task stays with this fold
        vars(task).update({n: dict(v) for n, v in vars(task).items() if type(v) is dict})
        vars(task)["data"] = data_of  # in place of the method: `model` and `loss` ask for the data too
        return task, fold


def train_folds(
    crossed: Crossed, params: Mapping[str, Any], run: Attempt, *, epochs: int, stop: str = "", noise: bool = False
) -> None:
    """Train `params` afresh on each fold of `run`, for `epochs` epochs or until `stop` says so.

    Every step reports the mean over the folds so far, of the goal's metric and of all others; the state keeps what is needed for it and the outputs
    (n, ...) on the examples held out so far, in the order of the pooled ones. A fold that was cut off is trained again.
    noise: report the standard error of the last value, from the outputs.

    Raises DivergedError when a `diverged` of the criterion says so.
    """
    state = run.load() or {"scores": [], "metrics": [], "at": None, "outputs": None}
    scores, each = [float(v) for v in state["scores"]], [dict(m) for m in state["metrics"]]
    at = np.empty(0, np.int64) if state["at"] is None else np.asarray(state["at"])
    outputs = None if state["outputs"] is None else np.asarray(state["outputs"])
    again = _deal_of(run.trial)
    for step in run:
        task, fold = crossed.fold(params, again, step)
        task.steps = epochs
        start = Together if rule_in(params) else Run
        seed = key(training_seed(task.seed, run.id), "fold", step)
        training = start(task, params, steps=epochs, seed=seed)
        early = Early(training, stop or None)
        for _ in early:
            pass
        if early.failed:
            raise DivergedError(f"fold {step}: {early.why}")
        last = early.best if early.why else early.points[-1]
        if last is None or not math.isfinite(last.value) or training.outputs is None:
            run.report(math.nan)
            continue
        scores.append(last.value)
        each.append({k: float(v) for k, v in last.metrics.items()})
        at, outputs = _joined(at, outputs, fold.valid, training.outputs)
        means: dict[str, Any] = {k: float(np.mean([m[k] for m in each])) for k in each[0] if all(k in m for m in each)}
        if noise and step == run.steps:
            data = _seen(crossed.task.data(dict(params)), at)
            means[NOISE] = _standard_error(crossed.task, params, data, outputs)
        run.report(
            float(np.mean(scores)), {"step": step, "scores": scores, "metrics": each, "at": at, "outputs": outputs}, **means
        )  # fmt: skip


def objective(
    reference: Mapping[str, Any], *, folds: int, epochs: int, stop: str = "", noise: bool = False
) -> Callable[[Mapping[str, Any], Attempt], None]:
    """Return the cross-validated objective of the task that `reference` describes; the rest as for `train_folds`.

    >>> callable(objective({"task": "diabetes", "seed": 0}, folds=4, epochs=2))
    True
    """
    crossed = Crossed(restore(reference), folds)

    def train(params: Mapping[str, Any], run: Attempt) -> None:
        train_folds(crossed, params, run, epochs=epochs, stop=stop, noise=noise)

    return train


def judged(study: Study, data: Data, trial: Trial | None, step: int | None = None) -> Data:
    """Return the data whose validation part is what `trial` was scored on: of a cross-validated study the examples held out in its folds.

    The outputs that the trial left are of these examples, in this order. step: after so many folds, all that it had when None.
    """
    k = dealt(study)
    if not k or trial is None:
        return data
    folds = deal(data, k, seed=study.seed, again=_deal_of(trial))[: trial.step if step is None else step]
    return _seen(data, np.sort(np.concatenate([f.valid for f in folds]))) if folds else data


def _seen(data: Data, at: np.ndarray) -> Data:
    return replace(data, valid=pooled(data).take(at), sealed=None, raw={})


def _deal_of(trial: Trial) -> int:
    """Return the number of the deal that a trial is run on."""
    return next((int(t.removeprefix(DEAL)) for t in trial.tags if t.startswith(DEAL)), 0)


def _joined(
    at: np.ndarray, outputs: np.ndarray | None, more: np.ndarray, new: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return positions and outputs with those of another fold, in rising order of the positions."""
    whole = np.concatenate([at, more])
    order = np.argsort(whole, kind="stable")
    values = new if outputs is None else np.concatenate([outputs, new])
    return whole[order], values[order]


def _standard_error(task: Task, params: Mapping[str, Any], data: Data, outputs: np.ndarray) -> float:
    measure = goal_metric(task, params, data, outputs)
    found = interval(measure, outputs, data.valid.targets.numpy(), kind=data.kind)
    return (found.high - found.low) / (2 * 1.959964)


def check_data(task: Task, data: Data, k: int) -> None:
    """Raise a WhetError when the task's examples cannot be dealt in k folds, or a fold cannot be prepared anew."""
    folds = deal(data, k, seed=task.seed)
    try:
        folded(data, folds[0])
    except (ValueError, IndexError) as e:
        raise TaskError(f"folds: the first of {k} folds cannot be prepared: {e} Give fewer folds.") from e

"""Tuning a `Task`: the objective that trains it, importable by name so that any worker process can make it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import nn

from whet.distributed.together import Together, rule_in
from whet.errors import DivergedError, TaskError
from whet.metric import interval
from whet.seed import key
from whet.stop.gain import NOISE
from whet.task import Task
from whet.tasks import restore
from whet.train.early import Early
from whet.train.hypergradient.found import Tape, hypergradient
from whet.train.run import Run
from whet.train.scored import goal_metric
from whet.tune.attempt import Attempt
from whet.tune.trial import Trial, Verdict

__all__ = ["objective", "rebuild", "train_task", "training_seed"]


def train_task(
    task: Task, params: Mapping[str, Any], run: Attempt, *, stop: str = "", noise: bool = False
) -> dict[str, float] | None:
    """Train `task` under `params` for the steps of `run`, from its checkpoint when it has one.

    Every step reports the goal's metric on the validation split and hands over a state that holds, beside the weights,
    the validation outputs (n, C): what ensembles and intervals are made of. stop: a criterion as text (see
    `whet.stop.parse`); when it says so the trial ends with the model, outputs and value of its best point. noise: report
    the standard error of the last value, from the outputs. A configuration with "rule" and "workers" is trained by so many workers, in
    the simulator (see `whet.distributed.together`). When the searcher goes by gradients
    (`run.gradient`), that of the last value by the configuration's real numbers is reported with it, and what it cost counted, in epochs (see
    `whet.train.hypergradient.found`).

    Raises DivergedError when a `diverged` of the criterion says so.
    """
    state = run.load()
    start = Together if rule_in(params) else Run
    # a child goes on in the streams of who it comes from: a whole lineage is one training, which can be done again
    inherited = state is not None and run.trial.parent is not None and "seed" in state
    seed = int(state["seed"]) if inherited and state is not None else training_seed(task.seed, run.id)
    training = start(task, params, steps=run.steps, seed=seed, resume=state)
    early = Early(training, stop or None, resume=None if state is None else state.get("early"))
    if state is not None and early.why:
        training.outputs = np.asarray(state["outputs"])
        _end(run, early)
    slopes = _Slopes(task, params, training, run.gradient) if run.gradient else None
    gradient: dict[str, float] = {}
    points = iter(early)
    for _ in run:
        point = next(points)
        metrics: dict[str, Any] = dict(point.metrics)
        now = training.state()
        if slopes is not None:
            slopes.take(now)
            if early.why and not early.failed and early.best is not None:
                gradient = slopes.found(early.best.step)  # before the report, which is what has a cost
                metrics["cost"] = 1.0 + slopes.cost
            elif point.step == run.steps and not early.why and math.isfinite(point.value):
                metrics |= slopes.found(point.step)
                metrics["cost"] = 1.0 + slopes.cost
        if noise and point.step == run.steps:
            metrics[NOISE] = _standard_error(task, params, training)
        state = {**now, "outputs": training.outputs}
        if stop:
            state["early"] = early.state()
        run.report(point.value, state, **metrics)
        if early.why and run.verdict is Verdict.GO:
            _end(run, early)
    best = early.best
    if not run.ended or best is None:
        return None
    if slopes is not None and not gradient:  # its last report was made before it was resumed
        gradient = slopes.found(best.step)
    told = {**best.metrics, training.goal.name: best.value, **gradient}
    return {**told, NOISE: _standard_error(task, params, training)} if noise else told


class _Slopes:
    """The gradient of what a trial ends with: the states of its training are kept, so that it need not be trained again."""

    def __init__(self, task: Task, params: Mapping[str, Any], training: Run | Together, method: str) -> None:
        if not isinstance(training, Run):
            raise TaskError(
                "hypergradient: a training on several workers has no gradient. Take rule and workers out of the space, or use another searcher."
            )
        self._task, self._params, self._training, self._method = task, params, training, method
        self._tape = Tape()
        self._tape.take(training.state())
        self.cost = 0.0

    def take(self, state: Mapping[str, Any]) -> None:
        """Keep the state after an epoch."""
        self._tape.take(state)

    def found(self, step: int) -> dict[str, float]:
        """Return the metrics of the gradient of the value after epoch `step`."""
        run = self._training
        self._tape.drop(step)
        made = hypergradient(
            self._task, self._params, steps=step, seed=run.seed, device=run.device, method=self._method, tape=self._tape
        )  # fmt: skip
        self.cost = made.cost
        return made.metrics(run.goal.name)


def _end(run: Attempt, early: Early[Run | Together]) -> None:
    if early.failed:
        raise DivergedError(early.why)
    run.end(early.why)


def _standard_error(task: Task, params: Mapping[str, Any], training: Run | Together) -> float:
    """Return the standard error of the goal's metric on the validation split, from its 95 % interval."""
    data = training.data
    assert training.outputs is not None
    measure = goal_metric(task, params, data, training.outputs)
    found = interval(measure, training.outputs, data.valid.targets.numpy(), kind=data.kind)
    return (found.high - found.low) / (2 * 1.959964)


def objective(
    reference: Mapping[str, Any], stop: str = "", noise: bool = False
) -> Callable[[Mapping[str, Any], Attempt], dict[str, float] | None]:
    """Return the objective of the task that `reference` describes (see `whet.tasks.reference`); stop, noise: `train_task`'s.

    >>> train = objective({"task": "digits", "seed": 0})
    >>> callable(train)
    True
    """
    task = restore(reference)

    def train(params: Mapping[str, Any], run: Attempt) -> dict[str, float] | None:
        task.steps = run.steps  # what falls with the epochs, such as a cosine's rate, ends with this study's
        return train_task(task, params, run, stop=stop, noise=noise)

    return train


def rebuild(task: Task, trial: Trial, state: Mapping[str, Any], steps: int) -> tuple[nn.Module, np.ndarray]:
    """Return the model of a trial's checkpoint, on the CPU and in evaluation mode, and its validation outputs."""
    run = Run(task, trial.params, steps=steps, seed=training_seed(task.seed, trial.id), device="cpu", resume=state)
    return run.model.eval(), np.asarray(state["outputs"])


def training_seed(seed: int, trial: int) -> int:
    """Return the seed of the training of trial `trial`, of a task whose own seed is `seed`; a child has its oldest ancestor's.

    >>> training_seed(0, 1) == training_seed(0, 1) != training_seed(0, 2)
    True
    """
    return key(seed, trial, "train")

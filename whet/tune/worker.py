"""Tuning a `Task`: the objective that trains it, importable by name so that any worker process can make it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import nn

from whet.seed import key
from whet.task import Task
from whet.tasks import restore
from whet.train.run import Run
from whet.tune.attempt import Attempt
from whet.tune.trial import Trial

__all__ = ["objective", "rebuild", "train_task"]


def train_task(task: Task, params: Mapping[str, Any], run: Attempt) -> None:
    """Train `task` under `params` for the steps of `run`, from its checkpoint when it has one.

    Every step reports the goal's metric on the validation split and hands over a state that holds, beside the weights,
    the validation outputs (n, C): what ensembles and intervals are made of.
    """
    state = run.load()
    training = Run(task, params, steps=run.steps, seed=_seed(task, run.id), resume=state)
    points = iter(training)
    for _ in run:
        point = next(points)
        metrics: dict[str, Any] = dict(point.metrics)
        run.report(point.value, {**training.state(), "outputs": training.outputs}, **metrics)


def objective(reference: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Attempt], None]:
    """Return the objective of the task that `reference` describes (see `whet.tasks.reference`).

    >>> train = objective({"task": "digits", "seed": 0})
    >>> callable(train)
    True
    """
    task = restore(reference)
    return lambda params, run: train_task(task, params, run)


def rebuild(task: Task, trial: Trial, state: Mapping[str, Any], steps: int) -> tuple[nn.Module, np.ndarray]:
    """Return the model of a trial's checkpoint, on the CPU and in evaluation mode, and its validation outputs."""
    run = Run(task, trial.params, steps=steps, seed=_seed(task, trial.id), device="cpu", resume=state)
    return run.model.eval(), np.asarray(state["outputs"])


def _seed(task: Task, trial: int) -> int:
    return key(task.seed, trial, "train")

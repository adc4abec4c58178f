"""The metric a trial is chosen by, as NumPy sees it: with the task's own loss where the goal is the loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whet.data.split import Data
from whet.metric import Metric, metric
from whet.task import Task
from whet.train.loss import Loss
from whet.tune.space import Params

__all__ = ["goal_metric", "loss_metric"]

_TRIED = 64  # examples on which it is seen whether a loss is the mean of what it is of each


def goal_metric(task: Task, params: Params, data: Data, outputs: np.ndarray) -> Metric:
    """Return the metric of the task's first goal; of "loss" it is the loss that `params` name, without label smoothing.

    outputs: of some trial on the validation split (n, ...), to try the loss on.

    >>> from whet.tasks import resolve
    >>> task = resolve("digits")
    >>> goal_metric(task, {}, task.data({}), np.zeros((270, 10))).name
    'accuracy'
    """
    name = task.goals(data)[0].name
    if name != "loss":
        return metric(name)
    loss, targets = task.loss(params), data.valid.targets
    if isinstance(loss, Loss):
        loss = loss.plain()
        if loss.named(targets) == ("mse" if targets.is_floating_point() else "cross_entropy") and loss.scale == 1:
            return metric("loss")  # the same, without a call for each example
    return loss_metric(loss, outputs, targets.numpy())


def loss_metric(loss: Callable[[Tensor, Tensor], Tensor], outputs: np.ndarray, targets: np.ndarray) -> Metric:
    """Return a loss (outputs, targets) -> scalar as a metric called "loss"; outputs and targets: some, to try it on.

    The metric knows the loss of each example where the whole is their mean. Of a loss that weighs or pairs examples, or has several
    positions in each, it does not, and intervals are drawn from the whole.

    >>> outputs, targets = np.array([[0.0, 2.0], [1.0, -1.0]]), np.array([[0.0, 1.0], [1.0, 0.0]])  # labels that hold or not
    >>> several = loss_metric(torch.nn.functional.binary_cross_entropy_with_logits, outputs, targets)
    >>> round(several.compute(outputs, targets), 4), several.each(outputs, targets).round(4).tolist()
    (0.3616, [0.41, 0.3133])
    """

    def compute(outputs: np.ndarray, targets: np.ndarray) -> float:
        with torch.inference_mode():
            return float(loss(_tensor(outputs), _tensor(targets)))

    def each(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        o, t = _tensor(outputs), _tensor(targets)
        with torch.inference_mode():
            return np.array([float(loss(o[i : i + 1], t[i : i + 1])) for i in range(len(t))])

    some = np.asarray(outputs)[:_TRIED], np.asarray(targets)[:_TRIED]
    try:
        positions = some[1].ndim > 1 and some[1].dtype.kind in "iub"
        alike = not positions and math.isclose(each(*some).mean(), compute(*some), rel_tol=1e-4, abs_tol=1e-7)
    except (RuntimeError, ValueError, IndexError, TypeError):  # it takes no single example
        alike = False
    return Metric("loss", "min", compute, None, each if alike else None)


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))

"""A task on a few of its examples: the same model, loss, optimizer and augmentation, over in a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from whet.checks.subject import Subject
from whet.data.split import Data, Split
from whet.seed import key
from whet.task import Augment, Task
from whet.tune.space import Params
from whet.tune.trial import Bound, Goal

__all__ = ["Small", "small"]


class Small(Task):
    """Another task with other data and a batch of its own; everything else is that task's.

    >>> class Given(Task):
    ...     def model(self, params):
    ...         return nn.Linear(1, 2)
    >>> data = Data(Split(torch.zeros(4, 1), torch.tensor([0, 1, 0, 1])), Split(torch.zeros(2, 1), torch.tensor([0, 1])))
    >>> short = Small(Given(), data, 2)
    >>> len(short.data({}).train), short.batch({"batch": 64}), type(short.model({})).__name__
    (4, 2, 'Linear')
    """

    def __init__(self, task: Task, data: Data, batch: int) -> None:
        self.whole, self._data, self._batch = task, data, batch
        self.space, self.steps, self.seed, self.name = task.space, task.steps, task.seed, task.name

    def data(self, params: Params) -> Data:
        """Return the few examples."""
        return self._data

    def model(self, params: Params) -> nn.Module:
        """Return the task's model."""
        return self.whole.model(params)

    def loss(self, params: Params) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the task's loss."""
        return self.whole.loss(params)

    def optimizer(self, params: Params, model: nn.Module) -> torch.optim.Optimizer:
        """Return the task's optimizer."""
        return self.whole.optimizer(params, model)

    def rate(self, params: Params) -> Callable[[float], float] | None:
        """Return the task's schedule."""
        return self.whole.rate(params)

    def augment(self, params: Params) -> Augment | None:
        """Return the task's augmentation."""
        return self.whole.augment(params)

    def batch(self, params: Params) -> int:
        """Return the batch given."""
        return self._batch

    def goals(self, data: Data) -> tuple[Goal | Bound, ...]:
        """Return the task's goals."""
        return self.whole.goals(data)

    def measured(self, data: Data) -> tuple[str, ...]:
        """Return the task's metrics."""
        return self.whole.measured(data)


def small(subject: Subject, *, batches: int = 3, most: int = 32, valid: int = 100) -> Small:
    """Return the task of a subject on `batches` batches of at most `most` training and `valid` validation examples.

    Which ones is drawn from the subject's seed. Raises ValueError for a subject without a task or data.
    """
    if subject.task is None or subject.data is None:
        raise ValueError("needs a whole task, not one batch: use check_task(task, params)")
    data, batch = subject.data, max(2, min(int(subject.task.batch(subject.params)), most))

    def few(split: Split, n: int, name: str) -> Split:
        draw = torch.Generator().manual_seed(key(subject.seed, "check", "small", name))
        return split.take(torch.randperm(len(split), generator=draw)[:n])

    picked: dict[str, Any] = {
        "train": few(data.train, batches * batch, "train"),
        "valid": few(data.valid, valid, "valid"),
    }
    # Named as the person's own class: what a run says of it is read by a person.
    kind = type(type(subject.task).__name__, (Small,), {"__doc__": Small.__doc__})
    made: Small = kind(subject.task, replace(data, **picked, sealed=None), batch)
    return made

"""The real numbers of a configuration as tensors, and the parts of a task made of them: what a gradient by them goes through."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from whet.task import Augment, Task
from whet.train.hypergradient.update import kind_of
from whet.train.loss import Loss
from whet.tune.domain import Float
from whet.tune.space import Params

__all__ = ["Lifted", "real_names"]


def real_names(task: Task, params: Params) -> list[str]:
    """Return the names of the real numbers in a configuration.

    >>> from whet.tune.space import Int, Space
    >>> class T(Task):
    ...     space = Space(lr=Float(0, 1), depth=Int(1, 4))
    >>> real_names(T(), {"lr": 0.1, "depth": 2})
    ['lr']
    """
    return [d.name for d in task.space.dims if isinstance(d.domain, Float) and d.name in params]


class Lifted:
    """A task's loss, optimizer and augmentation under a configuration whose real numbers are tensors.

    values: the tensors, 0-dimensional float64, by name; loss, optimizer, augment: what the task makes of them. A part that cannot be made of tensors
    is made of numbers, and then nothing is known of its hyperparameters. The model is always made of numbers: its structure has no
    gradient.

    Raises TaskError when the optimizer's steps cannot be differentiated.
    """

    def __init__(self, task: Task, params: Params, names: Sequence[str], model: nn.Module) -> None:
        device = next(model.parameters()).device
        self.values = {
            n: torch.tensor(float(params[n]), dtype=torch.float64, device=device, requires_grad=True)  # type: ignore[arg-type]
            for n in names
        }
        lifted: dict[str, Any] = {**params, **self.values}
        with quietly():
            self.loss: Callable[[Tensor, Tensor], Tensor] = _made(task.loss, lifted, params)
            self.optimizer: torch.optim.Optimizer = _made(lambda p: task.optimizer(p, model), lifted, params)
            self.augment: Augment | None = _made(task.augment, lifted, params)
        self.kind = kind_of(self.optimizer)
        self._name = {p: n for n, p in model.named_parameters()}
        self.group: dict[str, Mapping[str, Any]] = {
            self._name[p]: group for group in self.optimizer.param_groups for p in group["params"]
        }

    @property
    def plain_loss(self) -> Callable[[Tensor, Tensor], Tensor]:
        """The loss that a validation split is measured with."""
        return self.loss.plain() if isinstance(self.loss, Loss) else self.loss

    def settings(self, factor: float) -> dict[str, Mapping[str, Any]]:
        """Return the settings of each weight's group, by its name, with the learning rate times `factor`."""
        made = {id(g): {**g, "lr": g["lr"] * factor} for g in self.optimizer.param_groups}
        return {n: made[id(g)] for n, g in self.group.items()}


def _made(make: Callable[[Params], Any], lifted: Params, params: Params) -> Any:
    try:
        return make(lifted)
    except Exception:  # code that takes numbers only: what is wrong with it was said when the run was made
        return make(params)


@contextmanager
def quietly() -> Iterator[None]:
    """Silence what PyTorch says when a tensor with a gradient is made a number: that part has no gradient then."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Converting a tensor with requires_grad")
        yield

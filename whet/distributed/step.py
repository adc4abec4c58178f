"""The server's steps: an optimizer that sees the model as one parameter, where that takes the same steps."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adadelta, Adam, Adamax, AdamW, NAdam, Optimizer, RAdam, RMSprop, Rprop

from whet.distributed.flat import Flat

__all__ = ["Steps"]

# What these do to an element depends on that element's own numbers, and on how many steps were taken.
_ELEMENTWISE = (SGD, Adadelta, Adam, Adamax, AdamW, NAdam, RAdam, RMSprop, Rprop)


class Steps:
    """Steps of an optimizer over a flat model's parameters, on gradients that come as one vector.

    An optimizer of PyTorch's that works elementwise takes its steps on one parameter, the vector, in place of the hundreds
    that a model may have: each costs some microseconds, and the result is the same bit for bit. It stays with the model's
    parameters when their settings differ, when it was given only some of them, has taken a step before, runs hooks, is
    `fused`, or is of another kind; so it does for dtypes of less than 32 bits, which round in another order.

    rate: the factor on its learning rates by epochs done, or None.

    >>> flat = Flat(nn.Linear(2, 1))
    >>> before, steps = flat.weights.clone(), Steps(flat, SGD(flat.parameters, lr=0.5))
    >>> steps.take(torch.ones(3)); torch.equal(flat.weights, before - 0.5), steps.whole
    (True, True)
    """

    def __init__(self, flat: Flat, optimizer: Optimizer, rate: Callable[[float], float] | None = None) -> None:
        self.flat, self._rate = flat, rate
        self._one = nn.Parameter(flat.weights, requires_grad=True) if one_vector(flat, optimizer) else None
        self.optimizer = optimizer if self._one is None else over(optimizer, self._one)
        self._rates = [float(group["lr"]) for group in self.optimizer.param_groups]

    @property
    def whole(self) -> bool:
        """Whether the model is one parameter to the optimizer."""
        return self._one is not None

    def take(self, gradient: Tensor, epochs: float | None = None) -> None:
        """Take a step on a gradient (p,), where it lies; epochs: those done before, None to leave the learning rates as they are."""
        if self._rate is not None and epochs is not None:
            factor = self._rate(epochs)
            for group, lr in zip(self.optimizer.param_groups, self._rates, strict=True):
                group["lr"] = lr * factor
        if self._one is None:
            self.flat.point(gradient)
        else:
            self._one.grad = gradient
        self.optimizer.step()


def one_vector(flat: Flat, optimizer: Optimizer) -> bool:
    """Return whether steps on the vector are the steps of `optimizer`, bit for bit."""
    if type(optimizer) not in _ELEMENTWISE or flat.weights.dtype not in (torch.float32, torch.float64):
        return False
    if optimizer.state or optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        return False
    first, *others = settings = [_settings(g) for g in optimizer.param_groups]
    if any(s["fused"] for s in settings if "fused" in s) or any(s != first for s in others):
        return False
    theirs = [id(p) for g in optimizer.param_groups for p in g["params"]]
    return sorted(theirs) == sorted(map(id, flat.parameters))


def over(optimizer: Optimizer, parameter: nn.Parameter) -> Optimizer:
    """Return an optimizer of the same kind and settings for one parameter."""
    made = copy.copy(optimizer)
    made.state = defaultdict(dict)
    made.param_groups = [{**_settings(optimizer.param_groups[0]), "params": [parameter]}]
    return made


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in group.items() if k not in ("params", "param_names")}

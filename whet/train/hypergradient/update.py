"""One step of PyTorch's optimizers as a function of values, so that it can be differentiated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from whet.errors import TaskError

__all__ = ["KINDS", "kind_of", "updated"]

# The states that a step depends on smoothly: what a reverse pass goes through.
KINDS: Mapping[type[torch.optim.Optimizer], tuple[str, ...]] = {
    torch.optim.SGD: ("momentum_buffer",),
    torch.optim.Adam: ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"),
    torch.optim.RMSprop: ("square_avg", "grad_avg", "momentum_buffer"),
    torch.optim.Adagrad: ("sum",),
}


def kind_of(optimizer: torch.optim.Optimizer) -> type[torch.optim.Optimizer]:
    """Return which of `KINDS` the steps of an optimizer are (AdamW's are Adam's); raise TaskError when none.

    >>> kind_of(torch.optim.AdamW([torch.zeros(1)])).__name__
    'Adam'
    """
    kind = torch.optim.Adam if type(optimizer) is torch.optim.AdamW else type(optimizer)
    if kind not in KINDS:
        known = ", ".join(sorted([*(k.__name__ for k in KINDS), "AdamW"]))
        raise TaskError(
            f"hypergradient: steps of {type(optimizer).__name__} cannot be differentiated. Allowed: {known}. "
            "Use one of these, or another searcher."
        )
    return kind


def updated(
    kind: type[torch.optim.Optimizer], group: Mapping[str, Any], w: Tensor, g: Tensor, *, state: Mapping[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return a weight and its state after a step; group: the settings, numbers or tensors; state: as the optimizer keeps it, {} before its first step.

    Formulae and order are those of `torch.optim`, without its kernels: equal up to rounding. At a mean square of 0 the slope of its root, which has none, is 0.

    >>> w, state = updated(torch.optim.SGD, {"lr": 0.5, "momentum": 0.9, "weight_decay": 0.0}, torch.ones(1), torch.ones(1), state={})
    >>> w, state["momentum_buffer"]
    (tensor([0.5000]), tensor([1.]))
    """
    if group.get("maximize"):
        g = -g
    lr, decay = group["lr"], group.get("weight_decay", 0.0)
    decays = isinstance(decay, Tensor) or decay != 0
    if decays and group.get("decoupled_weight_decay"):
        w = w * (1 - lr * decay)
    elif decays:
        g = g + decay * w
    if kind is torch.optim.SGD:
        return _sgd(group, lr, w, g, state)
    if kind is torch.optim.Adam:
        return _adam(group, lr, w, g, state)
    if kind is torch.optim.RMSprop:
        return _rmsprop(group, lr, w, g, state)
    step = state["step"] + 1
    total = state["sum"] + g * g
    rate = lr / (1 + (float(step) - 1) * group["lr_decay"])  # the step is a float32
    return w - rate * g / (_root(total) + group["eps"]), {"step": step, "sum": total}


def _sgd(
    group: Mapping[str, Any], lr: Any, w: Tensor, g: Tensor, state: Mapping[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    momentum = group.get("momentum", 0.0)
    if not (isinstance(momentum, Tensor) or momentum != 0):
        return w - lr * g, {}
    old = state.get("momentum_buffer")
    buffer = g if old is None else momentum * old + (1 - group.get("dampening", 0.0)) * g
    move = g + momentum * buffer if group.get("nesterov") else buffer
    return w - lr * move, {"momentum_buffer": buffer}


def _adam(
    group: Mapping[str, Any], lr: Any, w: Tensor, g: Tensor, state: Mapping[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    beta1, beta2 = group["betas"]
    zero = torch.zeros_like(w)
    step = state.get("step", torch.zeros(())) + 1
    mean = beta1 * state.get("exp_avg", zero) + (1 - beta1) * g
    square = beta2 * state.get("exp_avg_sq", zero) + (1 - beta2) * g * g
    found, largest = {"step": step, "exp_avg": mean, "exp_avg_sq": square}, square
    if group.get("amsgrad"):
        largest = found["max_exp_avg_sq"] = torch.maximum(state.get("max_exp_avg_sq", zero), square)
    n = float(step)
    below = _root(largest) / (1 - beta2**n) ** 0.5 + group["eps"]
    return w - lr / (1 - beta1**n) * mean / below, found


def _rmsprop(
    group: Mapping[str, Any], lr: Any, w: Tensor, g: Tensor, state: Mapping[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    alpha, momentum, zero = group["alpha"], group["momentum"], torch.zeros_like(w)
    square = alpha * state.get("square_avg", zero) + (1 - alpha) * g * g
    found, below = {"step": state.get("step", torch.zeros(())) + 1, "square_avg": square}, square
    if group["centered"]:
        found["grad_avg"] = alpha * state.get("grad_avg", zero) + (1 - alpha) * g
        below = square - found["grad_avg"] ** 2
    move = g / (_root(below) + group["eps"])
    if isinstance(momentum, Tensor) or momentum > 0:
        move = found["momentum_buffer"] = momentum * state.get("momentum_buffer", zero) + move
    return w - lr * move, found


def _root(x: Tensor) -> Tensor:
    """Return the root of x, with the slope 0 where x is 0: a weight that never had a gradient."""
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, torch.ones_like(x)).sqrt(), torch.zeros_like(x))

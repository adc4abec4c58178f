"""What is differentiated: the value of a trained model on the validation split, and its slopes by weights, statistics and hyperparameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from whet.data.split import Split
from whet.train.hypergradient.lifted import Lifted

__all__ = ["SMOOTH", "Outer", "outer", "statistics"]

_CHUNK = 1024  # examples a forward pass


def _squares(outputs: Tensor, targets: Tensor) -> Tensor:
    if outputs.ndim == targets.ndim + 1 and outputs.shape[-1] == 1:
        outputs = outputs.squeeze(-1)
    return (outputs - targets) ** 2


#: Metrics that have a gradient, beside the loss; any other is followed through the loss.
SMOOTH: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": lambda o, t: _squares(o, t).mean(),
    "rmse": lambda o, t: _squares(o, t).mean().sqrt(),
    "mae": lambda o, t: _squares(o, t).sqrt().mean(),
}


@dataclass(frozen=True)
class Outer:
    """of: the name of what was measured; value: it; weights, statistics: its slopes by the model's weights and by its running statistics, by name; direct: by hyperparameters
    that it depends on itself, weights aside.
    """

    of: str
    value: float
    weights: dict[str, Tensor]
    statistics: dict[str, Tensor]
    direct: dict[str, float]


def statistics(model: nn.Module) -> dict[str, tuple[_BatchNorm, str]]:
    """Return the running statistics of batch normalisations that follow the weights, by the name of the buffer: the module, and "mean" or "var".

    >>> list(statistics(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))))
    ['1.running_mean', '1.running_var']
    """
    return {
        f"{name}.running_{what}".removeprefix("."): (module, what)
        for name, module in _normalising(model)
        for what in ("mean", "var")
    }


def _normalising(model: nn.Module) -> list[tuple[str, _BatchNorm]]:
    return [
        (name, m)
        for name, m in model.named_modules()
        if isinstance(m, _BatchNorm) and m.running_mean is not None and m.momentum is not None
    ]


def _by_averages(
    averages: Mapping[str, Tensor], name: str
) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    """Return a hook that normalises by averages that may have a gradient: PyTorch's own function has none by them."""

    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        x = args[0]
        mean, var = (averages[f"{name}.running_{what}".removeprefix(".")] for what in ("mean", "var"))
        shape = [1, -1] + [1] * (x.ndim - 2)
        y = (x - mean.view(shape)) * torch.rsqrt(var.view(shape) + module.eps)  # type: ignore[operator]
        if module.weight is not None:
            y = y * module.weight.view(shape) + module.bias.view(shape)  # type: ignore[operator]
        return y

    return hook


def outer(model: nn.Module, valid: Split, lifted: Lifted, goal: str) -> Outer:
    """Return the value of `goal` on the validation split, or of the loss when that has no gradient, and its slopes; memory: one chunk of 1,024 examples."""
    of = goal if goal in SMOOTH else "loss"
    measure = SMOOTH.get(goal, lifted.plain_loss)
    weights = {n: p.detach().requires_grad_() for n, p in model.named_parameters()}
    averages = {n: b.detach().requires_grad_() for n, b in model.named_buffers() if n in statistics(model)}
    training, parts, n = model.training, valid.parts, len(valid)
    handles = [m.register_forward_hook(_by_averages(averages, name)) for name, m in _normalising(model)]
    model.eval()
    try:

        def run(i: int) -> Tensor:
            found: Tensor = functional_call(model, weights, tuple(p[i : i + _CHUNK] for p in parts))
            return found

        with torch.no_grad():
            outputs = torch.cat([run(i) for i in range(0, n, _CHUNK)])
        outputs.requires_grad_()
        value = measure(outputs, valid.targets)
        names = list(lifted.values)
        by_outputs, *direct = torch.autograd.grad(value, [outputs, *lifted.values.values()], allow_unused=True)
        slopes: dict[str, Tensor] = {}
        leaves = {**weights, **averages}
        for i in range(0, n, _CHUNK):
            found = torch.autograd.grad(run(i), list(leaves.values()), by_outputs[i : i + _CHUNK], allow_unused=True)
            for name, g in zip(leaves, found, strict=True):
                if g is not None:
                    slopes[name] = slopes[name] + g if name in slopes else g
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return Outer(
        of, float(value.detach()), {k: g for k, g in slopes.items() if k in weights}, {k: g for k, g in slopes.items() if k in averages},
        {k: float(g) for k, g in zip(names, direct, strict=True) if g is not None},
    )  # fmt: skip

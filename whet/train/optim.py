"""Optimizers by name, read from a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from whet.errors import TaskError, nearest

__all__ = ["OPTIMIZERS", "optimizer"]

# name -> (class, default learning rate, default options, the options a branch may set)
OPTIMIZERS: dict[str, tuple[type[torch.optim.Optimizer], float, dict[str, Any], tuple[str, ...]]] = {
    "sgd": (torch.optim.SGD, 1e-2, {"momentum": 0.0}, ("momentum", "nesterov", "dampening")),
    "momentum": (torch.optim.SGD, 1e-2, {"momentum": 0.9}, ("momentum", "dampening")),
    "nesterov": (torch.optim.SGD, 1e-2, {"momentum": 0.9, "nesterov": True}, ("momentum",)),
    "adagrad": (torch.optim.Adagrad, 1e-2, {}, ("lr_decay", "eps")),
    "rmsprop": (torch.optim.RMSprop, 3e-4, {}, ("momentum", "alpha", "eps", "centered")),
    "adam": (torch.optim.Adam, 3e-4, {}, ("beta1", "beta2", "eps", "amsgrad")),
    "adamw": (torch.optim.AdamW, 3e-4, {"weight_decay": 0.0}, ("beta1", "beta2", "eps", "amsgrad")),
}
FUSED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)


def optimizer(params: Mapping[str, Any], model: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer a configuration names, over the trainable parameters of `model`.

    Keys: "optimizer" ("adam"); "lr" (3e-4 for adam, adamw and rmsprop, 1e-2 for the others); "weight_decay" (0); and
    the branch's own, such as "optimizer.momentum", "optimizer.nesterov", "optimizer.beta1", "optimizer.beta2",
    "optimizer.eps", also "optimizer.lr" and "optimizer.weight_decay", which go before the plain ones.

    Weight decay is added to the gradient (decoupled for adamw) of weights with two or more dimensions only: biases and
    normalisations have one, and shrinking those regularises nothing (Goyal et al. 2017, arXiv:1706.02677). Whenever the
    configuration has a weight decay there are two groups, also at 0, so that it may change while training goes on.
    The fused kernels are used where PyTorch has them for the parameters' device.

    Raises TaskError for an unknown name or option, a value the optimizer refuses, or a model with nothing to train.

    >>> o = optimizer({"optimizer": "sgd", "optimizer.momentum": 0.9, "lr": 0.1, "weight_decay": 1e-4}, nn.Linear(2, 1))
    >>> [(g["lr"], g["momentum"], g["weight_decay"]) for g in o.param_groups]
    [(0.1, 0.9, 0.0001), (0.1, 0.9, 0.0)]
    """
    name = params.get("optimizer", "adam")
    if name not in OPTIMIZERS:
        raise TaskError(f"optimizer: got {name!r}. Allowed: {', '.join(OPTIMIZERS)}.{nearest(str(name), OPTIMIZERS)}")
    kind, lr, defaults, allowed = OPTIMIZERS[name]
    branch = {key.removeprefix("optimizer."): value for key, value in params.items() if key.startswith("optimizer.")}
    lr = branch.pop("lr", params.get("lr", lr))
    decay = branch.pop("weight_decay", params.get("weight_decay"))
    for key in branch:
        if key not in allowed:
            raise TaskError(
                f"optimizer.{key}: {name} has no such option. Allowed: {', '.join((*allowed, 'lr', 'weight_decay'))}."
                f"{nearest(key, allowed)}"
            )
    options = {**defaults, **branch}
    if "beta1" in options or "beta2" in options:
        betas = options.pop("beta1", 0.9), options.pop("beta2", 0.999)
        if any(isinstance(b, torch.Tensor) for b in betas):  # PyTorch wants both alike
            betas = torch.as_tensor(betas[0], dtype=torch.float64), torch.as_tensor(betas[1], dtype=torch.float64)
        options["betas"] = betas
    if options.get("nesterov") and not options["momentum"]:
        options["nesterov"] = False  # without momentum the two are the same, and PyTorch refuses the pair
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise TaskError(
            f"model: {type(model).__name__} has no parameters to train. Give it a layer with weights, with requires_grad."
        )
    if kind in FUSED and all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in trained):
        options["fused"] = True
    groups: list[dict[str, Any]] = [{"params": trained}]
    if decay is not None:
        groups = [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
    try:
        return kind([g for g in groups if g["params"]], lr=lr, **options)  # type: ignore[call-arg]
    except (ValueError, TypeError) as e:
        raise TaskError(f"optimizer: {name} refuses its options: {e}.") from e

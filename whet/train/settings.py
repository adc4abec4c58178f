"""The settings of an optimizer's groups, and the layout of its tensors, where a training goes on from a state."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["match_layout", "same", "settings"]


def settings(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Return the settings of each group of parameters: learning rate, momentum, ..."""
    return [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]


def same(a: Any, b: Any) -> bool:
    """Return whether two settings are equal; betas may be a list or a tuple."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return torch.equal(torch.as_tensor(a), torch.as_tensor(b))
    return bool((tuple(a) == tuple(b)) if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)) else a == b)


def match_layout(optimizer: torch.optim.Optimizer) -> None:
    """Give the optimizer's tensors the memory layout of their parameters: fused kernels walk both as flat arrays."""
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)

"""The outputs of a model on a whole split: in evaluation mode, without gradients, in large batches."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from whet.data.split import Split

__all__ = ["forward", "predict"]


def forward(model: nn.Module, split: Split) -> Tensor:
    """Return the outputs (n, ...) on every example of `split`, on its device, in order; the mode of `model` is restored.

    >>> forward(nn.Linear(2, 3), Split(torch.zeros(5, 2), torch.zeros(5))).shape
    torch.Size([5, 3])
    """
    parts, n = split.parts, len(split)
    # About a million input values at a time: big enough to be fast, small enough for the cache and for deep nets.
    size = max(64, min(4096, 2**20 // max(1, sum(p[0].numel() for p in parts))))
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            if n <= size:
                return model(*parts)
            return torch.cat([model(*(p[i : i + size] for p in parts)) for i in range(0, n, size)])
    finally:
        model.train(training)


def predict(model: nn.Module, split: Split) -> np.ndarray:
    """Return the outputs (n, ...) on every example of `split` as float32 NumPy; `model` may be on another device.

    >>> predict(nn.Linear(2, 3), Split(torch.zeros(5, 2), torch.zeros(5))).dtype
    dtype('float32')
    """
    weight = next(iter(model.parameters()), None)
    if weight is not None and weight.device != split.targets.device:
        split = moved(split, weight.device)
    return forward(model, split).float().cpu().numpy()


def moved(split: Split, device: torch.device) -> Split:
    """Return `split` with its tensors on `device`."""
    inputs = tuple(p.to(device) for p in split.parts)
    return Split(inputs if isinstance(split.inputs, tuple) else inputs[0], split.targets.to(device), split.ids)

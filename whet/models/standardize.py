"""A layer that normalises inputs with statistics of the training split, so the exported model takes raw values."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Standardize"]


class Standardize(nn.Module):
    """Map inputs to mean 0 and standard deviation 1: `(x - mean) / std`, with `mean` and `std` as buffers.

    mean, std: broadcastable against a batch, e.g. (p,) for tables and (c, 1, 1) for images. Integer inputs (uint8 images)
    are accepted; the output has the buffers' dtype. It subtracts before it scales: for columns far from 0 (years, money)
    `x * scale + shift` would lose digits.

    >>> layer = Standardize.fit(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    >>> layer(torch.tensor([[3.0, 6.0]])).tolist()  # the second column was constant: only its mean is taken off
    [[1.0, 1.0]]
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor | float = 0.0, std: Tensor | float = 1.0) -> None:
        super().__init__()
        std = torch.as_tensor(std, dtype=torch.float32)
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.where(std > 0, std, torch.ones_like(std)))

    @classmethod
    def fit(cls, inputs: Tensor, *, rows: int = 4096) -> Standardize:
        """Return the layer fitted on `inputs`: per column of (n, p), per channel of (n, c, h, w) or (n, h, w).

        Missing (NaN) values are left out of the statistics; a column without spread keeps its scale. Two exact passes in
        float64, `rows` examples at a time, so 60,000 uint8 images need no float copy.

        >>> Standardize.fit(torch.full((5, 3, 2, 2), 7, dtype=torch.uint8)).mean.shape
        torch.Size([3, 1, 1])
        """
        if inputs.ndim == 3:
            inputs = inputs.unsqueeze(1)
        over = (0, *range(2, inputs.ndim))  # all but the column or channel
        shape = (inputs.shape[1], *[1] * (inputs.ndim - 2))
        count = torch.zeros(inputs.shape[1], dtype=torch.float64)
        total, square = count.clone(), count.clone()
        for chunk in inputs.split(rows):
            x = chunk.double()
            count += x.isfinite().sum(over)
            total += x.nan_to_num(0, 0, 0).sum(over)
        mean = total / count.clamp(min=1)
        for chunk in inputs.split(rows):
            x = chunk.double() - mean.view(shape)
            square += x.nan_to_num(0, 0, 0).square().sum(over)
        std = (square / count.clamp(min=1)).sqrt()
        # Rounding leaves a constant column a spread of about eps * |mean|: that is no spread.
        std = torch.where(std > 1e-12 * mean.abs(), std, torch.zeros_like(std))
        return cls(mean.view(shape).float(), std.view(shape).float())

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised inputs, same shape."""
        return (x - self.mean) / self.std

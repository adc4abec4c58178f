"""A model's buffers: kept as they were, read as one vector, and written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["kept", "read", "write"]


@contextmanager
def kept(model: nn.Module) -> Iterator[None]:
    """Give the model's buffers (the statistics of batch normalisation) back after the block, whatever the block makes of them.

    >>> norm = nn.BatchNorm1d(2)
    >>> with kept(norm):
    ...     y = norm(torch.randn(4, 2))
    >>> norm.running_mean.tolist(), int(norm.num_batches_tracked)
    ([0.0, 0.0], 0)
    """
    before = [(b, b.detach().clone()) for b in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for b, value in before:
                b.copy_(value)


def read(buffers: Sequence[Tensor], device: torch.device) -> Tensor:
    """Return real buffers as one vector (b,) float64; whole numbers are exact up to 2**53.

    >>> read([torch.ones(2), torch.tensor(3)], torch.device("cpu"))
    tensor([1., 1., 3.], dtype=torch.float64)
    """
    parts = [b.detach().to(device, torch.float64).reshape(-1) for b in buffers]
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.float64, device=device)


def write(buffers: Sequence[Tensor], values: Tensor) -> None:
    """Set buffers from `values` (b,) float64; whole numbers are rounded."""
    with torch.no_grad():
        for b, part in zip(buffers, values.split([b.numel() for b in buffers]), strict=True):
            part = part.reshape(b.shape)
            b.copy_(part if b.is_floating_point() else part.round())

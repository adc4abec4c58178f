"""A worker's model as what the others are given of it: its weights, and the statistics that it found with them, in one vector."""

from __future__ import annotations

import torch
from torch import Tensor

from whet.distributed.flat import Flat

__all__ = ["become", "member", "member_size", "parted"]


def member(weights: Tensor, buffers: Tensor | None) -> Tensor:
    """Return the vector (m,) of the weights' dtype that has weights (p,) and, bit for bit, buffers (b,) float64; a copy.

    A model without its own statistics is another model: those of batch normalisation go with the weights they were found at. Where there are
    none, it is the weights.

    >>> vector = member(torch.ones(3), torch.tensor([0.1], dtype=torch.float64))
    >>> vector.shape, [x.tolist() for x in parted(vector, 3)]
    (torch.Size([5]), [[1.0, 1.0, 1.0], [0.1]])
    """
    if buffers is None or not len(buffers):
        return weights.clone()
    return torch.cat([weights, buffers.to(torch.float64).contiguous().view(weights.dtype).to(weights.device)])


def member_size(flat: Flat) -> int:
    """Return how long the vector of a member is."""
    return flat.size + flat.buffer_size * 8 // flat.weights.element_size()


def parted(vector: Tensor, size: int) -> tuple[Tensor, Tensor | None]:
    """Return what `member` was made of: a view of the `size` weights, and a copy of the buffers, None when there are none."""
    rest = vector[size:]
    return vector[:size], rest.clone().view(torch.float64).cpu() if len(rest) else None


def become(flat: Flat, vector: Tensor) -> None:
    """Give a model the weights of a member, and its statistics, where it came with some."""
    weights, buffers = parted(vector, flat.size)
    flat.weights.copy_(weights)
    if buffers is not None:
        flat.write_buffers(buffers)

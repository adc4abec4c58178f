"""Long vectors, a piece at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["PIECE", "pieces"]

PIECE = (
    1 << 16
)  # elements: five such vectors of float32 stay in a core's second cache, where passing over them again is cheap


def pieces(*vectors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield views of the same piece of each vector (p,), one piece after the other.

    What is done elementwise comes out the same, bit for bit, and several passes over a piece cost about one over memory.

    >>> [tuple(v.tolist() for v in p) for p in pieces(torch.arange(2), torch.ones(2))]
    [([0, 1], [1.0, 1.0])]
    """
    each = PIECE * torch.get_num_threads()
    yield from zip(*(v.split(each) for v in vectors), strict=True)


def room(like: Tensor) -> Tensor:
    """Return an uninitialised vector as long as the longest piece of `like` (p,)."""
    return torch.empty_like(like[: PIECE * torch.get_num_threads()])

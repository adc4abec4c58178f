"""Vectors as they travel between nodes: bytes in an array that Ray's object store holds, and readers on its node see without a copy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from whet.errors import WhetError

__all__ = ["Bytes", "ParcelError", "unwrap", "wrap"]

Bytes = np.ndarray[Any, np.dtype[np.uint8]]


class ParcelError(WhetError):
    """An array that cannot be the vector it should be."""


def wrap(vector: Tensor) -> Bytes:
    """Return the bytes of a vector (p,) of any dtype; of one on the CPU they are a view."""
    return vector.detach().contiguous().cpu().view(torch.uint8).numpy()


def unwrap(found: Bytes, into: Tensor) -> Tensor:
    """Copy bytes into the vector that they are of, and return it; raise ParcelError when they are of another size.

    >>> unwrap(wrap(torch.tensor([1.0, 2.0], dtype=torch.bfloat16)), torch.zeros(2, dtype=torch.bfloat16))
    tensor([1., 2.], dtype=torch.bfloat16)
    """
    size = into.numel() * into.element_size()
    if found.dtype != np.uint8 or found.shape != (size,):
        raise ParcelError(f"vector: got {found.dtype} {found.shape}, expected {size} bytes.")
    if into.device.type == "cpu":
        into.view(torch.uint8).numpy()[:] = found
    else:
        into.copy_(torch.from_numpy(found.copy()).view(into.dtype))
    return into

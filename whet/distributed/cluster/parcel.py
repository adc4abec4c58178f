"""What travels between nodes: answers, and vectors as bytes in an array, that readers on the node of Ray's object store see without a copy."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from whet.distributed.update import Ticket
from whet.errors import WhetError

__all__ = ["Answer", "Bytes", "ParcelError", "said", "unwrap", "wrap"]

Bytes = np.ndarray[Any, np.dtype[np.uint8]]


class ParcelError(WhetError):
    """An array that cannot be the vector it should be."""


class Answer(NamedTuple):
    """What a worker is answered.

    kind: "given" (version, tickets, weights to go on from or None for its own, models of others by worker (`whet.distributed.member`), in the object store, tickets handed out before, statistics for one that is new, whether it is what ends the training), "wait" (ask
    again), "stale" (this life is over: say hello), "lost" (this server is over: ask the owner for another) or "over" (nothing is left to do).
    """

    kind: str
    version: int = 0
    tickets: tuple[Ticket, ...] = ()
    weights: Bytes | None = None
    models: tuple[tuple[int, Any], ...] = ()
    handed: int | None = None
    buffers: Bytes | None = None
    closing: bool = False


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


def said(error: Exception) -> str:
    """Return an error in a line's words: it need not be an exception that its owner can import."""
    return str(error) if isinstance(error, WhetError) else f"{type(error).__name__}: {error}"

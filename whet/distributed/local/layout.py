"""Which vectors processes share, and where each lies."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from whet.distributed.flat import Flat
from whet.distributed.local.region import Area
from whet.distributed.member import member_size
from whet.distributed.rule import Local

__all__ = ["Layout", "memory", "whole"]


class Layout(NamedTuple):
    """What decides it: parameters and buffers of the model, dtype, how many workers, what the rule sends and gives.

    members: how many models of others a worker is given, at most, 0 where the rule gives none, each of `member` elements.
    A worker has its weights, which the server writes at a pull and nobody until its push (so they are the backup), and what it
    sends: its gradient, or its weights again.
    """

    size: int
    buffers: int
    dtype: str
    workers: int
    gradient: bool
    members: int
    member: int = 0

    @classmethod
    def of(cls, flat: Flat, local: Local, workers: int, *, before: int = 0) -> Layout:
        """Return the layout of a model and a rule; before: workers there were in an earlier part of the training, whose models it has."""
        dtype = str(flat.weights.dtype).removeprefix("torch.")
        members = max(workers, before) if local.peers else 0
        return cls(flat.size, flat.buffer_size, dtype, workers, local.sends == "gradient", members, member_size(flat))

    def areas(self) -> dict[str, Area]:
        """Return the areas by name, in their order."""
        vector, buffers = Area(self.size, self.dtype), Area(self.buffers, "float64")
        found = {"counts": Area(4, "int64"), "snapshot": vector, "snapshot/buffers": buffers}
        if self.members:
            found |= {"snapshot/models": Area(self.members * self.member, self.dtype)}
        for w in range(self.workers):
            found |= {f"{w}/weights": vector, f"{w}/buffers": buffers}
            if self.gradient:
                found |= {f"{w}/gradient": vector}
            if self.members:
                found |= {
                    f"{w}/peers": Area(self.members * self.member, self.dtype),
                    f"{w}/who": Area(self.members, "int64"),
                }
        return found


def memory(layout: Layout, *, optimizer: int = 0, squares: bool = False) -> int:
    """Return bytes of the vectors that are shared or the server's: its weights, and what its rule and optimizer remember; `whole` has the rest.

    (2 + 2 M + optimizer + M squares) p for gradients: the server's weights and the snapshot, M pull and M push buffers;
    optimizer: vectors that the optimizer keeps (1 for momentum, 2 for Adam); squares: DC-ASGD-a's, one for each worker.

    >>> memory(Layout(1000, 0, "float32", 4, True, 0)) // 4
    10000
    """
    size = torch.empty(0, dtype=getattr(torch, layout.dtype)).element_size()
    m, vectors = layout.workers, 2 + layout.workers
    if layout.gradient:
        vectors += m
    if squares:
        vectors += m
    models = layout.members * (1 + m) * layout.member  # what the owner is shown, and what each worker is given
    return ((vectors + optimizer) * layout.size + models) * size


def socket_path(folder: Path) -> Path:
    """Return where the server listens."""
    return folder / "server"


def region_path(folder: Path) -> Path:
    """Return where the shared memory is."""
    return folder / "memory"


def whole(layout: Layout, *, optimizer: int = 0, squares: bool = False) -> int:
    """Return bytes of vectors in all processes together, those that stay: `memory`, and the models of each process.

    (4 + 3 M + optimizer + M squares) p for gradients: beside the 2 + 2 M of `memory` there are the owner's model, that of the process which the
    others are forked from, and each worker's of the beginning. For weights a worker has its gradient and its optimizer's vectors to itself
    as well, and where models are exchanged, one more to compute with. Activations, and what the allocator keeps (up to one in each process, as measured), come to it.

    >>> whole(Layout(1000, 0, "float32", 4, True, 0)) // 4
    16000
    """
    m = layout.workers
    own = 1 + (0 if layout.gradient else 1 + optimizer) + (layout.members > 0)
    shared = memory(layout, optimizer=optimizer if layout.gradient else 0, squares=squares)
    return shared + (2 + m * own) * layout.size * torch.empty(0, dtype=getattr(torch, layout.dtype)).element_size()

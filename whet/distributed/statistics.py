"""The statistics that go with a server's weights: its model's buffers, and what workers found of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from whet.distributed.flat import Flat

__all__ = ["Statistics"]


class Statistics:
    """Keeps the buffers (b,) float64 of a model, as `Flat.read_buffers` gives them: each worker's last, or those that a rule named.

    workers: by worker its last; named: those that belong to the weights, where these are one worker's.

    >>> flat = Flat(torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.BatchNorm1d(1)))
    >>> found = Statistics(flat)
    >>> found.workers = {w: torch.tensor([mean, 2.0, 5.0]) for w, mean in ((0, 1.0), (1, 3.0))}
    >>> found.settled()  # mean, variance, batches
    tensor([2., 2., 5.], dtype=torch.float64)
    """

    def __init__(self, flat: Flat) -> None:
        self.flat = flat
        self.workers: dict[int, Tensor] = {}
        self.named: Tensor | None = None
        self._begun: tuple[int, Tensor | None] | None = None  # a version of the weights, and what goes with it

    def settle(self) -> None:
        """Set the model's buffers to those that a rule named, else to the mean of the workers' last ones."""
        found = [b for _, b in sorted(self.workers.items())] if self.named is None else [self.named]
        if found and self.flat.buffer_size:
            self.flat.write_buffers(found[0] if len(found) == 1 else torch.stack(found).mean(0))

    def settled(self) -> Tensor | None:
        """Return the model's buffers (b,), settled; None when it has none."""
        if not self.flat.buffer_size:
            return None
        self.settle()
        return self.own()

    def begin(self, version: int) -> Tensor | None:
        """Return what one that is new begins with beside the weights of this version: the same for all, also when one of them sent its own already.

        >>> found = Statistics(Flat(torch.nn.BatchNorm1d(1)))
        >>> first = found.begin(0)
        >>> found.workers[1] = torch.tensor([9.0, 2.0, 5.0])
        >>> torch.equal(found.begin(0), first), found.begin(1).tolist()
        (True, [9.0, 2.0, 5.0])
        """
        if self._begun is None or self._begun[0] != version:
            self._begun = version, self.settled()
        return self._begun[1]

    def of(self, worker: int) -> Tensor | None:
        """Return a worker's last ones, or those that go with the weights when it has sent none; None when the model has none."""
        return self.workers[worker] if self.flat.buffer_size and worker in self.workers else self.settled()

    def own(self) -> Tensor:
        """Return the model's buffers (b,) as they are."""
        found = torch.empty(self.flat.buffer_size, dtype=torch.float64)
        self.flat.read_buffers(found)
        return found

    def leave(self, worker: int) -> None:
        """Forget a worker, and keep what it found out about the examples."""
        if worker in self.workers:
            self.settle()
            del self.workers[worker]

    def alone(self) -> None:
        """Forget every worker, and keep what they found."""
        self.settle()
        self.workers.clear()
        self._begun = None

    def state(self) -> dict[str, Any]:
        """Return what another needs to go on from here, copied."""
        return {
            "own_buffers": self.own(), "buffers": [[w, b.clone()] for w, b in self.workers.items()],
            "statistics": None if self.named is None else self.named.clone(),
        }  # fmt: skip

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.flat.write_buffers(state["own_buffers"])
        self.workers = {w: b.clone() for w, b in state["buffers"]}
        self._begun = None
        self.named = None if state["statistics"] is None else state["statistics"].clone()

"""The losses of a running training as they come in: cheap to add, on whatever device they are."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from whet.checks.trend import Blocks

__all__ = ["Tally"]

_WAITING = 64  # losses on a device; each look at them waits for it


class Tally:
    """Takes losses and puts them into blocks when asked.

    blocks: all but those that are not finite; values: a list to append a finite loss to, the cheapest way to add one;
    bad: the first that is not finite and the step it was at, or None.

    >>> tally = Tally()
    >>> tally.values.append(1.0); tally.add(3.0); tally.add(math.inf)
    >>> tally.mean(), tally.blocks.n, tally.bad
    (2.0, 2, (inf, 3))
    """

    def __init__(self) -> None:
        self.blocks = Blocks()
        self.values: list[float] = []
        self.bad: tuple[float, int] | None = None
        self._pending: list[Tensor] = []
        self._sum, self._count = 0.0, 0

    def __len__(self) -> int:
        return self.blocks.n + len(self.values) + len(self._pending)

    def add(self, loss: float) -> None:
        """Add a loss; one that is not finite is seen to at once."""
        self.values.append(loss)
        if not math.isfinite(loss):
            self.flush()

    def wait(self, loss: Tensor) -> None:
        """Add a loss that is on a device, of a vector the mean, without waiting for it yet."""
        self._pending.append(loss.detach().mean())

    @property
    def full(self) -> bool:
        """Whether so many losses wait on a device that it is time to wait for them."""
        return len(self._pending) >= _WAITING

    def flush(self) -> None:
        """Put every loss that was added into the blocks."""
        if self._pending:
            self.values += torch.stack([p.double() for p in self._pending]).tolist()
            self._pending.clear()
        for loss in self.values:
            if math.isfinite(loss):
                self.blocks.add(loss)
                self._sum, self._count = self._sum + loss, self._count + 1
            elif self.bad is None:
                self.bad = loss, self.blocks.n + 1
        self.values.clear()

    def mean(self) -> float:
        """Return the mean of the losses since the last call; not-a-number without any."""
        self.flush()
        mean = self._sum / self._count if self._count else math.nan
        self._sum, self._count = 0.0, 0
        return mean

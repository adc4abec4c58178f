"""What a desk knows of a worker that is there, and what it needs of the way to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from whet.distributed.update import Given

__all__ = ["Channel", "Client"]


@dataclass(eq=False)
class Client:
    """A worker in one of its lives: the time from its HELLO until it is gone, late, or says HELLO again."""

    worker: int
    life: int
    since: float  # when it was given what it is at
    own: bool  # it has weights to go on from
    step: int = 0  # of its next update
    asks: bool = False  # it waits to be given something
    resting: bool = False  # there is nothing for it
    updates: int = 0
    began: float | None = None  # when it was first given something


class Channel(Protocol):
    """What a desk needs of the way to its workers."""

    def into(self, worker: int) -> Tensor:
        """Return the vector (p,) that a worker's weights go into, which stays as it is until its push."""
        ...

    def give(self, client: Client, given: Given) -> None:
        """Let a worker go on, with what it was given. Its weights lie in `into`, unless it goes on from its `own`."""
        ...

    def drop(self, client: Client) -> None:
        """Speak no more to a worker in this life."""
        ...

    def merged(self) -> None:
        """Note that batches were merged, before the worker whose update it was, or the owner, hears of it."""
        ...

    def whole(self, epoch: int) -> None:
        """Show the owner the weights, that have taken an epoch's batches; nothing is given out until `Desk.seen` is told."""
        ...

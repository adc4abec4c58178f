"""What travels: a ticket out to a worker, an update back, and what a rule may look at when it merges one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from torch import Tensor

__all__ = ["Given", "Held", "Refused", "Ticket", "Update"]


class Ticket(NamedTuple):
    """The right to train on one batch: number `batch` of `shard` in its own `epoch`.

    Which examples these are follows from the seed alone (`whet.distributed.shuffle`), so a ticket that was lost with its worker
    is drawn again by another one, with the same examples.
    """

    shard: int
    epoch: int
    batch: int


class Given(NamedTuple):
    """What a worker is given: the version of the weights, its tickets, the peers' models (as `whet.distributed.member` lays them); the weights lie where it asked.

    handed: tickets handed out before these, by which the learning rates of its own steps go; None to go by the tickets themselves.
    fresh: whether weights were put there; else it goes on from its own. buffers: (b,) float64, the statistics that go with the weights, for a
    worker that is new; None for one that has its own. closing: this is the compression that ends a training, all batches are merged; the one ticket
    only names the shard whose examples it relabels.
    """

    version: int
    tickets: tuple[Ticket, ...]
    models: tuple[tuple[int, Tensor], ...] = ()
    handed: int | None = None
    fresh: bool = True
    buffers: Tensor | None = None
    closing: bool = False


class Update(NamedTuple):
    """What a worker sends.

    worker, step: who, and the how-manieth of its own; the pair names an update once and for all. vector: (p,), the mean
    gradient over `examples` of them, or weights; it stays as it is until this worker's next update. pulled: the version of the
    weights it was made at. tickets: what it was made from. loss: mean over its examples. buffers: (b,) float64 of its model, as
    `Flat.read_buffers` gives them.

    A rule may add to what it lets through: reply, what this worker is given at its next pull in place of the server's weights;
    models, what every worker is given as its peers from now on, by number, each as `whet.distributed.member` lays it; statistics, the buffers (b,) that belong to its vector, where
    one worker's model stands for all (else the server takes the mean of the workers').
    """

    worker: int
    step: int
    vector: Tensor
    kind: Literal["gradient", "weights"] = "gradient"
    examples: int = 1
    pulled: int = 0
    tickets: tuple[Ticket, ...] = ()
    loss: float = 0.0
    buffers: Tensor | None = None
    reply: Tensor | None = None
    models: tuple[tuple[int, Tensor], ...] | None = None
    statistics: Tensor | None = None


class Refused(NamedTuple):
    """An update that must not reach the weights, and why: "nan", "huge", or "quarantine", which means its worker for good.

    tickets: what it was made from, where that is not what its worker sent (a chain says so); they count as seen.
    """

    why: str
    tickets: tuple[Ticket, ...] | None = None


@dataclass
class Held:
    """What the server holds, for rules to look at and none to change.

    weights: (p,) now; version: how many updates they have taken; backups: by worker, the weights (p,) it pulled, as they
    were then; clocks: by worker that is waited for, how many updates it has sent, this one included, a late joiner beginning at the
    lowest; here: those that are there, also when nothing is left for them to do.
    """

    weights: Tensor
    version: int = 0
    backups: dict[int, Tensor] = field(default_factory=dict)
    clocks: dict[int, int] = field(default_factory=dict)
    here: set[int] = field(default_factory=set)
    _at: Counter[int] = field(default_factory=Counter, repr=False)  # how many clocks stand at each value
    _slowest: int = field(default=0, repr=False)

    def tick(self, worker: int, clock: int | None) -> None:
        """Set a worker's clock, or take the worker out; for the server alone."""
        before = self.clocks.get(worker)
        if clock is None:
            self.clocks.pop(worker, None)
        else:
            self.clocks[worker] = clock
            self._at[clock] += 1
            self._slowest = clock if len(self.clocks) == 1 else min(self._slowest, clock)
        if before is not None:
            self._at[before] -= 1
            if not self._at[before]:
                del self._at[before]
        while (
            self.clocks and self._slowest not in self._at
        ):  # it only rises, with the clocks: a step of it for many a tick
            self._slowest += 1

    @property
    def slowest(self) -> int:
        """The lowest clock of a living worker; when none lives, the last there was. It takes no search."""
        return self._slowest

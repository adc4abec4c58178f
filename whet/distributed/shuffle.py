"""Which examples a ticket means: global, local and no reshuffling, and when each is safe."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from whet.distributed.update import Ticket
from whet.errors import UsageError, nearest
from whet.seed import key
from whet.train.batches import sizes

__all__ = ["HOWS", "Advice", "Shuffle", "advice"]

How = Literal["global", "local", "once"]
HOWS = ("global", "local", "once")


@dataclass
class Shuffle:
    """How n examples are dealt to workers in batches of `batch`, epoch by epoch.

    how: "global" shuffles all of them anew for each epoch, whoever is free takes the next batch; "local" divides them once into
    a shard for each worker, reshuffled within itself for each epoch; "once" as "local" without reshuffling. shards: for local and
    once, the examples' numbers of each shard; None divides at random into equal parts. alone: whether a last batch may be of one example.

    Everything follows from `seed`: with one worker the order is that of `whet.train.run.Run`.

    >>> s = Shuffle(10, 4, workers=2, how="local", seed=0)
    >>> s.batches(0), sorted(torch.cat([s.indices(Ticket(k, 3, i)) for k in (0, 1) for i in (0, 1)]).tolist()) == list(range(10))
    (2, True)
    """

    n: int
    batch: int
    workers: int = 1
    how: How = "global"
    seed: int = 0
    alone: bool = True
    shards: list[Tensor] | None = None
    _orders: dict[tuple[int, int], Tensor] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.how not in HOWS:
            raise UsageError(f"shuffle: got {self.how!r}. Allowed: {', '.join(HOWS)}.{nearest(self.how, HOWS)}")
        if self.workers < 1:
            raise UsageError(f"workers: must be >= 1, got {self.workers}.")
        if self.workers > self.n:
            raise UsageError(f"workers: {self.workers} for {self.n} training examples; give at most one for each.")
        if self.how == "global":
            self.shards = [torch.arange(self.n)]
        elif self.shards is None:
            order = torch.randperm(self.n, generator=_generator(self.seed, "shards"))
            self.shards = [part.sort().values for part in order.tensor_split(self.workers)]
        assert self.shards is not None
        self._sizes = [sizes(len(s), self.batch, alone=self.alone) for s in self.shards]
        if not self.alone and any(1 in each for each in self._sizes):
            raise UsageError(
                f"workers: {self.workers} for {self.n} training examples leave some one example, which batch normalisation cannot "
                f"train on. Give at most {self.n // 2}."
            )

    @property
    def per_epoch(self) -> int:
        """Batches of all shards in one epoch."""
        return sum(len(s) for s in self._sizes)

    def batches(self, shard: int) -> int:
        """Return how many batches an epoch of a shard has."""
        return len(self._sizes[shard])

    def progress(self, ticket: Ticket) -> float:
        """Return how many epochs of its shard are done before the ticket."""
        return ticket.epoch + ticket.batch / len(self._sizes[ticket.shard])

    def indices(self, ticket: Ticket) -> Tensor:
        """Return the numbers (b,) int64 of the ticket's examples."""
        each = self._sizes[ticket.shard]
        start = sum(each[: ticket.batch])
        return self._order(ticket.shard, ticket.epoch)[start : start + each[ticket.batch]]

    def _order(self, shard: int, epoch: int) -> Tensor:
        assert self.shards is not None
        if self.how == "once":
            epoch = 0
        found = self._orders.get((shard, epoch))
        if found is None:
            name = (self.seed, "order", epoch) if self.how == "global" else (self.seed, "order", epoch, shard)
            own = self.shards[shard]
            found = torch.randperm(len(own), generator=_generator(*name))
            found = found if self.how == "global" else own[found]
            for old in [k for k in self._orders if k[0] == shard and k[1] < epoch - 1]:
                del self._orders[old]
            self._orders[shard, epoch] = found
        return found


def by_label(targets: Tensor, workers: int, *, seed: int = 0, skew: float = 1.0) -> list[Tensor]:
    """Return shards that hold unlike classes: a part `skew` of the examples sorted by label, the rest dealt at random.

    targets: (n,) class numbers. skew 1 gives each worker a few classes only, 0 an equal mixture.
    """
    if not 0 <= skew <= 1:
        raise UsageError(f"skew: must be from 0 to 1, got {skew!r}.")
    n = len(targets)
    order = torch.randperm(n, generator=_generator(seed, "shards"))
    cut = round(skew * n)
    sorted_part = order[:cut][torch.argsort(targets[order[:cut]], stable=True)]
    parts = zip(sorted_part.tensor_split(workers), order[cut:].tensor_split(workers), strict=True)
    return [torch.cat(p).sort().values for p in parts]


@dataclass(frozen=True)
class Advice:
    """Whether a way of shuffling costs convergence, by the known rates: `safe`, and a sentence that says why."""

    safe: bool
    why: str

    def __str__(self) -> str:
        return self.why


def advice(n: int, workers: int, epochs: int, how: How) -> Advice:
    """Return whether `how` is safe for n examples, K workers and S epochs (Meng et al. 2017, arXiv:1709.10432).

    Sampling without replacement adds a term of about 1/n (global) or K/n (local) to a rate of 1/sqrt(S n), so it is harmless while
    S << n, or S << n / K**2. "<<" is taken as a tenth here.

    >>> advice(50_000, 16, 160, "local").safe, advice(50_000, 4, 160, "local").safe
    (False, True)
    """
    bound = n if how == "global" else n / workers**2
    safe = how != "once" and epochs <= bound / 10
    of = f"the {n:,} examples" if how == "global" else f"n / K^2 = {_short(bound)} (n {n:,}, K {workers})"
    passes = "1 epoch is" if epochs == 1 else f"{epochs} epochs are"
    if how == "once":
        why = f"shuffle once: the order never changes, so {epochs} epochs see the same batches; use local or global."
    elif safe:
        why = f"{how} shuffle is safe: {passes} well below {of}."
    else:
        better = "use global, or fewer workers" if how == "local" else "more examples would help"
        why = f"{how} shuffle may cost accuracy: {passes} not well below {of}; {better}."
    return Advice(safe, why)


def _short(x: float) -> str:
    return f"{x:,.0f}" if x >= 10 else f"{x:.2g}"


def _generator(*parts: int | str) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(key(*parts))

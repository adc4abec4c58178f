"""The compression that ends a training: who is at it, what each of them is given, and when it is over."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from torch import Tensor

from whet.distributed.member import parted
from whet.distributed.sampler import Sampler
from whet.distributed.update import Given, Held, Ticket

__all__ = ["Closing"]

Models = tuple[tuple[int, Tensor], ...]


class Closing:
    """The round after the last exchange, where a rule's part for workers asks for one (`Local.closes`): all compress, and nobody trains.

    Those who are there when the first of them asks are called. One that leaves, or answers, is waited for no longer, and who comes in the place of
    one that died has nothing to do: so nobody waits for anybody beyond a deadline, once.

    merged: how many batches were merged when it was over, 0 before: a training that goes on for more epochs ends with another one.

    >>> import torch
    >>> from whet.distributed.shuffle import Shuffle
    >>> closing, held, sampler = Closing(), Held(torch.zeros(1), here={0, 1}), Sampler(Shuffle(4, 2), epochs=1)
    >>> members = (0, torch.ones(1)), (1, torch.zeros(1))
    >>> closing.give(0, torch.empty(1), held=held, models=members, sampler=sampler).closing, sorted(held.clocks), closing.calls(2)
    (True, [0, 1], False)
    >>> closing.gone(0), closing.gone(1)
    (False, True)
    """

    def __init__(self) -> None:
        self.merged = 0
        self._called: set[int] | None = None

    def calls(self, worker: int) -> bool:
        """Return whether there is something for the worker to do, or will be when it begins."""
        return self._called is None or worker in self._called

    def give(
        self, worker: int, into: Tensor, *, held: Held, models: Models, sampler: Sampler, buffers: Tensor | None = None,
        barred: Set[int] = frozenset(),
    ) -> Given | None:  # fmt: skip
        """Give a worker its part: its model of the last exchange in `into` (p,), and everybody's; None when it has none.

        Its statistics are those of its model; buffers (b,): those of one that is no member. It is given its model even where it has it: so what it does is the same when it is done again, for a server that came back. barred:
        who is refused for good.
        """
        if self._called is None:
            self._called = held.here - barred
            for other in self._called - set(held.clocks):  # it rested
                held.tick(other, held.slowest)
        if worker not in self._called:
            return None
        weights, own = parted(dict(models).get(worker, held.weights), len(into))
        into.copy_(weights)
        shard = Ticket(sampler.shard(worker), sampler.epochs, 0)
        return Given(
            held.version, (shard,), models, sampler.given, buffers=buffers if own is None else own, closing=True
        )

    def gone(self, worker: int) -> bool:
        """Wait for a worker no longer, since it has answered or left; return whether that was the last."""
        if self._called is None:
            return False
        self._called.discard(worker)
        return not self._called

    def end(self, merged: int) -> None:
        """Be over, at so many merged batches; if there is to be another, it calls anew."""
        self.merged, self._called = merged, None

    def state(self) -> dict[str, Any]:
        """Return where it stands, as plain values."""
        return {"merged": self.merged, "called": None if self._called is None else sorted(self._called)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.merged = int(state["merged"])
        self._called = None if state["called"] is None else set(state["called"])

"""Who trains on what next: tickets handed out, taken back when their worker is lost, and counted when they are merged."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from whet.distributed.shuffle import Shuffle
from whet.distributed.update import Ticket

__all__ = ["Sampler"]


class Sampler:
    """Hands out `epochs` epochs of tickets.

    Under "global" there is one queue for all; else each worker draws from the shard it owns, again and again, until as many
    tickets were handed out as `epochs` epochs of all shards have. A shard whose worker is gone passes to the next one that joins; what was
    lost of it goes to whoever asks first. Of a rule under which nobody waits, workers lend each other a hand: one that is
    through with its shard draws from the one that is furthest behind until all are, so that each batch of each epoch is drawn once,
    however unlike the workers are.

    >>> s = Sampler(Shuffle(4, 2), epochs=1)
    >>> a, b = s.next(0), s.next(1); s.next(0), s.lost([b]), s.next(0) == b
    (None, None, True)
    """

    def __init__(self, shuffle: Shuffle, epochs: int) -> None:
        self.shuffle, self.epochs = shuffle, epochs
        self.limit = epochs * shuffle.per_epoch
        self.given = 0  # tickets handed out, not taken back
        self.drawn_again = 0
        self.lent = 0  # tickets drawn from a shard by another than its owner, since that was behind
        shards = 1 if shuffle.how == "global" else shuffle.workers
        self._position = [0] * shards
        self._back: list[deque[Ticket]] = [deque() for _ in range(shards)]
        self._owner: dict[int, int] = {}  # worker -> shard
        self._taken: Counter[int] = Counter()  # shard -> its owners
        self.parted = False  # whether a worker has left its shard: then they may be gone through unlike often
        self._low = 0  # epochs that all shards are through with, at least

    def join(self, worker: int) -> None:
        """Give a worker its shard, unless it has one: its own number's when that is free, else the first free one, else its own number's, shared."""
        if self.shuffle.how == "global" or worker in self._owner:
            return
        own = worker % self.shuffle.workers
        if own in self._taken:
            own = next((s for s in range(self.shuffle.workers) if s not in self._taken), own)
        self._owner[worker] = own
        self._taken[own] += 1

    def shard(self, worker: int) -> int:
        """Return the shard of a worker that has joined."""
        return 0 if self.shuffle.how == "global" else self._owner[worker]

    def leave(self, worker: int) -> None:
        """Free the worker's shard."""
        shard = self._owner.pop(worker, None)
        if shard is not None:
            self.parted = True
            self._taken[shard] -= 1
            if not self._taken[shard]:
                del self._taken[shard]

    @property
    def orphans(self) -> list[int]:
        """The shards nobody draws from."""
        return sorted(set(range(len(self._position))) - set(self._owner.values())) if self._owner else []

    @property
    def left(self) -> int:
        """How many tickets are still to be handed out."""
        return self.limit - self.given

    @property
    def passes(self) -> list[float]:
        """How often each shard was gone through, by what was handed out and not lost; empty where all draw from one queue."""
        if self.shuffle.how == "global":
            return []
        return [(p - len(self._back[s])) / self.shuffle.batches(s) for s, p in enumerate(self._position)]

    def undrawn(self, workers: Sequence[int]) -> dict[int, int] | None:
        """Return by worker what is left of its shard; None when they have none, or two have one."""
        shards = {w: self._owner[w] for w in workers if w in self._owner}
        if len(set(shards.values())) < len(workers):
            return None
        return {
            w: self.epochs * self.shuffle.batches(s) - self._position[s] + len(self._back[s]) for w, s in shards.items()
        }

    def next(self, worker: int, *, lend: bool = False) -> Ticket | None:
        """Return the worker's next ticket, or None when all were handed out; lend: it may be another's, when its own shard is through."""
        if self.given >= self.limit:
            return None
        shard = self.shard(worker)
        last = self.left <= sum(map(len, self._back))  # nothing else is left, and who had it may not come for it
        self.given += 1
        if any(self._back):  # first of all what nobody else would draw
            others = range(len(self._back)) if lend or last else ()
            for lost in [*(s for s in self.orphans if self._back[s]), shard, *others]:
                if self._back[lost]:
                    return self._back[lost].popleft()
        if lend and self._epoch(shard) > self._low:
            own, shard = shard, self._behind(shard)
            self.lent += shard != own
        self._position[shard] += 1
        epoch, index = divmod(self._position[shard] - 1, self.shuffle.batches(shard))
        return Ticket(shard, epoch, index)

    def _epoch(self, shard: int) -> int:
        return self._position[shard] // self.shuffle.batches(shard)

    def _behind(self, own: int) -> int:
        """Return the shard to draw from: the own one when it is not ahead by an epoch, else the one that was gone through least."""
        shards = range(len(self._position))
        self._low = min(map(self._epoch, shards))
        if self._epoch(own) == self._low:
            return own
        return min(shards, key=lambda s: (self._position[s] / self.shuffle.batches(s), s))

    def waiting(self, worker: int) -> bool:
        """Return whether there is a ticket for the worker."""
        return self.given < self.limit and (self.shuffle.how == "global" or worker in self._owner)

    def lost(self, tickets: Iterable[Ticket]) -> None:
        """Take tickets back that nobody will answer: they are handed out again before any new one."""
        for ticket in tickets:
            self._back[ticket.shard].append(ticket)
            self.given -= 1
            self.drawn_again += 1

    def state(self) -> dict[str, Any]:
        """Return where it stands, as plain values."""
        return {
            "given": self.given,
            "drawn_again": self.drawn_again,
            "lent": self.lent,
            "position": list(self._position),
            "back": [[list(t) for t in q] for q in self._back],
            "owner": [list(pair) for pair in self._owner.items()],
            "parted": self.parted,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.given, self.drawn_again, self.lent = (int(state[k]) for k in ("given", "drawn_again", "lent"))
        self._position, self._low, self.parted = list(state["position"]), 0, state.get("parted", False)
        self._back = [deque(Ticket(*t) for t in q) for q in state["back"]]
        self._owner = {int(w): int(s) for w, s in state["owner"]}
        self._taken = Counter(self._owner.values())

"""Who trains on what next: tickets handed out, taken back when their worker is lost, and counted when they are merged."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any

from whet.distributed.shuffle import Shuffle
from whet.distributed.update import Ticket

__all__ = ["Sampler"]


class Sampler:
    """Hands out `epochs` epochs of tickets.

    Under "global" there is one queue for all; else each worker draws from the shard it owns, again and again, until as many
    tickets were handed out as `epochs` epochs of all shards have: a fast worker's shard is then seen more often. A shard whose
    worker is gone passes to the next one that joins; what was lost of it goes to whoever asks first.

    >>> s = Sampler(Shuffle(4, 2), epochs=1)
    >>> a, b = s.next(0), s.next(1); s.next(0), s.lost([b]), s.next(0) == b
    (None, None, True)
    """

    def __init__(self, shuffle: Shuffle, epochs: int) -> None:
        self.shuffle, self.epochs = shuffle, epochs
        self.limit = epochs * shuffle.per_epoch
        self.given = 0  # tickets handed out, not taken back
        self.drawn_again = 0
        shards = 1 if shuffle.how == "global" else shuffle.workers
        self._position = [0] * shards
        self._back: list[deque[Ticket]] = [deque() for _ in range(shards)]
        self._owner: dict[int, int] = {}  # worker -> shard
        self._taken: Counter[int] = Counter()  # shard -> its owners

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
            self._taken[shard] -= 1
            if not self._taken[shard]:
                del self._taken[shard]

    @property
    def orphans(self) -> list[int]:
        """The shards nobody draws from."""
        return sorted(set(range(len(self._position))) - set(self._owner.values())) if self._owner else []

    def next(self, worker: int) -> Ticket | None:
        """Return the worker's next ticket, or None when all were handed out."""
        if self.given >= self.limit:
            return None
        shard = self.shard(worker)
        self.given += 1
        if any(self._back):  # first of all what nobody else would draw
            for lost in [*(s for s in self.orphans if self._back[s]), shard]:
                if self._back[lost]:
                    return self._back[lost].popleft()
        self._position[shard] += 1
        epoch, index = divmod(self._position[shard] - 1, self.shuffle.batches(shard))
        return Ticket(shard, epoch, index)

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
            "position": list(self._position),
            "back": [[list(t) for t in q] for q in self._back],
            "owner": [list(pair) for pair in self._owner.items()],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.given, self.drawn_again = int(state["given"]), int(state["drawn_again"])
        self._position = list(state["position"])
        self._back = [deque(Ticket(*t) for t in q) for q in state["back"]]
        self._owner = {int(w): int(s) for w, s in state["owner"]}
        self._taken = Counter(self._owner.values())

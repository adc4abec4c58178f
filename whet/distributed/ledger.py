"""What is open between a server and each of its workers: what it is at, what it sent last, what it is owed, whether it may train."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from whet.distributed.update import Ticket
from whet.errors import TaskError

__all__ = ["Ledger"]


class Ledger:
    """By worker: out, the tickets it is at; last, the last step it pushed; replies, what it goes on from in place of the weights (p,);
    fresh, those with no weights to go on from; banned, those that a rule refuses for as long as they are there.

    >>> ledger = Ledger()
    >>> ledger.out[2] = (Ticket(0, 0, 7),)
    >>> ledger.busy(2), ledger.leave(2)[0].batch, ledger.busy(2), ledger.next(2)
    (True, 7, False, 0)
    """

    def __init__(self) -> None:
        self.out: dict[int, tuple[Ticket, ...]] = {}
        self.last: dict[int, int] = {}
        self.replies: dict[int, Tensor] = {}
        self.fresh: set[int] = set()
        self.banned: set[int] = set()

    def next(self, worker: int) -> int:
        """Return the number of the worker's next step."""
        return self.last.get(worker, -1) + 1

    def at(self, worker: int) -> tuple[Ticket, ...]:
        """Return the tickets that a worker is at."""
        return self.out.get(worker, ())

    def busy(self, worker: int) -> bool:
        """Return whether a worker is at something."""
        return worker in self.out

    def leave(self, worker: int) -> tuple[Ticket, ...]:
        """Forget a worker, but for the number of its steps; return what it was at. Who comes in its place may be sound."""
        self.banned.discard(worker)
        self.replies.pop(worker, None)
        return self.out.pop(worker, ())

    def need(self, workers: Collection[int], rule: str, refused: Mapping[str, int]) -> None:
        """Raise TaskError when each of `workers`, which are all there are, is refused for good: nobody is left to train.

        rule, refused: its name, and how often it refused what for which reason.
        """
        if workers and self.banned.issuperset(workers):
            who = ", ".join(map(str, sorted(workers)))
            why = ", ".join(f"{w} {n} times" for w, n in sorted(refused.items()))
            raise TaskError(
                f"{rule}: workers refused for good: {who} (in all: {why}); no other is there to train. Lower the learning "
                "rate, or look for examples that are not finite (whet look). Resuming gives each of them another chance."
            )

    def state(self, *, workers: bool = True) -> dict[str, Any]:
        """Return what another ledger needs to go on from here, copied; workers: also what only those use that are there now."""
        return {
            "last": [list(p) for p in self.last.items()],
            "replies": [[w, r.clone()] for w, r in self.replies.items() if workers],
            "out": [[w, [list(t) for t in tickets]] for w, tickets in self.out.items()],
            "fresh": sorted(self.fresh), "banned": sorted(self.banned),
        }  # fmt: skip

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self.last = dict(state["last"])
        self.replies = {w: r.clone() for w, r in state["replies"]}
        self.out = {w: tuple(Ticket(*t) for t in tickets) for w, tickets in state["out"]}
        self.fresh, self.banned = set(state["fresh"]), set(state["banned"])

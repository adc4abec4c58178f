"""How many batches a worker takes at once: as many as the rule says, and near the end an even part of what is left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from whet.distributed.rule import Rule
from whet.distributed.sampler import Sampler
from whet.distributed.update import Held, Ticket

__all__ = ["Stretches", "few"]

_GOOD = 10  # exchanges that a training should have, where they are not all its steps


class Stretches:
    """How many batches each worker is given between two exchanges, for rules that have it take several.

    If whoever asks first took all he may, the last round would be one worker's, and with rules that set the weights to a mean it would be
    the result. So once what is left is no more than two rounds of those that wait for each other, or one of those that do not, it is
    divided among the workers that are there. Of those that wait, evenly, in as many rounds as it would take anyway, all of them as long as they
    can be; where each has a shard of its own, by what is left of the shards, so that each example has its turn. Of those that do not, by
    how many updates each has sent: so a slow one's last stretch is short, and does not keep the others from the end.

    What is planned follows from who is there and what is left, not from who asks first. It is made anew when somebody joins, leaves, or is
    refused for good.

    >>> import torch
    >>> from whet.distributed.rules.gather import average
    >>> from whet.distributed.shuffle import Shuffle
    >>> sampler = Sampler(Shuffle(9, 1, workers=4), epochs=1)  # 9 batches, and a round would have 16
    >>> stretches, held = Stretches(average(every=4), sampler), Held(torch.zeros(1), here={0, 1, 2, 3})
    >>> [stretches.take(w, held) for w in (3, 0, 2, 1)]
    [2, 3, 2, 2]
    """

    def __init__(self, rule: Rule, sampler: Sampler) -> None:
        self.sampler = sampler
        self.every = rule.local.every if rule.local is not None else 1
        self.gathers = rule.gathers
        self._plan: dict[int, list[int]] = {}  # worker -> its last stretches
        self._due = 0  # batches of the plan that those who are there have still to take
        self._clock: int | None = None  # of the round that was looked at
        self._awaited: set[int] = set()  # were there before a restart, and are not yet back

    def most(self, worker: int) -> int:
        """Return how many batches the worker takes when there are enough."""
        return self.every * self.sampler.shuffle.share(worker)

    def waiting(self, worker: int) -> bool:
        """Return whether the worker would get a batch if it asked, provided that it may train."""
        return self.sampler.waiting(worker) and (not self._due or bool(self._plan.get(worker)))

    def draw(self, worker: int, held: Held, banned: Set[int] = frozenset()) -> tuple[Ticket, ...]:
        """Return the tickets that a worker is given; held: who is there, and what each has sent; banned: who of them may not train."""
        n = 0 if worker in banned else self.take(worker, held, banned)
        drawn = (self.sampler.next(worker, lend=not self.gathers) for _ in range(min(n, self.sampler.left)))
        return tuple(t for t in drawn if t is not None)

    def take(self, worker: int, held: Held, banned: Set[int] = frozenset()) -> int:
        """Return how many batches the worker is given, all else as for `draw`."""
        if self.every == 1:  # a batch for each, or an update of fewer batches
            return self.most(worker)
        if not self._due:
            if self._plan:  # those that the rest of it was kept for did not come
                self._awaited.clear()
            if self._plan or held.slowest != self._clock or not self.gathers:  # a round is one whole
                self._lay(held.here - banned, held)
        self._clock = held.slowest
        if not self._plan:
            return self.most(worker)
        own = self._plan.get(worker)
        n = own.pop(0) if own else 0
        self._due -= n
        return n

    def _lay(self, there: Set[int], held: Held) -> None:
        """Plan the end among those that are there, when it is near."""
        self._plan, self._due, left = {}, 0, self.sampler.left
        last, among = (2 if self.gathers else 1), there | self._awaited
        if not left or left > last * len(among) * self.every * max(self.sampler.shuffle.shares, default=1):
            return
        rounds = -(-left // max(1, sum(map(self.most, among))))
        if rounds <= last:
            self._plan = self._divided(sorted(among), rounds, held)
            self._due = sum(sum(own) for w, own in self._plan.items() if w not in self._awaited)

    def _divided(self, workers: list[int], rounds: int, held: Held) -> dict[int, list[int]]:
        left, most = self.sampler.left, {w: rounds * self.most(w) for w in workers}
        parts = self.sampler.undrawn(workers) if self.gathers else None
        if parts is None or sum(parts.values()) != left or any(not 0 <= parts[w] <= most[w] for w in workers):
            sent = {w: 1 if self.gathers else max(1, held.clocks.get(w, 1)) for w in workers}
            parts = _parts(left, {w: most[w] * sent[w] for w in workers}, most)
        return {w: [k for i in range(rounds) if (k := n // rounds + (i < n % rounds))] for w, n in parts.items()}

    # -- who is there

    def back(self, worker: int, tickets: Sequence[Ticket]) -> None:
        """Take tickets back that a worker did not receive: it is given as many again."""
        self.sampler.lost(tickets)
        if tickets and self._plan:
            self._plan.setdefault(worker, []).insert(0, len(tickets))
            self._due += len(tickets)

    def join(self, worker: int, held: Held) -> None:
        """Let one that has come have a part of what the others have not begun; nothing when it was there."""
        if worker in held.here:
            return
        own = self._plan.get(worker)
        if worker in self._awaited:
            self._awaited.discard(worker)
            self._due += sum(own or ())
        elif self._due and not own:
            self._lay({worker, *(w for w, its in self._plan.items() if its and w not in self._awaited)}, held)

    def anew(self) -> None:
        """Plan anew: somebody has left, or is refused for good."""
        self._plan, self._due, self._clock = {}, 0, None

    def alone(self, before: Iterable[int]) -> None:
        """Keep a part of the next round for those that were there before a restart."""
        self.anew()
        self._awaited = set(before)

    def state(self) -> dict[str, Any]:
        """Return where it stands, as plain values."""
        plan = [[w, list(own)] for w, own in self._plan.items()]
        return {"plan": plan, "due": self._due, "clock": self._clock, "awaited": sorted(self._awaited)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self._plan = {int(w): [int(k) for k in own] for w, own in state["plan"]}
        self._due, self._clock, self._awaited = state["due"], state["clock"], set(state["awaited"])


def _parts(n: int, weights: Mapping[int, int], most: Mapping[int, int]) -> dict[int, int]:
    """Return `n` in whole parts as large as the weights, the largest remainders first, and none larger than its `most`.

    >>> _parts(9, dict.fromkeys(range(4), 1), dict.fromkeys(range(4), 4)), _parts(7, {0: 3, 1: 1}, {0: 4, 1: 4})
    ({0: 3, 1: 2, 2: 2, 3: 2}, {0: 4, 1: 3})
    """
    parts: dict[int, int] = {}
    others = dict(weights)
    while others:
        left, whole = n - sum(parts.values()), sum(others.values())
        found = {w: left * k // whole for w, k in others.items()}
        for w in sorted(others, key=lambda w: (-(left * others[w] % whole), w))[: left - sum(found.values())]:
            found[w] += 1
        full = {w: most[w] for w, k in found.items() if k > most[w]}
        parts |= full or found
        others = {w: k for w, k in others.items() if full and w not in full}
    return parts


def few(rule: Rule, workers: int, batches: int, shares: Sequence[int] = ()) -> str:
    """Return a warning when the workers of a rule meet only once, at the end of all `batches` of a training; "" when they meet more often.

    shares: of the workers, where they are not equal.

    >>> from whet.distributed.rules.gather import diloco
    >>> few(diloco(), 4, 430)
    'diloco: 4 workers take 500 steps each between two exchanges, but there are 430 batches in all: they exchange once, at the end. Set e.g. every=10, or train for more epochs.'
    >>> few(diloco(every=10), 4, 430)
    ''
    """
    every = rule.local.every if rule.local is not None else 1
    parts = sum(shares) or workers
    if every == 1 or workers == 1 or batches >= parts * every:
        return ""
    better = max(1, min(max(2, batches // (_GOOD * parts)), batches // (2 * parts)))
    each = "each times their share" if shares else "each"
    return (
        f"{' + '.join(p.partition('(')[0] for p in rule.name.split(' + '))}: {workers} workers take {every:,} steps {each} between two exchanges, but there are "
        f"{batches:,} batches in all: they exchange once, at the end. Set e.g. every={better}, or train for more epochs."
    )

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
    refused for good, for those that have not had their stretch; and of those that wait, for each round: so the last exchange is of all that
    are there when its round begins. For one that has left a part is kept until the next round is over, where the others could share it
    if it does not come back.

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
        self._rounds = 2 if self.gathers else 1  # that are planned, the last ones
        self._plan: dict[int, int] | None = None  # worker -> its stretch, until it has had it; None far from the end
        self._holds = False  # whether that is of those that are there now
        self._clock: int | None = None  # of the round that is at work, of those that wait
        self._had: set[int] = set()  # have had their stretch of this round, or of this plan
        self._awaited: dict[int, int] = {}  # were there, and may be back: until which round, of those that wait
        self._lends = False  # whether parts go over the bounds of shards

    def most(self, worker: int) -> int:
        """Return how many batches the worker takes when there are enough."""
        return self.every * self.sampler.shuffle.share(worker)

    def waiting(self, worker: int, held: Held) -> bool:
        """Return whether the worker would get a batch if it asked, provided that it may train; held: as for `draw`."""
        known = self._holds and self._plan is not None and not self._over(held)
        return self.sampler.waiting(worker) and not (known and not (self._plan or {}).get(worker))

    def draw(self, worker: int, held: Held, banned: Set[int] = frozenset()) -> tuple[Ticket, ...]:
        """Return the tickets that a worker is given; held: who is there, and what each has sent; banned: who of them may not train."""
        n = 0 if worker in banned else self.take(worker, held, banned)
        drawn = (self.sampler.next(worker, lend=self._lends or not self.gathers) for _ in range(n))
        return tuple(t for t in drawn if t is not None)

    def take(self, worker: int, held: Held, banned: Set[int] = frozenset()) -> int:
        """Return how many batches the worker is given, all else as for `draw`."""
        if self.every == 1:  # a batch for each, or an update of fewer batches
            return min(self.most(worker), self.sampler.left)
        self._look(held, banned)
        n = min(self.most(worker) if self._plan is None else self._plan.pop(worker, 0), self.sampler.left)
        if n:
            self._had.add(worker)
        return n

    # -- the plan

    def _over(self, held: Held) -> bool:
        """Return whether another round has begun, or all that are there have had what the plan gives them."""
        if self.gathers:
            return held.slowest != self._clock
        return not any(n for w, n in (self._plan or {}).items() if w not in self._awaited)

    def _look(self, held: Held, banned: Set[int]) -> None:
        """See to it that the plan is one for now."""
        if self._over(held):
            new = self._plan is None
            self._awaited = {
                w: until for w, until in self._awaited.items() if (until >= held.slowest if self.gathers else new)
            }
            self._clock = held.slowest
            self._had.clear()
        elif self._holds:
            return
        self._holds, self._lends, self._plan, left = True, False, None, self.sampler.left
        most = (len(held.here) + len(self._awaited)) * self.every * max(self.sampler.shuffle.shares, default=1)
        if not 0 < left <= self._rounds * most:  # the most frequent case, and it takes no search
            return
        there, away = held.here - banned, self._awaited.keys() - held.here
        self._plan = self._divided(there | away, held, left)
        kept = sum((self._plan or {}).get(w, 0) for w in away)
        if self._plan and sum(self._plan.values()) == left and 0 < kept < len(there):  # the last round, if they come
            self._plan = self._kept(there, min(away), held)

    def _kept(self, there: Set[int], away: int, held: Held) -> dict[int, int] | None:
        """Return the plan of a last round that keeps as much for one that is away as there are others to share it, or nothing."""
        part, left = len(there), self.sampler.left
        if left < 2 * part or part > self.most(away):
            return self._divided(there, held, left)
        return {**(self._divided(there, held, left - part) or {}), away: part}

    def _divided(self, among: Set[int], held: Held, left: int) -> dict[int, int] | None:
        """Return what of `left` is given in this round to each that has had nothing in it; None when the end is not near."""
        most = {w: self.most(w) for w in sorted(among)}
        due = [w for w in most if w not in self._had]
        later = max(0, -(-(left - sum(most[w] for w in due)) // sum(most.values())))  # rounds after this one
        if later >= self._rounds:
            return None
        room = {w: (later + (w not in self._had)) * k for w, k in most.items()}
        parts = self.sampler.undrawn(list(most)) if self.gathers else None
        if parts is None or not self._fit(parts, room, left):
            self._lends = self.gathers and self.sampler.parted
            sent = {w: 1 if self.gathers else max(1, held.clocks.get(w, 1)) for w in most}
            parts = _parts(left, {w: room[w] * sent[w] for w in most}, room)
        return {w: -(-parts[w] // (later + 1)) for w in due}

    def _fit(self, parts: Mapping[int, int], room: Mapping[int, int], left: int) -> bool:
        """Return whether all that is left are the workers' own parts, and each can be had, and is no small one where some were away."""
        whole = sum(room.values())
        if sum(parts.values()) != left or any(not 0 <= n <= room[w] for w, n in parts.items()):
            return False
        return not self.sampler.parted or all(2 * n >= left * room[w] // whole for w, n in parts.items())

    # -- who is there

    def back(self, worker: int, tickets: Sequence[Ticket]) -> None:
        """Take tickets back that a worker did not receive: it is given as many again."""
        self.sampler.lost(tickets)
        if tickets:
            self._had.discard(worker)
            if self._plan is not None:
                self._plan[worker] = len(tickets)

    def join(self, worker: int, held: Held) -> None:
        """Let one that has come have a part of what the others have not begun; nothing when it was there."""
        if worker not in held.here:
            self._awaited.pop(worker, None)
            self._holds = False

    def leave(self, worker: int, held: Held) -> None:
        """Plan anew: somebody has left."""
        self._had.discard(worker)
        if self.gathers and self.every > 1:
            self._awaited[worker] = held.slowest + 1
        self.anew()

    def anew(self) -> None:
        """Plan anew: somebody has left, or is refused for good."""
        self._holds = False
        if not self.gathers:  # also for those that have had theirs
            self._plan = None

    def alone(self, before: Iterable[int], held: Held) -> None:
        """Keep a part of the next round for those that were there before a restart."""
        self._plan, self._holds, self._clock = None, False, None
        self._awaited = dict.fromkeys(before, held.slowest)

    def state(self) -> dict[str, Any]:
        """Return where it stands, as plain values."""
        return {
            "plan": None if self._plan is None else [list(pair) for pair in self._plan.items()], "holds": self._holds,
            "clock": self._clock, "had": sorted(self._had), "awaited": [list(pair) for pair in self._awaited.items()],
            "lends": self._lends,
        }  # fmt: skip

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self._plan = None if state["plan"] is None else {int(w): int(n) for w, n in state["plan"]}
        self._holds, self._clock, self._lends = state["holds"], state["clock"], state["lends"]
        self._had, self._awaited = set(state["had"]), {int(w): int(until) for w, until in state["awaited"]}


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

"""A server and its workers without processes, clock or training: one call an event, and made-up vectors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from whet import seed as streams
from whet.distributed.flat import Flat
from whet.distributed.rule import Rule
from whet.distributed.sampler import Sampler
from whet.distributed.server import Server
from whet.distributed.shuffle import Shuffle
from whet.distributed.update import Given, Held, Refused, Ticket, Update

__all__ = ["Drill", "history", "same"]

What = Literal["join", "leave", "push", "spoil"]
_PUSHES = 30  # updates that a drill has work for


class Drill:
    """A real `Server` under a rule; its workers send vectors drawn from (seed, worker, step).

    fresh: each vector is a new one; else a worker's are overwritten as soon as it is given its next work, as those in shared
    memory are. given: what each worker is at; seen: the tickets that were merged or refused, applied: what was merged.

    >>> from whet.distributed.rules.gather import sync
    >>> drill = Drill(sync(), workers=2)
    >>> for event in (("join", 0), ("join", 1), ("push", 0)):
    ...     drill.do(*event)
    >>> sorted(drill.given), drill.server.held.version
    ([1], 0)
    >>> drill.do("leave", 1); sorted(drill.given), drill.server.held.version
    ([0], 1)
    """

    def __init__(self, rule: Rule, *, workers: int = 3, seed: int = 0, fresh: bool = False) -> None:
        self.workers, self.seed, self.fresh = workers, seed, fresh
        self.stretch = rule.local.every if rule.local else 1
        self.given: dict[int, Given] = {}
        self.sent: dict[int, Tensor] = {}  # by worker, the vector of its last update
        self.seen: list[Ticket] = []
        self.applied: list[Update] = []
        self._pulled: dict[int, Tensor] = {}
        self._steps: dict[int, int] = {}
        self._resting: set[int] = set()
        self._there: set[int] = set()
        self.server = self._serve(rule)

    def _serve(self, rule: Rule) -> Server:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            flat = Flat(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
        optimizer = torch.optim.SGD(flat.parameters, lr=0.1, momentum=0.5)
        sampler = Sampler(Shuffle(_PUSHES * self.stretch, 1, self.workers), 1)
        return Server(flat, dataclasses.replace(rule, merge=self._watch(rule)), sampler, optimizer=optimizer)

    def _watch(self, rule: Rule) -> Any:
        def merge(memory: Any, update: Update | None, held: Held) -> tuple[Any, Any]:
            memory, out = rule.merge(memory, update, held)
            if isinstance(out, Refused):
                self.seen += out.tickets if out.tickets is not None else update.tickets if update else ()
            elif out is not None:
                self.applied.append(out._replace(vector=out.vector.clone()))
                self.seen += out.tickets
            return memory, out

        return merge

    def change(self, rule: Rule) -> None:
        """Put another rule in the place of this one, with its memory."""
        self.server.rule = dataclasses.replace(rule, merge=self._watch(rule))

    def restart(self, rule: Rule, state: Mapping[str, Any]) -> None:
        """Put another server in the place of this one, from its state."""
        self.server = self._serve(rule)
        self.server.load(state)
        for worker in self.server.held.backups:
            self.server.held.backups[worker] = self._pulled[worker]

    # -- events

    def do(self, what: What, worker: int) -> None:
        """Let something happen; what a worker cannot do now does nothing. spoil: push what is not finite."""
        if what == "join" and worker not in self._there:
            self._there.add(worker)
            self._pulled[worker] = torch.full_like(self.server.held.weights, 7.0)
            self._steps[worker] = self.server.join(worker)
        elif what == "leave" and worker in self._there:
            self._there.discard(worker)
            self._resting.discard(worker)
            self.given.pop(worker, None)
            self.server.leave(worker)
        elif what in ("push", "spoil") and worker in self.given:
            self._push(worker, spoilt=what == "spoil")
        while self._wake():
            pass

    def _wake(self) -> bool:
        asked = [self._ask(w) for w in sorted(self._there - set(self.given))]  # all, whatever the first is answered
        return any(asked)

    def _push(self, worker: int, *, spoilt: bool) -> None:
        given, step, local = self.given.pop(worker), self._steps[worker], self.server.local
        tickets = () if given.closing else given.tickets
        draw = streams.rng(self.seed, "update", worker, step)
        noise = torch.as_tensor(draw.normal(size=self.server.flat.size), dtype=torch.float32)
        if local.sends == "weights":
            vector = self._pulled[worker]  # it moved when it was given its work
        else:
            vector = self.sent.get(worker, torch.empty_like(noise)).copy_(noise)
        if spoilt:
            vector[0] = float("nan")
        if self.fresh:
            vector = vector.clone()
        self.sent[worker] = vector
        self._steps[worker] += 1
        buffers = torch.as_tensor(draw.normal(size=self.server.flat.buffer_size))
        self.server.push(Update(
            worker, step, vector, local.sends, (1 + worker % 2) * max(1, len(tickets)), given.version, tickets,
            float(draw.random()), buffers,
        ))  # fmt: skip

    def _ask(self, worker: int) -> bool:
        """Give a worker work when it may have it; return whether anything changed."""
        server = self.server
        if worker in self._resting:
            if not server.waiting(worker):
                return False
            self._resting.discard(worker)
            server.join(worker, own=True)
        if not server.admits(worker):
            return False
        if self.fresh:
            self._pulled[worker] = self._pulled[worker].clone()
        given = server.pull(worker, self._pulled[worker])
        if given is None:
            self._resting.add(worker)
            server.rest(worker)
            return True
        self.given[worker] = given
        if server.local.sends == "weights":
            draw = streams.rng(self.seed, "moved", worker, self._steps[worker])
            self._pulled[worker] += torch.as_tensor(draw.normal(size=server.flat.size), dtype=torch.float32)
        elif worker in self.sent and not self.fresh:
            self.sent[worker].fill_(float("nan"))  # it begins to write there
        return True

    def finish(self) -> None:
        """Let all join and work until nothing is left to do, or all wait."""
        for worker in range(self.workers):
            self.do("join", worker)
        while self.given:
            for worker in sorted(self.given):
                self.do("push", worker)

    # -- what is known

    @property
    def stuck(self) -> bool:
        """Whether nobody is at work, though there is some and somebody who waits for it."""
        waits = self._there - self._resting
        return bool(waits) and not self.given

    def facts(self) -> dict[str, Any]:
        """Return all that came of it: the weights, what was merged and refused, the peers' models, the statistics."""
        server = self.server
        server.settle_buffers()
        buffers = torch.empty(server.flat.buffer_size, dtype=torch.float64)
        server.flat.read_buffers(buffers)
        return {
            "weights": server.held.weights.clone(), "version": server.held.version, "merged": server.merged,
            "refused": dict(server.refused), "clocks": dict(server.held.clocks), "at": sorted(self.given),
            "models": {w: m.clone() for w, m in server.models}, "buffers": buffers,
            "vectors": [u.vector for u in self.applied], "seen": sorted(self.seen),
        }  # fmt: skip


def history(seed: int, workers: int, events: int, *, bad: bool = False) -> list[tuple[What, int]]:
    """Return events drawn at random: most are pushes, beside them workers that join, leave, and, when `bad`, send nonsense.

    >>> history(0, 3, 6)[:2], len(history(0, 3, 6))
    ([('join', 0), ('join', 1)], 8)
    """
    draw = streams.rng(seed, "history", workers)
    kinds: list[What] = ["push", "join", "leave", "spoil"]
    chances = [0.6, 0.15, 0.1, 0.15] if bad else [0.7, 0.18, 0.12, 0.0]
    drawn = draw.choice(4, size=events, p=chances)
    begin: list[tuple[What, int]] = [("join", w) for w in range(max(1, workers - 1))]
    return begin + [(kinds[k], int(draw.integers(workers))) for k in drawn]


def same(a: Any, b: Any) -> bool:
    """Return whether two trees of values and tensors are equal bit for bit; NaN equals itself.

    >>> same({"a": [torch.tensor([1.0, float("nan")])]}, {"a": [torch.tensor([1.0, float("nan")])]})
    True
    """
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.shape == b.shape and torch.equal(a.nan_to_num(1e9), b.nan_to_num(1e9))
    if isinstance(a, Mapping):
        return isinstance(b, Mapping) and a.keys() == b.keys() and all(same(v, b[k]) for k, v in a.items())
    if isinstance(a, (list, tuple)):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)

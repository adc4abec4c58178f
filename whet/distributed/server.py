"""The one that holds the weights: it gives them out, merges what comes back by a rule, and takes the steps."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from whet.distributed.closing import Closing
from whet.distributed.flat import Flat
from whet.distributed.ledger import Ledger
from whet.distributed.losses import Losses
from whet.distributed.made import made, need_format, need_same
from whet.distributed.plain import lived, plain, thaw
from whet.distributed.rule import Local, Rule
from whet.distributed.sampler import Sampler
from whet.distributed.statistics import Statistics
from whet.distributed.step import Steps
from whet.distributed.stretch import Stretches
from whet.distributed.update import Given, Held, Refused, Ticket, Update

__all__ = ["Server"]


class Server:
    """Holds a model's weights and merges updates into them; knows neither processes nor clocks.

    flat: the model, whose weights are the server's; optimizer: over its parameters, steps on gradients; rate: the factor on its learning
    rates by epochs done, or None; rule; sampler.

    A push that was answered before is answered again and not applied: (worker, step) names it. staleness: how often each
    number of updates lay between a pull and its push; refused: how often each reason; version: updates applied.
    """

    def __init__(
        self, flat: Flat, rule: Rule, sampler: Sampler, *, optimizer: torch.optim.Optimizer,
        rate: Callable[[float], float] | None = None,
    ) -> None:  # fmt: skip
        self.flat, self.rule, self.sampler = flat, rule, sampler
        self.steps = Steps(flat, optimizer, rate)
        self.optimizer = self.steps.optimizer
        self.local = rule.local or Local()
        self.stretches = Stretches(rule, sampler)
        self.held = Held(flat.weights)
        self.memory = rule.init(self.held)
        self.staleness: Counter[int] = Counter()
        self.refused: Counter[str] = Counter()
        self.merged = 0  # tickets
        self.seen = 0  # the last whole epoch that its owner has read: a desk's, here since it goes into checkpoints
        self._losses = Losses()
        self.statistics = Statistics(flat)
        self.models: tuple[tuple[int, Tensor], ...] = ()
        self.ledger = Ledger()
        self._closing = Closing()

    # -- who is there

    def join(self, worker: int, *, own: bool | None = False) -> int:
        """Take in a worker; return the number of its next step. Its clock is the slowest's.

        own: it has weights to go on from; else its first pull gives it the server's, whatever the rule. None: it only rested, so that is as before.
        """
        if own is not None:
            self.ledger.fresh.discard(worker) if own else self.ledger.fresh.add(worker)
        if not self.closing or self._closing.calls(worker):
            self.held.tick(worker, self.held.slowest)
        self.sampler.join(worker)
        self.stretches.join(worker, self.held)
        self.held.here.add(worker)
        return self.ledger.next(worker)

    def leave(self, worker: int) -> bool:
        """Count a worker as gone: what it was at is drawn again; return whether the weights changed, since none waits for it now."""
        self.sampler.lost(self.ledger.leave(worker))
        self.sampler.leave(worker)
        self.held.here.discard(worker)
        self.stretches.leave(worker, self.held)
        self.statistics.leave(worker)
        self._out_of(worker)
        changed = self._without()  # one that rested too: rules forget who is gone
        self._answered(worker)
        return changed

    def rest(self, worker: int) -> bool:
        """Wait for this worker no longer: there is nothing left for it to do; return whether the weights changed by that."""
        return self._out_of(worker) and self._without()

    def _out_of(self, worker: int) -> bool:
        """Take a worker out of those that are waited for; return whether it was one."""
        self.held.backups.pop(worker, None)
        waited = worker in self.held.clocks
        if waited:
            self.held.tick(worker, None)
        return waited

    def waiting(self, worker: int) -> bool:
        """Return whether there is something for the worker to do."""
        there = self._closing.calls(worker) if self.closing else self.stretches.waiting(worker, self.held)
        return there and worker not in self.ledger.banned

    # -- the two calls of a worker

    def admits(self, worker: int) -> bool:
        """Return whether the worker may take its next step; one that nobody waits for may ask."""
        return worker not in self.held.clocks or self.rule.admit(self.held, worker)

    def pull(self, worker: int, into: Tensor) -> Given | None:
        """Copy what the worker goes on from `into` (p,), and return its tickets; None when all were handed out.

        `into` is then the worker's backup: it must stay as it is until its push is merged, when the rule looks at backups.
        """
        self.stretches.back(
            worker, self.ledger.out.pop(worker, ())
        )  # it asks again: what it was given did not reach it
        if self.closing:
            return self._note(worker, self._closing.give(
                worker, into, held=self.held, models=self.models, sampler=self.sampler, barred=self.ledger.banned,
                buffers=self.statistics.of(worker),
            ))  # fmt: skip
        handed = self.sampler.given
        if not (tickets := self.stretches.draw(worker, self.held, self.ledger.banned)):
            return None
        buffers = self.statistics.begin(self.held.version) if worker in self.ledger.fresh else None
        reply = self.ledger.replies.pop(worker, None)
        fresh = reply is not None or self.local.takes == "weights" or worker in self.ledger.fresh
        if fresh:
            into.copy_(self.held.weights if reply is None else reply)
        if self.rule.backup:
            self.held.backups[worker] = into
        models = self.models if self.local.peers else ()
        return self._note(worker, Given(self.held.version, tickets, models, handed, fresh, buffers))

    def _note(self, worker: int, given: Given | None) -> Given | None:
        """Note what a worker is at from now on."""
        if given is not None:
            self.ledger.fresh.discard(worker)
            self.ledger.out[worker] = () if given.closing else given.tickets
        return given

    def push(self, update: Update) -> bool:
        """Merge an update; return whether the weights changed."""
        known = update.worker in self.held.clocks and update.worker in self.ledger.out
        if not known or update.step <= self.ledger.last.get(update.worker, -1):
            return False
        self.ledger.last[update.worker] = update.step
        self.ledger.out.pop(update.worker, None)
        self.staleness[self.held.version - update.pulled] += 1
        self.held.tick(update.worker, self.held.clocks[update.worker] + 1)
        if update.buffers is not None:
            self.statistics.workers[update.worker] = update.buffers
        changed = self._merge(update)
        self._answered(update.worker)
        return changed

    def _answered(self, worker: int) -> None:
        """Wait for this worker no longer in the compression that ends the training, and for none when all are refused for good."""
        if self.closing and (self._closing.gone(worker) or self.held.here <= self.ledger.banned):
            self._closing.end(self.merged)

    def _merge(self, update: Update) -> bool:
        self.memory, out = self.rule.merge(self.memory, update, self.held)
        if not isinstance(out, Refused):
            return self._apply(out)
        self._refuse(out, update.tickets)
        if out.why == "quarantine":
            self.ledger.banned.add(update.worker)
            self.stretches.anew()
        if update.kind == "weights":  # its own are spoilt: it goes on from the server's
            self.ledger.fresh.add(update.worker)
        return self._without()

    def _without(self) -> bool:
        """Ask the rule whether what it waits for is complete, one fewer being waited for; return whether the weights changed."""
        self.memory, out = self.rule.merge(self.memory, None, self.held)
        if isinstance(out, Refused):
            self._refuse(out)
            return False
        return self._apply(out)

    def _refuse(self, refused: Refused, tickets: tuple[Ticket, ...] = ()) -> None:
        self.refused[refused.why] += 1
        self.merged += len(tickets if refused.tickets is None else refused.tickets)  # seen, though it taught nothing

    def _apply(self, update: Update | None) -> bool:
        if update is None:
            return False
        if update.kind == "gradient":
            self.steps.take(update.vector, self.sampler.shuffle.done(self.merged) if update.tickets else None)
        else:
            self.held.weights.copy_(update.vector)
        if update.reply is not None:
            self.ledger.replies[update.worker] = update.reply
        if update.models is not None:
            self.models = update.models
        if update.statistics is not None:
            self.statistics.named = update.statistics
        self.held.version += 1
        self.merged += len(update.tickets)
        if not self.closing or update.tickets:  # what a compression ends with is the loss of other examples
            self._losses.add(update.loss, update.examples)
        return True

    def need(self, workers: Collection[int]) -> None:
        """Raise TaskError when each of `workers`, which are all there are, is refused for good: nobody is left to train."""
        self.ledger.need(workers, str(self.rule), self.refused)

    # -- what is known of the training

    @property
    def epochs(self) -> float:
        """Epochs merged so far."""
        return self.merged / self.sampler.shuffle.per_epoch

    @property
    def closing(self) -> bool:
        """Whether every batch is merged, and the compression that ends the training is not over."""
        return self.local.closes and self.merged >= self.sampler.limit > self._closing.merged and len(self.models) > 1

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.merged >= self.sampler.limit and not self.closing

    @property
    def whole(self) -> int:
        """Whole epochs merged, the last one with the compression that ends the training."""
        return int(self.epochs) - self.closing

    def mean_loss(self) -> float:
        """Return the mean loss over the examples merged since this was last asked, or the last mean when there were none."""
        return self._losses.mean()

    def settle_buffers(self) -> None:
        """Set the model's buffers to those that go with the weights."""
        self.statistics.settle()

    # -- checkpoints

    @property
    def made(self) -> dict[str, Any]:
        """What another server must have in common with this one to go on from its state."""
        return made(self.rule, self.sampler.shuffle, self.flat, self.steps)

    def state(self, *, workers: bool = True) -> dict[str, Any]:
        """Return all that another server needs to go on from here, copied; workers: also what only those use that are there now."""
        return {
            "made": self.made, **self.statistics.state(), "closing": self._closing.state(),
            "weights": self.held.weights.clone(), "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "version": self.held.version, "clocks": [list(p) for p in self.held.clocks.items()],
            "backups": [[w, b.clone()] for w, b in self.held.backups.items() if workers], "memory": thaw(self.memory, plain),
            "sampler": self.sampler.state(), "stretches": self.stretches.state(), **self.ledger.state(workers=workers),
            "models": [[w, m.clone()] for w, m in self.models],
            "staleness": [list(p) for p in self.staleness.items()], "refused": [list(p) for p in self.refused.items()],
            "merged": self.merged, "seen": self.seen, "here": sorted(self.held.here), **self._losses.state(),
        }  # fmt: skip

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned; raise CheckpointError when it is of another training."""
        need_format(state.get("made", {}))
        need_same(state.get("made", {}), self.made)
        self.statistics.load(state)
        self._closing.load(state["closing"])
        self.held.weights.copy_(state["weights"])
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self.held.version, self.merged, self.seen = state["version"], state["merged"], state["seen"]
        for worker, clock in state["clocks"]:
            self.held.tick(worker, clock)
        self.held.backups = {w: b.clone() for w, b in state["backups"]}
        self.memory = thaw(state["memory"], lived)
        self.sampler.load(state["sampler"])
        self.stretches.load(state["stretches"])
        self.ledger.load(state)
        self.models = tuple((w, m.clone()) for w, m in state["models"])
        self.staleness, self.refused = Counter(dict(state["staleness"])), Counter(dict(state["refused"]))
        self._losses.load(state)
        self.held.here = set(state["here"])

    def alone(self) -> None:
        """Count every worker as gone, after a restart: what they were at is drawn again, they join anew, also those that were refused.

        A compression that ends the training begins anew too, without what some have sent: else the others would be left out.
        """
        self.statistics.alone()
        before = set(self.held.here)
        closed = self._closing.merged
        if self.closing:
            self.memory = self.rule.init(self.held)
        for worker in {*self.held.clocks, *self.held.here, *self.ledger.out, *self.ledger.banned}:
            self.leave(worker)
        self.stretches.alone(before, self.held)
        self._closing.end(closed)

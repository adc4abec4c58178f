"""What a worker does between a pull and a push: gradients, or steps of its own, on the batches it was handed."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from whet.data.split import Split
from whet.distributed.flat import Flat
from whet.distributed.meaning import Meaning
from whet.distributed.member import become
from whet.distributed.rule import Distil, Local
from whet.distributed.shuffle import Shuffle
from whet.distributed.update import Given, Ticket, Update
from whet.seed import key
from whet.task import Augment
from whet.train.run import Run
from whet.train.stream import stream

__all__ = ["Parts", "Worker"]


@dataclass(frozen=True)
class Parts:
    """What of a task every worker needs.

    model: makes a new one, with the initial weights of the seed; optimizer: over a model's parameters; meaning: returns what outputs mean,
    where workers teach each other, and raises TaskError where that cannot be.
    """

    model: Callable[[], nn.Module]
    optimizer: Callable[[nn.Module], torch.optim.Optimizer]
    loss: Callable[[Tensor, Tensor], Tensor]
    train: Split
    meaning: Callable[[], Meaning]
    rate: Callable[[float], float] | None
    augment: Augment | None
    seed: int
    device: torch.device

    @classmethod
    def of(cls, run: Run) -> Parts:
        """Return the parts of a run that has taken no step yet."""
        first = copy.deepcopy(run.model)
        task, params = run.task, run.params
        return cls(
            model=lambda: copy.deepcopy(first), optimizer=lambda model: task.optimizer(params, model), loss=run.loss,
            train=run.train, meaning=functools.cache(lambda: Meaning.of(run)), rate=run.rate, augment=run.augment, seed=run.seed,
            device=run.device,
        )  # fmt: skip


class Worker:
    """One worker: its model, its optimizer when the rule has it take steps of its own, and what it remembers of others.

    weights, gradient: (p,) vectors for its model to live in, in shared memory say; None makes new ones. flat, teacher: models that it
    uses in place of its own, when many workers take turns (`whet.distributed.seat`). cost: what the last `work` cost beside its steps, in
    steps (a forward pass is a third of one).
    """

    def __init__(
        self, number: int, parts: Parts, shuffle: Shuffle, *, local: Local,
        weights: Tensor | None = None, gradient: Tensor | None = None, step: int = 0,
        flat: Flat | None = None, teacher: Flat | None = None,
    ) -> None:  # fmt: skip
        self.number, self.parts, self.shuffle, self.local = number, parts, shuffle, local
        self.step = step  # of the next update
        self.steps = 0  # of its own optimizer
        self.further: Callable[[], None] = _nothing  # called after each step of a stretch
        self.cost = 0.0
        if flat is None:
            model = parts.model()
            if weights is not None:
                weights.copy_(Flat(copy.deepcopy(model)).weights)
            flat = Flat(model, weights=weights, gradient=gradient)
        self.flat = flat
        self.optimizer = parts.optimizer(flat.model) if local.sends == "weights" else None
        self._rates = [float(g["lr"]) for g in self.optimizer.param_groups] if self.optimizer else []
        self._teacher = Flat(parts.model()) if local.peers and teacher is None else teacher
        self._meaning = parts.meaning() if local.distil is not None else None

    def work(self, given: Given) -> Update:
        """Train on what was given; return the update to push. The weights (p,) were put into `flat.weights` before."""
        self.cost = 0.0
        if given.buffers is not None:
            self.flat.write_buffers(given.buffers)
        self.flat.model.train()
        losses, counts = [], []
        total: Tensor | None = None  # (p,) of the gradients, by examples
        peers = [(w, m) for w, m in given.models if self._teaches(w)]
        distil = self.local.distil
        if distil is not None and distil.steps and len(given.models) > 1:
            self._compress(distil, peers, given)
        if given.closing:
            return self._closed(given)
        for i, ticket in enumerate(given.tickets):
            _, targets, loss = self._backward(ticket, peers if distil is not None and not distil.steps else ())
            if self.optimizer is not None:
                self._own_step(self._progress(given, i))
            elif len(given.tickets) > 1:
                total = (
                    self.flat.gradient * len(targets)
                    if total is None
                    else total.add_(self.flat.gradient, alpha=len(targets))
                )
            losses.append(loss)
            counts.append(len(targets))
            self.further()
        n = sum(counts)
        if total is not None:
            torch.div(total, n, out=self.flat.gradient)
        mean = sum(float(x) * c for x, c in zip(losses, counts, strict=True)) / n
        return self._update(given, given.tickets, n, mean)

    def _update(self, given: Given, tickets: tuple[Ticket, ...], examples: int, loss: float) -> Update:
        vector = self.flat.weights if self.local.sends == "weights" else self.flat.gradient
        buffers = torch.empty(self.flat.buffer_size, dtype=torch.float64)
        self.flat.read_buffers(buffers)
        self.step += 1
        return Update(
            self.number, self.step - 1, vector, self.local.sends, examples, given.version, tickets, loss, buffers
        )

    def _closed(self, given: Given) -> Update:
        """Return what ends the training, with the loss by which the members are compared.

        It is of the same examples for all, drawn from all shards, and of the model as it is handed over: a loss on a worker's own examples, which
        it has learned by heart, says how easy these are. There are as many as make it cost what the ensemble's outputs did, at most.
        """
        parts, shuffle, distil = self.parts, self.shuffle, self.local.distil
        assert distil is not None
        n = min(shuffle.n, max(1, round(distil.share * shuffle.n)), len(given.models) * shuffle.batch * distil.steps)
        chosen = torch.randperm(shuffle.n, generator=torch.Generator().manual_seed(key(parts.seed, "compared")))[:n]
        total, model = 0.0, self.flat.model.eval()
        with torch.no_grad(), stream(parts.seed, "compared", device=parts.device):
            for some in chosen.split(shuffle.batch):
                inputs, targets = parts.train.batch(some.to(parts.device))
                total += float(parts.loss(model(*inputs), targets)) * len(some)
                self.further()
        self.cost += n / shuffle.batch / 3
        return self._update(given, (), n, total / n)

    def _teaches(self, worker: int) -> bool:
        """Return whether a member of the ensemble is a teacher: codistillation leaves the learner out, EC does not."""
        distil = self.local.distil
        return distil is not None and (distil.steps > 0 or worker != self.number)

    @property
    def meaning(self) -> Meaning:
        """What outputs mean, where it learns from others."""
        assert self._meaning is not None
        return self._meaning

    def _backward(self, ticket: Ticket, peers: Sequence[tuple[int, Tensor]]) -> tuple[Any, Tensor, Tensor]:
        """Put the gradient on one batch into `flat.gradient`; return (inputs, targets, loss)."""
        parts, index = self.parts, self.shuffle.indices(ticket)
        inputs, targets = parts.train.batch(index.to(parts.device))
        with stream(parts.seed, "train", *ticket, device=parts.device):
            if parts.augment is not None:
                chance = torch.Generator(parts.device).manual_seed(key(parts.seed, "augment", *ticket))
                inputs, targets = parts.augment(inputs, targets, chance)
            self.flat.gradient.zero_()
            outputs = self.flat.model(*inputs)
            loss = parts.loss(outputs, targets)
            whole, distil = loss, self.local.distil
            if peers and distil is not None and self.steps >= distil.burn_in:
                whole = loss + distil.weight * self.meaning.agree(outputs, self._taught(peers, inputs), targets)
                self.cost += len(peers) / 3
            whole.backward()
        self._check()
        return inputs, targets, loss.detach()

    def _check(self) -> None:
        if not self.flat.linked():  # the model or its loss set a gradient to None: once is enough to notice
            found = [None if p.grad is None else p.grad.clone() for p in self.flat.parameters]
            self.flat.link()
            for p, g in zip(self.flat.parameters, found, strict=True):
                if g is not None and p.grad is not None:
                    p.grad.copy_(g)

    def _progress(self, given: Given, i: int) -> float:
        """Return how many epochs were handed out before the i-th ticket, to whomever: a fast worker's own shard may be far ahead."""
        return self.shuffle.progress(given.tickets[i]) if given.handed is None else self.shuffle.done(given.handed + i)

    def _own_step(self, progress: float) -> None:
        assert self.optimizer is not None
        if self.parts.rate is not None:
            factor = self.parts.rate(progress)
            for group, lr in zip(self.optimizer.param_groups, self._rates, strict=True):
                group["lr"] = lr * factor
        self.optimizer.step()
        self.steps += 1

    def _taught(self, peers: Sequence[tuple[int, Tensor]], inputs: tuple[Tensor, ...]) -> Tensor:
        """Return the mean of what the peers say, each with its own statistics: probabilities or numbers, of the outputs' shape."""
        assert self._teacher is not None
        model = self._teacher.model.eval()
        total: Tensor | None = None
        with torch.no_grad():
            for _, vector in peers:
                become(self._teacher, vector)
                said = self.meaning.said(model(*inputs))
                total = said if total is None else total + said
        assert total is not None
        return total / len(peers)

    def _compress(self, distil: Distil, members: Sequence[tuple[int, Tensor]], given: Given) -> None:
        """Relabel a share of the worker's examples by the ensemble, and learn from them for some steps."""
        assert self.optimizer is not None
        parts = self.parts
        shards = self.shuffle.shards
        assert shards is not None
        own = shards[given.tickets[0].shard]
        stretch = "last" if given.closing else self.step  # the same when it is done again
        generator = torch.Generator().manual_seed(key(parts.seed, "relabel", self.number, stretch))
        own = own[torch.randperm(len(own), generator=generator)]
        if self.shuffle.how == "global":  # it has no shard: as many as one would be
            own = own[: max(1, len(own) // self.shuffle.workers)]
        own = own[: max(1 if self.shuffle.alone else 2, round(distil.share * len(own)))]
        batch = self.shuffle.batch
        labelled = min(len(own), batch * distil.steps)  # no more than will be looked at
        inputs, targets = parts.train.batch(own[:labelled].to(parts.device))
        taught = self._taught(members, inputs)
        self.cost += len(members) * labelled / batch / 3 + distil.steps
        for i in range(distil.steps):
            at = torch.arange(i * batch, (i + 1) * batch) % labelled
            at = at[:labelled]
            with stream(parts.seed, "compress", self.number, stretch, i, device=parts.device):
                self.flat.gradient.zero_()
                outputs = self.flat.model(*(x[at] for x in inputs))
                agrees = self.meaning.agree(outputs, taught[at], targets[at])
                loss = parts.loss(outputs, targets[at]) + distil.weight * agrees
                loss.backward()
            self._check()
            self._own_step(self._progress(given, 0))
            self.further()

    def state(self) -> dict[str, Any]:
        """Return what another worker needs to go on from here, copied."""
        buffers = torch.empty(self.flat.buffer_size, dtype=torch.float64)
        self.flat.read_buffers(buffers)
        return {
            "weights": self.flat.weights.clone(), "gradient": self.flat.gradient.clone(), "buffers": buffers,
            "step": self.step, "steps": self.steps,
            "optimizer": None if self.optimizer is None else copy.deepcopy(self.optimizer.state_dict()),
        }  # fmt: skip

    def load(self, state: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        self.flat.weights.copy_(state["weights"])
        self.flat.gradient.copy_(state["gradient"])
        self.flat.write_buffers(state["buffers"])
        self.step, self.steps = state["step"], state["steps"]
        if self.optimizer is not None:
            self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))


def _nothing() -> None:
    """Do nothing."""

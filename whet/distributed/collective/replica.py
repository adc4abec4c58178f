"""One copy of the model and the gradient of one of its batches, averaged over all copies: PyTorch's data parallel does the work."""

from __future__ import annotations

import importlib
import warnings
from contextlib import nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from whet.distributed.collective.kept import kept
from whet.distributed.collective.place import Place
from whet.distributed.shuffle import Shuffle
from whet.distributed.update import Ticket
from whet.seed import key
from whet.train.run import Run
from whet.train.stream import stream

__all__ = ["Holding", "Replica", "parallel"]


class Holding(Protocol):
    """What a process holds of a model: `module`, whose gradients it can get averaged over all copies."""

    module: nn.Module

    def gradient(self, inputs: tuple[Tensor, ...], targets: Tensor, weight: float) -> Tensor:
        """Put the mean over the copies of `weight` times the mean loss's gradient into `grad`; return the mean loss, or 0 where it is not known."""
        ...


class Replica:
    """What a process holds of the model, and the batches it gets gradients of.

    Each copy trains on a batch of its own size n_k: its loss is weighted by n_k M / sum n, so that the mean over the M copies is the gradient
    of the mean loss over all their examples. Random numbers are drawn as `whet.distributed.worker.Worker` does, by ticket.
    """

    def __init__(self, run: Run, shuffle: Shuffle, place: Place) -> None:
        self.run, self.shuffle, self.place = run, shuffle, place
        self.holding: Holding = Whole(run, place) if place.stages == 1 else _layers(run, shuffle, place)

    @property
    def module(self) -> nn.Module:
        """What this process trains."""
        return self.holding.module

    def gradient(self, ticket: Ticket, weight: float) -> Tensor:
        """Put the mean gradient into the parameters' `grad`; return the mean loss over the batch, or 0 where it is not known.

        weight: n_k M / sum n; 0 for a copy that has nothing to do in this round: it goes along with somebody's ticket and learns nothing.
        """
        run, device = self.run, self.place.device
        inputs, targets = run.train.batch(self.shuffle.indices(ticket).to(run.train.targets.device))
        inputs, targets = tuple(x.to(device) for x in inputs), targets.to(device)
        where = (*ticket, self.place.stage) if self.place.stages > 1 else ticket
        with stream(run.seed, "train", *where, device=device), nullcontext() if weight else kept(self.module):
            if run.augment is not None:
                chance = torch.Generator(device).manual_seed(key(run.seed, "augment", *ticket))
                inputs, targets = run.augment(inputs, targets, chance)
            run.optimizer.zero_grad()
            return self.holding.gradient(inputs, targets, weight)


class Whole:
    """The whole model in each process, under DistributedDataParallel."""

    def __init__(self, run: Run, place: Place) -> None:
        self.run, self.module = run, run.model
        self._parallel = parallel(run.model, place, unused=self._unused(place.device))

    def _unused(self, device: torch.device) -> bool:
        """Return whether the loss leaves out some parameters, by trying."""
        run = self.run
        index = torch.arange(min(run.batch, len(run.train)), device=run.train.targets.device)
        inputs, targets = run.train.batch(index)
        with stream(run.seed, "try", device=device), kept(run.model):
            run.model.train()
            run.optimizer.zero_grad()
            run.loss(run.model(*inputs), targets).backward()
        found = any(p.grad is None for p in run.model.parameters() if p.requires_grad)
        run.optimizer.zero_grad()
        return found

    def gradient(self, inputs: tuple[Tensor, ...], targets: Tensor, weight: float) -> Tensor:
        """See `Holding`."""
        loss: Tensor = self.run.loss(self._parallel(*inputs), targets)
        (loss * weight).backward()
        return loss.detach()


def _layers(run: Run, shuffle: Shuffle, place: Place) -> Holding:
    # by name and only here: what traces and cuts models takes seconds to import
    kind = importlib.import_module("whet.distributed.collective.layers").Layers
    made: Holding = kind(run, shuffle, place)
    return made


def parallel(module: nn.Module, place: Place, *, unused: bool) -> DistributedDataParallel:
    """Return a module whose gradients are averaged over the copies; statistics of batch normalisation stay each copy's own."""
    with warnings.catch_warnings():
        # torch 2.13 prefers another name to broadcast_buffers, which 2.10 does not know
        warnings.simplefilter("ignore", FutureWarning)
        return DistributedDataParallel(
            module, process_group=place.copies, broadcast_buffers=False, gradient_as_bucket_view=True,
            find_unused_parameters=unused,
        )  # fmt: skip

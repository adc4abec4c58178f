"""Many workers in one process: each has its own weights, and all work on them in one model, in turn."""

from __future__ import annotations

import copy
from typing import Any

import torch

from whet.distributed.flat import Flat
from whet.distributed.rule import Local
from whet.distributed.shuffle import Shuffle
from whet.distributed.update import Given, Update
from whet.distributed.worker import Parts, Worker

__all__ = ["Seat", "Stage"]


class Stage:
    """The model that workers take turns in, and the one that speaks for their peers where a rule has them listen."""

    def __init__(self, parts: Parts, local: Local) -> None:
        self.flat = Flat(parts.model())
        self.first = self.flat.weights.clone()  # (p,) of the seed
        self.buffers = torch.empty(self.flat.buffer_size, dtype=torch.float64)
        self.flat.read_buffers(self.buffers)
        self.teacher = Flat(parts.model()) if local.peers else None


class Seat:
    """A worker of many: its weights, its model's statistics and its optimizer are its own, the model is the stage's.

    weights: (p,), where a pull goes. What it holds is then |w| numbers, and while a gradient is on its way, or a rule keeps it, |w| more;
    an optimizer of its own where the rule has it take steps. What else a model keeps (attributes that its forward pass changes)
    is shared.
    """

    def __init__(
        self, number: int, parts: Parts, shuffle: Shuffle, *, local: Local, stage: Stage, step: int = 0
    ) -> None:
        self.stage = stage
        self.worker = Worker(number, parts, shuffle, local=local, flat=stage.flat, teacher=stage.teacher, step=step)
        self.weights, self.buffers = stage.first.clone(), stage.buffers.clone()

    def work(self, given: Given) -> Update:
        """Train on what was given; return the update, whose vector stays as it is for as long as anybody has it."""
        flat = self.stage.flat
        flat.weights.copy_(self.weights)
        flat.write_buffers(self.buffers)
        update = self.worker.work(given)
        if update.buffers is not None:
            self.buffers.copy_(update.buffers)
        if self.worker.local.sends == "gradient":
            return update._replace(vector=flat.gradient.clone())
        self.weights.copy_(flat.weights)
        return update._replace(vector=self.weights)

    def state(self) -> dict[str, Any]:
        """Return what another one needs to go on from here, copied."""
        own = self.worker.optimizer
        return {
            "weights": self.weights.clone(), "buffers": self.buffers.clone(), "step": self.worker.step,
            "steps": self.worker.steps, "optimizer": None if own is None else copy.deepcopy(own.state_dict()),
        }  # fmt: skip

    def load(self, state: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        self.weights.copy_(state["weights"])
        self.buffers.copy_(state["buffers"])
        self.worker.step, self.worker.steps = state["step"], state["steps"]
        if self.worker.optimizer is not None:
            self.worker.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))

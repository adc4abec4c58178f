"""Bugs of tasks whose checkpoints do not hold all that a training remembers."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bugs.case import Bug, task
from task_zoo import Plain
from whet.task import Task


class Momentum(torch.optim.Optimizer):
    """Keeps its velocity in an attribute of its own."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.05})
        self.velocity: dict[int, Tensor] = {}

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        v = 0.9 * self.velocity.get(id(p), torch.zeros_like(p)) + p.grad
                        self.velocity[id(p)] = v
                        p.sub_(v, alpha=group["lr"])


class LosesVelocity(Plain):
    def optimizer(self, params: Any, model: nn.Module) -> torch.optim.Optimizer:
        return Momentum(model.parameters())


class Warm(nn.Module):
    """Counts its steps in an attribute: a warm-up that begins again."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def forward(self, x: Tensor) -> Tensor:
        self.steps += self.training
        return x * min(1.0, self.steps / 100)


class LosesCount(Plain):
    def model(self, params: Any) -> nn.Module:
        return nn.Sequential(nn.Linear(8, 32), Warm(), nn.ReLU(), nn.Linear(32, 5))


class Average(nn.Module):
    """Normalises by a running average that is no persistent buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("size", torch.ones(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.size = 0.9 * self.size + 0.1 * x.detach().abs().mean()
        return x / self.size


class LosesBuffer(Plain):
    def model(self, params: Any) -> nn.Module:
        return nn.Sequential(nn.Linear(8, 32), Average(), nn.ReLU(), nn.Linear(32, 5))


class Anneal(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        self.calls += 1
        return nn.functional.cross_entropy(outputs * (1 + self.calls / 10), targets)


class LosesAnnealing(Plain):
    def loss(self, params: Any) -> Any:
        return Anneal()


class LosesSchedule(Plain):
    def rate(self, params: Any) -> Any:
        calls = [0]

        def rate(epochs: float) -> float:
            calls[0] += 1
            return 0.9 ** calls[0]

        return rate


class LosesMixing(Plain):
    def augment(self, params: Any) -> Any:
        kept: list[Tensor] = []

        def mix(inputs: tuple[Tensor, ...], targets: Tensor, generator: torch.Generator) -> Any:
            kept.append(inputs[0])
            return (inputs[0] + 0.1 * kept[-2 if len(kept) > 1 else -1],), targets

        return mix


SICK: list[tuple[type[Task], str, str]] = [
    (LosesVelocity, "weight", "Momentum takes another step with the same gradients"),
    (LosesCount, "out", "module 1 (Warm) computes something else"),
    (LosesBuffer, "out", "module 1 (Average) computes something else"),
    (LosesAnnealing, "loss", "the loss is another for the same outputs"),
    (LosesSchedule, "rate", "the learning rate is another"),
    (LosesMixing, "batch", "the batch is another"),
]


BUGS = [
    Bug("resuming", name, "RES", "FAIL", words, partial(task, kind, "RES"), 37, "task")
    for (kind, _, words), name in zip(
        SICK,
        ["an optimizer whose velocity is not in its state", "a warm-up counted in an attribute of a module",
         "a running average that is not saved", "a loss that counts its calls", "a schedule that counts its calls",
         "augmentation that keeps the last batch"],
        strict=True,
    )
]  # fmt: skip

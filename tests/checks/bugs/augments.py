"""Bugs of augmentation."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bugs.case import Bug, task
from task_zoo import Plain
from whet.data.split import Data, Split
from whet.finding import Severity


def with_augment(augment: Any, data: Data | None = None) -> Plain:
    class Augmented(Plain):
        def augment(self, params: Any) -> Any:
            return augment

        def data(self, params: Any) -> Data:
            return data or super().data(params)

    return Augmented()


def unseeded(inputs: Any, targets: Tensor, generator: torch.Generator) -> Any:
    return (inputs[0] + torch.from_numpy(np.random.default_rng().normal(size=inputs[0].shape)).float(),), targets


def by_numpy(inputs: Any, targets: Tensor, generator: torch.Generator) -> Any:
    return (inputs[0] + torch.from_numpy(np.random.normal(size=inputs[0].shape)).float(),), targets


def by_torch(inputs: Any, targets: Tensor, generator: torch.Generator) -> Any:
    return (inputs[0] * torch.bernoulli(torch.full(inputs[0].shape, 0.9)),), targets


def the_same_each_epoch(inputs: Any, targets: Tensor, generator: torch.Generator) -> Any:
    return (inputs[0] + torch.randn(inputs[0].shape, generator=torch.Generator().manual_seed(0)),), targets


def the_same_each_batch(inputs: Any, targets: Tensor, generator: torch.Generator) -> Any:
    again = torch.Generator().manual_seed(generator.initial_seed())
    return (inputs[0] + torch.randn(inputs[0].shape, generator=again),), targets


def always_scaled(inputs: Any, targets: Tensor, generator: torch.Generator) -> Any:
    return (inputs[0] / 3,), targets


SICK = [
    (unseeded, Severity.FAIL, "no seed reaches its chance"),
    (by_numpy, Severity.WARN, "draws from a global generator"),
    (by_torch, Severity.WARN, "draws from a global generator"),
    (the_same_each_epoch, Severity.WARN, "in the same way in each of 3 epochs (32 draws, 32 different)"),
    (the_same_each_batch, Severity.WARN, "in the same way in each batch of an epoch"),
    (always_scaled, Severity.INFO, "always in the same way"),
]


class Segments(Plain):
    """Finds the bright pixels; `both` says whether a flip takes the mask along."""

    both = True

    def data(self, params: Any) -> Data:
        x = torch.randn(80, 1, 16, 16, generator=torch.Generator().manual_seed(0))
        y = (x[:, 0] > 0).long()
        return Data(Split(x[:60], y[:60]), Split(x[60:], y[60:]))

    def model(self, params: Any) -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))

    def move(self, x: Tensor, hit: Tensor, generator: torch.Generator) -> Tensor:
        return torch.where(hit.reshape(-1, *[1] * (x.ndim - 1)), x.flip(-1), x)

    def augment(self, params: Any) -> Any:
        def augment(inputs: Any, targets: Tensor, generator: torch.Generator) -> Any:
            hit = torch.rand(len(targets), generator=generator) < 0.5
            return (self.move(inputs[0], hit, generator),), self.move(targets, hit, generator) if self.both else targets

        return augment


class LeavesMask(Segments):
    both = False


class Shifts(Segments):
    """Shifts a picture and its mask by draws of their own."""

    def move(self, x: Tensor, hit: Tensor, generator: torch.Generator) -> Tensor:
        by = torch.randint(-4, 5, (len(x),), generator=generator)
        return torch.stack([row.roll(int(k), -1) for row, k in zip(x, by, strict=True)])


def augmented(augment: Any) -> dict[str, Any]:
    return {"task": with_augment(augment), "params": {}, "checks": ["RNG"]}


BUGS = [
    Bug("augmentation", name, "RNG", severity.value, words, partial(augmented, augment), None, "task")
    for (augment, severity, words), name in zip(
        SICK,
        ["noise from a generator without a seed", "noise from NumPy's global generator", "noise from torch's global generator",
         "a seed set inside: alike in every epoch", "the epoch's seed set inside: alike in every batch",
         "scaled always alike, and validation is not"],
        strict=True,
    )
] + [
    Bug("augmentation", name, "MASK", "WARN", "not their masks", partial(task, kind, "MASK"), 44, "task")
    for kind, name in ((LeavesMask, "flips the picture and not its mask"), (Shifts, "shifts the picture and its mask apart"))
]  # fmt: skip

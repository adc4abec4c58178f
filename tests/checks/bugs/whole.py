"""Bugs that show when a whole task is looked at: its labels, its splits, its widths and rates, its evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bugs.case import Bug, Program, task
from task_zoo import Line, Plain, clusters
from whet.data.split import Data, Split

__all__ = ["BUGS", "Averaged", "Hot", "Statistics", "given"]


class Torn(Plain):
    """Labels shuffled once, so that they have nothing to do with the inputs."""

    def data(self, params: Any) -> Data:
        def torn(n: int, seed: int) -> Split:
            split = clusters(n, seed)
            return Split(split.inputs, split.targets[torch.randperm(n, generator=torch.Generator().manual_seed(seed))])

        return Data(torn(300, 1), torn(150, 2))


def given(train: Split, valid: Split) -> Plain:
    """Return a task with these splits."""

    class Given(Plain):
        def data(self, params: Any) -> Data:
            return Data(train, valid, classes=tuple("01234"))

    return Given()


def stripped(split: Split) -> Split:
    """Return the split without the ids of its examples."""
    return Split(split.inputs, split.targets)


def itself() -> Plain:
    whole = clusters(300, 1)
    return given(whole, whole)


def overlapping() -> Plain:
    whole, order = clusters(300, 1), np.random.default_rng(0).permutation(300)
    return given(whole.take(order[:200]), whole.take(order[197:]))


def renumbered() -> Plain:
    whole = clusters(300, 1)
    return given(whole, stripped(whole.take(range(250, 300))))


def oversampled() -> Plain:
    """Some training examples were copied before the split."""
    train, valid = clusters(400, 1), clusters(100, 51)
    both = [torch.cat([a, b[:9]]) for a, b in ((valid.inputs, train.inputs), (valid.targets, train.targets))]  # type: ignore[list-item, index]
    return given(train, Split(*both))


class Summed(nn.Module):
    def __init__(self, width: int, scale: float = 1.0) -> None:
        super().__init__()
        self.into, self.out, self.scale = nn.Linear(4, width), nn.Parameter(0.1 * torch.randn(width)), scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * (torch.relu(self.into(x)) @ self.out)


class Averaged(Line):
    """Takes the mean over its units where it should sum: the wider, the slower SGD goes."""

    def model(self, params: Any) -> nn.Module:
        return Summed(int(params["width"]), 1 / int(params["width"]))

    def optimizer(self, params: Any, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), 3.0)


class Hot(Line):
    """SGD at a rate that the narrow net just bears."""

    def model(self, params: Any) -> nn.Module:
        return Summed(int(params["width"]))

    def optimizer(self, params: Any, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), 0.2)


class Statistics(Plain):
    """Normalises by the batch it is evaluated in."""

    def model(self, params: Any) -> nn.Module:
        return nn.Sequential(
            nn.Linear(8, 32), nn.BatchNorm1d(32, track_running_stats=False), nn.ReLU(), nn.Linear(32, 5)
        )


class Unmade(Plain):
    """Its model asks for a parameter that is not there."""

    def model(self, params: Any) -> nn.Module:
        return nn.Linear(8, params["breadth"])


def seen(train: Split, valid: Split, **more: Any) -> Program:
    """Return what `look` is given."""
    return {"data": Data(train, valid, **more)}


def scaled_together() -> Program:
    x = torch.exp(torch.randn(300, 3, generator=torch.Generator().manual_seed(0)))
    x, y = (x - x.mean(0)) / x.std(0, unbiased=False), torch.arange(300) % 2
    return seen(Split(x[:200], y[:200]), Split(x[200:], y[200:]), classes=("a", "b"))


def telling_column() -> Program:
    draw = torch.Generator().manual_seed(0)
    y = torch.randint(0, 2, (400,), generator=draw)
    x = torch.cat([torch.randn(400, 3, generator=draw), y[:, None] + 0.01 * torch.randn(400, 1, generator=draw)], 1)
    return seen(Split(x[:300], y[:300]), Split(x[300:], y[300:]), classes=("no", "yes"))


def flipped_labels() -> Program:
    train, valid = clusters(600, 1, spread=0.4), clusters(200, 2, spread=0.4)
    y = train.targets.clone()
    y[::10] = (y[::10] + 1) % 5
    return seen(Split(train.inputs, y), valid, classes=tuple("01234"))


def other_validation() -> Program:
    train, valid = clusters(400, 1), clusters(200, 2)
    return seen(train, Split(valid.inputs * 3 + 1, valid.targets), classes=tuple("01234"))  # type: ignore[operator]


BUGS = [
    Bug("task", "labels shuffled once", "IIB", "WARN", "", lambda: task(Torn, "IIB"), 12, "task"),
    Bug("task", "validated on the training examples", "DUP", "FAIL", "300 of 300 validation examples are training examples",
        lambda: task(itself, "DUP"), 41, "task"),
    Bug("task", "splits that overlap by three", "DUP", "FAIL", "3 of 103", lambda: task(overlapping, "DUP"), 41, "task"),
    Bug("task", "validated on training examples under other ids", "DUP", "FAIL", "all 50 validation examples",
        lambda: task(renumbered, "DUP"), 42, "task"),
    Bug("task", "examples copied before the split", "DUP", "WARN", "", lambda: task(oversampled, "DUP"), 42, "task"),
    Bug("task", "a model that looks at the batch it is evaluated in", "MET", "WARN", "predictions made 7 at a time",
        lambda: task(Statistics, "MET"), 45, "task"),
    Bug("task", "a mean over units in place of a sum", "CAP", "WARN", "", lambda: task(Averaged, "CAP", width=32), None, "task"),
    Bug("task", "a rate that wider nets do not bear", "CAP", "WARN", "", lambda: task(Hot, "CAP", width=64), 23, "task"),
    Bug("task", "learning rate 300", "LRR", "WARN", "times above the range", lambda: task(Plain, "LRR", lr=300.0), 23, "task"),
    Bug("task", "learning rate 1e-7", "LRR", "WARN", "times below the range", lambda: task(Plain, "LRR", lr=1e-7), 24, "task"),
    Bug("task", "the model cannot be made of these params", "RUN", "FAIL", "KeyError: 'breadth'", lambda: task(Unmade, "RUN"), None, "task"),
    Bug("data", "scaler fitted on both splits", "SCALED", "WARN", "", scaled_together, 43, "look"),
    Bug("data", "a column that gives the target away", "LEAK", "WARN", "", telling_column, None, "look"),
    Bug("data", "one label in ten flipped", "LABEL", "WARN", "", flipped_labels, None, "look"),
    Bug("data", "validation inputs on another scale", "SHIFT", "WARN", "", other_validation, None, "look"),
]  # fmt: skip

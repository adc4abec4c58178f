"""Bugs that show while a training runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bugs.case import Bug, numbered
from whet.checks.live import Live

CE = nn.CrossEntropyLoss()


Loop = tuple[nn.Module, torch.optim.Optimizer, Callable[..., Tensor], tuple[Tensor, Tensor]]


def clusters(n: int = 256) -> tuple[Tensor, Tensor]:
    """Ten clusters that overlap."""
    centres = torch.randn(10, 20, generator=torch.Generator().manual_seed(1))
    y = torch.arange(n) % 10
    return centres[y] + torch.randn(n, 20), y


def mlp(*middle: nn.Module, width: int = 32, outputs: int = 10) -> nn.Sequential:
    return nn.Sequential(nn.Linear(20, width), nn.ReLU(), *middle, nn.Linear(width, outputs))


def sgd(model: nn.Module, rate: float, momentum: float = 0.0) -> torch.optim.Optimizer:
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], rate, momentum)


def adam(model: nn.Module, rate: float) -> torch.optim.Optimizer:
    return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], rate)


def with_sgd(rate: float, model: nn.Module | None = None, loss: Any = CE, data: Any = None) -> Loop:
    model = model or mlp()
    return model, sgd(model, rate), loss, data or clusters()


def with_adam(rate: float, model: nn.Module | None = None, loss: Any = CE, data: Any = None) -> Loop:
    model = model or mlp()
    return model, adam(model, rate), loss, data or clusters()


def order(n: int, batch: int) -> Iterator[Tensor]:
    while True:
        yield from (i for i in torch.randperm(n).split(batch) if len(i) == batch)


def train(
    loop: Loop, steps: int, batch: int = 16, at: Callable[[int, nn.Module], None] | None = None, **options: Any
) -> Live:
    """Train, watched; `at(i, model)` may do harm before step i. Stops where the watch says so."""
    model, optimizer, loss_of, (x, y) = loop
    live = Live(model, optimizer, **{"every": 10, "share": None, **options})
    model.train()
    for i, index in enumerate(itertools.islice(order(len(x), batch), steps)):
        if at is not None:
            at(i, model)
        optimizer.zero_grad()
        loss = loss_of(model(x[index]), y[index])
        loss.backward()
        optimizer.step()
        live.step(loss)
        if live.hopeless is not None:
            break
    return live


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.side = mlp(), nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + 0.0 * self.side(x)


def kill(i: int, model: nn.Module) -> None:
    if i == 150:
        model[0].bias.data.fill_(-100.0)  # type: ignore[index, operator, union-attr]


def break_weight(i: int, model: nn.Module) -> None:
    if i == 31:
        model[2].weight.data[0, 0] = float("inf")  # type: ignore[index, union-attr]


def shock(i: int, model: nn.Module) -> None:
    if i == 300:
        model[2].weight.data.mul_(3000.0)  # type: ignore[index, union-attr, operator]


def shuffled(outputs: Tensor, targets: Tensor) -> Tensor:
    return CE(outputs, targets[torch.randperm(len(targets))])


def values(rate: float, scale: float = 1.0) -> Loop:
    x = torch.randn(256, 20)
    model = nn.Linear(20, 1)
    return model, sgd(model, rate), nn.MSELoss(), (scale * x, x[:, :1] - x[:, 1:2])


def plane(rate: float) -> Loop:
    """Two inputs, noise of 1 in the targets: stable up to a rate of about 0.84."""
    x = torch.randn(512, 2)
    model = nn.Linear(2, 1)
    return model, sgd(model, rate), nn.MSELoss(), (x, x[:, :1] - x[:, 1:] + torch.randn(512, 1))


# bug: (severity, code, words, program, steps, harm done on the way)
SICK: dict[str, tuple[str, str, str, Callable[[], Loop], int, Any]] = {
    "23 learning rate far too high": ("FAIL", "TREND", "the loss is", lambda: values(10.0), 300, None),
    "23 learning rate too high": ("WARN", "TREND", "diverges", lambda: plane(0.9), 300, None),
    "13 labels shuffled each step": ("WARN", "TREND", "does not fall", lambda: with_sgd(0.02, loss=shuffled), 1500, None),
    "24 updates too small": ("INFO", "PC", "a step changes weights", lambda: with_adam(1e-7), 200, None),
    "24 predictions barely move": ("INFO", "JITTER", "barely move", lambda: with_adam(1e-7), 200, None),
    "25 units die on the way": ("FAIL", "ACT", "all 32 units of 1 (ReLU) are dead", lambda: with_sgd(0.05), 900, kill),
    "29 clamped loss": ("FAIL", "PC", "changed any of 2 weights", lambda: with_sgd(0.1, loss=lambda o, t: CE(o, t).clamp(max=0.01)), 200, None),
    "a weight is never used": ("WARN", "PC", "changed side.weight (of 3 weights)", lambda: with_sgd(0.1, Unused()), 200, None),
    "a weight becomes infinite": ("FAIL", "TREND GRAD ACT", "", lambda: with_sgd(0.1), 100, break_weight),
    "predictions flip": ("INFO", "JITTER", "flip back and forth", lambda: plane(0.7), 200, None),
    "a step is far too large": ("WARN", "GRAD", "explodes", lambda: with_sgd(1e-5), 700, shock),
}  # fmt: skip


def watch(title: str) -> dict[str, Any]:
    """Return a training, with the harm that is done on its way."""
    *_, make, steps, harm = SICK[title]
    prior = math.log(10) if title.startswith("13") else None
    return {"train": lambda: train(make(), steps, at=harm, prior=prior, batch=64 if harm is kill else 16)}


BUGS = [
    Bug("running training", name, SICK[title][1], SICK[title][0], SICK[title][2], partial(watch, title), number, "live")
    for title, number, name in numbered(SICK)
]

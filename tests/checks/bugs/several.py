"""Bugs in programs with several answers, and in those whose targets are uneven."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bugs.case import CE, Bug, Program

__all__ = ["BUGS"]


class Heads(nn.Module):
    def __init__(self, cut: bool = False) -> None:
        super().__init__()
        self.body, self.kind, self.value, self.cut = nn.Linear(10, 32), nn.Linear(32, 3), nn.Linear(32, 1), cut

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = torch.relu(self.body(x))
        return {"kind": self.kind(hidden), "value": self.value(hidden.detach() if self.cut else hidden).squeeze(1)}


def both(n: int = 64) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    x = torch.randn(n, 10)
    return x, (torch.arange(n) % 3, x[:, 0] + 0.1 * torch.randn(n))


def first(outputs: dict[str, Tensor], targets: tuple[Tensor, Tensor]) -> Tensor:
    loss = F.cross_entropy(outputs["kind"], targets[0])
    F.mse_loss(outputs["value"], targets[1])  # never added
    return loss


def broadcast(outputs: dict[str, Tensor], targets: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(outputs["kind"], targets[0]) + ((outputs["value"][:, None] - targets[1]) ** 2).mean()


def second_subtracted(outputs: dict[str, Tensor], targets: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(outputs["kind"], targets[0]) - 0.1 * F.mse_loss(outputs["value"], targets[1])


def first_subtracted(outputs: dict[str, Tensor], targets: tuple[Tensor, Tensor]) -> Tensor:
    return F.mse_loss(outputs["value"], targets[1]) - 0.1 * F.cross_entropy(outputs["kind"], targets[0])


def program(loss: Any, cut: bool = False, batch: Any = None) -> Program:
    return {"model": Heads(cut), "loss": loss, "batch": batch or both()}


def uneven(n: int = 400, k: int = 10) -> tuple[Tensor, Tensor]:
    return torch.randn(n, 20), torch.where(torch.arange(n) % 100 < 91, 0, 1 + torch.arange(n) % (k - 1))


def net(outputs: int = 10, *end: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, outputs), *end)


def imbalanced(model: nn.Module, loss: Any = CE, batch: Any = None, optimizer: Any = None) -> Program:
    return {"model": model, "loss": loss, "batch": batch or uneven(), "optimizer": optimizer}


BUGS = [
    Bug("multi-task", "the second loss is computed and not added", "PC", "WARN", "no gradient reaches 2 of 6", lambda: program(first)),
    Bug("multi-task", "a target steers every example's second output", "SEP", "WARN", "changes the gradient", lambda: program(broadcast), 19),
    Bug("multi-task", "the loss of values is subtracted", "LOSS", "WARN", "output ['value']", lambda: program(second_subtracted)),
    Bug("multi-task", "the loss of classes is subtracted", "LOSS", "WARN", "output ['kind']", lambda: program(first_subtracted)),
    Bug("imbalanced", "the prior is left out of the last bias", "INIT", "WARN", "how common", lambda: imbalanced(net()), 50),
    Bug("imbalanced", "a sigmoid before BCEWithLogits", "OUT", "FAIL", "sigmoid",
        lambda: imbalanced(net(1, nn.Sigmoid(), nn.Flatten(0)), nn.BCEWithLogitsLoss(), (uneven()[0], (uneven()[1] > 0).float()))),
    Bug("imbalanced", "a class number beyond the outputs", "RUN", "FAIL", "class numbers up to 9",
        lambda: imbalanced(net(9))),
    Bug("imbalanced", "the loss is clamped at 1", "LOSS", "FAIL", "gradient of the loss is 0",
        lambda: imbalanced(net(), lambda o, t: CE(o, t).clamp(max=1)), 29),
]  # fmt: skip

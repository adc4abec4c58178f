"""Bugs in small dense programs: every part of a training program by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bugs.case import CE, Bug, Program, Through

__all__ = ["BUGS", "program", "net"]


def net(*end: nn.Module, outputs: int = 10) -> nn.Sequential:
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, outputs), *end)


def clusters(n: int = 64) -> tuple[Tensor, Tensor]:
    """Ten clusters that are easy to tell apart."""
    centres = torch.randn(10, 20, generator=torch.Generator().manual_seed(1))
    y = torch.randint(0, 10, (n,))
    return centres[y] + 0.3 * torch.randn(n, 20), y


def sequences() -> tuple[Tensor, Tensor]:
    return torch.randn(32, 9, 6), torch.randint(0, 4, (32,))


def program(model: nn.Module, loss: Any = CE, batch: Any = None, optimizer: Any = None) -> Program:
    return {"model": model, "loss": loss, "batch": batch or clusters(), "optimizer": optimizer}


def with_adam(model: nn.Module, rate: float, batch: Any = None) -> Program:
    return program(model, CE, batch, torch.optim.Adam(model.parameters(), rate))


def changed(change: Callable[[nn.Sequential], Any]) -> Program:
    model = net()
    with torch.no_grad():
        change(model)
    return program(model)


def zero(model: nn.Sequential) -> None:
    for p in model.parameters():
        p.zero_()


def scaled(by: float) -> tuple[Tensor, Tensor]:
    x, y = clusters()
    return x.abs() * by, y


class WrongAxis(nn.Module):
    """A GRU over the examples, for batch_first was forgotten."""

    def __init__(self, embed: nn.Module, width: int) -> None:
        super().__init__()
        self.embed, self.gru, self.head = embed, nn.GRU(width, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gru(self.embed(x))[0][:, -1])


class Detached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(20, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(x)).detach())


class StaysInTraining(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))

    def train(self, mode: bool = True) -> StaysInTraining:
        self.training = mode
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def in_place(model: nn.Module, x: Tensor) -> Tensor:
    x += 1
    return model(x)


def without_gradient(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x)


def reshaped(model: nn.Module, x: Tensor) -> Tensor:  # wants (time, examples, features), mixes them
    return model(x.reshape(x.shape[1], x.shape[0], x.shape[2]).mean(0))


def head_only() -> Program:
    model = net()
    return program(model, optimizer=torch.optim.Adam(model[2].parameters()))


def uneven() -> tuple[Tensor, Tensor]:
    n = 400
    return torch.randn(n, 20), torch.where(torch.arange(n) % 100 < 91, 0, 1 + torch.arange(n) % 9)


def small_cnn() -> nn.Sequential:
    first = (nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(*first, nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))


def noisy_pictures() -> tuple[Tensor, Tensor]:
    return torch.randn(24, 1, 12, 12), torch.randint(0, 10, (24,))


BUGS = [
    Bug("dense", "softmax before ce", "OUT", "FAIL", "softmax", lambda: program(net(nn.Softmax(1))), 1),
    Bug("dense", "softmax inside the loss", "LOSS", "FAIL", "1.4612", lambda: program(net(), lambda o, t: CE(o.softmax(1), t)), 1),
    Bug("dense", "log-softmax before ce", "OUT", "INFO", "harmless", lambda: program(net(nn.LogSoftmax(1))), 2),
    Bug("dense", "softmax over the batch", "OUT", "FAIL", "over the examples", lambda: program(net(nn.Softmax(0))), 3),
    Bug("dense", "sigmoid before ce", "OUT", "FAIL", "sigmoid", lambda: program(net(nn.Sigmoid())), 4),
    Bug("dense", "sigmoid inside the loss", "LOSS", "FAIL", "1.4612", lambda: program(net(), lambda o, t: CE(o.sigmoid(), t)), 4),
    Bug("dense", "relu on scores", "OUT", "FAIL", "ReLU", lambda: program(net(nn.ReLU())), 5),
    Bug("dense", "tanh on scores", "OUT", "WARN", "tanh", lambda: program(net(nn.Tanh()))),
    Bug("dense", "dropout always on", "MODE", "WARN", "differ", lambda: program(Through(lambda m, x: m(F.dropout(x, 0.3)), net())), 8),
    Bug("dense", "eval does not reach", "MODE", "FAIL", "training mode", lambda: program(StaysInTraining()), 8),
    Bug("dense", "optimizer of the head", "PC", "WARN", "2 of 4", head_only, 9),
    Bug("dense", "optimizer of another model", "PC", "FAIL", "none of the model's 4", lambda: program(net(), optimizer=torch.optim.Adam(net().parameters())), 10),
    Bug("dense", "detached", "PC", "WARN", "no gradient reaches 2 of 4", lambda: program(Detached()), 11),
    Bug("dense", "labels shuffled each step", "LOSS", "FAIL", "changes by", lambda: program(net(), lambda o, t: CE(o, t[torch.randperm(len(t))])), 13),
    Bug("dense", "raw input", "INP", "WARN", "mean", lambda: program(net(), batch=scaled(80.0)), 15),
    Bug("dense", "raw input, hidden by batchnorm", "INP", "WARN", "mean", lambda: program(
        nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10)), batch=scaled(80.0)), 15),
    Bug("dense", "raw input, at init", "INIT", "FAIL", "spread", lambda: program(net(), batch=scaled(200.0)), 15),
    Bug("dense", "normalised twice", "INP", "WARN", "std", lambda: program(net(), batch=scaled(1 / 255)), 16),
    Bug("dense", "reshape for permute", "DEP", "FAIL", "another example", lambda: program(
        Through(reshaped, nn.Linear(6, 4)), batch=sequences()), 17),
    Bug("dense", "batch_first forgotten", "DEP", "FAIL", "another example", lambda: program(WrongAxis(nn.Identity(), 6), batch=sequences()), 18),
    Bug("dense", "batch_first forgotten, tokens", "DEP", "FAIL", "another example", lambda: program(
        WrongAxis(nn.Embedding(20, 8), 8), batch=(torch.randint(0, 20, (32, 9)), torch.randint(0, 4, (32,)))), 18),
    Bug("dense", "batch norm of a layer norm's sum", "DEP", "FAIL", "another example", lambda: program(
        Through(lambda m, x: F.layer_norm(m(x) - m(x).mean(0), (10,)), net())), 18),
    Bug("dense", "(n, 1) against (n,)", "SEP", "FAIL", "broadcast", lambda: program(
        net(outputs=1), lambda o, t: ((o - t) ** 2).mean(), (torch.randn(32, 20), torch.randn(32))), 19),
    Bug("dense", "learning rate 1", "OF", "FAIL WARN", "rate", lambda: with_adam(small_cnn(), 1.0, noisy_pictures()), 23),
    Bug("dense", "learning rate 1e-7", "OF", "FAIL", "learning rate", lambda: with_adam(net(), 1e-7), 24),
    Bug("dense", "dead relu", "ACT", "FAIL", "are dead", lambda: changed(lambda m: m[0].bias.fill_(-100)), 25),
    Bug("dense", "all weights 0", "GRAD", "FAIL", "stay one unit", lambda: changed(zero), 26),
    Bug("dense", "head times 100", "INIT", "FAIL", "spread", lambda: changed(lambda m: m[2].weight.mul_(100)), 27),
    Bug("dense", "sign of ce", "LOSS", "FAIL", "right answers cost more", lambda: program(net(), lambda o, t: -CE(o, t)), 28),
    Bug("dense", "sign of mse", "LOSS", "FAIL", "sign", lambda: program(
        net(outputs=1), lambda o, t: -F.mse_loss(o, t), (torch.randn(32, 20), torch.randn(32, 1))), 28),
    Bug("dense", "clamped loss", "LOSS", "FAIL", "gradient of the loss is 0", lambda: program(net(), lambda o, t: CE(o, t).clamp(max=1)), 29),
    Bug("dense", "summed loss", "INIT", "WARN", "summed", lambda: program(net(), nn.CrossEntropyLoss(reduction="sum")), 30),
    Bug("dense", "half precision without a loss scale", "GRAD", "WARN", "are 0 in half precision", lambda: program(
        net().half(), lambda o, t: 1e-5 * CE(o, t), (torch.randn(64, 20).half(), torch.randint(0, 10, (64,)))), 38),
    Bug("dense", "input edited", "RUN", "WARN", "in place", lambda: program(Through(in_place, net())), 40),
    Bug("dense", "no_grad around forward", "RUN", "FAIL", "no gradient", lambda: program(Through(without_gradient, net())), 47),
    Bug("dense", "prior left out", "INIT", "WARN", "how common", lambda: program(net(), batch=uneven()), 50),
    Bug("dense", "mean left out", "INIT", "WARN", "start far", lambda: program(
        net(outputs=1), nn.MSELoss(), (torch.randn(64, 20), 9 + torch.randn(64, 1))), 50),
    Bug("dense", "nll of scores", "LOSS", "FAIL", "log-probabilities", lambda: program(net(), nn.NLLLoss())),
    Bug("dense", "nll of probabilities", "LOSS", "FAIL", "log-probabilities", lambda: program(net(nn.Softmax(1)), nn.NLLLoss())),
    Bug("dense", "two sigmoids", "OUT", "FAIL", "sigmoid", lambda: program(
        net(nn.Sigmoid(), outputs=1), nn.BCEWithLogitsLoss(), (torch.randn(64, 20), torch.randint(0, 2, (64, 1)).float()))),
    Bug("dense", "relu before regression", "OUT", "FAIL", "beyond", lambda: program(
        net(nn.ReLU(), outputs=1), nn.MSELoss(), (torch.randn(64, 20), torch.randn(64, 1)))),
    Bug("dense", "input not used", "DEP", "FAIL", "do not depend", lambda: program(Through(lambda m, x: m(torch.zeros_like(x)), net()))),
    Bug("dense", "too few outputs", "RUN", "FAIL", "for 5 outputs", lambda: program(net(outputs=5))),
    Bug("dense", "wrong width", "RUN", "FAIL", "model raises", lambda: program(net(), batch=(torch.randn(8, 19), torch.arange(8)))),
    Bug("dense", "log of negative inputs", "RUN", "FAIL", "nan", lambda: program(Through(lambda m, x: m(x.log()), net()))),
    Bug("dense", "loss is a float", "RUN", "FAIL", "not a tensor", lambda: program(net(), lambda o, t: CE(o, t).item())),
    Bug("dense", "loss is a vector", "RUN", "INFO", "(64,)", lambda: program(net(), nn.CrossEntropyLoss(reduction="none"))),
]  # fmt: skip

"""Bugs in programs for pictures: convolutions with and without batch norm, residual nets, segmentation, autoencoders."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bugs.case import CE, Bug, Program, Through

__all__ = ["BUGS"]


def pictures(n: int = 24, channels: int = 1, size: int = 12, k: int = 10) -> tuple[Tensor, Tensor]:
    """Pictures of k classes, each with a pattern of its own."""
    patterns = torch.randn(k, channels, size, size, generator=torch.Generator().manual_seed(3))
    y = torch.arange(n) % k
    return patterns[y] + 0.5 * torch.randn(n, channels, size, size), y


def noise() -> tuple[Tensor, Tensor]:
    return torch.randn(24, 1, 12, 12), torch.randint(0, 10, (24,))


def cnn(*end: nn.Module, norm: bool = False, drop: float = 0.0, momentum: float = 0.1) -> nn.Sequential:
    middle: list[nn.Module] = [nn.BatchNorm2d(8, momentum=momentum)] if norm else []
    drops = [nn.Dropout(drop)] if drop else []
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), *middle, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), *drops, nn.Linear(200, 10), *end
    )


def deeper() -> nn.Sequential:
    first = (nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(*first, nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))


def program(model: nn.Module, loss: Any = CE, batch: Any = None, optimizer: Any = None) -> Program:
    return {"model": model, "loss": loss, "batch": batch or pictures(), "optimizer": optimizer}


def bytes_as_floats() -> tuple[Tensor, Tensor]:
    x, y = pictures()
    return (x.sigmoid() * 255).round(), y


class Residual(nn.Module):
    """A residual net whose block can be spoiled."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.stem, self.head, self.block = nn.Conv2d(1, 8, 3, padding=1), nn.Linear(8, 10), block
        self.a, self.b = (
            nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)) for _ in range(2)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for branch in (self.a, self.b):
            x = self.block(x, branch)
        return self.head(F.relu(x).mean((2, 3)))


def overwritten(x: Tensor, branch: nn.Module) -> Tensor:
    y = F.relu(x)
    y += branch(x).exp()
    z = y.exp()
    z += 1
    return z.log()


class Segmenter(nn.Module):
    def __init__(self, *end: nn.Module, into: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, into, 1), *end)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def masks(n: int = 8, k: int = 4) -> tuple[Tensor, Tensor]:
    x = torch.randn(n, 3, 8, 8)
    return x, ((x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()) % k


def segmented(model: nn.Module, loss: Any = CE, batch: Any = None) -> Program:
    return program(model, loss, batch or masks())


class Auto(nn.Module):
    def __init__(self, *end: nn.Module) -> None:
        super().__init__()
        self.code, self.back = nn.Linear(16, 32), nn.Sequential(nn.Linear(32, 16), *end)

    def forward(self, x: Tensor) -> Tensor:
        return self.back(F.relu(self.code(x)))


def itself(low: float = 0.0) -> tuple[Tensor, Tensor]:
    x = torch.rand(64, 16) * (1 - low) + low
    return x, x


class Skipping(Auto):
    """Its decoder is called, and the code thrown away."""

    def forward(self, x: Tensor) -> Tensor:
        return self.back(torch.zeros(len(x), 32)) + 0 * self.code(x).sum()


BUGS = [
    Bug("CNN", "softmax before the cross-entropy", "OUT", "FAIL", "softmax", lambda: program(cnn(nn.Softmax(1))), 1),
    Bug("CNN", "raw pixels from 0 to 255", "INP", "WARN", "mean", lambda: program(cnn(), batch=bytes_as_floats()), 15),
    Bug("CNN", "a ReLU after the last layer", "OUT", "FAIL", "ReLU", lambda: program(cnn(nn.ReLU())), 5),
    Bug("CNN", "dropout that drops everything", "MODE", "WARN", "drops 100%", lambda: program(cnn(drop=1.0))),
    Bug("CNN", "channels and examples swapped by view", "DEP", "FAIL", "another example",
        lambda: program(Through(lambda m, x: m(x.transpose(0, 2).reshape(x.shape)), cnn()), batch=pictures(16))),
    Bug("CNN", "a mean over the examples in place of the pixels", "DEP", "FAIL", "another example",
        lambda: program(Through(lambda m, x: m(x - x.mean(0, keepdim=True)), cnn()))),
    Bug("CNN", "learning rate 1", "OF", "FAIL WARN", "rate",
        lambda: (lambda m: program(m, optimizer=torch.optim.Adam(m.parameters(), 1.0), batch=noise()))(deeper()), 23),
    Bug("CNN, batch norm", "raw pixels, hidden by batch norm", "INP", "WARN", "mean",
        lambda: program(cnn(norm=True), batch=bytes_as_floats()), 15),
    Bug("CNN, batch norm", "statistics that never move (momentum 0)", "MODE", "WARN", "statistics",
        lambda: program(cnn(norm=True, momentum=0.0)), 48),
    Bug("CNN, batch norm", "a batch of one example", "RUN", "FAIL", "more than 1 value",
        lambda: program(nn.Sequential(nn.Flatten(), nn.Linear(144, 16), nn.BatchNorm1d(16), nn.Linear(16, 10)), batch=pictures(1)), 34),
    Bug("residual", "the branch is multiplied by 0", "PC", "WARN", "gradient",
        lambda: program(Residual(lambda x, f: x + 0 * f(x)))),
    Bug("residual", "the skip comes from the next example", "DEP", "FAIL", "another example",
        lambda: program(Residual(lambda x, f: x.roll(1, 0) + f(x)))),
    Bug("residual", "an addition in place that autograd needs undone", "RUN", "FAIL", "backward pass raises",
        lambda: program(Residual(overwritten))),
    Bug("residual", "the last layer 100 times too large", "INIT", "FAIL", "spread",
        lambda: (lambda m: (m.head.weight.data.mul_(100), program(m))[1])(Residual(lambda x, f: x + f(x))), 27),
    Bug("segmentation", "softmax over the examples", "OUT", "FAIL", "over the examples", lambda: segmented(Segmenter(nn.Softmax(0))), 3),
    Bug("segmentation", "softmax before the cross-entropy", "OUT", "FAIL", "softmax", lambda: segmented(Segmenter(nn.Softmax(1))), 1),
    Bug("segmentation", "a mask with a class too many", "RUN", "FAIL", "class numbers up to",
        lambda: segmented(Segmenter(), batch=(masks()[0], torch.arange(8 * 64).reshape(8, 8, 8) % 5))),
    Bug("segmentation", "two sigmoids", "OUT", "FAIL", "sigmoid",
        lambda: segmented(Segmenter(nn.Sigmoid(), into=1), nn.BCEWithLogitsLoss(), (masks()[0], (masks()[1][:, None] > 1).float()))),
    Bug("segmentation", "the loss is summed over the pixels", "INIT", "WARN", "summed",
        lambda: segmented(Segmenter(), nn.CrossEntropyLoss(reduction="sum")), 30),
    Bug("autoencoder", "the decoder copies the encoder's weights", "TIED", "WARN", "start equal",
        lambda: (lambda m: (setattr(m.back[0].weight, "data", m.code.weight.detach().T.clone()), program(m, nn.MSELoss(), itself(-1.0)))[1])(Auto()), 39),
    Bug("autoencoder", "a sigmoid before targets in -1 to 1", "OUT", "FAIL", "beyond",
        lambda: program(Auto(nn.Sigmoid()), nn.MSELoss(), itself(-1.0))),
    Bug("autoencoder", "the inputs are compared with themselves", "RUN", "FAIL", "no gradient",
        lambda: (lambda b: program(Auto(), lambda o, t: F.mse_loss(t, b[0]), b))(itself())),
    Bug("autoencoder", "the decoder never sees the code", "DEP", "FAIL", "do not depend",
        lambda: program(Skipping(), nn.MSELoss(), itself())),
]  # fmt: skip

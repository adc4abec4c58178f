"""Healthy programs of many kinds: no FAIL and no WARN, over several seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from whet.checks import check
from whet.finding import Severity

Program = tuple[nn.Module, Callable[..., Any], tuple[Any, Any]]


def mlp(inputs: int, outputs: int, *end: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, outputs), *end)


def classes(n: int, k: int) -> Tensor:
    return torch.randint(0, k, (n,))


def scored(model: nn.Module, n: int = 64, k: int = 10, loss: Any = None, width: int = 20) -> Program:
    """A classifier of vectors."""
    return model, loss or nn.CrossEntropyLoss(), (torch.randn(n, width), classes(n, k))


def pictured(model: nn.Module, size: int = 12, n: int = 24) -> Program:
    """A classifier of small pictures."""
    return model, nn.CrossEntropyLoss(), (torch.randn(n, 1, size, size), classes(n, 10))


class Residual(nn.Module):
    def __init__(self, zero: bool) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(1, 8, 3, padding=1), nn.Linear(8, 10)
        self.branches = nn.ModuleList(self.branch() for _ in range(2))
        for branch in self.branches if zero else ():
            nn.init.zeros_(branch[-1].weight)

    def branch(self) -> nn.Sequential:
        convs = [nn.Conv2d(8, 8, 3, padding=1, bias=False) for _ in range(2)]
        return nn.Sequential(convs[0], nn.BatchNorm2d(8), nn.ReLU(), convs[1], nn.BatchNorm2d(8))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for branch in self.branches:
            x = F.relu(x + branch(x))
        return self.head(x.mean((2, 3)))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.gru, self.head = nn.Embedding(20, 16), nn.GRU(16, 32, batch_first=True), nn.Linear(32, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.gru(self.embed(tokens))[0][:, -1])


class TimeFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(6, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:  # (time, examples, features)
        return self.head(self.gru(x)[0][-1])


class Language(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Embedding(30, 32), nn.LayerNorm(32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.head = nn.Linear(32, 30, bias=False)
        self.head.weight = self.embed.weight  # tied

    def forward(self, tokens: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        return self.head(self.norm(self.body(self.embed(tokens), mask=mask, is_causal=True)))


class Attentive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.into, self.head = nn.Linear(6, 32), nn.Linear(32, 5)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.into(x)).mean(1))


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.kind, self.value = nn.Linear(10, 32), nn.Linear(32, 3), nn.Linear(32, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = torch.relu(self.body(x))
        return {"kind": self.kind(hidden), "value": self.value(hidden).squeeze(1)}


class Named(nn.Module):
    """Takes keyword arguments, returns a dict of which the loss wants one entry."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(9, 4)

    def forward(self, *, numbers: Tensor, more: Tensor) -> dict[str, Tensor]:
        return {"hidden": more, "logits": self.body(torch.cat([numbers, more], 1))}


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(7, 4)

    def forward(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.body(torch.cat([x, z], 1)), z


def frozen() -> Program:
    model = mlp(20, 10)
    model[0].requires_grad_(False)
    return scored(model)


def prior() -> Program:
    model = mlp(10, 2)
    model[2].bias.data = torch.tensor([0.99, 0.01]).log()
    model[2].weight.data *= 0.1
    return model, nn.CrossEntropyLoss(), (torch.randn(400, 10), (torch.arange(400) % 100 == 0).long())


def itself() -> Program:
    x = torch.rand(64, 16)
    return mlp(16, 16, nn.Sigmoid()), nn.MSELoss(), (x, x)


def tokens_to_tokens(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())


def both(outputs: dict[str, Tensor], targets: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(outputs["kind"], targets[0]) + F.mse_loss(outputs["value"], targets[1])


def density(outputs: Tensor, targets: Tensor) -> Tensor:
    mean, log_variance = outputs.unbind(1)
    return (log_variance + (mean - targets) ** 2 * torch.exp(-log_variance)).mean() / 2


def chosen(probabilities: Tensor, targets: Tensor) -> Tensor:
    return -probabilities.gather(1, targets[:, None]).clamp_min(1e-9).log().mean()


def focal(outputs: Tensor, targets: Tensor) -> Tensor:
    losses = F.cross_entropy(outputs, targets, reduction="none")
    return ((1 - torch.exp(-losses)) ** 2 * losses).mean()


def scaled_up(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(8 * outputs, targets)


class Cosine(nn.Module):
    """Gives cosines, in [-1, 1]; its loss scales them up."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.means = mlp(20, 64), nn.Parameter(torch.randn(4, 64))

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.body(x)) @ F.normalize(self.means).T


BATCH_NORM = lambda: nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(800, 10))  # noqa: E731
HEALTHY: dict[str, Callable[[], Program]] = {
    "mlp": lambda: scored(mlp(20, 10)),
    "dropout": lambda: scored(nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 10))),
    "batchnorm1d": lambda: scored(nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))),
    "linear": lambda: scored(nn.Linear(10, 3), k=3, width=10),
    "many classes": lambda: scored(mlp(20, 500), k=500),
    "five examples": lambda: scored(mlp(20, 3), n=5, k=3),
    "frozen": frozen,
    "99 to 1": prior,
    "cnn": lambda: pictured(nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(200, 10))),
    "cnn, batchnorm": lambda: pictured(BATCH_NORM()),
    "residual": lambda: pictured(Residual(zero=False), 6, 12),
    "residual of zeros": lambda: pictured(Residual(zero=True), 6, 12),
    "gru of tokens": lambda: (Recurrent(), nn.CrossEntropyLoss(), (torch.randint(0, 20, (32, 9)), classes(32, 4))),
    "gru, time first": lambda: (TimeFirst(), nn.CrossEntropyLoss(), (torch.randn(9, 32, 6), classes(32, 4))),
    "language model": lambda: (Language(), tokens_to_tokens, (torch.randint(0, 30, (16, 11)), torch.randint(0, 30, (16, 11)))),
    "attention": lambda: (Attentive(), nn.CrossEntropyLoss(), (torch.randn(32, 7, 6), classes(32, 5))),
    "regression": lambda: (mlp(8, 1, nn.Flatten(0)), nn.MSELoss(), (torch.randn(64, 8), torch.randn(64))),
    "regression, linear": lambda: (nn.Linear(5, 1), nn.MSELoss(), (torch.randn(64, 5), torch.randn(64, 1))),
    "absolute error": lambda: (mlp(8, 1), nn.L1Loss(), (torch.randn(64, 8), torch.randn(64, 1))),
    "three values": lambda: (mlp(8, 3), nn.SmoothL1Loss(), (torch.randn(64, 8), torch.randn(64, 3))),
    "counts": lambda: (mlp(6, 1, nn.Flatten(0)), nn.PoissonNLLLoss(), (torch.randn(64, 6), torch.poisson(torch.ones(64)))),
    "density": lambda: (mlp(6, 2), density, (torch.randn(64, 6), torch.randn(64))),
    "autoencoder": itself,
    "label smoothing": lambda: scored(mlp(20, 10), loss=nn.CrossEntropyLoss(label_smoothing=0.1)),
    "class weights": lambda: scored(mlp(20, 3), k=3, loss=nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 5.0]))),
    "soft targets": lambda: (mlp(20, 5), nn.CrossEntropyLoss(), (torch.randn(64, 20), torch.randn(64, 5).softmax(1))),
    "binary": lambda: (mlp(20, 1, nn.Flatten(0)), nn.BCEWithLogitsLoss(), (torch.randn(64, 20), classes(64, 2).float())),
    "binary, sigmoid": lambda: (mlp(20, 1, nn.Sigmoid()), nn.BCELoss(), (torch.randn(64, 20), classes(64, 2).float()[:, None])),
    "several labels": lambda: (mlp(20, 6), nn.BCEWithLogitsLoss(), (torch.randn(64, 20), torch.randint(0, 2, (64, 6)).float())),
    "log-softmax, nll": lambda: scored(mlp(20, 4, nn.LogSoftmax(1)), k=4, loss=nn.NLLLoss()),
    "log-softmax, ce": lambda: scored(mlp(20, 4, nn.LogSoftmax(1)), k=4),  # harmless: idempotent
    "softmax, own log": lambda: scored(mlp(20, 4, nn.Softmax(1)), k=4, loss=chosen),
    "focal": lambda: scored(mlp(20, 4), k=4, loss=focal),
    "margin": lambda: scored(mlp(20, 4), k=4, loss=nn.MultiMarginLoss()),
    "scaled cosine": lambda: scored(Cosine(), k=4, loss=scaled_up),
    "pixels": lambda: (
        nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 4, 1)),
        nn.CrossEntropyLoss(), (torch.randn(8, 3, 8, 8), torch.randint(0, 4, (8, 8, 8))),
    ),
    "two heads": lambda: (Heads(), both, (torch.randn(64, 10), (classes(64, 3), torch.randn(64)))),
    "named": lambda: (Named(), nn.CrossEntropyLoss(), ({"numbers": torch.randn(64, 5), "more": torch.randn(64, 4)}, classes(64, 4))),
    "pair": lambda: (Pair(), nn.CrossEntropyLoss(), ((torch.randn(64, 5), torch.randn(64, 2)), classes(64, 4))),
    "bfloat16": lambda: (mlp(20, 10).bfloat16(), nn.CrossEntropyLoss(), (torch.randn(64, 20).bfloat16(), classes(64, 10))),
    "float64": lambda: (mlp(20, 10).double(), nn.CrossEntropyLoss(), (torch.randn(64, 20).double(), classes(64, 10))),
}  # fmt: skip


def alarms(name: str, seed: int) -> list[str]:
    torch.manual_seed(seed)
    model, loss, batch = HEALTHY[name]()
    trainable = [p for p in model.parameters() if p.requires_grad]
    health = check(model, loss, batch, torch.optim.AdamW(trainable, 1e-3) if seed % 2 else None)
    assert {"RUN", "LOSS", "PC", "MODE", "DEP"} <= set(health.facts), health
    return [str(f) for f in health.findings if f.severity is not Severity.INFO]


@pytest.mark.parametrize("name", HEALTHY)
def test_no_alarm(name: str) -> None:
    torch.set_num_threads(1)
    assert alarms(name, sum(map(ord, name)) % 7) == []


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", HEALTHY)
def test_no_alarm_over_twenty_seeds(name: str, seed: int) -> None:
    torch.set_num_threads(1)
    assert alarms(name, seed) == []

"""Tasks that the tests of whole-task checks start from: healthy ones of several kinds, and what they are made of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from whet.checks import check_task
from whet.data.split import Data, Split
from whet.finding import Finding, Health
from whet.task import Task
from whet.tune.space import Float, Int, Space


def clusters(n: int, seed: int, *, classes: int = 5, spread: float = 0.7) -> Split:
    draw = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, 8, generator=torch.Generator().manual_seed(99))
    y = torch.randint(0, classes, (n,), generator=draw)
    return Split(centres[y] + spread * torch.randn(n, 8, generator=draw), y)


class Plain(Task):
    """A perceptron on clusters."""

    space = Space(width=Int(8, 128), lr=Float(1e-5, 1e-1, log=True))

    def data(self, params: Any) -> Data:
        return Data(clusters(400, 1), clusters(150, 2))

    def model(self, params: Any) -> nn.Module:
        width = int(params.get("width", 32))
        return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 5))

    def optimizer(self, params: Any, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], float(params.get("lr", 3e-3)))


def shake(inputs: tuple[Tensor, ...], targets: Tensor, generator: torch.Generator) -> tuple[tuple[Tensor, ...], Tensor]:
    return (inputs[0] + 0.1 * torch.randn(inputs[0].shape, generator=generator),), targets


class Regularised(Plain):
    """Dropout, batch normalisation, augmentation, label smoothing, a schedule."""

    def model(self, params: Any) -> nn.Module:
        width = int(params.get("width", 32))
        return nn.Sequential(
            nn.Linear(8, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.3), nn.Linear(width, 5)
        )

    def loss(self, params: Any) -> Any:
        return nn.CrossEntropyLoss(label_smoothing=0.1)

    def rate(self, params: Any) -> Any:
        return lambda epochs: 0.5**epochs

    def augment(self, params: Any) -> Any:
        return shake


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(8, 32), nn.Linear(32, 5)
        self.inner, self.outer = nn.Linear(32, 32), nn.Linear(32, 32)
        nn.init.zeros_(self.outer.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(torch.relu(x + self.outer(torch.relu(self.inner(x)))))


class Residual(Plain):
    """A residual branch that starts at zero."""

    def model(self, params: Any) -> nn.Module:
        return Branch()


class Frozen(Plain):
    """A frozen first layer, SGD with momentum."""

    def model(self, params: Any) -> nn.Module:
        model = super().model(params)
        model[0].requires_grad_(False)  # type: ignore[index]
        return model

    def optimizer(self, params: Any, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.05, momentum=0.9)


class Rare(Plain):
    """One class of a hundred examples has the other label."""

    def data(self, params: Any) -> Data:
        draw = torch.Generator().manual_seed(4)
        x = torch.randn(600, 8, generator=draw)
        y = (x[:, 0] > 2.33).long()
        return Data(Split(x[:400], y[:400]), Split(x[400:], y[400:]), classes=("no", "yes", "a", "b", "c"))


class Line(Plain):
    """A regression."""

    def data(self, params: Any) -> Data:
        x = torch.randn(400, 4, generator=torch.Generator().manual_seed(0))
        y = x @ torch.tensor([1.0, -0.5, 0.2, 0.0]) + 0.3 * torch.randn(400, generator=torch.Generator().manual_seed(1))
        return Data(Split(x[:250], y[:250]), Split(x[250:], y[250:]), kind="regression")

    def model(self, params: Any) -> nn.Module:
        width = int(params.get("width", 32))
        return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 1), nn.Flatten(0))


class Tokens(Plain):
    """A recurrent net over tokens, of which many sequences are alike."""

    def data(self, params: Any) -> Data:
        x = torch.randint(0, 3, (500, 5), generator=torch.Generator().manual_seed(3))
        y = (x == 1).sum(1).clamp(max=4)
        return Data(Split(x[:350], y[:350]), Split(x[350:], y[350:]), classes=tuple("01234"))

    def model(self, params: Any) -> nn.Module:
        return Recurrent(int(params.get("width", 16)))


class Recurrent(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed, self.gru, self.head = (
            nn.Embedding(3, width),
            nn.GRU(width, width, batch_first=True),
            nn.Linear(width, 5),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.gru(self.embed(tokens))[0][:, -1])


class Tiny(Plain):
    """Twelve examples to learn from."""

    def data(self, params: Any) -> Data:
        return Data(clusters(12, 1), clusters(8, 2), classes=tuple("01234"))


HEALTHY: tuple[type[Task], ...] = (Plain, Regularised, Residual, Frozen, Rare, Line, Tokens, Tiny)


def look(task: Task, code: str, seed: int = 0, **params: Any) -> Health:
    """Return what one check says of a task; it must have run."""
    torch.set_num_threads(1)
    health = check_task(task, params, seed, checks=[code])
    assert code in health.facts, health
    return health


def only(health: Health) -> Finding:
    """Return the one finding there is."""
    assert len(health.findings) == 1, health
    return health.findings[0]

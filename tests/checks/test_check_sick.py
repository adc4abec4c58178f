"""Sick programs: each seeded bug has the finding that names it, over several seeds. Numbers are those of the bug list."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from whet.checks import check
from whet.finding import Finding

Program = tuple[nn.Module, Callable[..., Any], tuple[Any, Any], torch.optim.Optimizer | None]
CE = nn.CrossEntropyLoss()


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
    return model, loss, batch or clusters(), optimizer


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


class Through(nn.Module):
    """Applies `step` to the model and its inputs."""

    def __init__(self, step: Callable[..., Tensor], model: nn.Module | None = None) -> None:
        super().__init__()
        self.model, self.step = model or net(), step

    def forward(self, x: Tensor) -> Tensor:
        return self.step(self.model, x)


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


# bug: (severities, code, words of the message, program)
SICK: dict[str, tuple[str, str, str, Callable[[], Program]]] = {
    "1 softmax before ce": ("FAIL", "OUT", "softmax", lambda: program(net(nn.Softmax(1)))),
    "1 softmax inside the loss": ("FAIL", "LOSS", "1.4612", lambda: program(net(), lambda o, t: CE(o.softmax(1), t))),
    "3 softmax over the batch": ("FAIL", "OUT", "over the examples", lambda: program(net(nn.Softmax(0)))),
    "4 sigmoid before ce": ("FAIL", "OUT", "sigmoid", lambda: program(net(nn.Sigmoid()))),
    "4 sigmoid inside the loss": ("FAIL", "LOSS", "1.4612", lambda: program(net(), lambda o, t: CE(o.sigmoid(), t))),
    "5 relu on scores": ("FAIL", "OUT", "ReLU", lambda: program(net(nn.ReLU()))),
    "tanh on scores": ("WARN", "OUT", "tanh", lambda: program(net(nn.Tanh()))),
    "8 dropout always on": ("WARN", "MODE", "differ", lambda: program(Through(lambda m, x: m(F.dropout(x, 0.3))))),
    "8 eval does not reach": ("FAIL", "MODE", "training mode", lambda: program(StaysInTraining())),
    "9 optimizer of the head": ("WARN", "PC", "2 of 4", head_only),
    "10 optimizer of another model": ("FAIL", "PC", "none of the model's 4",
                                      lambda: program(net(), optimizer=torch.optim.Adam(net().parameters()))),
    "11 detached": ("WARN", "PC", "no gradient reaches 2 of 4", lambda: program(Detached())),
    "13 labels shuffled each step": ("FAIL", "LOSS", "changes by",
                                     lambda: program(net(), lambda o, t: CE(o, t[torch.randperm(len(t))]))),
    "15 raw input": ("WARN", "INP", "mean", lambda: program(net(), batch=scaled(80.0))),
    "15 raw input, hidden by batchnorm": ("WARN", "INP", "mean", lambda: program(
        nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10)), batch=scaled(80.0))),
    "15 raw input, at init": ("FAIL", "INIT", "spread", lambda: program(net(), batch=scaled(200.0))),
    "16 normalised twice": ("WARN", "INP", "std", lambda: program(net(), batch=scaled(1 / 255))),
    "17 reshape for permute": ("FAIL", "DEP", "another example", lambda: program(
        Through(reshaped, nn.Linear(6, 4)), batch=sequences())),
    "18 batch_first forgotten": ("FAIL", "DEP", "another example", lambda: program(WrongAxis(nn.Identity(), 6), batch=sequences())),
    "18 the same with tokens": ("FAIL", "DEP", "another example", lambda: program(
        WrongAxis(nn.Embedding(20, 8), 8), batch=(torch.randint(0, 20, (32, 9)), torch.randint(0, 4, (32,))))),
    "18 batch norm of a layer norm's sum": ("FAIL", "DEP", "another example", lambda: program(
        Through(lambda m, x: F.layer_norm(m(x) - m(x).mean(0), (10,))))),
    "19 (n, 1) against (n,)": ("FAIL", "SEP", "broadcast", lambda: program(
        net(outputs=1), lambda o, t: ((o - t) ** 2).mean(), (torch.randn(32, 20), torch.randn(32)))),
    "23 learning rate 1": ("FAIL WARN", "OF", "rate", lambda: with_adam(small_cnn(), 1.0, noisy_pictures())),
    "24 learning rate 1e-7": ("FAIL", "OF", "learning rate", lambda: with_adam(net(), 1e-7)),
    "25 dead relu": ("FAIL", "ACT", "are dead", lambda: changed(lambda m: m[0].bias.fill_(-100))),
    "26 all weights 0": ("FAIL", "GRAD", "stay one unit", lambda: changed(zero)),
    "27 head times 100": ("FAIL", "INIT", "spread", lambda: changed(lambda m: m[2].weight.mul_(100))),
    "28 sign of ce": ("FAIL", "LOSS", "right answers cost more", lambda: program(net(), lambda o, t: -CE(o, t))),
    "28 sign of mse": ("FAIL", "LOSS", "sign", lambda: program(
        net(outputs=1), lambda o, t: -F.mse_loss(o, t), (torch.randn(32, 20), torch.randn(32, 1)))),
    "29 clamped loss": ("FAIL", "LOSS", "gradient of the loss is 0", lambda: program(net(), lambda o, t: CE(o, t).clamp(max=1))),
    "30 summed loss": ("WARN", "INIT", "summed", lambda: program(net(), nn.CrossEntropyLoss(reduction="sum"))),
    "40 input edited": ("WARN", "RUN", "in place", lambda: program(Through(in_place))),
    "47 no_grad around forward": ("FAIL", "RUN", "no gradient", lambda: program(Through(without_gradient))),
    "50 prior left out": ("WARN", "INIT", "how common", lambda: program(net(), batch=uneven())),
    "50 mean left out": ("WARN", "INIT", "start far", lambda: program(
        net(outputs=1), nn.MSELoss(), (torch.randn(64, 20), 9 + torch.randn(64, 1)))),
    "nll of scores": ("FAIL", "LOSS", "log-probabilities", lambda: program(net(), nn.NLLLoss())),
    "nll of probabilities": ("FAIL", "LOSS", "log-probabilities", lambda: program(net(nn.Softmax(1)), nn.NLLLoss())),
    "two sigmoids": ("FAIL", "OUT", "sigmoid", lambda: program(
        net(nn.Sigmoid(), outputs=1), nn.BCEWithLogitsLoss(), (torch.randn(64, 20), torch.randint(0, 2, (64, 1)).float()))),
    "relu before regression": ("FAIL", "OUT", "beyond", lambda: program(
        net(nn.ReLU(), outputs=1), nn.MSELoss(), (torch.randn(64, 20), torch.randn(64, 1)))),
    "input not used": ("FAIL", "DEP", "do not depend", lambda: program(Through(lambda m, x: m(torch.zeros_like(x))))),
    "too few outputs": ("FAIL", "RUN", "for 5 outputs", lambda: program(net(outputs=5))),
    "wrong width": ("FAIL", "RUN", "model raises", lambda: program(net(), batch=(torch.randn(8, 19), torch.arange(8)))),
    "log of negative inputs": ("FAIL", "RUN", "nan", lambda: program(Through(lambda m, x: m(x.log())))),
    "loss is a float": ("FAIL", "RUN", "not a tensor", lambda: program(net(), lambda o, t: CE(o, t).item())),
    "loss is a vector": ("INFO", "RUN", "(64,)", lambda: program(net(), nn.CrossEntropyLoss(reduction="none"))),
}  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", SICK)
def test_it_is_named(name: str, seed: int) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    severities, code, words, make = SICK[name]
    health = check(*make())

    def named(f: Finding) -> bool:
        return f.code == code and f.severity.value in severities.split() and words in f.message

    assert any(named(f) for f in health.findings), str(health)
    assert all(
        f.fix and f.where and f.message and not f.message.endswith(".") and f.evidence is not None
        for f in health.findings
    )
    assert sum(f.severity.value == "FAIL" for f in health.findings) <= 1, "one cause, one finding"


@pytest.mark.parametrize(
    "name", ["1 softmax before ce", "3 softmax over the batch", "4 sigmoid before ce", "5 relu on scores"]
)
def test_overfitting_sees_it_too_and_knows_the_floor(name: str) -> None:
    torch.manual_seed(0)
    health = check(*SICK[name][3](), allow=("OUT", "DEP"))
    found = [f for f in health.findings if f.code == "OF"]
    assert [f.severity.value for f in found] == ["FAIL"]
    if name[0] in "14":
        assert "log(1 + (C-1)/e)" in found[0].message
        assert abs(found[0].evidence["loss"] - 1.4612) < 0.02
        assert found[0].fix == "give cross_entropy the raw scores (logits)"


def test_where_is_the_users_own_line() -> None:
    health = check(*SICK["8 dropout always on"][3]())
    line = Path(__file__).read_text().split("\n").index("class Through(nn.Module):") + 1
    assert health.findings[0].where.endswith(f"test_check_sick.py:{line} (Through)")
    assert check(*SICK["nll of scores"][3]()).findings[0].where == "NLLLoss"

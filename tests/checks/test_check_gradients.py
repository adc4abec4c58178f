"""GRAD: vanishing, exploding, not finite, units that stay one, gradients lost in half precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from whet.checks.gradients import Gradients, alike, strength
from whet.checks.subject import Subject
from whet.finding import Finding, NotRun

CE = nn.CrossEntropyLoss()


def mlp(depth: int, act: type[nn.Module] = nn.ReLU, init: Callable[[Tensor], Any] | None = None) -> nn.Sequential:
    """`depth` hidden layers of 64."""
    body = [part for _ in range(depth - 1) for part in (nn.Linear(64, 64), act())]
    model = nn.Sequential(nn.Linear(20, 64), act(), *body, nn.Linear(64, 10))
    for p in model.parameters():
        if init and p.ndim == 2:
            init(p)
    return model


def constant(value: float, *, biases: bool = True) -> nn.Sequential:
    model = mlp(2, nn.Tanh)
    for p in model.parameters():
        if biases or p.ndim == 2:
            nn.init.constant_(p, value)
    return model


class Recurrent(nn.Module):
    """A tanh cell written by hand, its recurrent weights `gain` times orthogonal ones."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.into, self.again, self.also, self.head = (
            nn.Linear(6, 32),
            nn.Linear(32, 32),
            nn.Linear(32, 32),
            nn.Linear(32, 10),
        )
        nn.init.orthogonal_(self.again.weight, gain)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.zeros(len(x), 32)
        for t in range(x.shape[1]):
            hidden = torch.tanh(0.01 * self.into(x[:, t]) + self.again(hidden))
        return self.head(F.relu(self.also(hidden)))


class Rank(nn.Module):
    """A frozen layer and a correction of low rank that starts at 0, or, wrongly, both of its factors at 0."""

    def __init__(self, wrong: bool) -> None:
        super().__init__()
        self.frozen, self.head = nn.Linear(20, 64).requires_grad_(False), nn.Linear(64, 10)
        self.down, self.up = nn.Linear(20, 4, bias=False), nn.Linear(4, 64, bias=False)
        nn.init.zeros_(self.up.weight)
        if wrong:
            nn.init.zeros_(self.down.weight)
            self.head.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.frozen(x) + self.up(self.down(x))))


class Modulated(nn.Module):
    """Residual branches whose scale, shift and gate all start at 0, and a head of zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.head = nn.Linear(20, 32), nn.Linear(32, 10)
        self.steer = nn.ModuleList(nn.Linear(20, 96) for _ in range(3))
        self.branch = nn.ModuleList(nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32)) for _ in range(3))
        for layer in (*self.steer, self.head):
            nn.init.zeros_(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.into(x)
        for steer, branch in zip(self.steer, self.branch, strict=True):
            shift, scale, gate = steer(x).chunk(3, 1)
            hidden = hidden + gate * branch(F.layer_norm(hidden, (32,)) * (1 + scale) + shift)
        return self.head(hidden)


class Scaled(nn.Module):
    """Residual branches times 1e-6, and a head of zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.head = nn.Linear(20, 32), nn.Linear(32, 10)
        self.branch = nn.ModuleList(nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32)) for _ in range(3))
        self.scale = nn.Parameter(torch.full((3, 32), 1e-6))
        nn.init.zeros_(self.head.weight)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.into(x)
        for branch, scale in zip(self.branch, self.scale, strict=True):
            hidden = hidden + scale * branch(hidden)
        return self.head(hidden)


class Later(nn.Module):
    """A second head of zeros whose share in the loss is 0 at first."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.second = nn.Linear(20, 32), nn.Linear(32, 10), nn.Linear(32, 10)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.body(x))
        return self.head(hidden) + 0.0 * self.second(hidden)


def from_zero() -> nn.Sequential:
    model = mlp(1)
    nn.init.zeros_(model[-1].weight)
    return model


def dropped() -> nn.Sequential:
    """A first layer of equal rows that dropout tells apart."""
    model = nn.Sequential(nn.Linear(20, 32), nn.Dropout(0.5), nn.Tanh(), nn.Linear(32, 10))
    nn.init.constant_(model[0].weight, 0.1)
    return model


def convolution(constant: bool) -> nn.Sequential:
    model = nn.Sequential(nn.Unflatten(1, (1, 4, 5)), nn.Conv2d(1, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 6, 3), nn.Flatten(),
                          nn.Linear(120, 10))  # fmt: skip
    for p in model.parameters() if constant else ():
        nn.init.constant_(p, 0.05)
    return model


def look(model: nn.Module, loss: Any = CE, x: Tensor | None = None, n: int = 64) -> list[Any]:
    if x is None:
        x = torch.randn(n, 25, 6) if isinstance(model, Recurrent) else torch.randn(n, 20)
    return list(Gradients().look(Subject(model, loss, (x,), torch.randint(0, 10, (len(x),)))))


def root(outputs: Tensor, targets: Tensor) -> Tensor:
    return CE(outputs, targets) + 0.0 * (outputs - outputs.detach()).abs().sqrt().sum()


SICK: dict[str, tuple[str, str, Callable[[], list[Any]]]] = {
    "26 all zero": ("FAIL", "all 64 units of 0.weight", lambda: look(constant(0.0))),
    "26 all constant": ("FAIL", "all 64 units of 0.weight", lambda: look(constant(0.1))),
    "26 constant convolution": ("FAIL", "all 8 units of 1.weight", lambda: look(convolution(True))),
    "26 both factors zero": ("FAIL", "stay one unit", lambda: look(Rank(wrong=True))),
    "vanishing, sigmoid": ("WARN", "vanishes: 0.weight", lambda: look(mlp(14, nn.Sigmoid))),
    "vanishing, tiny weights": ("WARN", "vanishes", lambda: look(mlp(8, nn.ReLU, lambda w: nn.init.normal_(w, std=0.01)))),
    "exploding, tanh": ("WARN", "explodes", lambda: look(mlp(14, nn.Tanh, nn.init.normal_))),
    "exploding through time": ("WARN", "explodes", lambda: look(Recurrent(6.0))),
    "not finite": ("FAIL", "not finite", lambda: look(mlp(1), root)),
    "38 lost in half precision": ("WARN", "are 0 in half precision", lambda: look(
        mlp(1).half(), lambda o, t: 1e-5 * CE(o, t), torch.randn(64, 20).half())),
}  # fmt: skip
HEALTHY: dict[str, Callable[[], list[Any]]] = {
    "mlp": lambda: look(mlp(2)),
    "deep": lambda: look(mlp(10)),
    "deep, kaiming": lambda: look(mlp(30, nn.ReLU, nn.init.kaiming_normal_)),
    "tanh": lambda: look(mlp(6, nn.Tanh)),
    "sigmoid": lambda: look(mlp(3, nn.Sigmoid)),
    "hot": lambda: look(mlp(3, nn.ReLU, nn.init.normal_)),  # a matter of the loss at init
    "raw inputs": lambda: look(mlp(2), x=torch.rand(64, 20) * 255),
    "recurrent": lambda: look(Recurrent(1.0)),
    "low rank": lambda: look(Rank(wrong=False)),
    "modulated": lambda: look(Modulated()),
    "scaled branches": lambda: look(Scaled()),
    "later head": lambda: look(Later()),
    "head of zeros": lambda: look(from_zero()),
    "regression from zeros": lambda: look(nn.Linear(20, 10)),
    "told apart by dropout": lambda: look(dropped()),
    "convolution": lambda: look(convolution(False)),
    "half precision": lambda: look(mlp(1).half(), CE, torch.randn(64, 20).half()),
    "half precision, float inputs": lambda: look(mlp(1).half()),  # cannot run as it is
    "zeros beside random biases": lambda: look(constant(0.0, biases=False)),
    "small loss": lambda: look(mlp(2), lambda o, t: 1e-6 * CE(o, t)),
    "two examples": lambda: look(mlp(2), n=2),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SICK)
def test_it_is_named(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    severity, words, program = SICK[name]
    found = [i for i in program() if isinstance(i, Finding)]
    assert len(found) == 1, found
    assert (found[0].code, found[0].severity.value) == ("GRAD", severity)
    assert words in found[0].message
    assert found[0].fix
    assert "n" in found[0].evidence


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_programs_raise_no_alarm(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert not [i for i in HEALTHY[name]() if isinstance(i, (Finding, NotRun))]


def test_strength_is_the_closed_form_and_does_not_mind_scale() -> None:
    """Of a linear layer with squared error: gradient 2/n x'(xw - y); and one layer up by 10, the next down by 10."""
    torch.manual_seed(0)
    x, y, layer = torch.randn(50, 4).double(), torch.randn(50, 1).double(), nn.Linear(4, 1, bias=False).double()
    loss = F.mse_loss(layer(x), y)
    loss.backward()
    w = layer.weight.detach()
    by_hand = (2 / 50 * x.T @ (x @ w.T - y)).norm() * w.norm() / loss.detach()
    assert strength({"w": layer.weight}, float(loss.detach()))["w"] == pytest.approx(float(by_hand))
    found = []
    for scale in (1.0, 10.0):
        torch.manual_seed(1)
        model = mlp(2)
        for at, by in ((0, scale), (2, 1 / scale)):
            for p in model[at].parameters():
                p.data *= by if p.ndim == 2 or at == 0 else 1.0
        cost = CE(model(torch.ones(3, 20)), torch.arange(3))
        cost.backward()
        found.append(strength(dict(model.named_parameters()), float(cost.detach())))
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_equal_rows_are_found_per_unit() -> None:
    layer = nn.ConvTranspose2d(2, 3, 1)  # its units lie along the second axis
    nn.init.constant_(layer.weight, 0.5)
    assert alike(layer, {id(layer.weight): "w"}) == ["w"]
    with torch.no_grad():
        layer.weight[1] = 0.7  # another input, the same for every unit
    assert alike(layer, {id(layer.weight): "w"}) == ["w"]
    with torch.no_grad():
        layer.weight[0, 1] = 0.7
    assert alike(layer, {id(layer.weight): "w"}) == []


def test_nothing_to_train_did_not_run_and_no_trace_is_left() -> None:
    assert "no trainable" in look(mlp(1).requires_grad_(False))[0].why
    model = mlp(1)
    optimizer = torch.optim.Adam(model.parameters())
    before = {k: v.clone() for k, v in model.state_dict().items()}
    subject = Subject(model, CE, (torch.randn(8, 20),), torch.arange(8), optimizer)
    list(Gradients().look(subject))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert not optimizer.state

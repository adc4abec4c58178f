"""ACT: dead and saturated units, layers that give one output for all; and what is seen of activations at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F

from whet.checks.activations import Activations
from whet.checks.registry import Fact
from whet.checks.subject import Subject
from whet.checks.units import Units, dead, saturated
from whet.data.split import Data, Split
from whet.finding import Finding, NotRun


class Functional(nn.Module):
    def __init__(self, bias: float = 0.0) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(20, 32), nn.Linear(32, 10)
        nn.init.constant_(self.first.bias, bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu(self.first(x)))


class Gated(nn.Module):
    """A highway layer whose gates start closed, as they should."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.body, self.last = nn.Linear(20, 20), nn.Linear(20, 20), nn.Linear(20, 10)
        nn.init.constant_(self.gate.bias, -4)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.gate(x))
        return self.last(gate * F.relu(self.body(x)) + (1 - gate) * x)


def net(act: nn.Module, *, bias: float = 0.0, gain: float = 1.0, more: tuple[nn.Module, ...] = ()) -> nn.Sequential:
    first = nn.Linear(20, 32)
    with torch.no_grad():
        first.weight.mul_(gain)
        first.bias.add_(bias)
    return nn.Sequential(first, act, *more, nn.Linear(32, 10))


def deep(depth: int, width: int) -> nn.Sequential:
    body = [part for _ in range(depth) for part in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(nn.Linear(20, width), nn.ReLU(), *body, nn.Linear(width, 10))


def half_dead() -> nn.Sequential:
    model = net(nn.ReLU())
    model[0].bias.data[:28] = -100
    return model


def zero_branch() -> nn.Sequential:
    model = net(nn.ReLU())
    nn.init.zeros_(model[2].weight)
    return model


def all_zero() -> nn.Module:
    model = net(nn.ReLU())
    for p in model.parameters():
        nn.init.zeros_(p)
    return model


def rare() -> nn.Module:
    """Knows that the class is rare: every output is about 0.01."""
    model = nn.Sequential(nn.Linear(20, 10), nn.Sigmoid())
    model[0].weight.data *= 0.1
    nn.init.constant_(model[0].bias, -4.6)
    return model


def pictures(*middle: nn.Module, width: int = 8) -> nn.Sequential:
    return nn.Sequential(
        nn.Unflatten(1, (1, 4, 5)), nn.Conv2d(1, 8, 3, padding=1), *middle, nn.Flatten(), nn.Linear(width, 10)
    )


def look(model: nn.Module, n: int = 64, data: bool = False) -> list[Any]:
    x, y = torch.randn(max(n, 2000 if data else 0), 20), torch.randint(0, 10, (max(n, 2000 if data else 0),))
    split = Data(Split(x, y), Split(x[:9], y[:9]), classes=tuple("0123456789")) if data else None
    return list(Units().look(Subject(model, nn.CrossEntropyLoss(), (x[:n],), y[:n], data=split)))


# bug 25, and its kin: (severity, words, model)
SICK: dict[str, tuple[str, str, Callable[[], nn.Module]]] = {
    "25 biases of -100": ("FAIL", "all 32 units of 1 (ReLU) are dead", lambda: net(nn.ReLU(), bias=-100)),
    "25 in place": ("FAIL", "all 32 units", lambda: net(nn.ReLU(inplace=True), bias=-100)),
    "25 functional": ("FAIL", "all 32 units of Functional are dead", lambda: Functional(-100)),
    "25 gelu": ("FAIL", "flat for all", lambda: net(nn.GELU(), bias=-100)),
    "25 relu6": ("FAIL", "all 32 units", lambda: net(nn.ReLU6(), bias=-100)),
    "25 most of them": ("WARN", "of 32 units of 1 (ReLU) are dead", half_dead),
    "saturated tanh": ("WARN", "enters tanh in 1 (Tanh)", lambda: net(nn.Tanh(), gain=100)),
    "saturated sigmoid": ("WARN", "enters sigmoid in 1 (Sigmoid)", lambda: net(nn.Sigmoid(), gain=100)),
    "saturated on one side": ("WARN", "enters sigmoid", lambda: net(nn.Sigmoid(), bias=30)),
    "norm of one element": ("WARN", "LayerNorm) gives the same output", lambda: nn.Sequential(
        nn.Linear(20, 1), nn.LayerNorm(1), nn.Linear(1, 10))),
    "softmax of one element": ("WARN", "Softmax) gives the same", lambda: nn.Sequential(
        nn.Linear(20, 1), nn.Softmax(1), nn.Linear(1, 10))),
    "instance norm, then the mean": ("WARN", "gives the same", lambda: pictures(
        nn.InstanceNorm2d(8, affine=True), nn.AdaptiveAvgPool2d(1))),
}  # fmt: skip
HEALTHY: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: net(nn.ReLU()),
    "tanh": lambda: net(nn.Tanh(), gain=3),
    "sigmoid": lambda: net(nn.Sigmoid()),
    "functional": Functional,
    "deep, default weights": lambda: deep(8, 64),  # about half of the deepest units are dead by chance
    "deep and narrow": lambda: deep(6, 4),
    "closed gates": Gated,
    "rare class": rare,
    "branch of zeros": zero_branch,
    "all zero: the gradient's business": all_zero,
    "batchnorm": lambda: net(nn.ReLU(), more=(nn.BatchNorm1d(32), nn.Dropout(0.5))),
    "convolution": lambda: pictures(nn.BatchNorm2d(8), nn.ReLU(), width=160),
    "one hidden unit": lambda: nn.Sequential(nn.Linear(20, 1), nn.ReLU(), nn.Linear(1, 10)),
    "leaky": lambda: net(nn.LeakyReLU(), bias=-100),
    "no activation": lambda: nn.Linear(20, 10),
}  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SICK)
def test_it_is_named(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    severity, words, make = SICK[name]
    found = [i for i in look(make()) if isinstance(i, Finding)]
    assert len(found) == 1, found
    assert (found[0].code, found[0].severity.value) == ("ACT", severity)
    assert words in found[0].message
    assert {"threshold", "n"} <= set(found[0].evidence)
    assert found[0].fix


@pytest.mark.parametrize("data", [False, True])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_programs_raise_no_alarm(name: str, seed: int, data: bool) -> None:
    torch.manual_seed(seed)
    items = look(HEALTHY[name](), data=data)
    assert not [i for i in items if isinstance(i, Finding)]
    assert name == "one hidden unit" or len([i for i in items if isinstance(i, (Fact, NotRun))]) == 1


def test_little_data_is_enough_only_for_units_far_away() -> None:
    """A bias of -2 silences a unit on some inputs; on 64 examples that is no proof, on 1,500 it is none either."""
    torch.manual_seed(0)
    model = net(nn.ReLU(), bias=-2.2)
    with Activations(model) as seen:
        model(torch.randn(64, 20))
    (site,) = seen.sites.values()
    count, p = dead(site)
    assert count > 16
    assert p < 1e-3
    assert not [i for i in look(model) if isinstance(i, Finding)]


def test_three_batches_of_the_data_are_looked_at() -> None:
    fact = next(i for i in look(net(nn.ReLU()), data=True) if isinstance(i, Fact))
    assert fact.numbers["n"] == 1536


@pytest.mark.parametrize("seed", range(3))
def test_dead_units_equal_brute_force(seed: int) -> None:
    torch.manual_seed(seed)
    model, x = net(nn.ReLU(), bias=-1.0), torch.randn(40, 20)
    with Activations(model) as seen:
        model(x[:20])
        model(x[20:])
    (site,) = seen.sites.values()
    count, p = dead(site)
    before = model[0](x)
    brute = int(((before <= 0).all(0)).sum())
    assert (count, site.samples, site.calls) == (brute, 40, 2)
    assert p == pytest.approx(sum(stats.binom.pmf(k, 32, 0.5) for k in range(brute, 33)))
    assert torch.allclose(site.distance(), (before.mean(0) / before.std(0, correction=0)).double(), atol=1e-4)


def test_saturation_equals_its_definition() -> None:
    model, x = net(nn.Tanh(), gain=20), torch.randn(50, 20)
    with Activations(model) as seen:
        model(x)
    (site,) = seen.sites.values()
    assert saturated(site) == pytest.approx(float((model[0](x).tanh().abs() > 0.95).float().mean()), abs=2e-3)


def test_channels_are_the_units_of_a_convolution_and_the_last_axis_that_of_tokens() -> None:
    conv = nn.Sequential(nn.Conv1d(3, 6, 3), nn.ReLU())
    tokens = nn.Sequential(nn.Linear(3, 7), nn.LayerNorm(7), nn.ReLU())
    for model, x, units, samples in ((conv, torch.randn(4, 3, 9), 6, 28), (tokens, torch.randn(4, 9, 3), 7, 36)):
        with Activations(model) as seen:
            model(x)
        assert [(s.units, s.samples) for s in seen.sites.values()] == [(units, samples)]


def test_a_method_and_a_function_are_seen_and_the_users_line_is_named() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(20, 32)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.body(x).relu()  # here
            return torch.tanh(hidden @ self.body.weight)

    model = Both()
    with Activations(model) as seen:
        model(torch.randn(4, 20))
    line = next(i for i, text in enumerate(Path(__file__).read_text().split("\n"), 1) if text.endswith("# here"))
    assert [(s.kind, s.layer) for s in seen.sites.values()] == [("relu", "Both"), ("tanh", "Both")]
    assert [s.line.rpartition(":")[2] for s in seen.sites.values()] == [str(line), str(line + 1)]


def test_it_leaves_no_trace() -> None:
    model = net(nn.ReLU(), more=(nn.BatchNorm1d(32), nn.Dropout(0.5))).eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.get_rng_state()
    look_at = Subject(model, nn.CrossEntropyLoss(), (torch.ones(8, 20),), torch.arange(8))
    list(Units().look(look_at))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert not model.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())

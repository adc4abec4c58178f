"""LRR: ranges of learning rates, suggestions that hold, and rates that are far outside (bugs 23 and 24)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from task_zoo import HEALTHY, Frozen, Line, Plain, Regularised, Tokens, look, only
from whet.checks import check_task
from whet.checks.rates import interval
from whet.data.split import Data, Split
from whet.finding import Severity
from whet.task import Task


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("task", [Plain, Regularised, Line])
def test_a_rate_far_too_low(task: type[Task], seed: int) -> None:
    found = only(look(task(), "LRR", seed, lr=1e-7))
    assert found.severity is Severity.WARN
    assert found.evidence["outside"] > 10
    assert found.evidence["other"] < found.evidence["loss"]
    assert found.evidence["p"] < 1e-3
    assert "times below the range" in found.message
    assert 1e-4 < found.evidence["suggested"] < 1


@pytest.mark.parametrize("seed", range(3))
def test_a_rate_far_too_high(seed: int) -> None:
    found = only(look(Plain(), "LRR", seed, lr=300.0))
    assert "times above the range" in found.message
    assert found.evidence["diverges"] < 30


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("task", HEALTHY)
def test_healthy(task: type[Task], seed: int) -> None:
    torch.set_num_threads(1)
    health = check_task(task(), {}, seed, checks=["LRR"])
    assert health.findings == ()
    facts = health.facts["LRR"]
    if "falls" in facts:
        assert facts["falls"] <= facts["steepest"]
        assert facts["diverges"] is None or facts["steepest"] < facts["diverges"]
    else:
        assert "4 standard deviations" in health.not_run[0].why


@pytest.mark.parametrize("lr", [3e-4, 1e-3, 1e-2])
@pytest.mark.parametrize("task", [Plain, Tokens, Line])
def test_usual_rates_of_adam_are_healthy(task: type[Task], lr: float) -> None:
    assert look(task(), "LRR", lr=lr).findings == ()


@pytest.mark.parametrize("task", [Plain, Frozen, Line])
def test_the_suggestion_trains(task: type[Task]) -> None:
    facts = look(task(), "LRR").facts["LRR"]
    assert facts["suggested"] is not None
    run = task()
    model = run.model({})
    optimizer = run.optimizer({}, model)
    for group in optimizer.param_groups:
        group["lr"] = facts["suggested"]
    train, loss = run.data({}).train, run.loss({})
    draw, losses = torch.Generator().manual_seed(5), []
    for _ in range(60):
        (x,), y = train.batch(torch.randint(len(train), (32,), generator=draw))
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        losses.append(value.detach())
        optimizer.step()
    assert float(torch.stack(losses[-20:]).mean()) < facts["start"] - 4 * facts["noise"]


@pytest.mark.parametrize("seed", range(5))
def test_without_a_signal_no_range_is_named(seed: int) -> None:
    class Noise(Plain):
        def data(self, params: Any) -> Data:
            draw = torch.Generator().manual_seed(seed)
            made = [
                Split(torch.randn(n, 8, generator=draw), torch.randint(0, 5, (n,), generator=draw)) for n in (3000, 200)
            ]
            return Data(*made)

        def model(self, params: Any) -> nn.Module:
            model = super().model(params)
            nn.init.zeros_(model[2].weight)  # type: ignore[index]  # begins at the best constant
            nn.init.zeros_(model[2].bias)  # type: ignore[index]
            return model

    assert check_task(Noise(), {"lr": 1e-7}, seed, checks=["LRR"]).findings == ()


@pytest.mark.parametrize("seed", range(20))
def test_noise_alone_has_no_range(seed: int) -> None:
    draw = np.random.default_rng(seed)
    assert interval(np.geomspace(1e-6, 1, 97), 2 + 0.1 * draw.normal(size=97), 2.0, 0.1) is None


def test_the_range_of_a_known_curve() -> None:
    rates = np.geomspace(1e-6, 1, 601)  # 100 steps a decade: the lag of smoothing is a twentieth of one
    x = np.log10(rates)
    curve = np.where(x < -4, 2.0, np.where(x < -2, 2 - (x + 4), np.where(x < -1, 0.0, 5.0)))
    found = interval(rates, curve, 2.0, 0.001)
    assert found is not None
    assert np.log10(found.falls) == pytest.approx(-4, abs=0.15)
    assert -4 < np.log10(found.steepest) < -1.9
    assert found.diverges is not None
    assert np.log10(found.diverges) == pytest.approx(-1, abs=0.1)
    assert found.drop == pytest.approx(2, abs=0.01)


def test_an_optimizer_without_a_rate_says_so() -> None:
    class Fixed(Plain):
        def optimizer(self, params: Any, model: nn.Module) -> torch.optim.Optimizer:
            return torch.optim.LBFGS(model.parameters())

    assert "no learning rate to sweep" in check_task(Fixed(), {}, checks=["LRR"]).not_run[0].why


def test_shared_weights_are_put_back_bit_for_bit() -> None:
    class Shared(Plain):
        whole = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 5))

        def model(self, params: Any) -> nn.Module:
            return self.whole

    before = {k: v.clone() for k, v in Shared.whole.state_dict().items()}
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert "falls" in look(Shared(), "LRR").facts["LRR"]
    assert torch.equal(torch.get_rng_state(), state)
    for k, v in Shared.whole.state_dict().items():
        assert torch.equal(v, before[k]), k

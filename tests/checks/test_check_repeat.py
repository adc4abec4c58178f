"""REP: programs that are no function of their seed (R2), and awkward ones that are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from task_zoo import HEALTHY, Plain, Regularised, clusters, look, only
from whet.checks import check
from whet.data.split import Data
from whet.finding import Severity
from whet.task import Task


def noise(*shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng().normal(size=shape)).float()


class OtherData(Plain):
    def data(self, params: Any) -> Data:
        return Data(clusters(400, int(np.random.default_rng().integers(1 << 30))), clusters(150, 2))


class GlobalData(Plain):
    def data(self, params: Any) -> Data:
        order = torch.randperm(400)  # the run's seed decides the split, so each trial has its own
        return Data(clusters(400, 1).take(order[:300]), clusters(400, 1).take(order[300:]))


class OtherWeights(Plain):
    def model(self, params: Any) -> nn.Module:
        model = super().model(params)
        model[2].weight.data += 0.1 * noise(5, 32)  # type: ignore[index]
        return model


class Jitter(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * noise(*x.shape)


class OtherModule(Plain):
    def model(self, params: Any) -> nn.Module:
        return nn.Sequential(nn.Linear(8, 32), Jitter(), nn.ReLU(), nn.Linear(32, 5))


class Between(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 32), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.first(x))
        return self.last(h + 0.1 * noise(*h.shape))


class OtherInside(Plain):
    def model(self, params: Any) -> nn.Module:
        return Between()


class Puts(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.clone().put_(torch.tensor([0]), 0.1 * noise(1))


class OtherPut(Plain):
    def model(self, params: Any) -> nn.Module:
        return nn.Sequential(nn.Linear(8, 32), Puts(), nn.ReLU(), nn.Linear(32, 5))


class OtherLoss(Plain):
    def loss(self, params: Any) -> Any:
        return lambda outputs, targets: nn.functional.cross_entropy(outputs + 0.01 * noise(*outputs.shape), targets)


class OtherGradient(Plain):
    def model(self, params: Any) -> nn.Module:
        model = super().model(params)
        model[2].weight.register_hook(lambda g: g + 0.01 * noise(*g.shape))  # type: ignore[index]
        return model


class Restless(torch.optim.Adam):
    def step(self, closure: Any = None) -> Any:
        done = super().step(closure)
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    p.add_(noise(*p.shape), alpha=1e-3)
        return done


class OtherStep(Plain):
    def optimizer(self, params: Any, model: nn.Module) -> torch.optim.Optimizer:
        return Restless(model.parameters(), 1e-3)


class OtherBatch(Plain):
    def augment(self, params: Any) -> Any:
        return lambda inputs, targets, generator: ((inputs[0] + noise(*inputs[0].shape),), targets)


class OtherRate(Plain):
    def rate(self, params: Any) -> Any:
        return lambda epochs: float(np.random.default_rng().random())


class Counts(nn.Module):
    """Remembers in its class how often it was called: the second run does not begin as the first did."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        Counts.calls += 1
        return x * (1 + 1e-2 * Counts.calls)


class Remembering(Plain):
    def model(self, params: Any) -> nn.Module:
        return nn.Sequential(nn.Linear(8, 32), Counts(), nn.Linear(32, 5))


SICK: list[tuple[type[Task], str, str]] = [
    (OtherData, "", "gives other training examples when called twice"),
    (OtherWeights, "start", "before the first step: 2.weight has other initial weights"),
    (OtherBatch, "batch", "augment gives other examples"),
    (OtherModule, "out", "step 1: module 1 (Jitter) gives other outputs for the same inputs"),
    (OtherInside, "into", "what the model (Between) hands to last is another"),
    (OtherLoss, "loss", "the loss is another for the same outputs"),
    (OtherGradient, "gradient", "the gradient of 2.weight is another for the same loss"),
    (OtherStep, "weight", "Restless takes another step with the same gradients"),
    (OtherRate, "rate", "the learning rate is another"),
    (Remembering, "out", "module 1 (Counts) gives other outputs"),
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("task", "kind", "words"), SICK, ids=lambda v: getattr(v, "__name__", ""))
def test_what_differs_first_is_named(task: type[Task], kind: str, words: str, seed: int) -> None:
    found = only(look(task(), "REP", seed))
    assert found.severity is Severity.FAIL
    assert words in found.message
    assert found.evidence.get("kind", "") == kind
    assert found.evidence["n"] > 0


@pytest.mark.parametrize("task", [OtherModule, OtherInside, OtherLoss, OtherStep, OtherData, OtherBatch])
def test_the_finding_points_into_the_users_code(task: type[Task]) -> None:
    assert "test_check_repeat.py:" in only(look(task(), "REP")).where


def test_the_operation_is_named_where_pytorch_knows_it() -> None:
    found = only(look(OtherPut(), "REP"))
    assert found.evidence["operation"] == "put_"
    assert "put_, of which PyTorch has no deterministic version" in found.message
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("seed", range(3))
def test_data_by_the_global_generator_is_a_warning(seed: int) -> None:
    found = only(look(GlobalData(), "REP", seed))
    assert found.severity is Severity.WARN
    assert "another state of the global generators" in found.message


def test_rounding_is_a_warning() -> None:
    class Rounds(Plain):
        def model(self, params: Any) -> nn.Module:
            class Last(nn.Module):
                def forward(self, x: Tensor) -> Tensor:
                    return x + 1e-8 * noise(*x.shape)

            return nn.Sequential(nn.Linear(8, 5), Last())

    found = only(look(Rounds(), "REP"))
    assert found.severity is Severity.WARN
    assert 0 <= found.evidence["apart"] <= 1e-5


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("task", HEALTHY)
def test_healthy(task: type[Task], seed: int) -> None:
    health = look(task(), "REP", seed)
    assert health.findings == ()
    assert health.facts["REP"]["steps"] >= 1


def test_no_trace_is_left() -> None:
    class Shared(Regularised):
        """Gives the same module each time: a check that trains it must put it back."""

        whole: nn.Module | None = None

        def model(self, params: Any) -> nn.Module:
            self.whole = self.whole or super().model(params)
            return self.whole

    task = Shared()
    before = {k: v.clone() for k, v in task.model({}).state_dict().items()}
    torch.manual_seed(7)
    state = torch.get_rng_state()
    found = only(look(task, "REP"))  # and it is no function of the seed either
    assert found.evidence["kind"] == "start"
    assert torch.equal(torch.get_rng_state(), state)
    for k, v in task.model({}).state_dict().items():
        assert torch.equal(v, before[k]), k
    assert not any(m._forward_hooks for m in task.model({}).modules())


def test_one_batch_is_no_task() -> None:
    health = check(nn.Linear(2, 1), nn.MSELoss(), (torch.randn(8, 2), torch.randn(8, 1)))
    reasons = {x.code: x.why for x in health.not_run}
    assert {"REP", "RES", "RNG", "DUP", "MET", "CAP", "LRR"} <= set(reasons)
    assert "check_task" in reasons["REP"]

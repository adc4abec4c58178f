"""REP: programs that are no function of their seed (R2), and awkward ones that are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bugs.repeats import (
    SICK,
    GlobalData,
    OtherBatch,
    OtherData,
    OtherInside,
    OtherLoss,
    OtherModule,
    OtherPut,
    OtherStep,
    noise,
)
from task_zoo import HEALTHY, Plain, Regularised, look, only
from whet.checks import check
from whet.finding import Severity
from whet.task import Task


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
    assert "repeats.py:" in only(look(task(), "REP")).where


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

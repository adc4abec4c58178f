"""RES (bug 37): what a checkpoint does not hold."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from bugs.resumes import SICK
from task_zoo import HEALTHY, Plain, Regularised, look, only
from whet.checks import check_task
from whet.checks.resume import Resumes
from whet.finding import Severity
from whet.task import Task
from whet.train.callback import Callback
from whet.train.run import Run


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("task", "kind", "words"), SICK, ids=lambda v: getattr(v, "__name__", ""))
def test_what_no_checkpoint_holds_is_named(task: type[Task], kind: str, words: str, seed: int) -> None:
    found = only(look(task(), "RES", seed))
    assert found.severity is Severity.FAIL
    assert words in found.message
    assert (found.evidence["kind"], found.evidence["step"]) == (kind, 1)
    assert "resumes.py:" in found.where


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("task", HEALTHY)
def test_healthy(task: type[Task], seed: int) -> None:
    health = look(task(), "RES", seed)
    assert health.findings == ()
    assert health.facts["RES"]["steps"] >= 1


class Clip(Callback):
    """Clips to a running mean of norms; `remembers` decides whether a checkpoint has it."""

    def __init__(self, remembers: bool) -> None:
        self.remembers, self.mean = remembers, 1.0

    def grad(self, run: Run) -> None:
        norm = float(torch.nn.utils.clip_grad_norm_(run.model.parameters(), 0.5 * self.mean))
        self.mean = 0.5 * self.mean + 0.5 * norm

    def state(self) -> Any:
        return self.mean if self.remembers else None

    def load(self, state: Any) -> None:
        self.mean = state if self.remembers else 1.0


@pytest.mark.parametrize("seed", range(3))
def test_a_callback_must_return_what_it_remembers(seed: int) -> None:
    sick = check_task(Plain(), {}, seed, checks=[Resumes(lambda: [Clip(False)])])
    found = only(sick)
    assert found.evidence["kind"] == "gradient"
    assert "Callback.state" in found.fix
    assert check_task(Plain(), {}, seed, checks=[Resumes(lambda: [Clip(True)])]).findings == ()


def test_a_state_that_cannot_be_written_is_a_finding() -> None:
    class Odd(nn.Linear):
        def get_extra_state(self) -> Any:
            return object()

        def set_extra_state(self, state: Any) -> None:
            return None

    class Unwritable(Plain):
        def model(self, params: Any) -> nn.Module:
            return Odd(8, 5)

    found = only(look(Unwritable(), "RES"))
    assert "cannot be written without pickle" in found.message


def test_a_task_that_does_not_repeat_is_left_to_rep() -> None:
    class Restless(Plain):
        def loss(self, params: Any) -> Any:
            fresh = torch.Generator()
            fresh.seed()
            return lambda o, t: nn.functional.cross_entropy(o + torch.randn(o.shape, generator=fresh), t)

    health = check_task(Restless(), {}, checks=["RES"])
    assert health.findings == ()
    assert "see REP" in health.not_run[0].why


def test_no_trace_is_left() -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    task = Regularised()
    first, again = look(task, "RES"), look(task, "RES")
    assert first.json() == again.json()
    assert torch.equal(torch.get_rng_state(), state)

"""RES (bug 37): what a checkpoint does not hold."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from task_zoo import HEALTHY, Plain, Regularised, look, only
from whet.checks import check_task
from whet.checks.resume import Resumes
from whet.finding import Severity
from whet.task import Task
from whet.train.callback import Callback
from whet.train.run import Run


class Momentum(torch.optim.Optimizer):
    """Keeps its velocity in an attribute of its own."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.05})
        self.velocity: dict[int, Tensor] = {}

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        v = 0.9 * self.velocity.get(id(p), torch.zeros_like(p)) + p.grad
                        self.velocity[id(p)] = v
                        p.sub_(v, alpha=group["lr"])


class LosesVelocity(Plain):
    def optimizer(self, params: Any, model: nn.Module) -> torch.optim.Optimizer:
        return Momentum(model.parameters())


class Warm(nn.Module):
    """Counts its steps in an attribute: a warm-up that begins again."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def forward(self, x: Tensor) -> Tensor:
        self.steps += self.training
        return x * min(1.0, self.steps / 100)


class LosesCount(Plain):
    def model(self, params: Any) -> nn.Module:
        return nn.Sequential(nn.Linear(8, 32), Warm(), nn.ReLU(), nn.Linear(32, 5))


class Average(nn.Module):
    """Normalises by a running average that is no persistent buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("size", torch.ones(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.size = 0.9 * self.size + 0.1 * x.detach().abs().mean()
        return x / self.size


class LosesBuffer(Plain):
    def model(self, params: Any) -> nn.Module:
        return nn.Sequential(nn.Linear(8, 32), Average(), nn.ReLU(), nn.Linear(32, 5))


class Anneal(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        self.calls += 1
        return nn.functional.cross_entropy(outputs * (1 + self.calls / 10), targets)


class LosesAnnealing(Plain):
    def loss(self, params: Any) -> Any:
        return Anneal()


class LosesSchedule(Plain):
    def rate(self, params: Any) -> Any:
        calls = [0]

        def rate(epochs: float) -> float:
            calls[0] += 1
            return 0.9 ** calls[0]

        return rate


class LosesMixing(Plain):
    def augment(self, params: Any) -> Any:
        kept: list[Tensor] = []

        def mix(inputs: tuple[Tensor, ...], targets: Tensor, generator: torch.Generator) -> Any:
            kept.append(inputs[0])
            return (inputs[0] + 0.1 * kept[-2 if len(kept) > 1 else -1],), targets

        return mix


SICK: list[tuple[type[Task], str, str]] = [
    (LosesVelocity, "weight", "Momentum takes another step with the same gradients"),
    (LosesCount, "out", "module 1 (Warm) computes something else"),
    (LosesBuffer, "out", "module 1 (Average) computes something else"),
    (LosesAnnealing, "loss", "the loss is another for the same outputs"),
    (LosesSchedule, "rate", "the learning rate is another"),
    (LosesMixing, "batch", "the batch is another"),
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("task", "kind", "words"), SICK, ids=lambda v: getattr(v, "__name__", ""))
def test_what_no_checkpoint_holds_is_named(task: type[Task], kind: str, words: str, seed: int) -> None:
    found = only(look(task(), "RES", seed))
    assert found.severity is Severity.FAIL
    assert words in found.message
    assert (found.evidence["kind"], found.evidence["step"]) == (kind, 1)
    assert "test_check_resume.py:" in found.where


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

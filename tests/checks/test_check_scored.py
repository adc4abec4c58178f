"""What a run can score and what it cannot: a class each position, numbers taken for classes, several outputs, half precision."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from task_zoo import Plain, look, only
from whet.checks import check_task
from whet.data.look import look as look_at
from whet.data.split import Data, Split
from whet.errors import TaskError
from whet.finding import Severity
from whet.squeeze import greedy
from whet.task import Task
from whet.train.run import Run

AFTER = ("MET", "REP", "RES")


class Tagger(nn.Module):
    """A class each token: (n, 7) numbers of 12 -> (n, 7, 5), or (n, 5, 7) as PyTorch's loss takes it."""

    def __init__(self, last: bool) -> None:
        super().__init__()
        self.embed, self.read, self.out, self.last = (
            nn.Embedding(12, 16),
            nn.Conv1d(16, 16, 3, padding=1),
            nn.Linear(16, 5),
            last,
        )

    def forward(self, x: Tensor) -> Tensor:
        z = self.out(torch.relu(self.read(self.embed(x).mT).mT))
        return z if self.last else z.mT


class Tokens(Task):
    last = True

    def data(self, params: Any) -> Data:
        x = torch.randint(12, (300, 7), generator=torch.Generator().manual_seed(5))
        y = (x + x.roll(1, 1)) % 5
        y[:, -1] = -100
        return Data(Split(x[:200], y[:200]), Split(x[200:], y[200:]))

    def model(self, params: Any) -> nn.Module:
        return Tagger(self.last)

    def loss(self, params: Any) -> Any:
        if not self.last:
            return nn.CrossEntropyLoss()
        return lambda o, t: nn.functional.cross_entropy(o.flatten(0, 1), t.flatten())


class Channels(Tokens):
    last = False


@pytest.mark.parametrize("task", [Tokens, Channels])
def test_a_class_each_position_is_trained_scored_and_checked(task: type[Task]) -> None:
    run = Run(task(), {"lr": 0.03}, steps=8, seed=0)
    points = list(run)
    assert points[-1].value > points[0].value
    assert points[-1].value > 0.5
    health = check_task(task(), {"lr": 0.01}, checks=AFTER)
    assert health.findings == ()
    assert health.not_run == ()


def test_looking_at_a_class_each_position() -> None:
    data = Tokens().data({})
    found = look_at(data)
    assert [c["n"] for c in found.facts["classes"]] == np.bincount(
        torch.cat([data.train.targets, data.valid.targets])[:, :-1].flatten(), minlength=5
    ).tolist()
    assert "each position has a class" in str(found)


def test_of_a_class_each_position_the_single_best_goes_on() -> None:
    y = np.random.default_rng(0).integers(0, 3, (20, 4))
    good, bad = np.eye(3)[y], np.eye(3)[(y + 1) % 3]
    found = greedy({4: bad, 7: good}, y, "accuracy", kind="classification")
    assert (found.members, found.score, found.single) == (((7, 1.0),), 1.0, 7)
    assert "each position" in found.why


class Numbers(Task):
    """A number to predict, and nobody said so."""

    def data(self, params: Any) -> Data:
        x = torch.randn(300, 4, generator=torch.Generator().manual_seed(5))
        y = x @ torch.ones(4, 1) + 1
        return Data(Split(x[:200], y[:200]), Split(x[200:], y[200:]))

    def model(self, params: Any) -> nn.Module:
        return nn.Linear(4, 1)


class Squares(Numbers):
    def loss(self, params: Any) -> Any:
        return nn.MSELoss()


@pytest.mark.parametrize("task", [Numbers, Squares])
def test_numbers_that_are_taken_for_classes_cannot_be_scored(task: type[Task]) -> None:
    with pytest.raises(TaskError) as caught:
        Run(task(), {}, steps=1)
    for part in (f"{task.__name__}.data: ", "(2, 1)", "float32", "kind", "classification", 'kind="regression"'):
        assert part in str(caught.value)
    health = check_task(task(), {}, checks=AFTER)
    found = only(health)
    assert (found.code, found.severity) == ("MET", Severity.FAIL)
    assert found.where.endswith((f"({task.__name__}.data)", "(Numbers.data)"))
    assert 'kind="regression"' in found.fix
    assert {n.code: n.why for n in health.not_run} == dict.fromkeys(
        ("REP", "RES"), "whet cannot train it as it is (see MET)"
    )


def test_looking_at_numbers_that_are_taken_for_classes() -> None:
    assert "target" in str(look_at(Numbers().data({})))


class Pair(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.first, self.last, self.kind = nn.Linear(8, 16), nn.Linear(16, 5), kind

    def forward(self, x: Tensor) -> Any:
        h = torch.tanh(self.first(x))
        return (self.last(h), h) if self.kind == "tuple" else {"logits": self.last(h), "hidden": h}


@pytest.mark.parametrize(("kind", "part"), [("tuple", "[0]"), ("dict", "['logits']")])
@pytest.mark.parametrize("picks", [True, False])
def test_a_model_that_returns_several_things_is_said_once_and_is_no_failure(kind: str, part: str, picks: bool) -> None:
    class Several(Plain):
        def model(self, params: Any) -> nn.Module:
            return Pair(kind)

        def loss(self, params: Any) -> Any:
            ce = nn.functional.cross_entropy
            return (lambda o, t: ce(o[0] if kind == "tuple" else o["logits"], t)) if picks else ce

    health = look(Several(), "MET")
    found = only(health)
    assert (found.severity, found.where.endswith("(Pair)")) == (Severity.INFO, True)
    assert f"returns a {kind}" in found.message
    assert ("take it apart in the loss" if picks else part) in found.fix
    for code in ("REP", "RES", "IIB"):
        said = str(check_task(Several(), {}, checks=[code]))
        assert "Small" not in said
        assert "Error" not in said


class Halved(Plain):
    dtype = torch.bfloat16

    def model(self, params: Any) -> nn.Module:
        dtype = self.dtype

        class Low(nn.Sequential):
            def forward(self, x: Tensor) -> Tensor:
                return super().forward(x).to(dtype)

        return Low(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 5))

    def loss(self, params: Any) -> Any:
        return lambda o, t: nn.functional.cross_entropy(o.float(), t)


class Sixteen(Halved):
    dtype = torch.float16


@pytest.mark.parametrize("task", [Halved, Sixteen])
def test_outputs_in_half_precision_are_scored(task: type[Task]) -> None:
    health = check_task(task(), {}, checks=AFTER)
    assert health.findings == ()
    assert health.not_run == ()


class HalfWeights(Plain):
    def model(self, params: Any) -> nn.Module:
        return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 5)).half()


def test_half_weights_and_float32_inputs_are_a_finding_in_the_users_words() -> None:
    health = check_task(HalfWeights(), {}, checks=(*AFTER, "IIB"))
    found = only(health)
    assert found.code == "MET"
    assert "HalfWeights.model" in found.where
    assert "must have the same dtype" in found.message
    assert found.fix == "make model(params) fit the data"
    assert {n.code for n in health.not_run} == {"REP", "RES"}


class HalfData(HalfWeights):
    def data(self, params: Any) -> Data:
        def half(s: Split) -> Split:
            return Split(s.inputs.half(), s.targets)  # type: ignore[union-attr]

        d = super().data(params)
        return replace(d, train=half(d.train), valid=half(d.valid))


class HalfSteps(HalfData):
    def optimizer(self, params: Any, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), 0.1)


def test_half_weights_and_half_inputs_are_scored() -> None:
    health = check_task(HalfSteps(), {}, checks=(*AFTER, "IIB"))
    assert health.findings == ()
    assert health.not_run == ()


def test_what_became_infinite_is_not_said_to_differ_between_two_passes() -> None:
    health = check_task(HalfData(), {}, checks=["MET"])  # Adam's 1e-8 is 0 in half precision
    assert [n.why for n in health.not_run] == ["the predictions after a few steps are not finite"]


def test_what_whet_cannot_train_is_no_fault_of_the_program() -> None:
    """An optimizer that wants a closure, a model that wants more than two examples: sound programs, so no FAIL."""

    class Closure(Plain):
        def optimizer(self, params: Any, model: nn.Module) -> torch.optim.Optimizer:
            return torch.optim.LBFGS(model.parameters())

    class Several(Plain):
        def loss(self, params: Any) -> Any:
            def loss(outputs: Tensor, targets: Tensor) -> Tensor:
                if len(outputs) < 4:
                    raise ValueError("needs four")
                return nn.functional.cross_entropy(outputs, targets)

            return loss

    for task in (Closure(), Several()):
        (found,) = check_task(task, {}, checks=["RUN", "MET"]).findings
        assert (found.code, found.severity) == ("MET", Severity.INFO)
        assert "whet train, tune and run cannot take it" in found.message
        assert found.fix

"""Checks of whole tasks: held-out baseline, restoration, determinism, and what a task can do wrong."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from whet.checks import check_task, lines
from whet.data.split import Data, Split
from whet.errors import DataError, TaskError, UsageError
from whet.finding import Severity
from whet.task import Task
from whet.tasks import resolve


def clusters(n: int, seed: int, *, torn: bool = False) -> Split:
    draw = torch.Generator().manual_seed(seed)
    centres = torch.randn(5, 8, generator=torch.Generator().manual_seed(99))
    y = torch.randint(0, 5, (n,), generator=draw)
    x = centres[y] + 0.5 * torch.randn(n, 8, generator=draw)
    return Split(x, y[torch.randperm(n, generator=draw)] if torn else y)


def refuse() -> Split:
    raise AssertionError("a check must not open the test split")


class Plain(Task):
    """A classifier of clusters; `torn` breaks inputs from targets."""

    torn = False

    def data(self, params: Any) -> Data:
        return Data(clusters(300, 1, torn=self.torn), clusters(150, 2, torn=self.torn), sealed=refuse)

    def model(self, params: Any) -> nn.Module:
        return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 5))

    def optimizer(self, params: Any, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), 1e-2)


class Torn(Plain):
    torn = True


class Line(Task):
    def data(self, params: Any) -> Data:
        x = torch.randn(400, 4, generator=torch.Generator().manual_seed(0))
        y = x @ torch.tensor([1.0, -0.5, 0.2, 0.0]) + 0.3 * torch.randn(400, generator=torch.Generator().manual_seed(1))
        return Data(Split(x[:250], y[:250]), Split(x[250:], y[250:]), kind="regression")

    def model(self, params: Any) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))

    def loss(self, params: Any) -> Any:
        return nn.MSELoss()


def serious(health: Any) -> list[str]:
    return [str(f) for f in health.findings if f.severity is not Severity.INFO]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("task", [Plain, Line])
def test_healthy(task: type[Task], seed: int) -> None:
    health = check_task(task(), {}, seed)
    assert serious(health) == []
    # nothing is augmented, no width is searched, nothing is a sequence, and the loop is whet's own
    assert {x.code for x in health.not_run} <= {"RNG", "MASK", "CAP", "LRR", "TIME", "PAD", "RAND", "LOOP", "FG", "ACC"}
    assert health.facts["IIB"]["z"] > health.facts["IIB"]["threshold"] > 3
    last = 30 if task is Plain else 100  # the first look that is enough ends it
    assert health.facts["IIB"]["dynamics"]["steps"][-1] == last


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_labels_torn_from_inputs_do_not_beat_the_blind_baseline(seed: int) -> None:
    health = check_task(Torn(), {}, seed)
    assert [f.code for f in health.findings if f.severity is Severity.WARN] == ["IIB"]
    found = health.findings[-1]
    assert found.evidence["z"] <= found.evidence["threshold"]
    assert found.evidence["n"] == 150
    assert "OF" in health.facts, "by heart they are learned all the same"


def test_the_same_seed_gives_the_same_health_and_the_callers_generator_stays() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = check_task(Plain(), {}, 3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    torch.rand(3)
    again = check_task(Plain(), {}, 3)
    assert first.json() == again.json()
    assert first.json() != check_task(Plain(), {}, 4).json()
    assert json.loads(json.dumps(first.json())) == first.json()


@pytest.mark.parametrize("name", ["digits", "diabetes"])
def test_the_built_in_tasks_are_healthy(name: str) -> None:
    torch.set_num_threads(1)
    task = resolve(name)
    health = check_task(task, task.space.fill({"net": "linear"}, np.random.default_rng(0)))
    assert serious(health) == []
    said = lines(health)
    assert said[0].startswith("healthy: ")
    assert any(s.startswith("measured: loss at init ") for s in said)
    assert max(map(len, said)) <= 76
    words = " ".join(" ".join(said).split())
    for phrase in ("one batch overfits in ", "beats the input-blind baseline (z ", "examples independent (leak 0)"):
        assert phrase in words
    if name == "digits":
        assert health.facts["INIT"]["expected"] == pytest.approx(2.3026, abs=0.002)
        assert health.facts["INIT"]["loss"] == pytest.approx(2.3, abs=0.15)


def test_what_needs_no_training_can_be_run_alone() -> None:
    health = check_task(Plain(), {}, checks=["RUN", "INIT", "DEP"], allow=("DEP",))
    assert set(health.facts) == {"RUN", "INIT"}
    assert [(n.code, n.why) for n in health.not_run] == [("DEP", "allowed by the caller")]


def test_few_validation_examples_are_said_to_be_too_few() -> None:
    class Short(Plain):
        def data(self, params: Any) -> Data:
            return Data(clusters(300, 1), clusters(10, 2))

    health = check_task(Short(), {})
    assert [n.why for n in health.not_run if n.code == "IIB"] == [
        "10 validation examples are too few to compare on (at least 20)"
    ]


def test_regularisers_are_off() -> None:
    seen = []

    class Dropping(Plain):
        def model(self, params: Any) -> nn.Module:
            seen.append(params["dropout"])
            return super().model(params)

    check_task(Dropping(), {"dropout": 0.9}, checks=["RUN"])
    assert seen == [0.0]


def test_a_model_that_cannot_be_made_is_a_finding() -> None:
    class Broken(Plain):
        def model(self, params: Any) -> nn.Module:
            return nn.Linear(8, params["width"])

    health = check_task(Broken(), {})
    assert [(f.code, f.severity.value) for f in health.findings] == [("RUN", "FAIL")]
    assert "KeyError: 'width'" in health.findings[0].message
    assert ".py:" in health.findings[0].where
    assert len(health.not_run) >= 10


def test_what_is_no_model_or_no_data_is_refused() -> None:
    class NoModel(Plain):
        def model(self, params: Any) -> Any:
            return lambda x: x

    class NoData(Plain):
        def data(self, params: Any) -> Data:
            raise DataError("nothing here.")

    with pytest.raises(TaskError, match=r"model returns function, not a torch.nn.Module"):
        check_task(NoModel(), {})
    with pytest.raises(DataError, match="nothing here"):
        check_task(NoData(), {})
    with pytest.raises(UsageError, match=r"no check 'INITT'. Did you mean 'INIT'"):
        check_task(Plain(), {}, allow=("INITT",))


def test_a_loss_that_does_not_fit_says_both_shapes() -> None:
    class Wide(Plain):
        def loss(self, params: Any) -> Any:
            def far_off(outputs: Tensor, targets: Tensor) -> Tensor:
                return nn.functional.cross_entropy(outputs[:, :3], targets)

            return far_off

    found = check_task(Wide(), {}).findings[0]
    assert found.severity is Severity.FAIL
    assert "(64, 5)" in found.message
    assert "(64,) int64" in found.message
    assert "test_check_task.py:" in found.where

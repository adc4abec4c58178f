"""CAP: models that a larger width makes worse, and those it does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from bugs.whole import Averaged, Summed
from task_zoo import HEALTHY, Frozen, Line, Plain, Rare, Regularised, Tokens, look, only
from whet.checks import check_task
from whet.checks.capacity import Capacity, higher, settled, wider
from whet.finding import Severity
from whet.task import Task
from whet.tune.space import Choice, Int, Ordered, Space


class Hot(Line):
    """SGD at a rate that the narrow net just bears."""

    def model(self, params: Any) -> nn.Module:
        return Summed(int(params["width"]))

    def optimizer(self, params: Any, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), 0.2)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("task", "width"), [(Averaged, 32), (Hot, 64)])
def test_a_wider_model_that_is_worse(task: type[Task], width: int, seed: int) -> None:
    found = only(look(task(), "CAP", seed, width=width))
    assert found.severity is Severity.WARN
    assert float(found.evidence["wide_loss"]) > found.evidence["loss"]
    assert found.evidence["p"] < 1e-3
    assert found.evidence["n"] == 8
    if task is Averaged:
        losses = [found.evidence["losses"][w] for w in ("64", "32")]
        assert found.evidence["p"] == pytest.approx(
            stats.ttest_ind(*losses, equal_var=False, alternative="greater").pvalue
        )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("width", [16, 128])
@pytest.mark.parametrize("task", [Plain, Regularised, Frozen, Rare, Line, Tokens])
def test_healthy(task: type[Task], width: int, seed: int) -> None:
    health = look(task(), "CAP", seed, width=width)
    assert health.findings == ()
    assert health.facts["CAP"]["n"] >= 2
    assert health.facts["CAP"]["wide"] == (32 if width == 16 else 128)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("task", HEALTHY)
def test_healthy_over_twenty_seeds(task: type[Task], seed: int) -> None:
    torch.set_num_threads(1)
    assert check_task(task(), {"width": 16}, seed, checks=["CAP"]).findings == ()


@pytest.mark.parametrize(
    ("space", "params", "pair"),
    [
        (Space(width=Int(8, 64)), {"width": 16}, ("width", 16, 32)),
        (Space(width=Int(8, 64)), {"width": 60}, ("width", 30, 60)),
        (Space(width=Int(30, 40)), {"width": 35}, None),
        (Space(width=Int(8, 64)).where("width <= 20"), {"width": 16}, ("width", 8, 16)),
        (Space(depth=Int(1, 8)), {"depth": 2}, None),
        (Space(hidden=Ordered([16, 48, 64])), {"hidden": 32}, ("hidden", 32, 64)),
        (Space(net=Choice({"a": Space(units=Int(8, 64)), "b": Space()})), {"net": "a", "net.units": 8}, ("net.units", 8, 16)),
        (Space(net=Choice({"a": Space(units=Int(8, 64)), "b": Space()})), {"net": "b"}, None),
        (Space(width=Ordered(["small", "large"])), {"width": "small"}, None),
    ],
)  # fmt: skip
def test_which_widths_are_compared(space: Space, params: Any, pair: Any) -> None:
    task = Plain()
    task.space = space
    assert wider(task, params) == pair


def test_without_a_width_it_does_not_run() -> None:
    class Narrow(Plain):
        space = Space(depth=Int(1, 3))

    class Deaf(Plain):
        def model(self, params: Any) -> nn.Module:
            return nn.Linear(8, 5)

    assert "names no width" in check_task(Narrow(), {"depth": 1}, checks=["CAP"]).not_run[0].why
    assert "makes no larger model" in check_task(Deaf(), {"width": 16}, checks=["CAP"]).not_run[0].why


def test_the_p_value_is_welchs_and_knows_what_is_not_finite() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 8))
    assert higher(list(a + 1), list(b)) == stats.ttest_ind(a + 1, b, equal_var=False, alternative="greater").pvalue
    assert higher([float("inf")] * 8, list(b)) == pytest.approx(1 / 12870)
    assert higher([float("inf")] * 7 + [9.0], list(b)) == pytest.approx(1 / 12870)
    assert higher([float("inf")] * 7 + [-9.0], list(b)) > 1e-3
    assert (higher([1.0] * 3, [0.0] * 3), higher([0.0] * 3, [0.0] * 3)) == (0.0, 1.0)


def test_ends_once_no_third_training_can_matter() -> None:
    """Of what two values each settle, the best third ones bring no p-value to the sieve; and of healthy ones most are."""
    draw = np.random.default_rng(0)
    done = 0
    for _ in range(300):
        a, b = draw.normal(0.0, 1.0, 2), draw.normal(0.0, 1.0, 2)
        if not settled(a.tolist(), b.tolist(), 0.05):
            continue
        done += 1
        rise, spread = a.mean() - b.mean(), (np.ptp(a) ** 2 + np.ptp(b) ** 2) / 4
        for far in (spread / abs(rise), *np.geomspace(1e-2, 1e3, 12)):
            assert higher([*a, a.mean() + far], [*b, b.mean() - far]) > 0.05
    assert 200 < done < 260  # 77 % of pairs without a difference
    assert not settled([0.8, 0.9], [0.3, 0.4], 0.05)
    assert not settled([np.inf, 0.9], [0.3, 0.4], 0.05)


def test_a_width_that_helps_takes_two_trainings_each() -> None:
    assert look(Plain(), "CAP", 0, width=16).facts["CAP"]["n"] == 2


@pytest.mark.parametrize(("wide", "n"), [([1.4, 1.5, 1.45, 0.6], 4), ([1.4, 1.5, 1.45, 1.15, 1.0], 5)])
def test_what_no_longer_looks_worse_takes_no_more(wide: list[float], n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three trainings each say p < 0.05, later ones no longer: no eight then."""
    ends = {8: iter([1.0, 1.1, 1.05, 1.1, 1.15]), 16: iter(wide)}
    monkeypatch.setattr(
        Capacity, "_train", lambda self, short, params, seed: (2.0, next(ends[params["width"]]), params["width"])
    )
    health = check_task(Plain(), {"width": 8}, checks=["CAP"])
    assert health.findings == ()
    assert health.facts["CAP"]["n"] == n

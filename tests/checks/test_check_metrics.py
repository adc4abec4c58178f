"""MET (bug 45): metrics that depend on how the validation split is batched."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from bugs.around import (
    MODEL,
    batches,
    drops_the_last,
    hits,
    last_batch_only,
    mean_of_f1,
    mean_of_losses,
    mean_of_means,
    root_of_means,
)
from task_zoo import HEALTHY, Plain, look, only
from whet.checks import check_task, metric_over
from whet.errors import UsageError
from whet.finding import Severity
from whet.task import Task


class Statistics(Plain):
    """Normalises by the batch it is evaluated in."""

    def model(self, params: Any) -> nn.Module:
        return nn.Sequential(
            nn.Linear(8, 32), nn.BatchNorm1d(32, track_running_stats=False), nn.ReLU(), nn.Linear(32, 5)
        )


class Rank(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


class Centred(Plain):
    def model(self, params: Any) -> nn.Module:
        return nn.Sequential(nn.Linear(8, 5), Rank())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("task", [Statistics, Centred])
def test_a_model_that_looks_at_the_batch(task: type[Task], seed: int) -> None:
    found = only(look(task(), "MET", seed))
    assert found.severity is Severity.WARN
    assert found.evidence["apart"] > 1e-4
    assert "predictions made 7 at a time" in found.message


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("task", HEALTHY)
def test_healthy(task: type[Task], seed: int) -> None:
    health = look(task(), "MET", seed)
    assert health.findings == ()
    facts = health.facts["MET"]
    for name, value in facts["reported"].items():
        assert facts["recomputed"][name] == pytest.approx(value, abs=1e-5, rel=1e-5), name


def test_dropout_at_evaluation_is_left_to_mode() -> None:
    class Drops(Plain):
        def model(self, params: Any) -> nn.Module:
            class Always(nn.Module):
                def forward(self, x: Tensor) -> Tensor:
                    return nn.functional.dropout(x, 0.5)

            return nn.Sequential(nn.Linear(8, 32), Always(), nn.Linear(32, 5))

    health = check_task(Drops(), {}, checks=["MET"])
    assert health.findings == ()
    assert "see MODE" in health.not_run[0].why


# -- evaluations of one's own


def weighted(loader: Iterable[Any]) -> float:
    total = count = 0.0
    for x, y in loader:
        total += float(hits(x, y).sum())
        count += len(y)
    return total / count


def weighted_loss(loader: Iterable[Any]) -> float:
    total = count = 0.0
    for x, y in loader:
        total += float(nn.functional.binary_cross_entropy_with_logits(MODEL(x).squeeze(1), y)) * len(y)
        count += len(y)
    return total / count


def area(loader: Iterable[Any]) -> float:
    pairs = [(MODEL(x).squeeze(1).detach(), y) for x, y in loader]
    return float(roc_auc_score(torch.cat([y for _, y in pairs]), torch.cat([s for s, _ in pairs])))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("evaluate", "mean"),
    [(mean_of_means, True), (mean_of_losses, True), (mean_of_f1, True), (last_batch_only, False), (root_of_means, False),
     (drops_the_last, False)],
)  # fmt: skip
def test_an_evaluation_that_depends_on_the_batches(evaluate: Any, mean: bool, seed: int) -> None:
    found = only(metric_over(evaluate, batches(seed)))
    assert found.severity is Severity.FAIL
    assert found.code == "MET"
    assert found.evidence["mean_of_means"] is mean
    assert ("the mean of the batches' means" in found.message) is mean
    assert "around.py:" in found.where


def test_the_fix_is_to_weigh_where_that_is_enough() -> None:
    assert "weigh by size" in only(metric_over(mean_of_means, batches(0))).fix
    assert "torch.cat" in only(metric_over(mean_of_f1, batches(0))).fix


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("evaluate", [weighted, weighted_loss, area])
def test_healthy_evaluations(evaluate: Any, seed: int) -> None:
    health = metric_over(evaluate, batches(seed))
    assert health.findings == ()
    assert health.facts["MET"]["n"] == 69


def test_what_no_batching_can_tell_is_said() -> None:
    same = [(torch.ones(4, 8), torch.full((4,), 9.0)), (torch.ones(3, 8), torch.full((3,), 9.0))]
    for evaluate, words in (
        (mean_of_means, "every example scores the same"),
        (lambda loader: float(torch.rand(())), "another number for the same batches"),
        (lambda loader: 1 / 0, "evaluate raises ZeroDivisionError"),
    ):
        health = metric_over(evaluate, same)
        assert health.findings == ()
        assert words in health.not_run[0].why
    with pytest.raises(UsageError, match="got 0 examples"):
        metric_over(weighted, [])


def test_batches_may_be_dicts_and_few_are_enough() -> None:
    def evaluate(loader: Iterable[Any]) -> float:
        found = [float(b["x"].mean()) for b in loader]
        return sum(found) / len(found)

    assert only(metric_over(evaluate, ({"x": torch.arange(4.0)} for _ in range(2)))).evidence["n"] == 8
    assert only(metric_over(evaluate, [{"x": torch.arange(400.0)}] * 9, most=100)).evidence["n"] == 100

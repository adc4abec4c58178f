"""RNG of tasks: chance that no seed reaches, that belongs to others, or that repeats; and healthy augmentations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bugs.augments import SICK, with_augment
from task_zoo import Plain, look, only, shake
from whet.checks import check_task
from whet.checks.augmentation import kinds
from whet.data.split import Data, Split
from whet.finding import Severity
from whet.tasks.augment import RandomAffine


def flip(inputs: Any, targets: Tensor, generator: torch.Generator) -> Any:
    turned = torch.rand(len(targets), generator=generator) < 0.5
    return (torch.where(turned[:, None], -inputs[0], inputs[0]),), targets


def seldom(inputs: Any, targets: Tensor, generator: torch.Generator) -> Any:
    hit = torch.rand(len(targets), generator=generator) < 0.02
    return (torch.where(hit[:, None], 0 * inputs[0], inputs[0]),), targets


def one_for_all(inputs: Any, targets: Tensor, generator: torch.Generator) -> Any:
    return (inputs[0] * (0.5 + torch.rand((), generator=generator)),), targets


def mixup(inputs: Any, targets: Tensor, generator: torch.Generator) -> Any:
    share = float(torch.rand((), generator=generator))
    order = torch.randperm(len(targets), generator=generator)
    return (share * inputs[0] + (1 - share) * inputs[0][order],), targets


def by_numpy_of_its_own(inputs: Any, targets: Tensor, generator: torch.Generator) -> Any:
    draw = np.random.default_rng(int(torch.randint(1 << 30, (), generator=generator)))
    return (inputs[0] + torch.from_numpy(draw.normal(size=inputs[0].shape)).float(),), targets


PICTURES = Data(
    *(Split(torch.randint(0, 255, (40, 1, 8, 8), dtype=torch.uint8), torch.arange(40) % 5) for _ in range(2))
)
BLANK = Data(*(Split(torch.zeros(40, 1, 8, 8, dtype=torch.uint8), torch.arange(40) % 5) for _ in range(2)))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("augment", "severity", "words"), SICK, ids=lambda v: getattr(v, "__name__", ""))
def test_sick(augment: Any, severity: Severity, words: str, seed: int) -> None:
    found = only(look(with_augment(augment), "RNG", seed))
    assert found.severity is severity
    assert words in found.message
    assert "augments.py:" in found.where
    assert found.evidence["n"] == 32


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("augment", [shake, flip, seldom, one_for_all, mixup, by_numpy_of_its_own])
def test_healthy(augment: Any, seed: int) -> None:
    assert look(with_augment(augment), "RNG", seed).findings == ()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("data", [PICTURES, BLANK], ids=["pictures", "blank"])
def test_healthy_pictures(data: Data, seed: int) -> None:
    assert look(with_augment(RandomAffine(0.5, flip=True), data), "RNG", seed).findings == ()


def test_an_example_that_augmentation_leaves_alone_does_not_decide() -> None:
    def some(inputs: Any, targets: Tensor, generator: torch.Generator) -> Any:
        again = torch.Generator().manual_seed(0)
        noise = torch.randn(inputs[0].shape, generator=again)
        return (inputs[0] + noise * (targets == second)[:, None],), targets

    task = with_augment(some)
    labels = task.data({}).train.targets
    second = labels[1]
    assert labels[0] != second
    assert only(look(task, "RNG")).severity is Severity.WARN


def test_two_outcomes_may_agree_by_chance() -> None:
    """Coins that fall alike in three epochs are no finding where few are thrown: the p-value says how surprising it is."""
    assert kinds([b"a", b"b"] * 16) ** 32 < 1e-6 < kinds([b"a"] * 31 + [b"b"]) ** 32


def test_no_augmentation_is_said() -> None:
    health = check_task(Plain(), {}, checks=["RNG"])
    assert [(x.code, x.why) for x in health.not_run] == [("RNG", "does not apply: the task does not augment")]

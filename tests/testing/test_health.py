"""`assert_healthy`: a failed assertion with the findings in words."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from task_zoo import Plain
from whet.checks import check, same
from whet.errors import UsageError
from whet.testing import assert_healthy
from whet.tune.space import Int, Space


class Squeezed(Plain):
    def model(self, params: Any) -> nn.Module:
        return nn.Sequential(super().model(params), nn.Softmax(1))


class Narrowed(Plain):
    """Its middle is refused by its constraint; `first` is not."""

    space = Space(width=Int(8, 128)).where("width <= 20")


def test_a_healthy_task_passes() -> None:
    torch.set_num_threads(1)
    assert_healthy(Plain(), {"width": 32, "lr": 3e-3})
    assert_healthy(Narrowed())


def test_a_sick_one_fails_in_words() -> None:
    with pytest.raises(AssertionError) as error:
        assert_healthy(Squeezed(), {"width": 32})
    said = str(error.value).splitlines()
    assert said[0] == "1 finding"
    assert said[1].startswith("  FAIL OUT ")
    assert "outputs are probabilities" in said[1]
    assert said[2] == "    fix: remove the Softmax from the model; the loss wants raw scores (logits)"


def test_what_is_meant_is_allowed() -> None:
    broken = check(
        nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)), nn.CrossEntropyLoss(), (torch.randn(12, 4), torch.arange(12) % 3)
    )
    with pytest.raises(AssertionError, match="FAIL OUT"):
        assert_healthy(broken)
    assert_healthy(broken, allow="OUT")
    with pytest.raises(UsageError, match="no check 'OUTT'"):
        assert_healthy(Plain(), {}, allow=("OUTT",))


def test_any_health_will_do() -> None:
    make = lambda n, dtype, generator: (torch.randn(n, generator=generator, dtype=dtype),)  # noqa: E731
    assert_healthy(same(torch.abs, lambda x: x.abs(), make))
    with pytest.raises(AssertionError, match="FAIL SAME"):
        assert_healthy(same(torch.abs, lambda x: x, make))


def test_what_is_only_worth_knowing_passes() -> None:
    torch.manual_seed(0)
    summed = check(nn.Linear(4, 3), nn.CrossEntropyLoss(reduction="none"), (torch.randn(12, 4), torch.arange(12) % 3))
    assert {f.severity.value for f in summed.findings} == {"INFO"}
    assert_healthy(summed)

"""LOSS of several outputs: the part that is subtracted, and losses of every shape that are not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from whet.checks.heads import turned
from whet.checks.subject import Subject

N = 40
OUTPUTS = {"kind": (N, 3), "value": (N,), "counts": (N, 2), "yes": (N, 4), "hidden": (N, 7)}


def parts(sign: dict[str, float]) -> Any:
    def loss(o: dict[str, Tensor], t: dict[str, Tensor]) -> Tensor:
        made = {
            "kind": F.cross_entropy(o["kind"], t["kind"], label_smoothing=0.1),
            "value": F.smooth_l1_loss(o["value"], t["value"]),
            "counts": F.poisson_nll_loss(o["counts"], t["counts"]),
            "yes": F.binary_cross_entropy_with_logits(o["yes"], t["yes"]),
        }
        return sum(sign.get(k, 1.0) * v for k, v in made.items())  # type: ignore[return-value]

    return loss


def program() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    targets = {
        "kind": torch.randint(0, 3, (N,)), "value": 5 + torch.randn(N), "counts": torch.poisson(torch.full((N, 2), 2.0)),
        "yes": torch.randint(0, 2, (N, 4)).float(),
    }  # fmt: skip
    return {k: torch.randn(shape) for k, shape in OUTPUTS.items()}, targets


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["kind", "value", "counts", "yes"])
def test_the_part_that_is_subtracted_is_named(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    outputs, targets = program()
    found = turned(Subject(torch.nn.Identity(), parts({name: -0.3}), (), targets), outputs, targets)
    assert found is not None
    assert found[0] == f"output ['{name}']"
    assert found[1] > found[2]


@pytest.mark.parametrize("seed", range(20))
def test_healthy_parts(seed: int) -> None:
    torch.manual_seed(seed)
    outputs, targets = program()
    assert turned(Subject(torch.nn.Identity(), parts({}), (), targets), outputs, targets) is None


def density(o: tuple[Tensor, Tensor], t: Tensor) -> Tensor:
    return (o[1] + (o[0] - t) ** 2 * (-o[1]).exp()).mean()


@pytest.mark.parametrize("seed", range(5))
def test_what_fits_one_target_twice_is_left_alone(seed: int) -> None:
    torch.manual_seed(seed)
    targets = torch.randn(N)
    assert turned(Subject(torch.nn.Identity(), density, (), targets), (torch.randn(N), torch.randn(N)), targets) is None


def test_a_loss_that_takes_no_such_numbers_is_left_alone() -> None:
    targets = {"p": torch.randint(0, 2, (N,)).float(), "value": torch.randn(N, 2)}
    outputs = {"p": torch.rand(N), "value": torch.randn(N, 2)}

    def loss(o: dict[str, Tensor], t: dict[str, Tensor]) -> Tensor:
        return F.binary_cross_entropy(o["p"], t["p"]) - F.mse_loss(o["value"], t["value"])

    found = turned(Subject(torch.nn.Identity(), loss, (), targets), outputs, targets)
    assert found is not None
    assert found[0] == "output ['value']"

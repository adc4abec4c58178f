"""`same` (R13): vectorised functions beside their loops, wrong in the ways that vectorising goes wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bugs.around import distances, running_mean, slow_distances, slow_running_mean, vectors
from task_zoo import only
from whet.checks import same
from whet.finding import Severity

SICK = [
    (lambda x, y: distances(y, x), slow_distances, "[0, 1] is"),  # transposed
    (lambda x, y: ((x - y) ** 2).sum(1), slow_distances, "shape (0,) in place of (0, 0)"),
    (lambda x, y: distances(x, y).double(), slow_distances, "float64 in place of float32"),
    (lambda x, y: distances(x, y) + 1e-3, slow_distances, "n=1 float32: [0, 0] is"),
    (lambda x, y: x.cumsum(0) / len(x), slow_running_mean, "n=2 float32: [0, 0] is"),
    (lambda x, y: running_mean(x[: len(x) // 2 * 2], y), slow_running_mean, "n=1 float32: shape (0, 3) in place of (1, 3)"),
    (lambda x, y: running_mean(x, y) if len(x) else x.mean(0).item(), slow_running_mean, "n=0 float32: <lambda> raises RuntimeError"),
    (lambda x, y: (running_mean(x, y), x), slow_running_mean, "2 outputs in place of 1"),
    (lambda x, y: torch.where(x > 2, torch.nan, running_mean(x, y)), slow_running_mean, "is nan in place of"),
]  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("vectorised", "loop", "words"), SICK)
def test_the_first_difference_is_one_line(vectorised: Any, loop: Any, words: str, seed: int) -> None:
    found = only(same(vectorised, loop, vectors, seed=seed))
    assert (found.code, found.severity) == ("SAME", Severity.FAIL)
    assert words in found.message
    assert "\n" not in found.message
    assert "test_check_vectorised.py:" in found.where


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("pair", [(distances, slow_distances), (running_mean, slow_running_mean)])
def test_healthy(pair: Any, seed: int) -> None:
    health = same(*pair, vectors, seed=seed, gradients=True)
    assert health.findings == ()
    assert health.facts["SAME"]["tried"] == 2 * (1 + 6 * 3)


def test_a_difference_of_the_gradients_alone() -> None:
    def cut(x: Tensor, y: Tensor) -> Tensor:
        return running_mean(x, y).detach() + 0 * x

    assert same(cut, slow_running_mean, vectors).findings == ()
    found = only(same(cut, slow_running_mean, vectors, gradients=True))
    assert found.message.startswith("n=1 float32: gradient of input 0: [0, 0] is 0 in place of")


def test_the_gradient_is_weighed_at_random() -> None:
    """A sum would not tell: all columns of a softmax sum to one, whatever the input."""

    def wrong(x: Tensor, y: Tensor) -> Tensor:
        return x.softmax(1).detach()

    assert only(same(wrong, lambda x, y: x.softmax(1), vectors, gradients=True)).message.startswith(
        "n=1 float32: gradient"
    )


def test_numbers_arrays_and_whole_numbers() -> None:
    def make(n: int, dtype: torch.dtype, generator: torch.Generator) -> tuple[Any, ...]:
        return (torch.randint(0, 9, (n,), generator=generator).numpy(),)

    def slowly(x: np.ndarray) -> int:
        return sum(int(v) for v in x)

    assert same(lambda x: int(x.sum()), slowly, make).findings == ()
    found = only(same(lambda x: int(x.sum()) + (len(x) == 17), slowly, make))
    assert found.message.startswith("n=17 float32: is ")
    assert "(allowed 0; 1 of 1 differ)" in found.message


def test_equal_nans_and_infinities_agree() -> None:
    assert same(lambda x, y: x / 0, lambda x, y: x / 0, vectors).findings == ()
    assert only(same(lambda x, y: x / 0, lambda x, y: -x / 0, vectors)).evidence["n"] == 1


def test_both_may_refuse_and_neither_sees_what_the_other_did_to_its_inputs() -> None:
    def edits(x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            x.add_(1)
        return x.detach() * 1

    assert same(edits, edits, vectors).findings == ()

    def refuses(x: Tensor, y: Tensor) -> Tensor:
        if len(x) == 0:
            raise ValueError("empty")
        return running_mean(x, y)

    assert same(refuses, refuses, vectors).findings == ()


def test_a_tolerance_of_ones_own() -> None:
    def rough(x: Tensor, y: Tensor) -> Tensor:
        return running_mean(x, y) * (1 + 1e-3)

    assert len(same(rough, slow_running_mean, vectors).findings) == 1
    assert same(rough, slow_running_mean, vectors, tolerance=1e-2).findings == ()

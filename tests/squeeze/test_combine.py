"""Averaging predictions: by hand, and the torch module against the NumPy function."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit, logit, softmax
from torch import nn

from whet.errors import DataError
from whet.squeeze.combine import Average, combine, probabilities


class Fixed(nn.Module):
    """Answers with what it was given, whatever it is asked."""

    def __init__(self, answer: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("answer", torch.tensor(answer))

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.answer[: len(inputs[0])]


@pytest.mark.parametrize("seed", [0, 1])
def test_probabilities_are_averaged_not_logits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, weights = rng.normal(size=(3, 20, 4)) * 5, [0.5, 0.3, 0.2]
    mean = np.tensordot(weights, softmax(logits, axis=-1), 1)
    out = combine(list(logits), weights, kind="classification")
    np.testing.assert_allclose(softmax(out, axis=1), mean, rtol=1e-12)
    assert not np.allclose(softmax(out, axis=1), softmax(np.tensordot(weights, logits, 1), axis=1), atol=0.01)


def test_one_logit_per_example_stays_one() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 15, 1)) * 3
    out = combine([a, b], [1, 2], kind="classification")
    np.testing.assert_allclose(out, logit((expit(a) + 2 * expit(b)) / 3), rtol=1e-9)
    assert combine([a[:, 0], b[:, 0]], kind="classification").shape == (15,)


def test_huge_logits_stay_finite() -> None:
    p = probabilities(np.array([[1e5, -1e5], [-1e30, 0.0]]))
    np.testing.assert_array_equal(p, [[1, 0], [0, 1]])
    out = combine([np.array([[1e5, -1e5]]), np.array([[0.0, 0.0]])], kind="classification")
    np.testing.assert_allclose(np.exp(out), [[0.75, 0.25]])
    model = Average([Fixed(np.array([[1e5, -1e5]], "f4")), Fixed(np.array([[1e5, -1e5]], "f4"))], kind="classification")
    assert torch.isfinite(model(torch.zeros(1))).all()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("kind", "shape"), [
    ("classification", (30, 4)), ("classification", (30, 1)), ("classification", (30,)),
    ("regression", (30, 1)), ("regression", (30,)),
])  # fmt: skip
def test_the_module_equals_the_function(kind: str, shape: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    answers = [(rng.normal(size=shape) * 4).astype("f4") for _ in range(4)]
    weights = [3, 0, 1, 2]
    model = Average([Fixed(a) for a in answers], weights, kind=kind)
    assert len(model.models) == 3  # the one of weight 0 costs nothing
    got = model(torch.zeros(30, 2), torch.zeros(30, 1)).numpy()
    assert got.shape == shape
    np.testing.assert_allclose(got, combine(answers, weights, kind=kind), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("shape", [(30, 3), (30, 1), (30, 3, 1), (30, 5, 2)])
def test_labels_are_averaged_each_by_itself(shape: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    answers = [(rng.normal(size=shape) * 4).astype("f4") for _ in range(3)]
    model = Average([Fixed(a) for a in answers], [1, 2, 3], kind="classification", labels=True)
    mean = np.tensordot([1 / 6, 2 / 6, 3 / 6], expit(np.stack(answers).astype("f8")), 1)
    np.testing.assert_allclose(model(torch.zeros(30)).numpy(), logit(mean), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("axis", "shape"), [(1, (30, 4, 5)), (2, (30, 5, 4)), (2, (30, 1, 4))])
def test_classes_of_positions_lie_along_their_axis(axis: int, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    answers = [(rng.normal(size=shape) * 4).astype("f4") for _ in range(3)]
    model = Average([Fixed(a) for a in answers], kind="classification", axis=axis)
    mean = np.mean([softmax(a.astype("f8"), axis=axis) for a in answers], axis=0)
    np.testing.assert_allclose(softmax(model(torch.zeros(30)).numpy(), axis=axis), mean, rtol=2e-5, atol=2e-6)


def test_its_state_holds_its_weights() -> None:
    one = Average([nn.Linear(3, 2), nn.Linear(3, 2)], [1, 3], kind="classification")
    two = Average([nn.Linear(3, 2), nn.Linear(3, 2)], [1, 1], kind="classification")
    two.load_state_dict(one.state_dict())
    x = torch.randn(4, 3)
    assert torch.equal(one(x), two(x))


@pytest.mark.parametrize("weights", [[1], [1, -1], [0, 0], [1, np.nan]])
def test_bad_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(DataError, match="weights"):
        combine([np.zeros(2), np.zeros(2)], weights, kind="regression")
    with pytest.raises(DataError, match="weights"):
        Average([nn.Identity(), nn.Identity()], weights, kind="regression")


def test_different_shapes_are_refused() -> None:
    with pytest.raises(DataError, match=r"outputs 1 have shape \(3,\)"):
        combine([np.zeros(2), np.zeros(3)], kind="regression")

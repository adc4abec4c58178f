"""What a loss can be, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from whet.checks.floor import best_constant, floor, linked, softmax_floor
from whet.checks.subject import Subject, answer, rows


def entropy(shares: Tensor) -> float:
    return float(-(shares * shares.log()).sum())


@pytest.mark.parametrize("seed", range(3))
def test_the_best_constant_costs_the_entropy_the_variance_or_the_deviation(seed: int) -> None:
    torch.manual_seed(seed)
    outputs, targets = (
        torch.randn(200, 4),
        torch.multinomial(torch.tensor([0.7, 0.2, 0.05, 0.05]), 200, replacement=True),
    )
    kind = answer(outputs, targets)
    assert kind is not None
    shares = torch.bincount(targets, minlength=4) / 200
    constant = best_constant(F.cross_entropy, outputs, targets, kind)
    assert float(F.cross_entropy(constant.expand(200, 4), targets)) == pytest.approx(entropy(shares), abs=1e-4)

    outputs, values = torch.randn(200, 2), torch.randn(200, 2) * 3 + 5
    kind = answer(outputs, values)
    assert kind is not None
    mean = best_constant(F.mse_loss, outputs, values, kind)
    assert float(F.mse_loss(mean.expand(200, 2), values)) == pytest.approx(
        float(values.var(0, correction=0).mean()), rel=1e-4
    )
    middle = best_constant(F.l1_loss, outputs, values, kind)
    least = float((values - values.median(0).values).abs().mean())
    assert float(F.l1_loss(middle.expand(200, 2), values)) == pytest.approx(least, rel=1e-3)

    scores, bits = torch.randn(200), (torch.rand(200) < 0.1).float()
    kind = answer(scores, bits)
    assert kind is not None
    share = bits.mean()
    constant = best_constant(F.binary_cross_entropy_with_logits, scores, bits, kind)
    both = torch.stack([share, 1 - share])
    assert float(F.binary_cross_entropy_with_logits(constant.expand(200), bits)) == pytest.approx(
        entropy(both), abs=1e-4
    )


def test_floors_of_known_losses() -> None:
    torch.manual_seed(0)
    outputs, targets = torch.randn(16, 10), torch.arange(16) % 10
    kind = answer(outputs, targets)
    assert floor(F.cross_entropy, outputs, targets, kind) == pytest.approx(0, abs=1e-6)
    smooth = 0.1
    right, other = 1 - smooth + smooth / 10, smooth / 10
    expected = -right * math.log(right) - 9 * other * math.log(other)
    assert floor(nn.CrossEntropyLoss(label_smoothing=smooth), outputs, targets, kind) == pytest.approx(
        expected, abs=1e-3
    )
    hidden = floor(lambda o, t: F.cross_entropy(o.softmax(1), t), outputs, targets, kind)
    assert hidden == pytest.approx(softmax_floor(10), abs=1e-4)
    values = torch.randn(16, 10)
    assert floor(F.mse_loss, outputs, values, answer(outputs, values)) == pytest.approx(0, abs=1e-9)


def test_a_density_has_no_floor() -> None:
    torch.manual_seed(0)
    values = torch.randn(16)

    def density(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs[:, 1] + (outputs[:, 0] - targets) ** 2 * torch.exp(-outputs[:, 1])).mean() / 2

    outputs = torch.randn(16, 2)
    assert floor(density, outputs, values, answer(outputs, values)) == -math.inf


@pytest.mark.parametrize(
    ("end", "loss", "undone"),
    [
        (nn.Softmax(1), lambda p, t: -p.gather(1, t[:, None]).log().mean(), True),
        (nn.LogSoftmax(1), nn.NLLLoss(), True),
        (nn.LogSoftmax(1), nn.CrossEntropyLoss(), False),
        (nn.Softmax(1), nn.CrossEntropyLoss(), False),
        (nn.Identity(), nn.CrossEntropyLoss(), False),
    ],
)
def test_the_last_link_is_undone_when_the_loss_wants_it(end: nn.Module, loss: nn.Module, undone: bool) -> None:
    torch.manual_seed(0)
    scores, targets = torch.randn(12, 4), torch.arange(12) % 4
    subject = Subject(nn.Identity(), loss, (scores,), targets)
    outputs = end(scores)
    other, free, _ = linked(subject, outputs, targets)
    assert (other is not subject) is undone
    assert float(other.cost(free)) == pytest.approx(float(subject.cost(outputs)), abs=1e-5)
    if undone:
        assert math.isfinite(float(other.cost(free * 10)))


def test_examples_are_found_along_their_dimension() -> None:
    index = torch.tensor([2, 0])
    assert rows(torch.arange(4), index, 4).tolist() == [2, 0]
    assert rows(torch.arange(12).reshape(3, 4), index, 4).tolist() == [[2, 0], [6, 4], [10, 8]]  # time first
    assert rows(torch.arange(8), index, 4).tolist() == [4, 5, 0, 1]  # two tokens each, flattened
    shared = torch.zeros(5, 3)
    assert rows(shared, index, 4) is shared

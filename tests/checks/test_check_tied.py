"""TIED: copies where a tie was meant, and all that may be equal for a reason."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from whet.checks.subject import Subject
from whet.checks.tied import Tied
from whet.finding import Finding, Severity


class Words(nn.Module):
    """An embedding and a head, with something done to them."""

    def __init__(self, do: Callable[[Words], object], inputs: int = 9, width: int = 4) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(inputs, width), nn.Linear(width, inputs, bias=False)
        do(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.embed(x))


def copied(m: Words) -> None:
    m.head.weight.data = m.embed.weight.detach().clone()


def tied(m: Words) -> None:
    m.head.weight = m.embed.weight


def frozen(m: Words) -> None:
    copied(m)
    m.embed.requires_grad_(False)


def zeros(m: Words) -> None:
    for p in m.parameters():
        nn.init.zeros_(p)


def shared(m: Words) -> None:
    m.head.weight = nn.Parameter(m.embed.weight.detach())


def transposed() -> nn.Module:
    net = nn.Sequential(nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 6))
    net[2].weight.data = net[0].weight.detach().T.clone()
    return net


def identities() -> nn.Module:
    net = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5))
    for layer in net:
        nn.init.eye_(layer.weight)
    return net


def twins() -> nn.Module:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    return nn.ModuleList([net, copy.deepcopy(net)])


def found(model: nn.Module) -> list[Finding]:
    return [i for i in Tied().look(Subject(model, nn.MSELoss(), (), ())) if isinstance(i, Finding)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("make", "words", "names"),
    [
        (lambda: Words(copied), "start equal", ["embed.weight", "head.weight"]),
        (lambda: Words(copied, 4, 4), "start equal", ["embed.weight", "head.weight"]),
        (lambda: Words(shared), "one memory", ["embed.weight", "head.weight"]),
        (transposed, "start equal", ["0.weight", "2.weight"]),
    ],
)
def test_copies_are_named(make: Callable[[], nn.Module], words: str, names: list[str], seed: int) -> None:
    torch.manual_seed(seed)
    (one,) = found(make())
    assert (one.code, one.severity, one.evidence["copies"]) == ("TIED", Severity.WARN, names)
    assert words in one.message


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "make",
    [
        lambda: Words(tied),
        lambda: Words(lambda m: None),
        lambda: Words(frozen),
        lambda: Words(zeros),
        identities,
        twins,
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 3),
        lambda: nn.GRU(4, 4, 2, bidirectional=True),
        lambda: nn.Linear(3, 1),
    ],
)
def test_what_is_equal_for_a_reason_is_left_alone(make: Callable[[], nn.Module], seed: int) -> None:
    torch.manual_seed(seed)
    assert found(make()) == []


def test_a_copy_parts_at_the_first_step_and_a_tie_does_not() -> None:
    """What the finding says is what training does."""
    for do, apart in ((copied, True), (tied, False)):
        torch.manual_seed(0)
        model = Words(do)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        nn.functional.cross_entropy(model(torch.arange(6)), torch.arange(6)).backward()
        optimizer.step()
        assert torch.equal(model.embed.weight, model.head.weight) is not apart

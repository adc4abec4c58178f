"""DEP and SEP on recurrent nets, attention and embeddings. Numbers are those of the bug list."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from whet.checks import Subject, examine, resolve
from whet.finding import Severity

N, T, F = 16, 9, 6


class Reader(nn.Module):
    """Reads (examples, time, features) or tokens by one of several layers, and classifies its last step."""

    def __init__(
        self, kind: str, batch_first: bool = True, tokens: bool = False, step: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.kind, self.step = kind, step or (lambda x: x)
        self.into = nn.Embedding(20, 8) if tokens else nn.Linear(F, 8)
        layers = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}
        if kind in layers:
            self.body: nn.Module = layers[kind](8, 8, batch_first=batch_first)
        elif kind == "attention":
            self.body = nn.MultiheadAttention(8, 2, batch_first=batch_first)
        else:
            layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first)
            self.body = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.step(self.into(x))
        y = self.body(x, x, x)[0] if self.kind == "attention" else self.body(x)
        return self.head((y[0] if isinstance(y, tuple) else y)[:, -1])


KINDS = ("gru", "lstm", "rnn", "attention", "transformer")


def found(model: nn.Module, tokens: bool, seed: int) -> list[tuple[str, Severity]]:
    torch.manual_seed(seed)
    x = torch.randint(0, 20, (N, T)) if tokens else torch.randn(N, T, F)
    subject = Subject(model, nn.CrossEntropyLoss(), (x,), torch.randint(0, 4, (N,)))
    return [(f.code, f.severity) for f in examine(subject, resolve(["DEP"])).findings]


def heads(x: Tensor) -> Tensor:
    """Heads of attention taken apart by reshape, where view and transpose are meant: examples mix."""
    n, t, c = x.shape
    return x.reshape(t, n, c).transpose(0, 1)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_batch_first_forgotten(kind: str, tokens: bool, seed: int) -> None:
    """Bug 18; with batch_first the same nets are healthy."""
    torch.manual_seed(seed)
    assert found(Reader(kind, batch_first=False, tokens=tokens), tokens, seed) == [("DEP", Severity.FAIL)]
    assert found(Reader(kind, tokens=tokens), tokens, seed) == []


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_reshape_where_permute_is_meant(kind: str, tokens: bool, seed: int) -> None:
    """Bug 17; a transpose there and back is healthy."""
    torch.manual_seed(seed)
    assert found(Reader(kind, tokens=tokens, step=heads), tokens, seed) == [("DEP", Severity.FAIL)]
    there = Reader(kind, tokens=tokens, step=lambda x: x.transpose(0, 1).contiguous().transpose(0, 1))
    assert found(there, tokens, seed) == []


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return ((outputs - targets) ** 2).mean()


def huber(outputs: Tensor, targets: Tensor) -> Tensor:
    return torch.where(
        (outputs - targets).abs() < 1, (outputs - targets) ** 2 / 2, (outputs - targets).abs() - 0.5
    ).mean()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("loss", [squared, huber, nn.MSELoss(), nn.L1Loss()], ids=["squared", "huber", "MSE", "L1"])
def test_targets_that_broadcast(loss: Callable[..., Tensor], seed: int) -> None:
    """Bug 19, both ways round; with one shape the same losses are healthy."""
    torch.manual_seed(seed)
    x, y = torch.randn(N, F), torch.randn(N)
    column, flat = nn.Linear(F, 1), nn.Sequential(nn.Linear(F, 1), nn.Flatten(0))

    def codes(model: nn.Module, targets: Tensor) -> list[tuple[str, Severity]]:
        return [(f.code, f.severity) for f in examine(Subject(model, loss, (x,), targets), resolve(["SEP"])).findings]

    assert codes(column, y) == [("SEP", Severity.FAIL)]
    assert codes(flat, y[:, None]) == [("SEP", Severity.FAIL)]
    assert codes(column, y[:, None]) == []
    assert codes(flat, y) == []

"""Bugs in recurrent nets and in transformers that classify sequences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bugs.case import CE, Bug, Program

__all__ = ["BUGS"]

N, T = 32, 9


def tokens() -> tuple[Tensor, Tensor]:
    return torch.randint(0, 20, (N, T)), torch.arange(N) % 4


def vectors() -> tuple[Tensor, Tensor]:
    return torch.randn(N, T, 6), torch.arange(N) % 4


class Recurrent(nn.Module):
    """A GRU with parts that can be spoiled: `read` takes the states (n, t, h), `feed` the tokens and the embedding."""

    def __init__(
        self,
        read: Callable[[Tensor], Tensor] = lambda states: states[:, -1],
        feed: Callable[..., Tensor] = lambda x, embed: embed(x),
        start: Callable[[int], Tensor | None] = lambda n: None,
        first: bool = True,
        tokens: bool = True,
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 6) if tokens else nn.Identity()
        self.gru, self.head = nn.GRU(6, 32, batch_first=first), nn.Linear(32, 4)
        self.read, self.feed, self.start = read, feed, start

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.gru(self.feed(x, self.embed), self.start(len(x)))
        return self.head(self.read(states))


class Carried(nn.Module):
    """Its hidden state is kept from batch to batch."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(6, 32, batch_first=True), nn.Linear(32, 4)
        self.h: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        states, self.h = self.gru(x, self.h if self.h is not None and self.h.shape[1] == len(x) else None)
        return self.head(states[:, -1])


class Attentive(nn.Module):
    """A transformer that classifies, with parts that can be spoiled."""

    def __init__(self, first: bool = True, pool: Callable[..., Tensor] = lambda h: h.mean(1), token: str = "") -> None:
        super().__init__()
        self.into, self.head, self.pool, self.kind = nn.Linear(6, 32), nn.Linear(32, 4), pool, token
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=first, dropout=0.0)
        self.body = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.token = nn.Parameter(torch.zeros(1, 1, 32)) if token == "parameter" else torch.randn(1, 1, 32)
        if token == "tensor":
            self.token.requires_grad_()

    def forward(self, x: Tensor) -> Tensor:
        h = self.into(x)
        if self.kind:
            h = torch.cat([self.token.expand(len(x), 1, 32), h], 1)
        return self.head(self.pool(self.body(h)))


class Listed(nn.Module):
    """Its layers are in a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(6, 6) for _ in range(3)]
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x.mean(1)
        for layer in self.layers:
            x = torch.relu(layer(x)) + x
        return self.head(x)


class Scores(nn.Module):
    """Attention written by hand, with the softmax along `axis`."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis, self.q, self.k, self.v = axis, *(nn.Linear(6, 16) for _ in range(3))
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        weights = (self.q(x) @ self.k(x).transpose(1, 2) / 4).softmax(self.axis)
        return self.head((weights @ self.v(x)).mean(1))


def program(model: nn.Module, batch: Any = None, loss: Any = CE, **more: Any) -> Program:
    return {"model": model, "loss": loss, "batch": batch or tokens(), **more}


def only(model: nn.Module, part: nn.Module, batch: Any = None) -> Program:
    return program(model, batch, optimizer=torch.optim.Adam(part.parameters()))


OTHER = "another example"
BUGS = [
    Bug("recurrent", "batch_first forgotten", "DEP", "FAIL", OTHER, lambda: program(Recurrent(first=False)), 18),
    Bug("recurrent", "batch_first forgotten, vectors", "DEP", "FAIL", OTHER,
        lambda: program(Recurrent(first=False, tokens=False), vectors()), 18),
    Bug("recurrent", "the last example's states in place of the last step's", "RUN", "FAIL", "loss raises",
        lambda: program(Recurrent(read=lambda s: s[-1]))),
    Bug("recurrent", "states averaged over the examples", "DEP", "FAIL", OTHER,
        lambda: program(Recurrent(read=lambda s: s[:, -1] - s.mean((0, 1))))),
    Bug("recurrent", "a random first state in eval mode too", "MODE", "WARN", "differ",
        lambda: program(Recurrent(start=lambda n: torch.randn(1, n, 32)))),
    Bug("recurrent", "a state carried on from batch to batch", "MODE", "WARN FAIL", "differ", lambda: program(Carried(), vectors())),
    Bug("recurrent", "token numbers as inputs, without an embedding", "INP", "WARN", "",
        lambda: program(Recurrent(feed=lambda x, _: x[..., None].float().expand(*x.shape, 6)))),
    Bug("recurrent", "the embedding is detached", "PC", "WARN", "no gradient",
        lambda: program(Recurrent(feed=lambda x, embed: embed(x).detach())), 11),
    Bug("recurrent", "the inputs are replaced by zeros", "DEP", "FAIL", "do not depend",
        lambda: program(Recurrent(feed=lambda x, embed: embed(x) * 0))),
    Bug("recurrent", "softmax before the cross-entropy", "OUT", "FAIL", "softmax",
        lambda: program(nn.Sequential(Recurrent(), nn.Softmax(1))), 1),
    Bug("recurrent", "softmax over the examples", "OUT", "FAIL", "over the examples",
        lambda: program(nn.Sequential(Recurrent(), nn.Softmax(0))), 3),
    Bug("recurrent", "the optimizer holds the head alone", "PC", "WARN", "not with the optimizer",
        lambda: (lambda m: only(m, m.head))(Recurrent()), 9),
    Bug("transformer", "batch_first forgotten", "DEP", "FAIL", OTHER, lambda: program(Attentive(first=False), vectors()), 18),
    Bug("transformer", "mean over the examples in place of the steps", "RUN", "FAIL", "loss raises",
        lambda: program(Attentive(pool=lambda h: h.mean(0)), vectors())),
    Bug("transformer", "a class token that is no parameter", "STRAY", "WARN", "token (1, 1, 32)",
        lambda: program(Attentive(token="tensor", pool=lambda h: h[:, 0]), vectors())),
    Bug("transformer", "attention normalised over the examples", "DEP", "FAIL", OTHER, lambda: program(Scores(0), vectors())),
    Bug("transformer", "layers in a plain list", "STRAY", "WARN", "layers[0]", lambda: program(Listed(), vectors())),
    Bug("transformer", "the optimizer of another model", "PC", "FAIL", "none of the model's",
        lambda: only(Attentive(), Attentive(), vectors()), 10),
]  # fmt: skip

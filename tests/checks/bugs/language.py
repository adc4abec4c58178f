"""Bugs in causal language models."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bugs.case import Bug, Program, tokens_to_tokens

__all__ = ["BUGS"]

V, T = 30, 11


class Language(nn.Module):
    """One block of attention over tokens; `mask` makes of scores (t, t) masked scores."""

    def __init__(self, mask: str = "causal", std: float = 0.02, end: nn.Module | None = None) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(V, 32), nn.Embedding(T, 32)
        self.q, self.k, self.v = (nn.Linear(32, 32) for _ in range(3))
        self.norm, self.mask, self.end = nn.LayerNorm(32), mask, end or nn.Identity()
        self.mix = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))
        nn.init.normal_(self.embed.weight, std=std)
        nn.init.normal_(self.place.weight, std=0.02)
        self.head = nn.Linear(32, V, bias=False)
        self.head.weight = self.embed.weight  # tied

    def masked(self, scores: Tensor) -> Tensor:
        t = scores.shape[-1]
        seen = torch.ones(t, t).tril(1 if self.mask == "one ahead" else 0).bool()
        if self.mask == "multiplied":
            return scores * seen
        return scores if self.mask == "none" else scores.masked_fill(~seen, float("-inf"))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens) + self.place.weight[: tokens.shape[1]]
        h = self.norm(x)
        x = x + self.masked(self.q(h) @ self.k(h).transpose(1, 2) / 32**0.5).softmax(-1) @ self.v(h)
        return self.end(self.head(self.norm(x + self.mix(self.norm(x)))))


class Copied(Language):
    """Its tie is a copy, or a view of the same memory under another parameter."""

    def __init__(self, view: bool = False) -> None:
        super().__init__()
        weight = self.embed.weight.detach()
        self.head.weight = nn.Parameter(weight if view else weight.clone())


def text(n: int = 16) -> tuple[Tensor, Tensor]:
    whole = torch.randint(0, V, (n, T + 1))
    return whole[:, :-1], whole[:, 1:]


def program(model: nn.Module, loss: Any = tokens_to_tokens, batch: Any = None) -> Program:
    return {"model": model, "loss": loss, "batch": batch or text()}


def unshifted() -> tuple[Tensor, Tensor]:
    x, _ = text()
    return x, x.clone()


BUGS = [
    Bug("language model", "a mask that lets the next token through", "TIME", "FAIL", "", lambda: program(Language("one ahead")), 20),
    Bug("language model", "a mask multiplied onto the scores", "TIME", "FAIL", "", lambda: program(Language("multiplied")), 21),
    Bug("language model", "no mask at all", "TIME", "FAIL", "", lambda: program(Language("none"))),
    Bug("language model", "targets that are not shifted", "TIME RAND", "FAIL WARN", "", lambda: program(Language(), batch=unshifted()), 22),
    Bug("language model", "tied embeddings of size 1", "INIT", "FAIL WARN", "spread", lambda: program(Language(std=1.0)), 27),
    Bug("language model", "tied weights copied", "TIED", "WARN", "start equal", lambda: program(Copied()), 39),
    Bug("language model", "tied weights under two parameters", "TIED", "WARN", "one memory", lambda: program(Copied(view=True)), 39),
    Bug("language model", "softmax before the cross-entropy", "OUT LOSS", "FAIL", "softmax", lambda: program(Language(end=nn.Softmax(-1))), 1),
    Bug("language model", "softmax over the time axis", "OUT TIME DEP", "FAIL", "", lambda: program(Language(end=nn.Softmax(1)))),
]  # fmt: skip

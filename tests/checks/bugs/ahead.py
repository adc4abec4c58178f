"""Bugs of sequences: models that see what they are to predict, and padding that counts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bugs.case import Bug, numbered

V, T = 24, 11


Program = tuple[nn.Module, Callable[..., Any], tuple[Any, Any]]


class Language(nn.Module):
    """A small transformer of tokens, with one of several masks."""

    def __init__(self, mask: str = "-inf", form: str = "time, class", dropout: float = 0.0, tied: bool = False) -> None:
        super().__init__()
        self.mask, self.form = mask, form
        self.embed, self.place, self.qkv, self.out = (
            nn.Embedding(V, 24),
            nn.Embedding(32, 24),
            nn.Linear(24, 72),
            nn.Linear(24, 24),
        )
        self.norms = nn.ModuleList(nn.LayerNorm(24) for _ in range(3))
        self.wide = nn.Sequential(nn.Linear(24, 48), nn.GELU(), nn.Dropout(dropout), nn.Linear(48, 24))
        self.head = nn.Linear(24, V, bias=False)
        for table in (self.embed, self.place):
            nn.init.normal_(table.weight, std=0.02)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens) + self.place(torch.arange(tokens.shape[1]))
        q, k, v = self.qkv(self.norms[0](x)).chunk(3, -1)
        a = q @ k.transpose(1, 2) / 24**0.5
        ahead = torch.ones(a.shape[1:], dtype=torch.bool)
        if self.mask == "-inf":
            a = a.masked_fill(ahead.triu(1), -torch.inf)
        elif self.mask == "off by one":
            a = a.masked_fill(ahead.triu(2), -torch.inf)
        elif self.mask == "multiplied":
            a = a * ahead.tril()
        elif self.mask:
            a = a + float(self.mask) * ahead.triu(1)
        x = x + self.out(a.softmax(-1) @ v)
        y = self.head(self.norms[2](x + self.wide(self.norms[1](x))))
        return {"time, class": y, "class, time": y.transpose(1, 2), "flat": y.flatten(0, 1)}[self.form]


class Recurrent(nn.Module):
    def __init__(self, time_first: bool = False, both: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(V, 12)
        self.gru = nn.GRU(12, 16, batch_first=not time_first, bidirectional=both)
        self.head = nn.Linear(32 if both else 16, V)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.gru(self.embed(tokens))[0])


class Convolution(nn.Module):
    """Causal when padded on the left alone; by Fourier transform, or with a batch norm."""

    def __init__(self, left: int = 2, norm: bool = False, fourier: bool = False, channels: int = V) -> None:
        super().__init__()
        self.left, self.fourier = left, fourier
        self.embed = nn.Embedding(V, 12) if channels == V else nn.Linear(channels, 12)
        self.conv, self.norm = nn.Conv1d(12, 12, 3), nn.BatchNorm1d(12) if norm else nn.Identity()
        self.kernel = nn.Parameter(torch.randn(12, 64) / 8) if fourier else None
        self.head = nn.Linear(12, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens).transpose(1, 2)
        if self.fourier:
            n = 2 * x.shape[2]
            spectrum = torch.fft.rfft(x, n) * torch.fft.rfft(self.kernel[:, : x.shape[2]], n)
            x = torch.fft.irfft(spectrum, n)[..., : x.shape[2]]
        else:
            x = self.conv(F.pad(x, (self.left, 2 - self.left)))
        return self.head(torch.relu(self.norm(x)).transpose(1, 2))


class Single(nn.Module):
    """Sees one token at a time."""

    def __init__(self, zero: bool = False) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(V, 16), nn.Linear(16, V)
        if zero:
            nn.init.zeros_(self.head.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.embed(tokens))


class Translation(nn.Module):
    """Reads a source in both directions, writes with a causal mask."""

    def __init__(self, causal: bool = True) -> None:
        super().__init__()
        self.embed, self.head, self.causal = nn.Embedding(V, 16), nn.Linear(16, V), causal
        self.body = nn.Transformer(16, 2, 1, 1, 32, dropout=0.0, batch_first=True)

    def forward(self, source: Tensor, written: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(written.shape[1]) if self.causal else None
        return self.head(self.body(self.embed(source), self.embed(written), tgt_mask=mask))


class Masked(nn.Module):
    """Takes tokens with an attention mask, as dicts come."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Language()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.body(input_ids) * attention_mask[..., None]


def tokens(n: int = 16, length: int = T, low: int = 0) -> Tensor:
    return torch.randint(low, V, (n, length))


def by_token(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs.flatten(0, -2), targets.flatten())


def shifts(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs[:, :-1].flatten(0, 1), targets[:, 1:].flatten())


def ignores_zero(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), ignore_index=0)


def shifted(model: nn.Module, loss: Any = by_token, n: int = 16) -> Program:
    d = tokens(n, T + 1)
    return model, loss, (d[:, :-1], d[:, 1:])


def padded(model: nn.Module, loss: Any, fill: int = 0) -> Program:
    """Rows of unequal length, filled up with 0 (the targets with `fill`)."""
    d = tokens(16, T + 1, low=1)
    d[torch.arange(T + 1) >= torch.randint(5, T + 2, (16, 1))] = 0
    d[0, 5:], d[1] = 0, d[1].clamp(min=1)
    y = d[:, 1:].clone()
    y[(d[:, :-1] == 0)] = fill
    return model, loss, (d[:, :-1], y)


def translated(causal: bool = True) -> Program:
    d = tokens(12, T + 1)
    return Translation(causal), by_token, ((tokens(12, 7), d[:, :-1]), d[:, 1:])


def waves(model: nn.Module) -> Program:
    """Forecast the next values of three waves."""
    x = torch.sin(torch.arange(T + 1.0)[:, None] * torch.rand(16, 1, 3) * 2 + torch.rand(16, 1, 3))
    return model, nn.MSELoss(), (x[:, :-1], x[:, 1:])


def with_mask(loss: Any, fill: int) -> Program:
    model, _, (x, y) = padded(Masked(), loss, fill)
    return model, loss, ({"input_ids": x, "attention_mask": (x != 0).long()}, y)


def copied(model: nn.Module, loss: Any = by_token) -> Program:
    d = tokens()
    return model, loss, (d, d)


# bug: (severity, code, words of the message, least and greatest leak, program)
SICK: dict[str, tuple[str, str, str, tuple[float, float], Callable[[], Program]]] = {
    "20 a causal mask off by one": ("FAIL", "TIME", "reacts to the step", (1e-3, 10), lambda: shifted(Language("off by one"))),
    "20 a mask off by one, under a loss that shifts": ("FAIL", "TIME", "reacts to the step", (1e-3, 10), lambda: copied(Language("off by one"), shifts)),
    "21 a mask multiplied onto the scores": ("FAIL", "TIME", "reacts to the step", (1e-3, 10), lambda: shifted(Language("multiplied"))),
    "21 a mask of -10 added to the scores": ("FAIL", "TIME", "reacts to the step", (1e-5, 1e-2), lambda: shifted(Language("-10"))),
    "no causal mask": ("FAIL", "TIME", "reacts to the step", (1e-3, 10), lambda: shifted(Language(""))),
    "no causal mask, translation": ("FAIL", "TIME", "reacts to the step", (1e-3, 10), lambda: translated(causal=False)),
    "no causal mask, padded rows": ("FAIL", "TIME", "reacts to the step", (1e-3, 10), lambda: padded(Language(""), ignores_zero)),
    "a GRU in both directions": ("FAIL", "TIME", "reacts to the step", (1e-3, 10), lambda: shifted(Recurrent(both=True))),
    "convolution padded on both sides": ("FAIL", "TIME", "reacts to the step", (1e-3, 10), lambda: shifted(Convolution(left=1))),
    "convolution padded on both sides, of waves": ("FAIL", "TIME", "reacts to the step", (1e-3, 10), lambda: waves(Convolution(left=1, channels=3))),
    "22 targets not shifted": ("FAIL", "TIME", "need only copy", (1e-3, 10), lambda: copied(Language())),
    "22 targets not shifted, GRU": ("FAIL", "TIME", "need only copy", (1e-3, 10), lambda: copied(Recurrent())),
    "22 targets not shifted, one token at a time": ("FAIL", "TIME", "need only copy", (1e-3, 10), lambda: copied(Single())),
    "49 padding has a part in the loss": ("WARN", "PAD", "are padding", (0, 0), lambda: padded(Language(), by_token)),
    "49 padding in the loss, with an attention mask": ("WARN", "PAD", "are padding", (0, 0), lambda: with_mask(by_token, 0)),
    "49 padding in the loss, GRU": ("WARN", "PAD", "are padding", (0, 0), lambda: padded(Recurrent(), by_token)),
}  # fmt: skip


def looked_at(make: Callable[[], Program]) -> dict[str, Any]:
    """Return what `whet.check` is given."""
    program = dict(zip(("model", "loss", "batch"), make(), strict=True))
    held = isinstance(program["model"], Masked)  # its outputs at padding are 0, whatever it learns: OF says so too
    return {**program, "allow": ("OF",) if held else ()}


BUGS = [
    Bug("sequence", name, SICK[title][1], SICK[title][0], SICK[title][2], partial(looked_at, SICK[title][4]), number)
    for title, number, name in numbered(SICK)
]

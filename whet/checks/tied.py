"""TIED: weights that were meant to be one are one, not two copies that part at the first step."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import torch
from torch import nn

from whet.checks.registry import Fact, Stage
from whet.checks.subject import Subject
from whet.finding import Finding, NotRun, Severity

__all__ = ["Tied"]


class Tied:
    """WARN when two trainable parameters of two dimensions or more are copies of each other, where a tie was meant.

    Copies: equal bit for bit, one of them of an embedding and the other not; or one the other's transpose (a decoder
    made of an encoder). Copies of one kind are left alone, for whole layers and networks are cloned on purpose
    (`nn.TransformerEncoder` does it), and so is what is equal for a reason: constants, symmetric matrices. WARN too when
    two parameters lie in one memory, for the optimizer then takes each step twice.

    >>> net = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9, bias=False))
    >>> net[1].weight.data = net[0].weight.detach().clone()
    >>> s = Subject(net, nn.CrossEntropyLoss(), (torch.arange(6),), torch.arange(6))
    >>> [i.evidence["copies"] for i in Tied().look(s) if isinstance(i, Finding)]
    [['0.weight', '1.weight']]
    """

    code, stage, passes = "TIED", Stage.WIRING, 0

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Compare the parameters that have the same elements."""
        embeds = {id(m.weight) for m in subject.model.modules() if isinstance(m, (nn.Embedding, nn.EmbeddingBag))}
        known = [
            (k, p) for k, p in subject.model.named_parameters() if p.requires_grad and p.ndim >= 2 and p.numel() > 1
        ]
        pairs = [(a, b) for a, b in combinations(known, 2) if sorted(a[1].shape) == sorted(b[1].shape)]
        numbers: dict[str, Any] = {"pairs": len(pairs), "n": len(known)}
        yield Fact("", numbers)
        for (name, p), (other, q) in pairs:
            one = p.data_ptr() == q.data_ptr() and p.data_ptr() != 0
            if not one and not _copies(p.detach(), q.detach(), (id(p) in embeds) != (id(q) in embeds)):
                continue
            what = "lie in one memory and are two parameters, so the optimizer steps on it twice" if one else (
                "start equal and are two parameters, not tied: they part at the first step"
            )  # fmt: skip
            yield Finding(self.code, Severity.WARN, subject.at("model"), {**numbers, "copies": [name, other]},
                          f"{name} and {other} {what}",
                          f"give both modules one nn.Parameter: {_assign(other)} = {_assign(name)}; allow=('TIED',) where copies are meant")  # fmt: skip
            return


def _copies(p: torch.Tensor, q: torch.Tensor, apart: bool) -> bool:
    """Whether one is a copy of the other that can only have been made of it; `apart`: one is an embedding's, one is not."""
    if apart and p.shape == q.shape and torch.equal(p, q):
        return not bool((p == p.flatten()[0]).all())
    if p.ndim != 2 or p.shape != q.T.shape or not torch.equal(p, q.T):
        return False
    symmetric = p.shape[0] == p.shape[1] and torch.equal(p, p.T)
    return not symmetric and not bool((p == p.flatten()[0]).all()) and min(p.shape) > 1


def _assign(name: str) -> str:
    """Return a parameter's name as code: numbers are indices.

    >>> _assign("body.0.weight")
    'model.body[0].weight'
    """
    return "model" + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in name.split("."))

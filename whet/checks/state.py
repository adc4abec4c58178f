"""What a model keeps from one call to the next: a hidden state, a cache; and programs that run on no part of a batch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from whet.checks.subject import Subject, tensors
from whet.errors import one_line

__all__ = ["changed", "state", "whole_only"]


def state(model: nn.Module) -> dict[str, list[Tensor]]:
    """Return copies of the tensors that are plain attributes of the modules, no parameters and no buffers, by name.

    >>> layer = nn.Linear(1, 1); layer.h = (torch.zeros(2), torch.ones(2))
    >>> state(layer)["h"][1].tolist()
    [1.0, 1.0]
    """
    found = {}
    for at, module in model.named_modules():
        for name, value in vars(module).items():
            if name in ("_parameters", "_buffers", "_modules") or isinstance(value, nn.Module):
                continue
            if isinstance(value, (Tensor, tuple, list, Mapping)):
                held = [t.detach().clone() for t in tensors(value) if not isinstance(t, nn.Parameter)]
                if held:
                    found[f"{at}.{name}".lstrip(".")] = held
    return found


def changed(before: Mapping[str, list[Tensor]], after: Mapping[str, list[Tensor]]) -> list[str]:
    """Return the names of what is not as it was.

    >>> changed({"h": [torch.zeros(2)], "k": [torch.ones(1)]}, {"h": [torch.ones(2)], "k": [torch.ones(1)]})
    ['h']
    """

    def same(a: Tensor, b: Tensor) -> bool:
        return a.shape == b.shape and a.dtype == b.dtype and bool(((a == b) | ((a != a) & (b != b))).all())

    return [
        name
        for name, held in after.items()
        if name not in before
        or len(before[name]) != len(held)
        or not all(same(a, b) for a, b in zip(before[name], held, strict=True))
    ]


def whole_only(subject: Subject, part: Subject) -> str:
    """Return why a program that runs on its whole batch does not run on `part` of it, "" when it does.

    Raises what the whole batch raises. Inside a `look` only.

    >>> class Fixed(nn.Module):
    ...     def forward(self, x):
    ...         return x + torch.zeros(4, 1)
    >>> s = Subject(Fixed(), nn.MSELoss(), (torch.zeros(4, 1),), torch.zeros(4, 1))
    >>> whole_only(s, s.take(torch.arange(3)))
    'the model runs on a batch of 4 and not on 3 of its examples: it keeps something of that size (RuntimeError: The size of tensor a (3) must match the size of tensor b (4) at non-singleton dimension 0)'
    """
    with torch.no_grad():
        try:
            part.forward()
            return ""
        except Exception as error:
            got = one_line(f"{type(error).__name__}: {error}")[:150]
        held = state(subject.model)
        subject.forward()
        moved = changed(held, state(subject.model))
    n = subject.n
    kept = next((k for k, values in state(subject.model).items() if any(n in t.shape for t in values)), "")
    why = (
        "it keeps something of that size" if not moved and not kept else f"its state {kept or moved[0]} is of that size"
    )
    if isinstance(subject.inputs, (tuple, Mapping)) and not kept and not moved and _indexes(subject):
        why = "its inputs hold numbers of examples (edges, neighbours), which a part leaves behind"
    return f"the model runs on a batch of {n} and not on {part.n} of its examples: {why} ({got})"


def _indexes(subject: Subject) -> bool:
    """Whether an input holds whole numbers that may number the examples, as edges do."""
    found = tensors(subject.inputs)
    return len(found) > 1 and any(
        not t.is_floating_point() and not t.is_complex() and t.dtype is not torch.bool and t.numel() and subject.n > int(t.max()) > 1
        and len(t) != subject.n for t in found
    )  # fmt: skip

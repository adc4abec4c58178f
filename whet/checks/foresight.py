"""Measures how much of what it is to predict a sequence model sees."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from whet.checks.sandbox import sandbox
from whet.checks.sequence import Order, padding
from whet.checks.subject import Subject, mapped, tensors

__all__ = ["exactly", "foresight"]

_CUTS = 6  # targets to look at


def foresight(part: Subject, at: Order) -> dict[str, Any] | str:
    """Return the largest reaction of outputs to the steps they are to predict and later ones, and to earlier ones (own).

    Or why that cannot be measured. copies: the targets are the inputs, unshifted, and the model sees no later step.
    To be called inside a sandbox, the model in the mode to look at.

    >>> x = torch.randint(0, 9, (4, 7), generator=torch.Generator().manual_seed(0))
    >>> net = torch.nn.Embedding(9, 9)
    >>> s = Subject(net, lambda o, t: torch.nn.functional.cross_entropy(o.transpose(1, 2), t), (x[:, :-1],), x[:, 1:])
    >>> from whet.checks.sequence import order
    >>> foresight(s, order(s))["leak"]
    0.0
    """
    x, y, lag = at.inputs, at.targets, at.lag
    pad = padding(x)
    fixed = pad if pad is not None else torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
    changed = _others(x)
    before = _outputs(part)
    first = next((i for i in range(len(x)) if bool(at.known[i, 0])), None)
    shifts = lag == 0 and (first is None or not any(bool(m.any()) for m in _belong(part, at, first, 0)))
    copies = lag == 0 and not shifts  # each output is compared with the very step it is at
    steps = range(1 - lag, min(y.shape[1], x.shape[1] - lag))
    chosen = [t for t in steps if bool(at.known[:, t].any())]
    if len(chosen) > _CUTS:
        chosen = [chosen[i * (len(chosen) - 1) // (_CUTS - 1)] for i in range(_CUTS)]
    own = ahead = beyond = 0.0
    tried = 0
    time = torch.arange(x.shape[1], device=x.device)
    for t in chosen:
        mine = _belong(part, at, int(at.known[:, t].long().argmax()), t)
        if not any(bool(m.any()) for m in mine):
            continue
        tried, u = tried + 1, t + lag
        own = max(own, _react(part, at.put(part, torch.where(_wide((time < u) & ~fixed, x), changed, x)), before, mine))
        ahead = max(
            ahead, _react(part, at.put(part, torch.where(_wide((time >= u) & ~fixed, x), changed, x)), before, mine)
        )
        if copies:
            later = at.put(part, torch.where(_wide((time > u) & ~fixed, x), changed, x))
            beyond = max(beyond, _react(part, later, before, mine))
    if not tried:
        return "no outputs belong to a target of their own"
    if copies and beyond > 1e-6 * ahead:
        return "the targets equal the inputs, and the model sees all of them: an autoencoder, where time has no order"
    own = max(own, ahead) if copies else own  # a model of single steps may copy too
    return {"leak": ahead / own if own else float(bool(ahead)), "own": own, "ahead": ahead, "copies": copies, "lag": lag,
            "tried": tried, "n": len(x), "length": x.shape[1]}  # fmt: skip


def exactly(part: Subject, at: Order) -> dict[str, Any] | None:
    """Return the same measured in double precision; None where the model cannot be computed so."""
    with sandbox(part.model, seed=(part.seed, "check", "double"), float32=False):
        try:
            part.model.double()
            wide = replace(part, inputs=mapped(lambda t: t.double() if _real(t) else t, part.inputs))
            found = foresight(wide, replace(at, inputs=at.inputs.double()) if _real(at.inputs) else at)
        except Exception:  # a model that makes float32 tensors by itself
            return None
    return found if isinstance(found, dict) else None


def _others(x: Tensor) -> Tensor:
    """Return inputs that differ from x everywhere: other tokens that occur, or other numbers of the same spread."""
    if x.is_floating_point():
        return x + (x.std() + 1e-3) * (1 + torch.rand_like(x))
    tokens = x.unique()
    index = torch.searchsorted(tokens, x.contiguous())
    return tokens[(index + torch.randint_like(index, 1, max(2, len(tokens)))) % len(tokens)]


def _wide(where: Tensor, x: Tensor) -> Tensor:
    """Return a mask over (examples, time) as one that covers the rest of x."""
    return where.reshape(*where.shape, *[1] * (x.ndim - 2))


def _outputs(part: Subject) -> list[Tensor]:
    """Return the floating outputs, the same random numbers drawn each time."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        return [t.detach() for t in tensors(part.forward()) if t.is_floating_point()]


def _react(part: Subject, other: Subject, before: list[Tensor], mine: list[Tensor]) -> float:
    """Return the largest change of the outputs in `mine` when the inputs are those of `other`."""
    worst = 0.0
    for a, b, m in zip(before, _outputs(other), mine, strict=True):
        if a.shape != b.shape:
            return float("inf")
        gap = torch.where((a == b) | (a.isnan() & b.isnan()), torch.zeros_like(a), (a - b).abs())[m]
        worst = max(worst, float(gap.nan_to_num(float("inf")).max())) if gap.numel() else worst
    return worst


def _belong(part: Subject, at: Order, i: int, t: int) -> list[Tensor]:
    """Return per output which of its elements are compared with target (i, t), as masks: the loss's gradient moves there."""
    y = at.targets.clone()
    if y.is_floating_point():
        y[i, t] += 1 + y.std()
    else:
        there = y[at.known]
        others = there[there != y[i, t]]
        y[i, t] = others[0] if len(others) else y[i, t]
    a, b = _gradient(part, part.targets), _gradient(part, at.put(part, targets=y).targets)
    dot, size = sum(float((p * q).sum()) for p, q in zip(a, b, strict=True)), sum(float((q * q).sum()) for q in b)
    factor = dot / size if size else 1.0  # class weights and ignored targets change the divisor of the mean
    gaps = [(p - factor * q).abs() for p, q in zip(a, b, strict=True)]
    largest = max((float(g.max()) for g in gaps if g.numel()), default=0.0)
    return [g > max(0.3 * largest, 1e-12) for g in gaps]


def _gradient(part: Subject, targets: Tensor) -> list[Tensor]:
    """Return the gradient of the loss with respect to the floating outputs, zeros where there is none."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        tree = part.forward()
    free = mapped(lambda t: t.detach().clone().requires_grad_() if _real(t) else t, tree)
    leaves = [t for t in tensors(free) if t.is_floating_point()]
    grads = torch.autograd.grad(part.cost(free, targets), leaves, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(leaves, grads, strict=True)]


def _real(leaf: Any) -> bool:
    """Whether a leaf is a tensor of real numbers."""
    return isinstance(leaf, Tensor) and leaf.is_floating_point()

"""Why a loss may stay above its floor though nothing is wrong with the program."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from whet.checks.initial import quiet
from whet.checks.inside import alone
from whet.checks.strays import nodes
from whet.checks.subject import Answer, Subject, mapped, tensors

__all__ = ["Astray", "astray", "doubt", "unknown"]

_TENSORS = 12  # parameters whose slope is measured, those of the largest gradients
_MOST = 0.1  # of the slope, by which a gradient may be off; and of the loss, by which chance may change it


def doubt(subject: Subject, kind: Answer | None, *, room: int, n: int, few: int) -> str:
    """Return why the floor may be out of reach of a correct program, "" when it is not.

    room: examples that the weights can hold; n: examples that were to be learned; few: how few of them are not too many.
    Inside a `look` only.
    """
    if room < 2 * n <= 2 * few:
        return "the model has hardly more weights than these examples have outputs"
    with torch.no_grad():
        quiet(subject.model)
        outputs = subject.forward()
        costs = [float(subject.cost(outputs)), float(subject.cost(subject.forward()))]
    if kind is None and len(tensors(outputs)) > 1:
        return "the floor is that of outputs free of each other, which those of one model need not be"
    if abs(costs[0] - costs[1]) > _MOST * abs(costs[0]):
        return "the model draws random numbers, which have their share in the loss"
    return ""


def unknown(subject: Subject) -> str:
    """Return why no floor of the loss can be known, "" where free outputs show it. Inside a `look` only."""
    quiet(subject.model)
    with torch.no_grad():
        outputs = mapped(lambda t: t.detach().clone(), subject.forward())
    leaves = [t.requires_grad_() for t in tensors(outputs) if t.is_floating_point() or t.is_complex()]
    cost = subject.cost(outputs)
    if not leaves or not cost.requires_grad:
        return ""
    if all(g is None for g in torch.autograd.grad(cost, leaves, allow_unused=True)):
        return "the loss does not use the outputs, it asks the model itself: how far it can fall is not known"
    if alone(subject):
        return "the model computes the loss itself, in a way that cannot be read: how far it can fall is not known"
    return ""


class Astray(NamedTuple):
    """What to say of a gradient that is not that of the loss, and whether it is meant: a function that only turns gradients round."""

    why: str
    meant: bool


def astray(subject: Subject) -> Astray | None:
    """Return what to say when the gradient is not that of the loss, None when it is, or cannot be told.

    A part that learns against the loss (a reversed gradient), a target that is computed by the same weights and held
    still, a step function with a gradient of another: then following the gradient need not lower the loss. The loss is
    computed a little to both sides along each parameter's gradient, and its change compared with what the gradient
    promises. Inside a `look` only; the weights are put back.

    >>> class Reverse(torch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x.view_as(x)
    ...     @staticmethod
    ...     def backward(ctx, gradient):
    ...         return -gradient
    >>> class Adversary(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.body, self.head = nn.Linear(3, 3), nn.Linear(3, 1)
    ...     def forward(self, x):
    ...         return self.head(Reverse.apply(self.body(x)))
    >>> x, y = torch.randn(8, 3), torch.randn(8, 1)
    >>> [bool(astray(Subject(m, nn.MSELoss(), (x,), y))) for m in (Adversary(), nn.Linear(3, 1))]
    [True, False]
    """
    quiet(subject.model)
    weights = [p for p in subject.model.parameters() if p.requires_grad and not p.is_complex()]
    loss = _cost(subject)
    if not loss.requires_grad or not weights:
        return None
    meant = any(identity(f) for f in functions(loss))
    for p in weights:
        p.grad = None
    loss.backward()
    pairs = [(p, p.grad) for p in weights if p.grad is not None and not p.grad.is_sparse]
    pairs.sort(key=lambda pair: -float(pair[1].norm()))
    start, worst = abs(float(loss.detach())), 0.0
    for p, g in pairs[:_TENSORS]:
        if float(g.norm()) < 1e-2 * float(pairs[0][1].norm()):
            break  # its slope is too small to be measured
        way = g / g.norm()
        promised = float((g * way).sum())
        # a step that changes the loss by about 1 %, and no weight by more than a tenth
        size = min(0.01 * max(start, 1e-3) / promised, 0.1 * max(float(p.detach().norm()), 1e-3))
        found = [_slope(subject, p, way, size / k) for k in (1, 4)]
        if abs(found[0] - found[1]) < 0.02 * promised:  # smooth enough to be measured
            worst = max(worst, abs(found[1] - promised) / promised)
    if worst <= _MOST:
        return None
    what = "reversed on purpose" if meant else "reversed or held still"
    return Astray(
        f"the gradient is not that of the loss ({worst:.0%} off): a part of it is {what}, and need not lower it", meant
    )


def functions(loss: Tensor) -> set[type]:
    """Return the classes of torch.autograd.Function that the graph of `loss` was made with."""
    return {type(n)._forward_cls for n in nodes(loss) if hasattr(type(n), "_forward_cls")}


def identity(function: Any) -> bool:
    """Return whether the forward of a torch.autograd.Function gives out its first argument: then only its gradient is meant.

    Tried on numbers of its own, with 1 for whatever else it takes; False where it cannot be called so.
    """
    x = torch.tensor([0.3, -1.7, 2.9])
    own = function.setup_context is torch.autograd.Function.setup_context  # then forward takes the context first
    takes = len(inspect.signature(function.forward).parameters) - own
    try:
        with torch.no_grad():
            out = function.forward(*([_Context()] if own else []), x.clone(), *[1.0] * (takes - 1))
    except Exception:
        return False
    return isinstance(out, Tensor) and out.shape == x.shape and torch.equal(out, x)


class _Context:
    """Takes whatever a forward wants to keep for its backward."""

    def save_for_backward(self, *tensors: Tensor) -> None:
        """Keep nothing."""

    mark_dirty = mark_non_differentiable = set_materialize_grads = save_for_forward = save_for_backward


def _slope(subject: Subject, p: nn.Parameter, way: Tensor, size: float) -> float:
    """Return the slope of the loss along a direction of one parameter, from two losses."""
    before = p.detach().clone()
    values = []
    with torch.no_grad():
        for sign in (1, -1):
            p.copy_(before + sign * size * way)
            values.append(float(_cost(subject)))
        p.copy_(before)
    return (values[0] - values[1]) / (2 * size)


def _cost(subject: Subject) -> Any:
    """Return the loss, the same random numbers drawn each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return subject.cost(subject.forward())

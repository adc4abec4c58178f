"""What a loss can be, whatever the model: its value for the best constant output, and for the best free outputs.

Outputs that a model has already turned into probabilities or log-probabilities, for a loss that wants them so, are
looked at before that step (`linked`), where every number is allowed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from whet.checks.sequence import order
from whet.checks.subject import Answer, Subject, answer, mapped, tensors

__all__ = ["best_constant", "conflict", "far", "floor", "linked", "prior", "softmax_floor"]

Cost = Callable[[Any, Any], Tensor]
_LARGE = 200_000  # elements past which fitting outputs costs more than it tells


def softmax_floor(classes: int) -> float:
    """Return the least cross-entropy when probabilities are taken for logits: log(1 + (C-1)/e), in nats.

    >>> round(softmax_floor(10), 4)
    1.4612
    """
    return math.log(1 + (classes - 1) / math.e)


def linked(subject: Subject, outputs: Any, targets: Any) -> tuple[Subject, Any, Answer | None]:
    """Return the program with its loss after the last link (softmax, log-softmax or sigmoid), the outputs before it, the kind.

    A softmax only when the loss minds that a number is added to all scores, for cross-entropy does not and wants none;
    a sigmoid only when the loss has no value outside [0, 1]. Without a link everything comes back as it is.

    >>> s = Subject(torch.nn.Identity(), torch.nn.BCELoss(), (), torch.tensor([0.0, 1.0]))
    >>> linked(s, torch.tensor([0.5, 0.5]), s.targets)[1].tolist()
    [0.0, 0.0]
    """
    kind = answer(outputs, targets)
    if kind is None:
        return subject, outputs, None
    link: Callable[[Tensor], Tensor] | None = None
    free, loss, axis = outputs, subject.loss, kind.axis
    with torch.no_grad():
        if kind.kind == "classes":
            here, moved = float(subject.cost(outputs, targets)), _attempt(subject, outputs + 3, targets)
            if abs(here - moved) <= 1e-3 * (1 + abs(here)):
                return subject, outputs, kind
            if bool((outputs >= 0).all()) and bool(((outputs.sum(axis) - 1).abs() < 1e-3).all()):
                link, free = lambda z: z.softmax(axis), outputs.clamp(min=1e-12).log()
            elif bool(((outputs.exp().sum(axis) - 1).abs() < 1e-3).all()):
                link = lambda z: z.log_softmax(axis)  # noqa: E731
        elif bool(((outputs >= 0) & (outputs <= 1)).all()) and not math.isfinite(
            _attempt(subject, outputs + 2, targets)
        ):
            inside = outputs.clamp(1e-6, 1 - 1e-6)
            link, free = torch.sigmoid, (inside / (1 - inside)).log()
    if link is None:
        return subject, outputs, kind
    chosen = link
    places = {**subject.places, "loss": subject.at("loss")}
    return replace(subject, loss=lambda z, t: loss(chosen(z), t), places=places), free, kind


def _attempt(subject: Subject, outputs: Tensor, targets: Any) -> float:
    """Return a loss, not-a-number when it refuses these outputs."""
    try:
        return float(subject.cost(outputs, targets))
    except (RuntimeError, ValueError):
        return math.nan


def far(outputs: Tensor, targets: Tensor, kind: Answer, size: float) -> Tensor:
    """Return outputs that are right (class scores `size` for the target, 0 else; the targets themselves for values).

    >>> far(torch.zeros(2, 3), torch.tensor([2, 0]), Answer("classes", 1, 3), 9.0).tolist()
    [[0.0, 0.0, 9.0], [9.0, 0.0, 0.0]]
    """
    if kind.kind == "values":
        return targets.reshape(outputs.shape).to(outputs.dtype)
    known = targets.clamp(0, kind.count - 1).long().unsqueeze(kind.axis)
    return torch.zeros_like(outputs).scatter_(kind.axis, known, size)


def best_constant(cost: Cost, outputs: Tensor, targets: Tensor, kind: Answer) -> Tensor:
    """Return the one output row that, given for every example, has the least loss; shaped like one row, (1, ...).

    Starts from the closed forms (log of the class shares; mean or median of the values) and improves on the best of
    them by L-BFGS, which label smoothing, class weights or a loss of the user's own need.

    >>> values = torch.tensor([[1.0], [2.0], [6.0]])
    >>> best_constant(torch.nn.functional.mse_loss, torch.zeros(3, 1), values, Answer("values")).tolist()
    [[3.0]]
    """
    row, starts = outputs[:1].detach(), []
    if kind.kind == "classes":
        known = targets[(targets >= 0) & (targets < kind.count)].long()
        counts = torch.bincount(known.flatten(), minlength=kind.count).to(row.dtype)
        shape = [1] * row.ndim
        shape[kind.axis] = kind.count
        starts += [(counts.clamp(min=1e-3) / counts.sum()).log().reshape(shape).expand_as(row), torch.zeros_like(row)]
    else:
        values = targets.reshape(outputs.shape).to(row.dtype)
        middle = values.mean(0, keepdim=True)
        share = middle.clamp(1e-4, 1 - 1e-4)
        starts += [middle, values.median(0, keepdim=True).values, (share / (1 - share)).log(), torch.zeros_like(row)]

    def value(constant: Tensor) -> Tensor:
        return cost(constant.expand_as(outputs), targets)

    best = min(starts, key=lambda c: _finite(value(c)))
    better = _descend(value, best) if row.numel() <= 64 else best
    return better if _finite(value(better)) < _finite(value(best)) else best


def floor(cost: Cost, outputs: Any, targets: Any, kind: Answer | None) -> float | None:
    """Return about the least loss that any outputs reach on these targets; None when there are too many to fit.

    0 for cross-entropy and squared error; the entropy of the smoothed targets under label smoothing; -infinity when
    it falls without end (a density that may be as sharp as it likes).

    >>> floor(torch.nn.functional.mse_loss, torch.zeros(3, 1), torch.ones(3, 1), Answer("values"))
    0.0
    """
    if sum(t.numel() for t in tensors(outputs)) > _LARGE:
        return None
    starts = [mapped(lambda t: t.detach().clone() if isinstance(t, Tensor) else t, outputs)]
    if kind is not None:
        starts += [far(outputs, targets, kind, size) for size in ((5.0, 30.0) if kind.kind == "classes" else (0.0,))]
    best = math.inf
    for start in starts:
        best = min(best, _finite(cost(start, targets)))
        if not any(_real(t) for t in tensors(start)):
            continue
        there = _descend_tree(cost, start, targets)
        first, again = (
            float(cost(there, targets).detach()),
            float(cost(_descend_tree(cost, there, targets), targets).detach()),
        )
        if not (math.isfinite(first) and math.isfinite(again)):
            best = min(best, _slide(cost, start, targets))
        elif again < -1e-3 and _slide(cost, there, targets) < again - 0.05 * (_finite(cost(start, targets)) - again):
            return -math.inf  # still under way after all these steps
        else:
            best = min(best, again)
    endless = best < -10 * (1 + abs(_finite(cost(outputs, targets)))) or (kind is None and best < -1e-3)  # a density
    return -math.inf if endless else best


def conflict(part: Subject) -> float:
    """Return the entropy per token that is left because different tokens follow the same beginning, in nats.

    Only where a token is predicted from those up to it, as in a language model; 0 elsewhere.

    >>> tokens, after = torch.tensor([[1, 5], [1, 6]]), torch.tensor([[5, 0], [6, 0]])
    >>> round(conflict(Subject(torch.nn.Identity(), torch.nn.CrossEntropyLoss(), (tokens,), after)), 4)  # 2 log(2) / 4
    0.3466
    """
    inputs, targets, found = tensors(part.inputs), part.targets, order(part)
    if len(inputs) != 1 or inputs[0].is_floating_point():
        return 0.0
    if found is not None:  # time may come first, and the targets be flat
        inputs, targets = [found.inputs], found.targets
    if targets.ndim != 2 or inputs[0].shape != targets.shape:
        return 0.0
    follow: dict[tuple[int, ...], list[int]] = {}
    for tokens, after in zip(inputs[0].tolist(), targets.tolist(), strict=True):
        for t, target in enumerate(after):
            follow.setdefault(tuple(tokens[: t + 1]), []).append(target)
    total = sum(len(f) * math.log(len(f)) - sum(c * math.log(c) for c in Counter(f).values()) for f in follow.values())
    return total / targets.numel()


def prior(subject: Subject) -> float | None:
    """Return the loss of the best constant outputs on the subject's batch; None where it is not known what they are.

    >>> s = Subject(torch.nn.Linear(1, 2), torch.nn.CrossEntropyLoss(), (torch.ones(4, 1),), torch.tensor([0, 1, 1, 1]))
    >>> round(prior(s), 4)  # the entropy of 1/4 and 3/4
    0.5623
    """
    with subject.look("PRIOR"), torch.no_grad():
        subject.model.eval()
        subject, outputs, kind = linked(subject, subject.forward(), subject.targets)
    if kind is None:
        return None
    best = best_constant(subject.cost, torch.zeros_like(outputs), subject.targets, kind)
    return float(subject.cost(best.expand_as(outputs).contiguous()).detach())


def _slide(cost: Cost, start: Any, targets: Any) -> float:
    """Return where 300 steps of Adam end; -infinity when the last hundred still brought a good part of the way."""
    free = mapped(lambda t: t.detach().clone().requires_grad_() if _real(t) else t, start)
    optimizer = torch.optim.Adam([t for t in tensors(free) if t.requires_grad], 0.1)
    values = []
    for _ in range(300):
        optimizer.zero_grad()
        loss = cost(free, targets)
        values.append(float(loss.detach()))
        loss.backward()
        optimizer.step()
    least = min(v for v in (*values, math.inf) if not math.isnan(v))
    return -math.inf if min(values[:200]) - least > 0.05 * (values[0] - least) else least


def _finite(value: Tensor) -> float:
    """Return a loss as a float, infinity when it is not a number."""
    number = float(value.detach())
    return number if math.isfinite(number) else math.inf


def _descend(value: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """Return where L-BFGS gets from `start`, or `start` where it cannot."""
    return _descend_tree(lambda tree, _: value(tree), start, None)


def _descend_tree(cost: Cost, start: Any, targets: Any) -> Any:
    """Return a tree of outputs after L-BFGS on its floating tensors (50 iterations, strong Wolfe line search)."""
    free = mapped(lambda t: _flat(t).requires_grad_() if _real(t) else t, start)
    leaves = [t for t in tensors(free) if t.requires_grad]
    optimizer = torch.optim.LBFGS(leaves, max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = cost(free, targets)
        loss.backward()
        return loss

    try:
        optimizer.step(closure)
    except (RuntimeError, ValueError, IndexError):  # no gradient here, or a line search that left the finite numbers
        return start
    return mapped(lambda t: t.detach() if isinstance(t, Tensor) else t, free)


def _flat(t: Tensor) -> Tensor:
    """Return a copy that lies in memory in order: L-BFGS takes its gradient for one vector."""
    return t.detach().clone(memory_format=torch.contiguous_format)


def _real(leaf: Any) -> bool:
    """Whether a leaf is a tensor one can differentiate with respect to."""
    return isinstance(leaf, Tensor) and (leaf.is_floating_point() or leaf.is_complex())

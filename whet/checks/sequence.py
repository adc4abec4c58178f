"""What a batch shows of its own order in time: targets that are the inputs shifted, and rows filled up with padding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from whet.checks.subject import Subject, tensors

__all__ = ["UNORDERED", "Order", "filled", "order", "padding", "scores", "sequential"]

UNORDERED = "no sequence"
"""Why a check of sequences has nothing to look at where no input is one."""

_SHARE = 0.9  # of the targets that must be found among the inputs


@dataclass(frozen=True)
class Order:
    """Where the targets stand among the inputs: target t is input t + lag, of the input tensor numbered `which`.

    inputs: (examples, time, ...); targets: (examples, time, ...); known: which targets count, (examples, time);
    flip: the batch has time first; declared: the caller named the order, no target was found among the inputs.

    >>> x = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])
    >>> s = Subject(torch.nn.Embedding(10, 10), torch.nn.CrossEntropyLoss(), (x[:, :-1],), x[:, 1:])
    >>> order(s).lag
    1
    """

    which: int
    lag: int
    flip: bool
    inputs: Tensor
    targets: Tensor
    known: Tensor
    shape: torch.Size
    declared: bool = False

    def put(self, subject: Subject, inputs: Tensor | None = None, targets: Tensor | None = None) -> Subject:
        """Return the same program with other inputs (examples, time, ...) and targets in place of these."""
        x = self.inputs if inputs is None else inputs
        y = self.targets if targets is None else targets
        x, y = (x.transpose(0, 1), y.transpose(0, 1)) if self.flip else (x, y)
        leaves, form = tree_flatten(subject.inputs)
        places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        leaves[places[self.which]] = x.contiguous()
        shape = self.shape if y.numel() == self.targets.numel() else y.shape
        return replace(subject, inputs=tree_unflatten(leaves, form), targets=y.contiguous().reshape(shape), sample=None)


def order(subject: Subject) -> Order | None:
    """Return how the targets follow from the inputs, by comparing them; None when they do not.

    Looks at every input of two dimensions (examples, time) or more, also with time first, and at targets of the same
    dimensions, one step shorter, or flattened. Targets that are ignored (negative) or answer padding do not count.
    """
    y = subject.targets
    if not isinstance(y, Tensor):
        return None
    for lag in (1, 0):
        for which, x in enumerate(tensors(subject.inputs)):
            for flip in (False, True):
                found = _aligned(subject, which, x, y, lag, flip)
                if found is not None and _agree(found):
                    return found
    return _declared(subject, y) if subject.causal else None


def sequential(subject: Subject) -> bool:
    """Whether any input may be a sequence: whole numbers (examples, time), or three dimensions, or the caller says so.

    >>> sequential(Subject(torch.nn.Identity(), torch.nn.MSELoss(), (torch.zeros(4, 1, 8, 8),), None))
    False
    """
    return subject.causal or any(
        x.ndim == 3 or (x.ndim == 2 and not x.is_floating_point()) for x in tensors(subject.inputs)
    )


def _aligned(subject: Subject, which: int, x: Tensor, y: Tensor, lag: int, flip: bool) -> Order | None:
    """Return the order that is asked about, if the shapes allow it."""
    if (
        x.ndim < 2
        or x.dtype == torch.bool
        or x.is_complex()
        or y.is_complex()
        or x.is_floating_point() != y.is_floating_point()
    ):
        return None
    shape = y.shape
    if y.ndim < 2 and y.numel() == x.numel():
        y = y.reshape(x.shape)
    elif y.ndim < 2:
        return None
    x, y = (x.transpose(0, 1), y.transpose(0, 1)) if flip else (x, y)
    if (
        len(x) != len(y)
        or x.shape[2:] != y.shape[2:]
        or not x.shape[1] - lag <= y.shape[1] <= x.shape[1]
        or x.shape[1] < 3
    ):
        return None
    return Order(which, lag, flip, x, y, _known(subject, x, y), shape)


def _known(subject: Subject, x: Tensor, y: Tensor) -> Tensor:
    """Return which targets count, (examples, time): not ignored, and not the answer to padding."""
    known = torch.ones(y.shape[:2], dtype=torch.bool, device=y.device)
    if not y.is_floating_point() and y.ndim == 2:
        known &= (y >= 0) & (y != getattr(subject.loss, "ignore_index", -100))
    pad = padding(x)
    return known & ~pad[:, : y.shape[1]] if pad is not None else known


def _agree(found: Order) -> bool:
    """Whether the targets are where this order says, and not by being constant."""
    length = min(found.targets.shape[1], found.inputs.shape[1] - found.lag)
    x = found.inputs[:, found.lag : found.lag + length].flatten(2) if found.inputs.ndim > 2 else (
        found.inputs[:, found.lag : found.lag + length, None]
    )  # fmt: skip
    y = found.targets[:, :length].reshape(*x.shape)
    keep = found.known[:, :length]
    if int(keep.sum()) < 6:
        return False
    same = (x == y).all(2)
    moves = (found.inputs[:, 1:] != found.inputs[:, :-1]).flatten(2).any(2) if found.inputs.ndim > 2 else (
        found.inputs[:, 1:] != found.inputs[:, :-1]
    )  # fmt: skip
    return float(same[keep].double().mean()) >= _SHARE and float(moves.double().mean()) > 0.1


def _declared(subject: Subject, y: Tensor) -> Order | None:
    """Return the order of inputs and targets that have as many steps, which the caller calls causal."""
    n = subject.n
    for which, x in enumerate(tensors(subject.inputs)):
        for flip in (False, True):
            if x.ndim < 2 or x.dtype == torch.bool or y.ndim < 2 or x.shape[:2] != y.shape[:2]:
                continue
            a, b = (x.transpose(0, 1), y.transpose(0, 1)) if flip else (x, y)
            if len(a) == n or flip:
                return Order(which, 1, flip, a, b, _known(subject, a, b), y.shape, declared=True)
    return None


def padding(x: Tensor) -> Tensor | None:
    """Return which elements (examples, time) of a tensor are padding; None when it shows none.

    Padding is one value (0 in every feature of a float) that fills rows from one end, to unequal lengths, and stands
    nowhere else.

    >>> padding(torch.tensor([[5, 2, 7, 0, 0], [3, 4, 0, 0, 0]]))[0].tolist()
    [False, False, False, True, True]
    """
    if (
        x.ndim < 2
        or x.is_complex()
        or (x.ndim == 2 and x.is_floating_point())
        or x.shape[1] < 3
        or (x.ndim > 2 and not x.is_floating_point())
    ):
        return None
    for end in (-1, 0):
        if x.ndim > 2:
            candidates = [(x == 0).flatten(2).all(2)]
        else:
            candidates = [x == value for value in x[:, end].unique()[:64]]
        for is_pad in candidates:
            run = is_pad.flip(1) if end == -1 else is_pad
            lengths = run.long().cumprod(1).sum(1)
            if int(lengths.sum()) != int(is_pad.sum()) or int(lengths.max()) < 2 or int(lengths.sum()) < 4:
                continue
            if int((lengths > 0).sum()) >= 2 and len(lengths.unique()) >= 2 and int(lengths.min()) < x.shape[1]:
                return is_pad
    return None


def filled(subject: Subject) -> tuple[Tensor, bool] | None:
    """Return which steps of the batch are padding, (examples, time), and whether the batch has time first; None if none.

    >>> s = Subject(torch.nn.Identity(), torch.nn.MSELoss(), (torch.tensor([[5, 2, 7, 0, 0], [3, 4, 0, 0, 0]]),), None)
    >>> filled(s)[0].sum().item()
    5
    """
    for x in tensors(subject.inputs):
        for flip in (False, True):
            found = padding(x.transpose(0, 1) if flip and x.ndim > 1 else x)
            if found is not None:
                return found, flip
    return None


def scores(outputs: Any, steps: tuple[int, int], flip: bool) -> Callable[[Tensor], Tensor] | None:
    """Return a function that brings a gradient of `outputs` to (examples, time, rest) for steps = (examples, time).

    >>> scores(torch.zeros(6, 9), (2, 3), False)(torch.zeros(6, 9)).shape
    torch.Size([2, 3, 9])
    """
    n, time = steps
    if not isinstance(outputs, Tensor):
        return None
    first, second = (time, n) if flip else (n, time)
    shape = tuple(outputs.shape)
    turned = len(shape) == 3 and shape[:2] != (first, second) and (shape[0], shape[2]) == (first, second)
    if not turned and shape[:2] != (first, second) and shape[:1] != (first * second,):
        return None

    def lay(gradient: Tensor) -> Tensor:
        laid = gradient.movedim(1, 2) if turned else gradient.reshape(first, second, -1)
        return laid.transpose(0, 1) if flip else laid

    return lay

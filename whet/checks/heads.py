"""The parts of a loss over several outputs: each must fall where its own output comes right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import keystr, tree_flatten, tree_flatten_with_path, tree_unflatten

from whet.checks.floor import far
from whet.checks.subject import Answer, Subject, answer, tensors

__all__ = ["Turned", "turned"]

Turned = tuple[str, float, float]
"""The name of an output, the loss where it is right, and where it is wrong."""


def turned(subject: Subject, outputs: Any, targets: Any, draws: int = 3) -> Turned | None:
    """Return the first of several outputs that the loss rewards for being wrong; None when there is none.

    An output and a target belong together when they fit each other and nothing else does. Class scores are set to right
    and to wrong answers; values are moved up and down alike, which on average cannot lower a loss that is convex, as
    squared, absolute, logistic and Poisson losses are, wherever they start.

    >>> def loss(o, t):
    ...     return ((o["far"] - t[0]) ** 2).mean() - ((o["near"] - t[1]) ** 2).mean()
    >>> outputs, targets = {"far": torch.zeros(4, 2), "near": torch.zeros(4)}, (torch.zeros(4, 2), torch.ones(4))
    >>> turned(Subject(torch.nn.Identity(), loss, (), targets), outputs, targets)[0]
    "output ['near']"
    """
    for at, target, kind in _pairs(outputs, targets, _used(subject, outputs)):
        path, output = tree_flatten_with_path(outputs)[0][at]
        try:
            right, wrong = _costs(subject, outputs, at, (output, target, kind), draws)
        except (RuntimeError, ValueError, IndexError):
            continue  # a loss that takes no such numbers, such as one of probabilities
        margin = 1e-3 * (1 + abs(right[0]))
        if all(r > w + margin for r, w in zip(right, wrong, strict=True)):
            return f"output {keystr(path)}", right[0], wrong[0]
    return None


def _used(subject: Subject, outputs: Any) -> set[int]:
    """Return the numbers of the outputs that the loss depends on."""
    leaves, form = tree_flatten(outputs)
    free = [
        x.detach().clone().requires_grad_() if isinstance(x, Tensor) and x.is_floating_point() else x for x in leaves
    ]
    with torch.enable_grad():
        loss = subject.cost(tree_unflatten(free, form))
    at = [i for i, x in enumerate(free) if isinstance(x, Tensor) and x.requires_grad]
    if not at or not loss.requires_grad:
        return set()
    grads = torch.autograd.grad(loss, [free[i] for i in at], allow_unused=True)
    return {i for i, g in zip(at, grads, strict=True) if g is not None}


def _pairs(outputs: Any, targets: Any, used: set[int]) -> Iterator[tuple[int, Tensor, Answer]]:
    """Yield (number of the output, its target, their kind) of outputs and targets that fit each other and nothing else."""
    made, given = tree_flatten(outputs)[0], tensors(targets)
    if len(made) < 2:  # its targets may be of other kinds: actions with what they were worth
        return
    kinds = {
        (i, j): kind for i, o in enumerate(made) for j, t in enumerate(given) if (kind := answer(o, t)) is not None
    }
    fits = {i: {j for j in range(len(given)) if (i, j) in kinds} for i in used}
    sorted_out: list[tuple[int, int]] = []
    while sure := {i: next(iter(js)) for i, js in fits.items() if len(js) == 1}:
        for i, j in sure.items():
            if list(sure.values()).count(j) == 1:  # a mean and a variance both fit one target
                sorted_out.append((i, j))
        fits = {
            i: js - set(sure.values()) for i, js in fits.items() if i not in sure
        }  # what has found its own is no one else's
    if {j for _, j in sorted_out} == set(range(len(given))):  # a target that is left over may weigh the others
        yield from ((i, given[j], kinds[i, j]) for i, j in sorted_out)


def _costs(
    subject: Subject, outputs: Any, at: int, part: tuple[Tensor, Tensor, Answer], draws: int
) -> tuple[list[float], list[float]]:
    """Return the losses with one output right and with it wrong, `draws` times."""
    output, target, kind = part
    leaves, form = tree_flatten(outputs)

    def cost(changed: Tensor) -> float:
        return float(subject.cost(tree_unflatten([*leaves[:at], changed, *leaves[at + 1 :]], form)))

    if kind.kind == "classes":
        up = far(output, target, kind, 9.0)
        return [cost(up)] * draws, [cost(-up)] * draws
    middle = far(output, target, kind, 0.0)
    spread = 1 + float(middle.double().std(unbiased=False))
    steps = [spread * torch.randn_like(output) for _ in range(draws)]
    return [cost(middle)] * draws, [(cost(middle + s) + cost(middle - s)) / 2 for s in steps]

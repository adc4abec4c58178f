"""What a watched `Run` is measured with: the same examples at every look, and the loss that knowing nothing costs."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from whet.checks.floor import prior
from whet.checks.subject import Subject, mapped

if TYPE_CHECKING:
    from whet.train.run import Run

__all__ = ["constant", "fixed"]

_FIXED = 64  # validation examples that predictions are shown of
_ENOUGH = 512  # training examples for the best constant


def fixed(run: Run) -> tuple[tuple[Tensor, ...], Tensor]:
    """Return the first 64 validation examples, on the run's device, and their targets where they lie.

    >>> from whet.tasks import resolve
    >>> from whet.train.run import Run
    >>> run = Run(resolve("diabetes"), {"lr": 0.01, "net": "linear"}, device="cpu")
    >>> inputs, targets = fixed(run)
    >>> [tuple(x.shape) for x in inputs], tuple(targets.shape)
    ([(64, 10)], (64,))
    """
    inputs, targets = run.data.valid.batch(torch.arange(min(_FIXED, len(run.data.valid))))
    return tuple(t.to(run.device) for t in inputs), targets


def constant(run: Run) -> float | None:
    """Return the loss of the best constant outputs on up to 512 training examples.

    None where it is not known: of a loss or targets of another kind. Then the loss at the beginning must do.

    >>> from whet.tasks import resolve
    >>> from whet.train.run import Run
    >>> run = Run(resolve("diabetes"), {"lr": 0.01, "net": "linear"}, device="cpu")
    >>> round(constant(run), 3)  # the variance of targets: this loss is scaled by it
    1.0
    """
    with suppress(Exception):
        inputs, targets = run.data.train.batch(torch.arange(min(_ENOUGH, len(run.data.train))))
        inputs, targets = mapped(lambda t: t.to(run.device), (tuple(inputs), targets))
        return prior(Subject(run.model, run.loss, inputs, targets))
    return None

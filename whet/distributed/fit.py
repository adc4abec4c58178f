"""Can this training be shared among workers? Asked before any of them is started, so that a no is one line."""

from __future__ import annotations

import copy

import torch

from whet.distributed.meaning import Meaning
from whet.distributed.rule import Rule
from whet.errors import TaskError
from whet.train.run import Run
from whet.train.stream import stream

__all__ = ["check_run"]

_TRIED = 2  # examples


def check_run(run: Run, rule: Rule) -> None:
    """Raise TaskError for what of a run that took no step yet no channel can do under a rule: sparse gradients, or outputs that have no mean where
    workers teach each other.

    The simulator is held to the same, or it would show what cannot be trained. What travels is a vector of all parameters, so a gradient that is sparse would cost more than a dense one, and SparseAdam would
    refuse it at the server.
    """
    sparse = _sparse(run)
    if sparse:
        raise TaskError(
            f"{type(run.task).__name__}.model: the gradient of {sparse} is sparse, but workers exchange one dense vector. Leave sparse=True out, or "
            "train without --workers."
        )
    if rule.local is not None and rule.local.distil is not None:
        Meaning.of(run)


def _sparse(run: Run) -> str:
    """Return the name of a parameter whose gradient is sparse, "" when none is."""
    model = copy.deepcopy(run.model).eval()  # so that batch normalisation takes so few
    inputs, targets = run.train.batch(torch.arange(min(_TRIED, len(run.train)), device=run.device))
    with stream(run.seed, "tried", device=run.device):
        try:
            run.loss(model(*inputs), targets).backward()
        except RuntimeError:
            return ""  # the training says it better
    return next(
        (n for n, p in model.named_parameters() if p.grad is not None and p.grad.layout is not torch.strided), ""
    )

"""What an ensemble of the workers' models is worth beside its members."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from whet.distributed.flat import Flat
from whet.train.predict import forward
from whet.train.run import Run

__all__ = ["Members", "member_losses"]


class Members(NamedTuple):
    """Losses on the validation split: of the ensemble, which averages outputs, of each member, and their mean."""

    ensemble: float
    each: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The members' mean loss."""
        return sum(self.each) / len(self.each)


def member_losses(run: Run, models: Sequence[tuple[int, Tensor]]) -> Members:
    """Return the losses of `models` (worker, weights (p,) as a `Flat` lays them) in the place of the run's weights, which stay.

    Outputs are averaged as probabilities and the loss is the cross-entropy where the data are classes, else outputs and the
    squared error; both are convex in what is averaged, so the ensemble's is at most the mean of the members'. Probabilities stay
    logarithms all along: one that is too small for a number would else count for less than it is. All members are looked at
    with the statistics of batch normalisation that the run's model has.
    """
    flat = Flat(copy.deepcopy(run.model))  # a model of its own: its parameters may be views of what others write
    classes, targets = run.data.kind == "classification", run.valid.targets
    said, each = [], []
    for _, weights in models:
        flat.weights.copy_(weights)
        out = forward(flat.model, run.valid).double()
        said.append(out.log_softmax(1) if classes else out)
        each.append(_loss(said[-1], targets, classes=classes))
    stacked = torch.stack(said)
    together = stacked.logsumexp(0) - math.log(len(said)) if classes else stacked.mean(0)
    return Members(_loss(together, targets, classes=classes), tuple(each))


def _loss(said: Tensor, targets: Tensor, *, classes: bool) -> float:
    if not classes:
        return float(F.mse_loss(said.reshape(targets.shape), targets.double()))
    return float(F.nll_loss(said, targets))

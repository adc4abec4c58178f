"""What an ensemble of the workers' models is worth beside its members."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
    """Return the losses of `models` (worker, weights (p,)) in the place of the run's weights, which are put back after.

    Outputs are averaged as probabilities and the loss is the cross-entropy where the data are classes, else outputs and the
    squared error; both are convex in what is averaged, so the ensemble's is at most the mean of the members'.
    """
    trained = [p for p in run.model.parameters() if p.requires_grad]
    own = [p.detach().clone() for p in trained]
    classes, targets = run.data.kind == "classification", run.valid.targets
    said, each = [], []
    try:
        for _, weights in models:
            with torch.no_grad():
                nn.utils.vector_to_parameters(weights, trained)
            out = forward(run.model, run.valid)
            said.append(out.softmax(1) if classes else out)
            each.append(_loss(said[-1], targets, classes=classes))
    finally:
        with torch.no_grad():
            for p, value in zip(trained, own, strict=True):
                p.copy_(value)
    return Members(_loss(torch.stack(said).mean(0), targets, classes=classes), tuple(each))


def _loss(said: Tensor, targets: Tensor, *, classes: bool) -> float:
    if not classes:
        return float(F.mse_loss(said.reshape(targets.shape), targets))
    return float(F.nll_loss(said.clamp_min(1e-12).log(), targets))

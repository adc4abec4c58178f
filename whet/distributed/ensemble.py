"""What an ensemble of the workers' models is worth beside its members."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from whet.distributed.flat import Flat
from whet.distributed.meaning import Meaning
from whet.distributed.member import become
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
    """Return the losses of `models` (worker, as `whet.distributed.member` lays them) in the place of the run's model, which stays.

    Outputs are averaged and compared as `whet.distributed.meaning` reads them: probabilities by the cross-entropy, numbers by the squared error; both
    are convex in what is averaged, so the ensemble's is at most the mean of the members'. Each member is looked at with its own statistics of
    batch normalisation; one that comes without has those of the run's model. Raises TaskError where outputs have no mean.
    """
    flat = Flat(copy.deepcopy(run.model))  # a model of its own: its parameters may be views of what others write
    meaning, targets = Meaning.of(run), run.valid.targets
    said, each = [], []
    for _, vector in models:
        become(flat, vector)
        said.append(meaning.logs(forward(flat.model, run.valid)))
        each.append(meaning.loss(said[-1], targets))
    return Members(meaning.loss(meaning.mean(said), targets), tuple(each))

"""What a configuration is worth trying: the acquisition of a posterior, the chance of not failing, and what a person believes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from whet.tune.search.model.belief import Belief
from whet.tune.search.model.bounds import Within
from whet.tune.search.model.improvement import ACQUISITIONS
from whet.tune.search.model.outcomes import Scale
from whet.tune.search.model.sound import Sound
from whet.tune.search.model.volume import Volume

__all__ = ["Expected", "Worth"]

E = TypeVar("E", bound="Expected", covariant=True)


class Expected(Protocol):
    """A posterior: what a model expects of configurations. best: the smallest mean at one that was tried and kept the bounds; scale: of its
    values; sound: where trials fail, None when none has; within: where the bounds hold, None when there are none; record: what to write
    down with the proposal.
    """

    best: float
    scale: Scale
    sound: Sound | None
    within: Within | None
    record: dict[str, Any]

    def predict(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (mean, standard deviation), each (k,), of rows (k, d)."""
        ...


@dataclass(frozen=True)
class Worth(Generic[E]):
    """What rows are worth, once `n` trials have a value.

    acquisition: a name of `ACQUISITIONS`. All but "ei" and "ucb" are logarithms; to those the logarithm of the chance not to fail, of that
    to keep the bounds and of the density of the beliefs are added, "ei" is multiplied by them. "ucb", which may have any sign, is lowered by what their
    logarithms are below 0, in units of the values.

    volume: what takes the place of the posterior's improvement when there are several goals, and fits: what to write down of the models of
    those after the first, by name.
    """

    acquisition: str
    posterior: E
    belief: Belief
    n: int
    volume: Volume | None = None
    fits: Mapping[str, Any] = field(default_factory=dict)

    @property
    def record(self) -> dict[str, Any]:
        """What to write down with the proposal."""
        return {**self.posterior.record, **({"fits": dict(self.fits)} if self.fits else {})}

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return the worth (k,) of rows (k, d)."""
        if self.volume is None:
            mean, sd = self.posterior.predict(rows)
            value = ACQUISITIONS[self.acquisition](mean, sd, self.posterior.best)
        else:
            value = self.volume.value(self.acquisition, rows)
        product = self.acquisition == "ei"
        if self.belief.any:
            density = self.belief.weight(self.n) * self.belief.log(rows)
            value = value * np.exp(density) if product else value + density
        if self.posterior.within is not None:
            value = self.posterior.within.weigh(value, rows, logarithm=not product)
        if self.posterior.sound is not None:
            value = self.posterior.sound.weigh(value, rows, logarithm=not product)
        return value

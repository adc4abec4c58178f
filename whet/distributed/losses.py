"""The training loss of what was merged lately."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Losses"]


class Losses:
    """The mean loss over the examples since it was last asked for.

    >>> losses = Losses()
    >>> losses.add(1.0, 1); losses.add(4.0, 2); losses.mean(), losses.mean()
    (3.0, 3.0)
    """

    def __init__(self) -> None:
        self._sum, self._count, self._mean = 0.0, 0, float("nan")

    def add(self, loss: float, examples: int) -> None:
        """Count the mean loss of some examples."""
        self._sum += loss * examples
        self._count += examples

    def mean(self) -> float:
        """Return the mean since this was last asked, or the last mean when there were none."""
        if self._count:
            self._mean = self._sum / self._count
            self._sum, self._count = 0.0, 0
        return self._mean

    def state(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"mean": self._mean, "loss": [self._sum, self._count]}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self._mean, (self._sum, self._count) = state["mean"], state["loss"]

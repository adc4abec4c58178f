"""The limit: one process that copies the weights out and takes the step, with nobody to tell."""

from __future__ import annotations

from channels.case import Case, apply, timed


class Limit:
    """The vectors of one size, to be measured now and then."""

    def __init__(self, case: Case) -> None:
        self.weights, self.gradient = case.weights(), case.gradient()
        self.out = self.weights.clone()

    def seconds(self, seconds: float) -> list[float]:
        """Return how long each exchange took, for so long."""
        return timed(self._exchange, seconds)

    def _exchange(self) -> None:
        self.out.copy_(self.weights)
        apply(self.weights, self.gradient)

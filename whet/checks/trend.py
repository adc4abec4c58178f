"""What a series of losses says: blocks of it, its slope with an interval, and what is far from its own history."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["Blocks", "far", "slope", "slope_interval"]


class Blocks:
    """A series of any length as 32 to 63 means of equally long blocks; when there are 64, neighbours are joined.

    first: the mean, the standard deviation and the number of the first values, at most `opening` of them.

    >>> blocks = Blocks()
    >>> for v in range(200): blocks.add(float(v))
    >>> blocks.n, blocks.size, len(blocks.means), blocks.means[:2], blocks.first
    (200, 4, 50, [1.5, 5.5], (9.5, 5.916079783099616, 20))
    """

    most, opening = 64, 20

    def __init__(self) -> None:
        self.n, self.size = 0, 1
        self.means: list[float] = []
        self._open: list[float] = []
        self._start: list[float] = []

    @property
    def first(self) -> tuple[float, float, int]:
        """The mean, standard deviation and number of the first values."""
        start = np.asarray(self._start)
        return (
            (float(start.mean()), float(start.std(ddof=1)) if len(start) > 1 else 0.0, len(start))
            if len(start)
            else (math.nan, 0.0, 0)
        )

    def add(self, value: float) -> None:
        """Add one value."""
        self.n += 1
        if len(self._start) < self.opening:
            self._start.append(value)
        self._open.append(value)
        if len(self._open) == self.size:
            self.means.append(sum(self._open) / self.size)
            self._open.clear()
            if len(self.means) == self.most:
                self.means = [(a + b) / 2 for a, b in zip(self.means[::2], self.means[1::2], strict=True)]
                self.size *= 2

    def state(self) -> list[object]:
        """Return everything, as plain values."""
        return [self.n, self.size, list(self.means), list(self._open), list(self._start)]

    def load(self, state: Sequence[object]) -> None:
        """Take back what `state` returned."""
        self.n, self.size, self.means, self._open, self._start = (
            int(state[0]), int(state[1]), list(state[2]), list(state[3]), list(state[4]))  # type: ignore[call-overload]  # fmt: skip


def slope(values: Sequence[float]) -> float:
    """Return the Theil-Sen slope of equally spaced values: the median of the slopes of all pairs.

    >>> slope([0.0, 2.0, 4.0, 60.0, 8.0])
    2.0
    """
    y = np.asarray(values, np.float64)
    i, j = np.triu_indices(len(y), 1)
    return float(np.median((y[j] - y[i]) / (j - i)))


def slope_interval(values: Sequence[float], *, draws: int = 200, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the Theil-Sen slope: points drawn again with their places, by percentiles.

    >>> low, high = slope_interval([float(v) for v in range(20)])
    >>> round(low, 6), round(high, 6)
    (1.0, 1.0)
    """
    y = np.asarray(values, np.float64)
    at = np.random.default_rng(seed).integers(0, len(y), (draws, len(y)))
    i, j = np.triu_indices(len(y), 1)
    run = (at[:, j] - at[:, i]).astype(np.float64)
    run[run == 0] = np.nan  # the same point twice has no slope
    low, high = np.nanpercentile(np.nanmedian((y[at[:, j]] - y[at[:, i]]) / run, axis=1), [2.5, 97.5])
    return float(low), float(high)


def far(history: Sequence[float], value: float, *, least: float = 0.0) -> float:
    """Return how many median absolute deviations `value` lies from the median of `history`, with sign.

    least: what a deviation counts at least, for a history that hardly moves.

    >>> far([1.0, 2.0, 3.0, 4.0, 5.0], 9.0)
    6.0
    """
    h = np.asarray(history, np.float64)
    middle = float(np.median(h))
    spread = max(float(np.median(np.abs(h - middle))), least)
    return (
        (value - middle) / spread if spread > 0 else math.copysign(math.inf, value - middle) if value != middle else 0.0
    )

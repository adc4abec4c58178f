"""What a configuration is expected to add to the front of several goals, one model for each: expected hypervolume improvement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from whet.tune.dominance import crowding, ranks
from whet.tune.search.model.improvement import log_expected, log_probability

__all__ = ["Volume"]

_BEYOND = 0.1  # of the range that was seen: so far beyond the worst lies what is worth nothing
_CELLS = (
    1000  # at most: of a front with more points those with the most room are taken, 31 with three goals and 9 with four
)
_FARTHEST = 2.0  # standard deviations below the mean that "ucb" goes by


class Predicts(Protocol):
    """A model of one goal, lower is better."""

    def predict(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (mean, standard deviation), each (k,), of rows (k, d)."""
        ...


@dataclass(frozen=True)
class Volume:
    """The front that models expect of what was tried, and what more a configuration would add to it.

    models (m): one for each goal; front (n, m): the means at what was tried, those that no other dominates; low, high (m,): the best and
    the worst value that was seen of each goal. The hypervolume goes a tenth of that range beyond the worst.

    >>> class Sure:
    ...     def __init__(self, column):
    ...         self.column = column
    ...     def predict(self, rows):
    ...         return rows[:, self.column], np.full(len(rows), 1e-6)
    >>> tried = np.array([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]])
    >>> volume = Volume.of([Sure(0), Sure(1)], tried, tried.min(0), tried.max(0))
    >>> volume.value("ei", np.array([[0.25, 0.25], [0.6, 0.6], [0.0, 0.0]])).round(4).tolist()  # the second is dominated
    [0.3125, 0.0, 0.75]
    """

    models: tuple[Predicts, ...]
    front: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, models: list[Any], tried: np.ndarray, low: np.ndarray, high: np.ndarray) -> Volume:
        """Return it for the rows (k, d) that were tried."""
        means = np.column_stack([model.predict(tried)[0] for model in models])
        return cls(tuple(models), means[ranks(means) == 0], low, high)

    def value(self, acquisition: str, rows: np.ndarray) -> np.ndarray:
        """Return what rows (k, d) are worth, by the name of an acquisition of one goal.

        "ei" and "log-ei": the expected growth of the hypervolume and its logarithm, exact when the goals are independent, as
        their models are (Emmerich et al. 2011; the sum over cells of Yang et al. 2019). "pi": the logarithm of the chance
        that nothing on the front dominates it. "ucb": how far a place that is twice the standard deviation better than
        the means lies before the front, in ranges of the goals: the least, over the front, of what it is better in one goal.
        """
        moments = [model.predict(rows) for model in self.models]
        if acquisition == "ucb":
            return self._ahead(moments)
        logs = self._logs(moments, log_probability if acquisition == "pi" else log_expected)
        top = logs.max(1, keepdims=True)
        total = top[:, 0] + np.log(np.exp(logs - top).sum(1))
        return np.exp(total) if acquisition == "ei" else total

    def _ahead(self, moments: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        wide = np.where(self.high > self.low, self.high - self.low, 1.0)
        best = np.column_stack([mean - _FARTHEST * sd for mean, sd in moments])
        apart = (self.front[None] - best[:, None]) / wide
        found: np.ndarray = apart.max(2).min(1)
        return found

    def _logs(self, moments: list[tuple[np.ndarray, np.ndarray]], of: Any) -> np.ndarray:
        """Return the logarithm (k, cells) of what is expected in each cell.

        The coordinates of the front divide the first m - 1 goals into cells; in each the last goal is worth improving below the least
        of what the front has there.
        """
        *sides, (mean, sd) = moments
        edges, heights = self._cells
        total = np.zeros((len(mean), 1))
        for (at, unsure), edge in zip(sides, edges, strict=True):
            below = np.column_stack([of(at, unsure, e) for e in edge])
            inside = below.copy()  # between this edge and the one before
            with np.errstate(divide="ignore"):
                inside[:, 1:] += np.log1p(-np.exp(np.minimum(below[:, :-1] - below[:, 1:], 0.0)))
            total = (total[:, :, None] + inside[:, None, :]).reshape(len(mean), -1)
        levels, which = np.unique(heights, return_inverse=True)
        deep = np.column_stack([of(mean, sd, h) for h in levels])
        return total + deep[:, which.ravel()]

    @property
    def _cells(self) -> tuple[list[np.ndarray], np.ndarray]:
        """Return of each goal but the last the upper edges of its cells, and of every cell how high the front lies in it."""
        m = len(self.models)
        wide = np.where(self.high > self.low, self.high - self.low, 1.0)
        corner = self.high + _BEYOND * wide
        front = self.front[(self.front < corner).all(1)]
        most = round(_CELLS ** (1 / max(1, m - 1))) - 1
        if m > 1 and len(front) > most:
            front = front[np.sort(np.argsort(-crowding(front), kind="stable")[:most])]
        edges = [np.append(np.unique(front[:, j]), corner[j]) for j in range(m - 1)]
        lower = [np.append(-np.inf, edge[:-1]) for edge in edges]
        grid = np.meshgrid(*lower, indexing="ij") if lower else []
        places = np.column_stack([g.ravel() for g in grid]) if grid else np.zeros((1, 0))
        heights = np.full(len(places), corner[-1])
        for point in front:
            under = (point[:-1] <= places).all(1)
            heights[under] = np.minimum(heights[under], point[-1])
        return edges, heights

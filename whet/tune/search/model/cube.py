"""The unit cube of a space, many points at a time: which values they mean, and which of their columns exist.

A point is a full row of [0, 1]^d, so that moving it never loses the columns of a branch that is not taken now. A row is
what a model is shown: every value in the place that `Space.encode` gives it, NaN where it does not exist.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from whet.tune.domain import Choice, Float, Int, Value
from whet.tune.space import Params, Space

__all__ = ["Cube"]

_LISTED = 4096  # values of a domain that are listed; more are as good as a real number


class Cube:
    """A space as arrays. d: how many dimensions there are; options: of each, how many it has as a choice, else 0.

    levels: of each dimension the places of its values in order, None when there are too many to list; edges: where their cells
    begin and end, one more than there are values, or none.

    >>> from whet.tune.space import Int
    >>> cube = Cube(Space(k=Int(1, 4), o=Choice({"sgd": Space(m=Float(0, 1)), "adam": None})))
    >>> cube.rows(np.array([[0.3, 0.9, 0.5], [0.3, 0.1, 0.5]]))
    array([[0.375, 0.75 ,   nan],
           [0.375, 0.25 , 0.5  ]])
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.dims = space.dims
        self.d = len(self.dims)
        self.options = tuple(len(x.domain.options) if isinstance(x.domain, Choice) else 0 for x in self.dims)
        self.levels = tuple(_levels(x.domain) for x in self.dims)
        self.edges = tuple(_edges(x.domain, levels) for x, levels in zip(self.dims, self.levels, strict=True))
        self._inner = tuple(edges[1:-1] for edges in self.edges)
        # for each dimension the choices that must be taken: (column, number of the option). Two branches may have a choice of one name;
        # that of a dimension is the last one before it
        column: dict[str, int] = {}
        when: list[tuple[tuple[int, int], ...]] = []
        for j, x in enumerate(self.dims):
            when.append(tuple((column[n], self.dims[column[n]].domain.index(o)) for n, o in x.when))  # type: ignore[union-attr]
            column[x.name] = j
        self._when = tuple(when)
        self.constrained = space.constrained
        self.conditional = tuple(bool(w) for w in self._when)

    def snap(self, points: np.ndarray) -> np.ndarray:
        """Return points (n, d) with every column moved to the place of the value it means."""
        out = np.array(points, dtype=float, copy=True)
        for j, levels in enumerate(self.levels):
            if levels is not None:
                out[:, j] = levels[self.index(points[:, j], j)]
        return out

    def index(self, u: np.ndarray, j: int) -> np.ndarray:
        """Return the numbers of the values that the places `u` of a listed dimension mean."""
        return np.searchsorted(self._inner[j], u, side="right")

    def exists(self, points: np.ndarray) -> np.ndarray:
        """Return which columns of points (n, d) exist, as booleans (n, d)."""
        there = np.ones((len(points), self.d), dtype=bool)
        taken: dict[int, np.ndarray] = {}
        for j, when in enumerate(self._when):
            for column, option in when:
                if column not in taken:
                    taken[column] = self.index(points[:, column], column)
                there[:, j] &= taken[column] == option
        return there

    def rows(self, points: np.ndarray) -> np.ndarray:
        """Return points (n, d) as `Space.encode` gives their configurations: (n, d), NaN where nothing exists."""
        snapped = self.snap(points)
        return np.where(self.exists(snapped), snapped, np.nan)

    def encode(self, configurations: Iterable[Params]) -> np.ndarray:
        """Return configurations as rows (n, d), NaN where nothing exists."""
        rows = [self.space.encode(p) for p in configurations]
        return np.array(rows, dtype=float).reshape(len(rows), self.d)

    def params(self, row: np.ndarray) -> dict[str, Value]:
        """Return the configuration of one row or point (d,)."""
        return dict(self.space.decode(np.where(np.isnan(row), 0.5, row)))


def _levels(domain: object) -> np.ndarray | None:
    """Return the places of the values of a domain, in order; None when there are too many."""
    size = getattr(domain, "size", None)
    if isinstance(domain, Float) or size is None or size > _LISTED:
        return None
    if hasattr(domain, "options") or hasattr(domain, "values"):
        return (np.arange(size) + 0.5) / size
    return np.array([domain.encode(k) for k in range(domain.low, domain.high + 1)])  # type: ignore[attr-defined]


def _edges(domain: object, levels: np.ndarray | None) -> np.ndarray:
    if levels is None:
        return np.zeros(0)
    if isinstance(domain, Int):
        return np.array([0.0, *(domain.encode(k + 0.5) for k in range(domain.low, domain.high)), 1.0])
    return np.arange(len(levels) + 1) / len(levels)

"""A space as cells: a finite grid over each dimension, their shares of the space, and which dimensions exist where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from whet.tune.domain import Choice, Value
from whet.tune.layout import apart
from whet.tune.search.model.cube import Cube
from whet.tune.search.model.forest import Columns
from whet.tune.space import Params, Space

__all__ = ["Cells", "When"]

MOST = 64  # cells of a dimension

When = Mapping[int, int]  # column of a choice -> number of the option that is taken


class Cells:
    """The cells of a space. A choice and a domain with at most 64 values have one for each, as wide as the part of the encoded space that means it; others are
    cut into 64 of equal width (of the logarithm where it is logarithmic).

    places, widths: by dimension (c,), where cells are in [0, 1] and what share of it they have; when: by dimension the choices that
    must be taken for it to exist; kids: by dimension and option the dimensions that exist with it; names: unique, with the option where
    two branches have the same name; free: the columns of what has more than one value.

    >>> from whet.tune.space import Choice, Float, Int
    >>> cells = Cells(Space(k=Int(1, 2), o=Choice({"sgd": Space(m=Float(0, 1)), "adam": None})))
    >>> cells.names, [len(p) for p in cells.places], cells.when[2], cells.kids[1]
    (('k', 'o', 'o.m'), [2, 2, 64], {1: 0}, ((2,), ()))
    """

    def __init__(self, space: Space) -> None:
        self.space, self.dims = space, space.dims
        self.cube = Cube(space)
        self.d = len(self.dims)
        self.free = [j for j, dim in enumerate(self.dims) if dim.varies]
        self.places: list[np.ndarray] = []
        self.widths: list[np.ndarray] = []
        for dim, levels, edges in zip(self.dims, self.cube.levels, self.cube.edges, strict=True):
            listed = levels is not None and (len(levels) <= MOST or isinstance(dim.domain, Choice))
            self.places.append(np.array(levels) if listed and levels is not None else (np.arange(MOST) + 0.5) / MOST)
            self.widths.append(np.diff(edges) if listed else np.full(MOST, 1.0 / MOST))
        self.when: list[dict[int, int]] = [self._conditions(j) for j in range(self.d)]
        self.kids = [
            tuple(
                tuple(k for k in range(self.d) if self.when[k] == {**self.when[j], j: option})
                for option in range(self.cube.options[j])
            )
            for j in range(self.d)
        ]
        self.names = apart(self.dims)
        self._columns = Columns(self.cube)
        self._widths = [k if k > 2 else 1 for k in self.cube.options]

    def _conditions(self, j: int) -> dict[int, int]:
        found: dict[int, int] = {}
        for depth, (name, option) in enumerate(self.dims[j].when):
            choice = next(
                k for k, dim in enumerate(self.dims) if dim.name == name and dim.when == self.dims[j].when[:depth]
            )
            found[choice] = self.dims[choice].domain.index(option)  # type: ignore[union-attr]
        return found

    def below(self, j: int, option: int) -> list[int]:
        """Return every dimension that exists only when choice `j` is at `option`."""
        return [k for k in range(self.d) if self.when[k].get(j) == option]

    def chance(self, when: When) -> float:
        """Return the share of the space in which these choices are taken."""
        return float(np.prod([self.widths[j][option] for j, option in when.items()]))

    def roots(self, when: When) -> list[int]:
        """Return the dimensions that exist whenever these choices are taken and are not among them."""
        return [
            j
            for j in range(self.d)
            if j not in when and all(when.get(k) == option for k, option in self.when[j].items())
        ]

    def encode(self, configurations: Iterable[Params]) -> np.ndarray:
        """Return configurations as rows (n, d) of places of cells, NaN where a dimension does not exist."""
        return self.snap(self.cube.encode(configurations))

    def snap(self, rows: np.ndarray) -> np.ndarray:
        """Return rows (n, d) of places in [0, 1] moved to the middle of their cells."""
        out = rows.copy()
        for j, places in enumerate(self.places):
            if self.cube.levels[j] is None or len(places) != len(self.cube.levels[j]):  # type: ignore[arg-type]
                out[:, j] = (np.minimum(np.floor(rows[:, j] * MOST), MOST - 1) + 0.5) / MOST
        return out

    def columns(self, rows: np.ndarray) -> np.ndarray:
        """Return rows (n, d) as the columns (n, m) that trees cut."""
        return self._columns.of(rows)

    def block(self, j: int) -> slice:
        """Return which columns dimension `j` has: one, or one for each option of a choice of more than two."""
        start = sum(self._widths[:j])
        return slice(start, start + self._widths[j])

    def values(self, j: int) -> list[Value]:
        """Return what the cells of a dimension mean, the middle of each."""
        return [self.dims[j].domain.decode(float(u)) for u in self.places[j]]

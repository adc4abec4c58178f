"""A forest as a model: what the leaves of its trees hold, and what that says of a point, mean and variance."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from whet.tune.search.model.cube import Cube
from whet.tune.search.model.trees import Trees

__all__ = ["Columns", "Forest"]

_NOWHERE = -1.0  # the place of a value that does not exist: outside the cube, so that one cut sets it apart


class Columns:
    """Rows of the unit cube as columns that trees can cut. odds (m,): the part of its dimension that a column is.

    A choice of more than two options is a column for each, 1 where it is taken; a column that does not exist is -1 (Hutter et al. 2011).

    >>> from whet.tune.space import Choice, Float, Space
    >>> columns = Columns(Cube(Space(o=Choice({"a": Space(x=Float(0, 1)), "b": None, "c": None}))))
    >>> columns.of(np.array([[1 / 6, 0.3], [0.5, np.nan]])).tolist(), columns.odds.round(2).tolist()
    ([[1.0, 0.0, 0.0, 0.3], [0.0, 1.0, 0.0, -1.0]], [0.33, 0.33, 0.33, 1.0])
    """

    def __init__(self, cube: Cube) -> None:
        self._options = cube.options
        widths = [k if k > 2 else 1 for k in cube.options]
        self.odds = 1.0 / np.repeat(widths, widths)

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Return the columns (n, m) of rows (n, d)."""
        out: list[np.ndarray] = []
        for u, k in zip(rows.T, self._options, strict=True):
            there = ~np.isnan(u)
            if k > 2:
                taken = np.minimum(np.nan_to_num(u) * k, k - 1).astype(int)
                out.append(np.where(there[:, None], taken[:, None] == np.arange(k), _NOWHERE))
            else:
                out.append(np.where(there, u, _NOWHERE)[:, None])
        return np.hstack(out) if out else np.zeros((len(rows), 0))


@dataclass(frozen=True)
class Forest:
    """Trees and the points that lie in their leaves: columns (n, m), leaf (n, trees), values (n,). floor: a variance that every
    prediction has at least, the square of what no model could tell apart.

    >>> from whet.tune.search.model.trees import grow
    >>> x, y = np.array([[0.0], [0.4], [1.0]]), np.array([0.0, 0.0, 4.0])
    >>> forest = Forest.of(grow(x, y, np.random.default_rng(0), 50), x, y)
    >>> mean, sd = forest.predict(np.array([[0.2], [0.7], [1.0]]))
    >>> mean.round(1).tolist(), sd.round(1).tolist()
    ([0.0, 2.3, 4.0], [0.0, 2.0, 0.0])
    """

    trees: Trees
    columns: np.ndarray
    leaf: np.ndarray
    values: np.ndarray
    floor: float = 1e-4
    _mean: np.ndarray = field(init=False, repr=False)
    _variance: np.ndarray = field(init=False, repr=False)

    @classmethod
    def of(cls, trees: Trees, columns: np.ndarray, values: np.ndarray) -> Forest:
        """Return the forest of trees whose leaves hold these points."""
        return cls(trees, columns, trees.leaves(columns), values)

    def __post_init__(self) -> None:
        size, flat = len(self.trees.left), self.leaf.ravel()
        value = np.repeat(self.values, self.trees.trees)
        count = np.maximum(np.bincount(flat, minlength=size), 1)
        mean = np.bincount(flat, value, size) / count
        away = value - mean[flat]  # in two passes: the difference of large squares would be lost
        object.__setattr__(self, "_mean", mean)
        object.__setattr__(self, "_variance", np.bincount(flat, away * away, size) / count)

    def predict(self, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (mean, standard deviation), each (k,), at points (k, m), by the law of total variance over trees: the mean of what the values
        in a leaf vary, and how much the means of the leaves do (Hutter et al. 2014, "Algorithm runtime prediction", section 4.3.2).
        """
        return self._at(self.trees.leaves(columns))

    def known(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (mean, standard deviation), each (n,), at the points it has seen."""
        return self._at(self.leaf)

    def _at(self, leaf: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean = self._mean[leaf]
        return mean.mean(1), np.sqrt(self._variance[leaf].mean(1) + mean.var(1) + self.floor)

    def given(self, columns: np.ndarray, values: np.ndarray, rng: np.random.Generator, odds: np.ndarray) -> Forest:
        """Return the forest that has also seen `values` at points (k, m), one after the other, each in a leaf of its own.

        The leaf that a point falls into is cut between it and a point that is there, in a column drawn by how far they are apart in it, as
        in a Mondrian forest (Lakshminarayanan et al. 2014). A point in the leaf of others alone would hardly change what is expected nearby.
        """
        trees, seen, leaf = self.trees, self.columns, self.leaf
        for point in columns:
            here = trees.leaves(point[None])[0]
            other = seen[(leaf == here).argmax(0)]
            low, high = np.minimum(point, other), np.maximum(point, other)
            with np.errstate(divide="ignore"):
                race = -np.log(rng.random(low.shape)) / ((high - low) * odds)  # the first is drawn by the rates
            column = race.argmin(1)
            at = np.arange(len(here)), column
            cut = low[at] + rng.random(len(here)) * (high - low)[at]
            apart = (low[at] <= cut) & (cut < high[at])
            trees = trees.split(here[apart], column[apart], cut[apart])
            seen = np.vstack([seen, point])
            leaf = trees.on(seen, np.vstack([leaf, here]))
        return replace(self, trees=trees, columns=seen, leaf=leaf, values=np.concatenate([self.values, values]))

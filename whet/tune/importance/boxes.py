"""The leaves of a tree as boxes over the cells of a space, and integrals over them in closed form.

A tree is a sum over its leaves of a value times, for each dimension, whether the leaf has the cell. So the mean over any set of dimensions is a
product of sums over one dimension each, and nothing is sampled (Hutter, Hoos and Leyton-Brown 2014, algorithm 2). A branch is one more sum: over
the options of its choice, of what the leaf has inside the option taken and where the members of the others do not exist.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whet.tune.importance.cells import Cells, When

__all__ = ["Boxes", "bounds"]

NOWHERE = -1.0  # the column of what does not exist, as `whet.tune.search.model.forest.Columns` has it


def bounds(
    left: np.ndarray, right: np.ndarray, column: np.ndarray, cut: np.ndarray, *, columns: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return what lies in each node of a tree, node 0 being its root: above low and at most high, each (nodes, columns).

    left, right: the nodes that follow, the left one of what is at most `cut` in `column`; negative at a leaf.

    >>> low, high = bounds(np.array([1, -1, -1]), np.array([2, -1, -1]), np.array([0, 0, 0]), np.array([0.5, 0.0, 0.0]), columns=1)
    >>> high[1, 0], low[2, 0], low[1, 0]
    (np.float64(0.5), np.float64(0.5), np.float64(-inf))
    """
    low, high = np.full((len(left), columns), -np.inf), np.full((len(left), columns), np.inf)
    at = np.zeros(1, int)
    while len(at := at[left[at] >= 0]):
        below, above, where, place = left[at], right[at], column[at], cut[at]
        for child in (below, above):
            low[child], high[child] = low[at], high[at]
        high[below, where] = np.minimum(high[below, where], place)
        low[above, where] = np.maximum(low[above, where], place)
        at = np.concatenate([below, above])
    return low, high


def _holds(low: np.ndarray, high: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return whether boxes, bounded in the columns of one dimension, have each of its cells (b, c), and the place of what does not exist (b,)."""
    without: np.ndarray = np.all((low < NOWHERE) & (high >= NOWHERE), axis=1)
    if low.shape[1] == 1:
        return (low < places) & (places <= high), without
    taken, other = (low < 1.0) & (high >= 1.0), (low < 0.0) & (high >= 0.0)  # a column for each option
    wrong = (~other).sum(1, keepdims=True) - ~other
    return taken & (wrong == 0), without


class Boxes:
    """A function on the cells of a space: the sum of the values of the boxes that a configuration lies in.

    values (b,): of the boxes; low, high (b, m): their bounds on the columns.

    >>> from whet.tune.space import Float, Space
    >>> halves = Boxes(Cells(Space(x=Float(0, 1))), np.array([1.0, 3.0]), np.array([[-np.inf], [0.5]]), np.array([[0.5], [np.inf]]))
    >>> halves.mean(), halves.along((0,))[[0, -1]].tolist()
    (2.0, [1.0, 3.0])
    """

    def __init__(self, cells: Cells, values: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        self.cells, self.values, self.low, self.high = cells, values, low, high
        self.has: list[np.ndarray] = []  # by dimension (b, c): whether a box has the cell
        self.ends: list[
            tuple[np.ndarray, np.ndarray]
        ] = []  # by dimension (b,), (b,): where it begins and ends, when that is in order
        self.without: list[np.ndarray] = []  # by dimension (b,): whether it has where the dimension does not exist
        for j in range(cells.d):
            part = cells.block(j)
            has, without = _holds(low[:, part], high[:, part], cells.places[j])
            self.has.append(has.astype(float))
            self.without.append(without.astype(float))
            edges, first = np.append(0.0, np.cumsum(cells.widths[j])), has.argmax(1)
            self.ends.append((edges[first], edges[first + has.sum(1)]))
        self.spread: list[np.ndarray] = [
            np.zeros(0)
        ] * cells.d  # by dimension (b, c): a box's share of what exists in the cell
        self.share: list[np.ndarray] = [np.zeros(0)] * cells.d  # by dimension (b,): the same over all cells
        for j in reversed(range(cells.d)):  # members come after their choice
            self.spread[j] = self.taken(j) * np.stack(
                [self._product([self.share[k] for k in kids]) for kids in cells.kids[j]], axis=1
            ) if any(cells.kids[j]) else self.has[j]  # fmt: skip
            self.share[j] = self.spread[j] @ cells.widths[j]

    def _product(self, factors: Sequence[np.ndarray]) -> np.ndarray:
        out = np.ones(len(self.values))
        for factor in factors:
            out = out * factor
        return out

    def taken(self, j: int) -> np.ndarray:
        """Return (b, c) whether a box has the cell of `j`, and the places where what then does not exist is not."""
        if not any(self.cells.kids[j]):
            return self.has[j]
        options = range(len(self.cells.kids[j]))
        absent = [self._product([self.without[k] for k in self.cells.below(j, o)]) for o in options]
        others = [self._product([absent[p] for p in options if p != o]) for o in options]
        return self.has[j] * np.stack(others, axis=1)

    def mean(self, when: When | None = None) -> float:
        """Return the mean over the space, or over the part of it where these choices are taken."""
        return float(self._rest(when or {}, ()) @ self.values)

    def _rest(self, when: When, free: Sequence[int]) -> np.ndarray:
        """Return (b,) the share that a box has of the part of the space, the dimensions `free` left aside."""
        fixed = [self.taken(j)[:, option] for j, option in when.items()]
        return self._product([*fixed, *(self.share[j] for j in self.cells.roots(when) if j not in free)])

    def along(self, dims: Sequence[int], when: When | None = None) -> np.ndarray:
        """Return the mean over all but one dimension (c,), or two (c, c'), where these choices are taken.

        when: must be such that the dimensions exist and must not name them.
        """
        weight = self.values * self._rest(when or {}, dims)
        if len(dims) == 1:
            return weight @ self.spread[dims[0]]
        return (weight[:, None] * self.spread[dims[0]]).T @ self.spread[dims[1]]

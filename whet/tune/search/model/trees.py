"""Randomised regression trees, all of them grown and asked at the same time as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Trees", "grow"]

_CHUNK = 250  # rows whose way through all trees stays in the processor's cache
_STRIDE = 6  # levels after which the points that have arrived are left alone
_SHOWN = 500  # points that a tree is grown with
_DEEP = 64  # levels; random cuts halve a node about every second level


@dataclass(frozen=True)
class Trees:
    """Binary trees. Node i sends what is larger than `cut[i]` in column `column[i]` to node `left[i]` + 1 and the rest to `left[i]`;
    a leaf is its own left. The first `trees` nodes are the roots, `depth` is how many steps lead to any leaf.
    """

    column: np.ndarray
    cut: np.ndarray
    left: np.ndarray
    trees: int
    depth: int

    def leaves(self, columns: np.ndarray) -> np.ndarray:
        """Return the leaves (n, trees) that points (n, m) come to, as numbers of nodes."""
        out = np.empty((len(columns), self.trees), dtype=np.int64)
        for start in range(0, len(columns), _CHUNK):
            some = columns[start : start + _CHUNK]
            flat = np.ascontiguousarray(some).ravel()
            first = np.repeat(np.arange(len(some)) * columns.shape[1], self.trees)
            node = np.tile(np.arange(self.trees), len(some))
            reached, at = out[start : start + _CHUNK].reshape(-1), np.arange(len(node))
            reached[:] = node
            for step in range(1, self.depth + 1):
                after = self.left.take(node) + (flat.take(first + self.column.take(node)) > self.cut.take(node))
                if step % _STRIDE and step < self.depth:
                    node = after
                    continue
                reached[at] = after
                on = after != node  # the others are in their leaves
                node, at, first = after[on], at[on], first[on]
        return out

    def split(self, leaves: np.ndarray, column: np.ndarray, cut: np.ndarray) -> Trees:
        """Return the trees in which `leaves` (k,), no two the same, have become nodes that cut `column` at `cut`."""
        k, n = len(leaves), len(self.left)
        columns, cuts = np.append(self.column, np.zeros(2 * k, int)), np.append(self.cut, np.full(2 * k, np.inf))
        left = np.append(self.left, np.arange(n, n + 2 * k))
        columns[leaves], cuts[leaves], left[leaves] = column, cut, np.arange(n, n + 2 * k, 2)
        return Trees(columns, cuts, left, self.trees, self.depth + 1)

    def on(self, columns: np.ndarray, node: np.ndarray) -> np.ndarray:
        """Return where points (n, m) at nodes (n, trees) are one step on."""
        return self.left[node] + (columns[np.arange(len(columns))[:, None], self.column[node]] > self.cut[node])


def grow(columns: np.ndarray, values: np.ndarray, rng: np.random.Generator, trees: int) -> Trees:
    """Return trees grown on `columns` (n, m) and `values` (n,), until the points of a leaf have one value or one place.

    Each node tries a random cut of every column and takes the one that leaves the smallest squared deviation: the "extremely randomized trees" of
    Geurts et al. 2006 with K = m. A tree is shown all points, or a random choice of 500.

    >>> x = np.array([[0.0], [0.1], [1.0]])
    >>> grown = grow(x, np.array([1.0, 1.0, 2.0]), np.random.default_rng(0), 2)
    >>> grown.leaves(x).tolist(), grown.depth
    ([[2, 4], [2, 4], [3, 5]], 1)
    """
    n = len(columns)
    across = np.ascontiguousarray(columns.T)
    if n > _SHOWN:
        row = np.argpartition(rng.random((trees, n)), _SHOWN, axis=1)[:, :_SHOWN].ravel()
    else:
        row = np.tile(np.arange(n), trees)
    node = np.repeat(np.arange(trees), min(n, _SHOWN))  # of each point; always in order
    made: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
    nodes, depth = trees, 0
    number = np.arange(trees)  # of the nodes of this level, by which points name theirs
    while len(row) and depth < _DEEP:
        starts = np.flatnonzero(np.diff(node, prepend=-1))
        y = values[row]
        mixed = np.minimum.reduceat(y, starts) < np.maximum.reduceat(y, starts)
        stay = np.repeat(mixed, np.diff(starts, append=len(node)))
        row, number = row[stay], number[node[starts[mixed]]]
        if not len(row):
            break
        count = np.diff(starts, append=len(node))[mixed]
        node, y = np.repeat(np.arange(len(count)), count), y[stay]
        starts = np.cumsum(count) - count
        x = across[:, row]
        low, high = np.minimum.reduceat(x, starts, axis=1), np.maximum.reduceat(x, starts, axis=1)
        at = np.arange(len(count))
        cut = low + rng.random(low.shape) * (high - low)
        right = x > cut[:, node]
        above = np.add.reduceat(right, starts, axis=1, dtype=float)
        sum_above = np.add.reduceat(right * y, starts, axis=1)
        below, sum_below = count - above, np.add.reduceat(y, starts) - sum_above
        valid = (above > 0) & (below > 0)
        gain = np.where(valid, sum_above**2 / np.maximum(above, 1) + sum_below**2 / np.maximum(below, 1), -np.inf)
        best = gain.argmax(0)
        split = valid[best, at]
        children = nodes + 2 * np.arange(int(split.sum()))
        made.append((number[split], best[split], cut[best, at][split], children))
        nodes += 2 * len(children)
        depth += 1
        stay = split[node]
        side = right[best[node], np.arange(len(row))]
        after = (2 * (np.cumsum(split) - 1)[node] + side)[stay]
        order = np.argsort(after, kind="stable")
        row, node = row[stay][order], after[order]
        number = (children[:, None] + np.arange(2)).ravel()
    column, at_cut, left = np.zeros(nodes, int), np.full(nodes, np.inf), np.arange(nodes)
    for who, c, t, children in made:
        column[who], at_cut[who], left[who] = c, t, children
    return Trees(column, at_cut, left, trees, depth)

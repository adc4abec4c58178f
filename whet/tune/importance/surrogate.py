"""The forest that stands for a study: trees, each grown on a bootstrap of the trials, as boxes; and how well it predicts."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from whet import seed as keyed
from whet.tune.importance.boxes import Boxes, bounds
from whet.tune.importance.cells import Cells
from whet.tune.space import Choice, Domain, Space

__all__ = ["Surrogate", "beside_noise"]

_LEAF = 2  # trials that a leaf has at least
_SHOWN = 1000  # that a tree is shown at most


class Surrogate:
    """A random forest (Breiman 2001): trees that see a bootstrap of the trials and cut all columns at the best place, leaves of 2 at least; of more than
    1,000 trials each tree sees 1,000.

    rows (n, d): places of cells as `Cells.encode` gives them; values (n,). trees: how many. r2: how much of the variance of the values it predicts where a
    trial is predicted by the trees that were not shown it ("out of bag"), -inf when there is none.

    >>> from whet.tune.space import Float, Space
    >>> x = np.linspace(0, 1, 40)[:, None]
    >>> forest = Surrogate(Cells(Space(x=Float(0, 1))), x, x[:, 0] ** 2, trees=16)
    >>> forest.r2 > 0.9, len(forest.boxes)
    (True, 16)
    """

    def __init__(self, cells: Cells, rows: np.ndarray, values: np.ndarray, *, trees: int = 64, seed: int = 0) -> None:
        self.cells = cells
        n = len(values)
        columns = cells.columns(cells.snap(rows))
        self.boxes: list[Boxes] = []
        told, times = np.zeros(n), np.zeros(n)
        for t in range(trees):
            rng = keyed.rng(seed, "importance", t)
            shown = rng.integers(0, n, min(n, _SHOWN))
            tree, boxes = self._grow(columns[shown], values[shown], rng)
            self.boxes.append(boxes)
            out = np.setdiff1d(np.arange(n), shown)
            told[out] += tree.predict(columns[out]) if len(out) else 0.0
            times[out] += 1
        known = times > 0
        error = ((values[known] - told[known] / times[known]) ** 2).sum()
        spread = ((values[known] - values[known].mean()) ** 2).sum() if known.any() else 0.0
        self.r2 = float(1.0 - error / spread) if spread > 0 else -np.inf

    def _grow(self, columns: np.ndarray, values: np.ndarray, rng: np.random.Generator) -> tuple[Any, Boxes]:
        from sklearn.tree import DecisionTreeRegressor

        tree = DecisionTreeRegressor(min_samples_leaf=_LEAF, random_state=int(rng.integers(2**31)))
        tree.fit(columns, values)
        t = tree.tree_
        low, high = bounds(t.children_left, t.children_right, t.feature, t.threshold, columns=columns.shape[1])
        ends = np.flatnonzero(t.children_left < 0)
        return tree, Boxes(self.cells, t.value[ends, 0, 0], low[ends], high[ends])


def beside_noise(
    space: Space, rows: np.ndarray, values: np.ndarray, *, times: int, trees: int, seed: int = 0
) -> list[Surrogate]:
    """Return forests of a space in which each dimension has a second one that means nothing: its values, dealt out anew among the trials.

    rows (n, d): as `Cells.encode` gives them; the dimensions that mean nothing are d, d + 1, ..., in the same order, and exist everywhere. So what chance makes
    of a dimension is seen beside what the true ones make of theirs, in the same trees (the "shadows" of Kursa and Rudnicki 2010, "Boruta").
    times: how often they are dealt out; trees: each time.
    """
    again: dict[str, Domain] = {}
    for j, dim in enumerate(space.dims):
        domain = Choice(dim.domain.options) if isinstance(dim.domain, Choice) else dim.domain
        again[next(n for k in itertools.count() if (n := f"noise_{j}_{k}") not in space)] = domain
    cells = Cells(Space(**space, **again))
    found = []
    for time in range(times):
        rng = keyed.rng(seed, "importance noise", time)
        dealt = np.empty_like(rows)
        for j, column in enumerate(rows.T):
            have = column[~np.isnan(column)]
            some = rng.choice(have, len(column) - len(have)) if len(have) else np.full(len(column), 0.5)
            dealt[:, j] = rng.permutation(np.concatenate([have, some]))
        part = keyed.key(seed, "importance noise", time)
        found.append(Surrogate(cells, np.hstack([rows, dealt]), values, trees=trees, seed=part))
    return found

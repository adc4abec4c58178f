"""What the values of a study's trials say of every configuration: a forest grown at fixed numbers of trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from whet import seed as keyed
from whet.tune.search.model.bounds import Within, within
from whet.tune.search.model.cube import Cube
from whet.tune.search.model.forest import Columns, Forest
from whet.tune.search.model.outcomes import Scale
from whet.tune.search.model.posterior import chances, due
from whet.tune.search.model.seen import View
from whet.tune.search.model.sound import Sound, sound
from whet.tune.search.model.trees import Trees, grow

__all__ = ["ForestPosterior", "Stand", "grown"]

_ALWAYS = 40  # values up to which every proposal grows new trees
_GROWTH = 1.1  # then new trees each time there are so many times more


def grown(n: int) -> int:
    """Return the number of values, of `n`, that trees are grown with: all of 40, then the last number that was a tenth more than the one before.

    >>> [grown(n) for n in (40, 43, 44, 48, 49)]
    [40, 40, 44, 44, 49]
    """
    if n <= _ALWAYS:
        return n
    m = _ALWAYS
    while (after := int(np.ceil(_GROWTH * m))) <= n:
        m = after
    return m


class Stand:
    """Keeps the last trees and who lies in their leaves, to be quick: what it returns depends on the arguments alone."""

    def __init__(self) -> None:
        self._of: tuple[object, ...] = ()
        self._trees: Trees | None = None
        self._columns, self._leaf = np.zeros((0, 0)), np.zeros((0, 0), int)

    def forest(self, columns: np.ndarray, scores: np.ndarray, values: np.ndarray, trees: int, *, seed: int) -> Forest:  # fmt: skip
        """Return a forest grown with the first `grown` points, whose leaves hold all of them: columns (n, m), scores and values (n,)."""
        m = grown(len(columns))
        key = (trees, seed, columns.shape[1], columns[:m].tobytes(), scores[:m].tobytes())
        if self._trees is None or key != self._of:
            told = values if m == len(values) else Scale.of(scores[:m]).to(scores[:m])
            self._trees, self._of = grow(columns[:m], told, keyed.rng(seed, "forest", m), trees), key
            self._columns, self._leaf = np.zeros((0, columns.shape[1])), np.zeros((0, trees), int)
        same = min(len(columns), len(self._columns))
        differs = (columns[:same] != self._columns[:same]).any(1)
        same = int(differs.argmax()) if differs.any() else same
        self._leaf = np.vstack([self._leaf[:same], self._trees.leaves(columns[same:])])
        self._columns = columns
        return Forest(self._trees, columns, self._leaf, values)


class ForestPosterior:
    """Mean and standard deviation of the value of every configuration, and the chances that it does not fail and keeps the bounds.

    Values are those of `scale`, small is good; best: the smallest mean at a configuration that was tried and keeps the bounds. Running trials are taken to
    have become what is expected of them. record: the hyperparameters of where trials fail, when they were fitted, else empty; last: the last
    that are on record.
    """

    def __init__(
        self, cube: Cube, view: View, trees: int, last: Mapping[str, Any] | None = None, *, seed: int = 0,
        stand: Stand | None = None,
    ) -> None:  # fmt: skip
        self._columns = Columns(cube)
        self.scale = Scale.of(view.scores)
        self.forest = (stand or Stand()).forest(
            self._columns.of(view.rows), view.scores, self.scale.to(view.scores), trees, seed=seed
        )
        if len(view.running):
            running = self._columns.of(view.running)
            believed = self.forest.predict(running)[0]
            self.forest = self.forest.given(
                running, believed, keyed.rng(seed, "running", len(view.ids)), self._columns.odds
            )
        n = len(view.ids) + len(view.failed)
        found = (last or {}).get("sound")
        before = np.array(found, float) if found is not None and len(found) == cube.d + 2 else None
        refit = before is None or due(n, last)
        self.sound: Sound | None = sound(cube, view, before, refit=refit)
        self.within: Within | None = within(cube, view, last, refit=due(n, last))
        self.record: dict[str, Any] = {}
        if (self.sound is not None and refit) or (self.within is not None and self.within.fitted):
            self.record = {"fit": {"n": n, **chances(self.sound, self.within)}}
        known = self.forest.known()[0]
        if self.within is not None and self.within.any:
            self.best = float(known[np.concatenate([self.within.kept, self.within.believed])].min())
        else:
            self.best = float(known[: len(view.rows)].min())

    def predict(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (mean, standard deviation), each (k,), of rows (k, d)."""
        return self.forest.predict(self._columns.of(rows))

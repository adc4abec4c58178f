"""All trials scored at once on parts of the validation examples, lower is better. NumPy only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from whet.metric import Metric
from whet.metric.align import counted

__all__ = ["Means", "Others", "drawn", "scorer", "worst"]

_CHUNK = 4_000_000  # numbers drawn at once, 32 MB

Array = np.ndarray


@dataclass(frozen=True)
class Means:
    """Trials scored by a metric that is a function of a mean: sums (n, C) of each example's rows, rows (n,) how many."""

    goal: Metric
    sums: Array
    rows: Array

    @property
    def single(self) -> bool:
        """Whether each example is one answer."""
        return bool((self.rows == 1).all())

    @cached_property
    def _of(self) -> Any:
        return np.vectorize(self.goal.of, otypes=[float]) if self.goal.of is not float else lambda x: x

    def __call__(self, inside: Array) -> Array:
        """Return (B, C) scores on the examples that `inside` (B, n) marks by 1."""
        with np.errstate(invalid="ignore", divide="ignore"):
            means = (inside @ self.sums) / (inside @ self.rows)[:, None]
        return np.asarray((1.0 if self.goal.better == "min" else -1.0) * self._of(means))

    def some(self, inside: Array, which: Array) -> Array:
        """Return (B, k) scores of the trials at the places `which` (B, k)."""
        return np.take_along_axis(self(inside), which, 1)


@dataclass(frozen=True)
class Others:
    """Trials scored by any metric, a computation each."""

    goal: Metric
    outputs: Sequence[Array]
    targets: Array

    def __call__(self, inside: Array) -> Array:
        """Return (B, C) scores on the examples that `inside` (B, n) marks by 1."""
        return self.some(inside, np.tile(np.arange(len(self.outputs)), (len(inside), 1)))

    def some(self, inside: Array, which: Array) -> Array:
        """Return (B, k) scores of the trials at the places `which` (B, k)."""
        sign, found = (1.0 if self.goal.better == "min" else -1.0), np.empty(which.shape)
        for b, row in enumerate(inside):
            at = np.flatnonzero(row)
            y = self.targets[at]
            known = {int(j): sign * float(self.goal.compute(self.outputs[j][at], y)) for j in set(which[b].tolist())}
            found[b] = [known[int(j)] for j in which[b]]
        return found


def scorer(m: Metric, outputs: Sequence[Array], y: Array, kind: str) -> Means | Others:
    """Return what scores trials by `m`, given their outputs on the examples with targets y (n, ...), on any part of these.

    >>> y = np.array([0, 1, 1, 0])
    >>> from whet.metric import metric
    >>> scores = scorer(metric("accuracy"), [np.array([0, 1, 0, 0]), np.array([1, 1, 1, 1])], y, "classification")
    >>> scores(np.array([[1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0]])).tolist()
    [[-0.75, -0.5], [-0.5, -1.0]]
    """
    if m.each is None:
        return Others(m, outputs, y)
    rows = np.ones(len(y), int) if kind == "regression" else counted(y)
    at = np.repeat(np.arange(len(y)), rows)
    sums = [np.bincount(at, weights=np.asarray(m.each(o, y), np.float64), minlength=len(y)) for o in outputs]
    return Means(m, np.stack(sums, 1) if sums else np.empty((len(y), 0)), rows.astype(float))


def worst(scores: Array) -> Array:
    """Return scores with infinity where a metric is not defined."""
    return np.where(np.isnan(scores), np.inf, scores)


def drawn(n: int, size: int, times: int, draw: np.random.Generator) -> Iterator[Array]:
    """Yield (B, n) marks of `size` of n examples each, `times` rows in all."""
    rows = max(1, _CHUNK // n)
    for begin in range(0, times, rows):
        b = min(rows, times - begin)
        inside = np.zeros((b, n))
        np.put_along_axis(inside, draw.random((b, n)).argpartition(size - 1, axis=1)[:, :size], 1.0, 1)
        yield inside

"""Rows of the unit cube as points whose distances mean something, conditional and categorical columns included.

Every dimension becomes one or more Euclidean columns, so any function of the distance that is a kernel in Euclidean
space is one here too, for mixed and conditional spaces alike:

- a number is itself; within a branch it lies on a quarter circle, (sin, cos)(u pi/2), and at the origin where it does not
  exist: equally far from all its values (Swersky et al. 2014, "Raiders of the Lost Architecture", with radius and angle fixed);
- a choice of k options is k columns with sqrt(1/2) at its option: different options are at distance 1;
- how far a trial was trained, when that differs, is one more number, and so one more dimension.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from whet.tune.search.model.cube import Cube

__all__ = ["Beside", "Features"]


class Beside(Protocol):
    """Known functions of rows (n, d). known: how many; lean (known,): what the weight of each is expected to be."""

    known: int
    lean: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return their values (n, known)."""
        ...


class Features:
    """The columns of a cube. groups (m,): the dimension that each column belongs to; d: how many of these there are.

    reach: whether rows have one more column, how far each was trained, in [0, 1]; beside: functions (n, d) -> (n, known) whose values are
    columns after the m others, which belong to no dimension.

    >>> from whet.tune.space import Choice, Float, Space
    >>> features = Features(Cube(Space(x=Float(0, 1), o=Choice(["a", "b"]))))
    >>> features.groups.tolist(), features.of(np.array([[0.25, 0.75]])).round(3).tolist()
    ([0, 1, 1], [[0.25, 0.0, 0.707]])
    """

    def __init__(self, cube: Cube, *, reach: bool = False, beside: Beside | None = None) -> None:
        self.cube, self.reach, self._beside = cube, reach, beside
        self.known = beside.known if beside is not None else 0
        self.lean = beside.lean if beside is not None else np.zeros(0)
        self.d = cube.d + reach
        widths = [k or 1 + there for k, there in zip(cube.options, cube.conditional, strict=True)]
        self.groups = np.repeat(np.arange(self.d), [*widths, *[1] * reach])

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Return the columns (n, m) of rows (n, d)."""
        columns: list[np.ndarray] = []
        for j, (options, conditional) in enumerate(zip(self.cube.options, self.cube.conditional, strict=True)):
            u = rows[:, j]
            there = ~np.isnan(u)
            if options:
                taken = np.where(there, np.minimum(np.nan_to_num(u) * options, options - 1), -1).astype(int)
                columns.append((taken[:, None] == np.arange(options)) * np.sqrt(0.5))
            elif conditional:
                angle = np.nan_to_num(u) * (np.pi / 2)
                columns.append(np.column_stack([np.sin(angle), np.cos(angle)]) * there[:, None])
            else:
                columns.append(u[:, None])
        if self.reach:
            columns.append(rows[:, self.cube.d :])
        if self._beside is not None and self.known:
            columns.append(self._beside(rows[:, : self.cube.d]))
        return np.hstack(columns) if columns else np.zeros((len(rows), 0))

    def apart(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return the squared distances (d, n, k) by dimension between columns (n, m) and (k, m)."""
        out = np.zeros((self.d, len(a), len(b)))
        for column, dimension in enumerate(self.groups):
            out[dimension] += (a[:, column][:, None] - b[:, column][None]) ** 2
        return out

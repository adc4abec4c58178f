"""Rows of the unit cube as points whose distances mean something, conditional and categorical columns included.

Every dimension becomes one or more Euclidean columns, so any function of the distance that is a kernel in Euclidean
space is one here too, for mixed and conditional spaces alike:

- a number is itself; within a branch it lies on a quarter circle, (sin, cos)(u pi/2), and at the origin where it does not
  exist: equally far from all its values (Swersky et al. 2014, "Raiders of the Lost Architecture", with radius and angle fixed);
- a choice of k options is k columns with sqrt(1/2) at its option: different options are at distance 1;
- how far a trial was trained, when that differs, is one more number, and so one more dimension.
"""

from __future__ import annotations

import copy
from typing import Protocol

import numpy as np

from whet.tune.search.model.cube import Cube
from whet.tune.search.model.warp import Warp

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
    columns after the m others, which belong to no dimension; warp: bends numbers before all else (the functions beside see them as they are).

    >>> from whet.tune.space import Choice, Float, Space
    >>> features = Features(Cube(Space(x=Float(0, 1), o=Choice(["a", "b"]))))
    >>> features.groups.tolist(), features.of(np.array([[0.25, 0.75]])).round(3).tolist()
    ([0, 1, 1], [[0.25, 0.0, 0.707]])
    """

    def __init__(
        self, cube: Cube, *, reach: bool = False, beside: Beside | None = None, warp: Warp | None = None
    ) -> None:
        self.cube, self.reach, self._beside, self.warp = cube, reach, beside, warp
        self.known = beside.known if beside is not None else 0
        self.lean = beside.lean if beside is not None else np.zeros(0)
        self.d = cube.d + reach
        widths = [k or 1 + there for k, there in zip(cube.options, cube.conditional, strict=True)]
        self.groups = np.repeat(np.arange(self.d), [*widths, *[1] * reach])

    @property
    def shape(self) -> np.ndarray:
        """The exponents of the warp, none without one."""
        return np.zeros(0) if self.warp is None else self.warp.shape

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Return the columns (n, m) of rows (n, d)."""
        columns: list[np.ndarray] = []
        plain = rows
        rows = rows if self.warp is None else self.warp(rows)
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
            columns.append(self._beside(plain[:, : self.cube.d]))
        return np.hstack(columns) if columns else np.zeros((len(rows), 0))

    def bent(self, shape: np.ndarray) -> Features:
        """Return the same with the exponents of `warp` set to `shape`."""
        other = copy.copy(self)
        other.warp = None if self.warp is None else Warp(self.warp.which, shape)
        return other

    def bending(self, rows: np.ndarray, columns: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        """Return the derivative of a function by the shape of `warp`, from those (n, m) by the columns (n, m) of rows (n, d)."""
        if self.warp is None:
            return np.zeros(0)
        by_place = np.zeros((len(rows), len(self.warp.which)))
        for i, j in enumerate(self.warp.which):
            at = np.flatnonzero(self.groups == j)
            if len(at) == 1:
                by_place[:, i] = slopes[:, at[0]]
            else:  # the sine and the cosine of an angle are each other's derivative
                sin, cos = at
                by_place[:, i] = (slopes[:, sin] * columns[:, cos] - slopes[:, cos] * columns[:, sin]) * (np.pi / 2)
        found: np.ndarray = (self.warp.slopes(rows) * np.tile(by_place.T, (2, 1))).sum(1)
        return found

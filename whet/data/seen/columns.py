"""Columns of a table that say nothing, the same as another, too much, or are missing for a reason."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Absent", "Beyond", "absent_beyond", "absent_with", "counts_rows", "missing_together", "same_columns"]


def same_columns(numbers: np.ndarray, codes: np.ndarray, *, tolerance: float = 1e-5) -> list[tuple[int, int]]:
    """Return pairs (earlier, later) of columns that hold the same: numbers (n, d) first, then codes (n, k).

    Numbers: one is a linear function of the other, to `tolerance` of its spread on every row. Codes: one to one, with at
    least three rows a value on average; so a number and a code. Constant columns are left out.

    >>> x = np.random.default_rng(0).normal(size=(50, 2))
    >>> same_columns(np.c_[x, 3 - 2 * x[:, 0]], np.c_[np.arange(50) % 3, 7 - np.arange(50) % 3])
    [(0, 2), (3, 4)]
    """
    found: list[tuple[int, int]] = []
    n, d = numbers.shape
    spread = numbers.std(0) if d else np.zeros(0)
    free = np.flatnonzero((spread > 1e-9) & np.isfinite(spread))
    if len(free) > 1 and n > 2:
        z = (numbers[:, free] - numbers[:, free].mean(0)) / spread[free]
        some = z[np.linspace(0, n - 1, min(n, 5000)).astype(int)].astype(np.float64)
        r = some.T @ some / np.outer(np.linalg.norm(some, axis=0), np.linalg.norm(some, axis=0)).clip(1e-12)
        for i, j in zip(*np.nonzero(np.triu(np.abs(r) > 1 - 1e-4, 1)), strict=True):
            gap = np.abs(z[:, i] - np.sign(r[i, j]) * z[:, j]).max()
            if gap <= tolerance * 10:  # float32 keeps seven digits of ten standard deviations
                found.append((int(free[i]), int(free[j])))
    sizes = [len(np.unique(c)) for c in codes.T]
    if codes.shape[1]:
        found += _coded(numbers, codes, sizes)
    for i in range(codes.shape[1]):
        for j in range(i + 1, codes.shape[1]):
            if 1 < sizes[i] == sizes[j] <= n / 3:
                if len(np.unique(codes[:, i] * (codes[:, j].max() + 1) + codes[:, j])) == sizes[i]:
                    found.append((d + i, d + j))
    return found


def _coded(numbers: np.ndarray, codes: np.ndarray, sizes: list[int]) -> list[tuple[int, int]]:
    """Return pairs (number, code) of columns that are one to one, as a grade and its name."""
    found: list[tuple[int, int]] = []
    n, d = numbers.shape
    few = np.linspace(0, n - 1, min(n, 5000)).astype(int)
    most = max(sizes)
    for i in range(d):
        if len(np.unique(numbers[few, i])) > most:
            continue
        values, at = np.unique(numbers[:, i], return_inverse=True)
        for j, size in enumerate(sizes):
            if 1 < size == len(values) <= n / 3 and len(np.unique(at * (codes[:, j].max() + 1) + codes[:, j])) == size:
                found.append((i, d + j))
    return found


def counts_rows(column: np.ndarray, ids: np.ndarray) -> str:
    """Return how a column (n,) numbers the rows `ids` (n,): "steps", "rises", "numbers", or "" when it does not.

    steps: it grows in proportion to the row number; rises: every value is its own and they grow, or fall, with the row
    number; numbers: whole numbers, each its own, in a range of at most twice as many. Under 20 rows say nothing.

    >>> rows = np.arange(100)
    >>> counts_rows(7 + 2.0 * rows, rows), counts_rows(rows**2.0, rows), counts_rows(np.random.default_rng(0).permutation(100), rows)
    ('steps', 'rises', 'numbers')
    """
    if len(column) < 20 or not np.isfinite(column).all() or len(np.unique(column)) < len(column):
        return ""
    step = np.diff(column[np.argsort(ids, kind="stable")].astype(float))
    if (step > 0).all() or (step < 0).all():
        r = np.corrcoef(column.astype(float), ids.astype(float))[0, 1]
        return "steps" if abs(r) > 1 - 1e-9 else "rises"
    low, high = float(column.min()), float(column.max())
    whole = np.abs(column - np.round(column)).max() < 1e-3
    return "numbers" if whole and high - low < 2 * len(column) else ""


def missing_together(missing: np.ndarray, *, least: int = 10) -> list[list[int]]:
    """Return groups of columns of `missing` (n, m) bool that are missing in exactly the same rows, `least` or more.

    >>> m = np.zeros((40, 3), bool); m[:12, :2] = True; m[5:20, 2] = True
    >>> missing_together(m)
    [[0, 1]]
    """
    groups: dict[bytes, list[int]] = {}
    for j in range(missing.shape[1]):
        if missing[:, j].sum() >= least:
            groups.setdefault(np.packbits(missing[:, j]).tobytes(), []).append(j)
    return [g for g in groups.values() if len(g) > 1]


@dataclass(frozen=True)
class Absent:
    """A column missing with one class: exactly in it, or in it alone.

    cls: class number; exactly: whether it is missing in every example of the class; n: rows in which it is missing; p: how
    likely so many rows of one class are if rows are missing whatever their class.

    >>> Absent(1, True, 40, 1e-12).exactly
    True
    """

    cls: int
    exactly: bool
    n: int
    p: float


def absent_with(missing: np.ndarray, y: np.ndarray) -> Absent | None:
    """Return which class alone `missing` (n,) bool occurs with, y (n,) class numbers; None when with several, or by chance.

    p is the share of the class to the power of the missing rows, times the number of classes; from 1e-6 on it counts as chance.

    >>> y = np.repeat([0, 1], 50)
    >>> absent_with(y == 1, y).exactly, absent_with(np.arange(100) % 7 == 0, y)
    (True, None)
    """
    n = int(missing.sum())
    if n == 0 or n == len(y):
        return None
    counts = np.bincount(y[missing])
    c = int(counts.argmax())
    if counts[c] < n:
        return None
    share = float((y == c).mean())
    p = min(1.0, float(len(np.unique(y)) * share**n))
    return Absent(c, bool(n == (y == c).sum()), n, p) if p < 1e-6 else None


@dataclass(frozen=True)
class Beyond:
    """A column missing at one end of a real target.

    above: at its high end; bound: the target nearest the middle with which it is missing; exactly: whether it is missing
    whenever the target is as far out; n: rows in which it is missing; p: how likely they are as far out if rows are missing
    whatever their target.

    >>> Beyond(True, 3.5, True, 40, 1e-12).bound
    3.5
    """

    above: bool
    bound: float
    exactly: bool
    n: int
    p: float


def absent_beyond(missing: np.ndarray, y: np.ndarray) -> Beyond | None:
    """Return beyond which target alone `missing` (n,) bool occurs, y (n,) float; None when over half of it, or by chance.

    With `missing` rows among the r of n rows that are as far out, p is that of a draw without replacement, C(r, m) / C(n, m),
    for either end; from 1e-6 on it counts as chance.

    >>> y = np.arange(100.0)
    >>> absent_beyond(y >= 70, y).bound, absent_beyond((y < 40) & (y % 2 == 0), y).exactly, absent_beyond(y % 7 == 0, y)
    (70.0, False, None)
    """
    from scipy.special import gammaln

    m, n = int(missing.sum()), len(y)
    if m == 0 or m == n:
        return None
    for above in (True, False):
        bound = float(y[missing].min() if above else y[missing].max())
        r = int((y >= bound if above else y <= bound).sum())
        p = min(1.0, 2 * float(np.exp(gammaln(r + 1) - gammaln(r - m + 1) - gammaln(n + 1) + gammaln(n - m + 1))))
        if r <= n / 2 and p < 1e-6:
            return Beyond(above, bound, r == m, m, p)
    return None

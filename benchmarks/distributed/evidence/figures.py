"""Means over seeds with 95 % intervals, differences of pairs, and tables of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from scipy import stats

__all__ = ["Interval", "apart", "interval", "paired", "table"]


class Interval(NamedTuple):
    """A mean, half of its 95 % interval (nan for one value), and of how many values."""

    mean: float
    half: float
    n: int

    @property
    def low(self) -> float:
        """The lower end."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """The upper end."""
        return self.mean + self.half

    def __str__(self) -> str:
        return f"{self.mean:.2f} +- {self.half:.2f}" if self.n > 1 else f"{self.mean:.2f}"


def interval(values: Sequence[float]) -> Interval:
    """Return the mean with Student's 95 % interval.

    >>> str(interval([1.0, 2.0, 3.0])), str(interval([1.5]))
    ('2.00 +- 2.48', '1.50')
    """
    n = len(values)
    half = float(stats.t.ppf(0.975, n - 1)) * stdev(values) / math.sqrt(n) if n > 1 else math.nan
    return Interval(fmean(values), half, n)


def paired(a: Sequence[float], b: Sequence[float]) -> Interval:
    """Return a - b of the same seeds.

    >>> str(paired([1.0, 2.0, 4.0], [0.0, 1.0, 3.0]))
    '1.00 +- 0.00'
    """
    return interval([x - y for x, y in zip(a, b, strict=True)])


def apart(a: Interval, b: Interval) -> bool:
    """Return whether two intervals do not overlap.

    >>> apart(Interval(1, 0.4, 5), Interval(2, 0.5, 5)), apart(Interval(1, 0.6, 5), Interval(2, 0.5, 5))
    (True, False)
    """
    return a.high < b.low or b.high < a.low


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table in Markdown, its columns aligned.

    >>> print(table(["a", "bc"], [[1, "x"]]))
    | a | bc |
    |---|----|
    | 1 | x  |
    """
    cells = [[str(c) for c in row] for row in (head, *rows)]
    wide = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, wide, strict=True)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in wide) + "|", *lines[1:]])

"""Means over seeds with 95 % intervals, differences of pairs, and tables of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from scipy import stats

__all__ = ["Interval", "apart", "interval", "paired", "table"]


class Interval(NamedTuple):
    """A mean, half of its 95 % interval (nan for one value), of how many values; and how many there were not: trainings that diverged.

    As text: mean (half).
    """

    mean: float
    half: float
    n: int
    diverged: int = 0

    @property
    def low(self) -> float:
        """The lower end."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """The upper end."""
        return self.mean + self.half

    def __str__(self) -> str:
        said = f"{self.mean:.2f} ({self.half:.2f})" if self.n > 1 else f"{self.mean:.2f}"
        return said + (f", {self.diverged} div." if self.diverged else "")


def interval(values: Sequence[float]) -> Interval:
    """Return the mean of the values that are numbers, with Student's 95 % interval.

    >>> str(interval([1.0, 2.0, 3.0])), str(interval([1.5])), str(interval([1.0, 2.0, 3.0, float("nan")]))
    ('2.00 (2.48)', '1.50', '2.00 (2.48), 1 div.')
    """
    found = [v for v in values if not math.isnan(v)]
    n = len(found)
    half = float(stats.t.ppf(0.975, n - 1)) * stdev(found) / math.sqrt(n) if n > 1 else math.nan
    return Interval(fmean(found) if found else math.nan, half, n, len(values) - n)


def paired(a: Sequence[float], b: Sequence[float]) -> Interval:
    """Return a - b of the same seeds.

    >>> str(paired([1.0, 2.0, 4.0], [0.0, 1.0, 3.0]))
    '1.00 (0.00)'
    """
    return interval([x - y for x, y in zip(a, b, strict=True)])


def apart(a: Interval, b: Interval) -> bool:
    """Return whether two intervals do not overlap, and nothing diverged.

    >>> apart(Interval(1, 0.4, 5), Interval(2, 0.5, 5)), apart(Interval(1, 0.6, 5), Interval(2, 0.5, 5))
    (True, False)
    """
    return not (a.diverged or b.diverged) and (a.high < b.low or b.high < a.low)


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

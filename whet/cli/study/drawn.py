"""Two curves drawn with characters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

__all__ = ["plot"]

Curve = Sequence[tuple[int, float]]


def plot(a: Curve, b: Curve, *, width: int = 58, height: int = 9) -> list[str]:
    """Return the lines of a picture of two curves over the same axes, or none when there is nothing to see.

    A and B stand where a curve is, * where both are; between reports a curve is a straight line. Values far off (a loss
    that exploded at the start) are cut so that the rest can be seen, and drawn at the edge.

    >>> print("\\n".join(plot([(1, 0.0), (5, 1.0)], [(1, 1.0), (5, 0.0)], width=9, height=3)))
            1 |BBB   AAA
          0.5 |   ***
            0 |AAA   BBB
              +---------
               1       5
    """
    curves = [[(s, v) for s, v in c if math.isfinite(v)] for c in (a, b)]
    if min(map(len, curves)) < 2:
        return []
    first, last = min(c[0][0] for c in curves), max(c[-1][0] for c in curves)
    low, high = _range([v for c in curves for _, v in c])
    rows = [[" "] * width for _ in range(height)]
    for mark, curve in zip("AB", curves, strict=True):
        for column in range(width):
            y = _at(curve, first + (last - first) * column / (width - 1))
            if y is None:
                continue
            up = (min(max(y, low), high) - low) / (high - low)
            cells = rows[height - 1 - round(up * (height - 1))]
            cells[column] = mark if cells[column] in (" ", mark) else "*"
    labels = {0: f"{high:.4g}", height // 2: f"{(high + low) / 2:.4g}", height - 1: f"{low:.4g}"}
    lines = [f"{labels.get(i, ''):>9} |{''.join(r)}".rstrip() for i, r in enumerate(rows)]
    ends = f"{first}{last:>{width - len(str(first))}}"
    return [*lines, f"{'':>9} +{'-' * width}", f"{'':>9}  {ends}"]


def _range(values: list[float]) -> tuple[float, float]:
    """Return the lowest and highest value to draw."""
    ordered = sorted(values)
    low, high, middle = ordered[0], ordered[-1], ordered[len(ordered) // 2]
    if high - middle > 10 * (middle - low) > 0:
        high = middle + 3 * (middle - low)
    elif middle - low > 10 * (high - middle) > 0:
        low = middle - 3 * (high - middle)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _at(curve: Curve, x: float) -> float | None:
    """Return the curve's value at `x`, None outside it."""
    if not curve[0][0] <= x <= curve[-1][0] + 1e-9:
        return None
    for (s, v), (t, w) in pairwise(curve):
        if x <= t:
            return v + (w - v) * (x - s) / (t - s)
    return curve[-1][1]

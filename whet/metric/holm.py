"""Holm's correction of p-values: with many tests in one look, how sure each must be."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["holm"]


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values adjusted for having looked at all of them, in the order given.

    Holm (1979): the k-th smallest of m counts m - k + 1 times, and never less than a smaller one does. Rejecting what is at
    most alpha, the chance that any true hypothesis is rejected is at most alpha, whatever the dependence between the tests.

    >>> [round(x, 9) for x in holm([0.01, 0.5, 0.02])]
    [0.03, 0.5, 0.04]
    """
    out, worst = [0.0] * len(p), 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        worst = max(worst, min(1.0, (len(p) - rank) * p[i]))
        out[i] = worst
    return out

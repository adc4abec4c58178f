"""What one function on the cells of a space owes to each dimension and to each pair: its functional ANOVA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from whet.tune.importance.boxes import Boxes
from whet.tune.importance.cells import Cells
from whet.tune.importance.products import covariances

__all__ = ["Effects", "effects", "pairs_of"]


@dataclass(frozen=True)
class Effects:
    """variance: of the function over the space; alone (d,), total (d,): the parts of it due to a dimension by itself, and by itself or together
    with others; pairs: by (i, j) the parts due to two together; curves: by dimension (c,) the mean over all others; mean: over everything.
    """

    variance: float
    alone: np.ndarray
    total: np.ndarray
    pairs: Mapping[tuple[int, int], float]
    curves: list[np.ndarray]
    mean: float


def pairs_of(cells: Cells) -> list[tuple[int, int, dict[int, int]]]:
    """Return (i, j, the choices with which both exist) for every two dimensions that there are at the same time, but none of a choice and its
    own members: what a member does is what it does where it exists.
    """
    found = []
    for j in range(cells.d):
        for i in range(j):
            when = {**cells.when[i], **cells.when[j]}
            if i in when or j in when or any(when[k] != o for k, o in cells.when[i].items()):
                continue
            found.append((i, j, when))
    return found


def effects(f: Boxes, *, pairs: bool = False) -> Effects:
    """Return the parts of the variance of a function (Sobol' 1993; Hutter, Hoos and Leyton-Brown 2014), exact for the boxes it is made of.

    A dimension of a branch: the part is the share of the space where it exists times the variance of its curve there. That is its part of the
    variance over the full cube plus all that it has together with the choices it hangs on, so that parts add up.

    >>> from whet.tune.space import Float, Space
    >>> low, high = np.full((2, 2), -np.inf), np.full((2, 2), np.inf)
    >>> high[0, 0] = low[1, 0] = 0.5
    >>> found = effects(Boxes(Cells(Space(x=Float(0, 1), y=Float(0, 1))), np.array([1.0, 3.0]), low, high), pairs=True)
    >>> found.variance, found.alone, found.pairs
    (1.0, array([1., 0.]), {(0, 1): 0.0})
    """
    cells = f.cells
    variance, total = covariances(f, f)
    alone, curves = np.zeros(cells.d), []
    for j, when in enumerate(cells.when):
        curve, w = f.along((j,), when), cells.widths[j]
        alone[j] = cells.chance(when) * float(w @ (curve - w @ curve) ** 2)
        curves.append(curve)
    joint: dict[tuple[int, int], float] = {}
    for i, j, when in pairs_of(cells) if pairs else ():
        v, w = cells.widths[i], cells.widths[j]
        table = f.along((i, j), when)
        table = table - (table @ w)[:, None] - v @ table + v @ table @ w
        joint[i, j] = cells.chance(when) * float(v @ table**2 @ w)
    return Effects(variance, alone, total, joint, curves, f.mean())

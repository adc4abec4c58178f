"""How much two functions on the same space vary together, in all and through each of its dimensions, in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whet.tune.importance.boxes import Boxes

__all__ = ["covariances"]

_ROWS = 256  # boxes of the first function that are held against all of the second at once


def covariances(f: Boxes, g: Boxes) -> tuple[float, np.ndarray]:
    """Return the covariance of two functions over the space, and (d,) how much of it is gone when a dimension is averaged out: what it does
    alone and together with others (the total effect of Homma and Saltelli 1996). The variance of f, for f and f.

    >>> from whet.tune.importance.cells import Cells
    >>> from whet.tune.space import Float, Space
    >>> low, high = np.full((2, 2), -np.inf), np.full((2, 2), np.inf)
    >>> high[0, 0] = low[1, 0] = 0.5
    >>> f = Boxes(Cells(Space(x=Float(0, 1), y=Float(0, 1))), np.array([1.0, 3.0]), low, high)
    >>> covariances(f, f)
    (1.0, array([1., 0.]))
    """
    both, totals = 0.0, np.zeros(f.cells.d)
    for start in range(0, len(f.values), _ROWS):
        part = slice(start, start + _ROWS)
        product, gone = _held(f, g, part)
        both += product
        totals += gone
    return both - f.mean() * g.mean(), totals


def _held(f: Boxes, g: Boxes, part: slice) -> tuple[float, np.ndarray]:
    """Return the mean of the product, and what of it is gone by dimension, for some boxes of f."""
    cells = f.cells
    share: list[np.ndarray] = [np.zeros(0)] * cells.d  # by dimension: what box a of f and box b of g have in common
    alone: list[np.ndarray] = [np.zeros(0)] * cells.d  # the same when the dimension is averaged out of both
    inside: dict[int, list[np.ndarray]] = {}  # by choice and option, before what exists in it
    for j in reversed(range(cells.d)):
        w, apart = cells.widths[j], np.multiply.outer(f.share[j][part], g.share[j])
        if not any(cells.kids[j]):
            share[j], alone[j] = (f.has[j][part] * w) @ g.has[j].T, apart
            continue
        mine, theirs = f.taken(j)[part], g.taken(j)
        inside[j] = [w[o] * np.multiply.outer(mine[:, o], theirs[:, o]) for o in range(len(w))]
        parts = [_times([inside[j][o], *(share[k] for k in kids)]) for o, kids in enumerate(cells.kids[j])]
        share[j] = np.sum(parts, axis=0)
        # averaged over the options, but not over what exists in them: with the same option it is what is in common, else it is not
        same = [np.multiply.outer(f.spread[j][part, o], g.spread[j][:, o]) for o in range(len(w))]
        alone[j] = apart + sum(w[o] * parts[o] - w[o] ** 2 * same[o] for o in range(len(w)))
    context: list[np.ndarray] = [np.zeros(0)] * cells.d
    left, right = f.values[part], g.values
    gone = np.zeros(cells.d)
    roots = cells.roots({})
    everything = _times([share[j] for j in roots]) if roots else np.ones((len(left), len(right)))
    for j, others in zip(roots, _others([share[j] for j in roots]), strict=True):
        context[j] = others
    for j in range(cells.d):
        gone[j] = left @ ((share[j] - alone[j]) * context[j]) @ right
        for option, kids in enumerate(cells.kids[j]):
            for k, others in zip(kids, _others([share[k] for k in kids]), strict=True):
                context[k] = context[j] * inside[j][option] * others
    return float(left @ everything @ right), gone


def _times(factors: Sequence[np.ndarray]) -> np.ndarray:
    out = factors[0]
    for factor in factors[1:]:
        out = out * factor
    return out


def _others(factors: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return for each the product of all others."""
    before: list[np.ndarray] = []
    for k, factor in enumerate(factors):
        before.append(np.ones_like(factor) if k == 0 else before[-1] * factors[k - 1])
    after = np.ones_like(factors[0]) if factors else np.zeros(0)
    for k in reversed(range(len(factors))):
        before[k] = before[k] * after
        after = after * factors[k]
    return before

"""How much two functions on the same space vary together, in all and through each of its dimensions, in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whet.tune.importance.boxes import Boxes

__all__ = ["covariances"]


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
    both, gone = _held(f, g, *_meeting(f, g))
    return both - f.mean() * g.mean(), gone


def _meeting(f: Boxes, g: Boxes) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs (p,), (p,) of boxes that have something in common but for one dimension and what hangs on it: the others add nothing."""
    cells = f.cells
    apart = np.zeros((len(f.values), len(g.values)), np.int16)
    blocks = []
    for j in range(cells.d):
        part = cells.block(j)
        block = np.zeros_like(apart)
        for k in range(part.start, part.stop):
            block += (f.low[:, k, None] >= g.high[:, k]) | (g.low[:, k] >= f.high[:, k, None])
        apart += block
        blocks.append(block)
    near = apart == 0
    for j, block in enumerate(blocks):
        for option in range(len(cells.kids[j])):
            for k in cells.below(j, option):
                block = block + blocks[k]
        near |= apart == block
    return np.nonzero(near)  # type: ignore[return-value]


def _held(f: Boxes, g: Boxes, a: np.ndarray, b: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean of the product, and what of it is gone by dimension, from pairs (p,) of boxes `a` of f and `b` of g."""
    cells = f.cells
    none = np.zeros(0)
    share, alone = (
        [none] * cells.d,
        [none] * cells.d,
    )  # (p,) by dimension: what is in common; and when it is averaged out of both
    inside: dict[int, list[np.ndarray]] = {}  # by choice and option, before what exists in it
    for j in reversed(range(cells.d)):
        w, apart = cells.widths[j], f.share[j][a] * g.share[j][b]
        if not any(cells.kids[j]):
            share[j], alone[j] = _overlap(f, g, j, a, b), apart
            continue
        mine, theirs = f.taken(j)[a], g.taken(j)[b]
        inside[j] = [w[o] * mine[:, o] * theirs[:, o] for o in range(len(w))]
        parts = [_times([inside[j][o], *(share[k] for k in kids)]) for o, kids in enumerate(cells.kids[j])]
        share[j] = np.sum(parts, axis=0)
        # averaged over the options, but not over what exists in them: with the same option it is what is in common, else it is not
        same = f.spread[j][a] * g.spread[j][b]
        alone[j] = apart + sum(w[o] * parts[o] - w[o] ** 2 * same[:, o] for o in range(len(w)))
    weight = f.values[a] * g.values[b]
    context = [none] * cells.d  # (p,) by dimension: everything but it
    gone = np.zeros(cells.d)
    roots = cells.roots({})
    for j, others in zip(roots, _others([share[j] for j in roots]), strict=True):
        context[j] = others
    for j in range(cells.d):
        gone[j] = weight @ ((share[j] - alone[j]) * context[j])
        for option, kids in enumerate(cells.kids[j]):
            for k, others in zip(kids, _others([share[k] for k in kids]), strict=True):
                context[k] = context[j] * inside[j][option] * others
    return float(weight @ _times([share[j] for j in roots])), gone


def _overlap(f: Boxes, g: Boxes, j: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return (p,) the widths of the cells of a dimension that two boxes both have."""
    if f.cells.cube.options[j]:
        every: np.ndarray = (f.has[j] * f.cells.widths[j]) @ g.has[j].T
        return every[a, b]
    (low, high), (other_low, other_high) = f.ends[j], g.ends[j]  # in order, and boxes have no holes
    return np.maximum(np.minimum(high[a], other_high[b]) - np.maximum(low[a], other_low[b]), 0.0)


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

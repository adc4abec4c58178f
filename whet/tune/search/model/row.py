"""Slots in a row, such as layer1, layer2 ..., of which some are taken from the first on: what stands in them moves up and down as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from whet.tune.domain import Choice, Value
from whet.tune.layout import Dim, rules
from whet.tune.search.model.cube import Cube

__all__ = ["Row", "rows"]


@dataclass(frozen=True)
class Row:
    """One row. slots: the columns of its choices, in order; blocks: of each the columns that it brings; off, on: where "not taken" and
    "taken" stand in each choice, off being None where it always is.

    >>> from whet.tune.space import Int, Space
    >>> layer = {"none": None, "dense": Space(units=Int(1, 9))}
    >>> space = Space(layer1=Choice(layer), layer2=Choice(layer)).where("layer1 != 'none' or layer2 == 'none'")
    >>> row = next(rows(Cube(space)))
    >>> row.slots, row.blocks, row.taken(space.encode({"layer1": "dense", "layer1.units": 3, "layer2": "none"}))
    ((0, 2), ((1,), (3,)), 1)
    """

    slots: tuple[int, ...]
    blocks: tuple[tuple[int, ...], ...]
    off: tuple[float | None, ...]
    on: tuple[float, ...]

    def taken(self, point: np.ndarray) -> int:
        """Return how many slots are taken at a point (d,)."""
        return sum(bool(point[j] == on) for j, on in zip(self.slots, self.on, strict=True))

    def ends(self, point: np.ndarray) -> tuple[int, ...]:
        """Return the columns by which the row can become one shorter and one longer, where it can."""
        n = self.taken(point)
        able = [n - 1] if n and self.off[n - 1] is not None else []
        return tuple(self.slots[i] for i in [*able, n] if i < len(self.slots))

    def changed(self, point: np.ndarray, column: int, rng: np.random.Generator) -> int:
        """Take out one of the taken slots, or put one in between them, by which of its `ends` it is; return the column of the slot.

        What stands behind it moves up or down as it is. A new one brings what stands in the first slot that was not taken.
        """
        n, at = self.taken(point), self.slots.index(column)
        if at < n:
            gone = int(rng.integers(n))
            for i in range(gone, n - 1):
                point[list(self.blocks[i])] = point[list(self.blocks[i + 1])]
            point[self.slots[n - 1]] = self.off[n - 1]
            return self.slots[gone]
        new, brought = int(rng.integers(n + 1)), point[list(self.blocks[n])]
        for i in range(n, new, -1):
            point[list(self.blocks[i])] = point[list(self.blocks[i - 1])]
        point[list(self.blocks[new])] = brought
        point[self.slots[n]] = self.on[n]
        return self.slots[new]


def rows(cube: Cube) -> Iterator[Row]:
    """Yield the rows of a space.

    A row are choices with the same name and numbers one after another, of which each has one option that brings something, the same for all, and one that
    brings nothing, which only the first ones may lack; a constraint of each and the next says that no slot is taken behind one that is not.
    """
    groups: dict[tuple[object, str], list[tuple[int, int]]] = {}
    for j, x in enumerate(cube.dims):
        if isinstance(x.domain, Choice) and x.domain.branches and (m := re.fullmatch(r"(.*?)(\d+)", x.name)):
            groups.setdefault((x.when, m[1]), []).append((int(m[2]), j))
    for found in groups.values():
        found.sort()
        numbers, columns = [n for n, _ in found], tuple(j for _, j in found)
        if len(found) > 1 and numbers == list(range(numbers[0], numbers[0] + len(found))):
            row = _row(cube, columns)
            if row is not None:
                yield row


def _row(cube: Cube, columns: tuple[int, ...]) -> Row | None:
    dims = [cube.dims[j] for j in columns]
    parts = [_parts(x.domain) for x in dims if isinstance(x.domain, Choice)]
    if any(p is None for p in parts):
        return None
    bringing, nothing = zip(*(p for p in parts if p is not None), strict=True)
    first = dims[0].domain
    assert isinstance(first, Choice)
    optional = [len(o) == 1 for o in nothing]
    same = all(
        isinstance(x.domain, Choice) and b == bringing[0] and x.domain.branch(b) == first.branch(b)
        for x, b in zip(dims, bringing, strict=True)
    )
    if not same or optional != sorted(optional):
        return None
    for a, b, off, on in zip(dims, dims[1:], nothing, bringing, strict=False):
        if off and not _ordered(cube, a, b, off[0], on):
            return None
    blocks = []
    for x, option in zip(dims, bringing, strict=True):
        when = (*x.when, (x.name, option))
        blocks.append(tuple(j for j, y in enumerate(cube.dims) if y.when[: len(when)] == when))
    return Row(
        columns,
        tuple(blocks),
        tuple(x.domain.encode(o[0]) if o else None for x, o in zip(dims, nothing, strict=True)),
        tuple(x.domain.encode(o) for x, o in zip(dims, bringing, strict=True)),
    )


def _parts(domain: Choice) -> tuple[Value, tuple[Value, ...]] | None:
    """Return the option of a choice that brings something, and those that bring nothing, of which there is one at most; None when it is otherwise."""
    something = tuple(o for o, b in zip(domain.options, domain.branches, strict=True) if b)
    nothing = tuple(o for o, b in zip(domain.options, domain.branches, strict=True) if not b)
    return (something[0], nothing) if len(something) == 1 and len(nothing) < 2 else None


def _ordered(cube: Cube, a: Dim, b: Dim, off: Value, on: Value) -> bool:
    """Return whether a constraint of these two alone forbids that the second is taken when the first is not."""
    at = {**dict(a.when), a.name: off, b.name: on}
    return any(
        {r.prefix + n for n in r.constraint.names} == {a.name, b.name} and not r.holds(at) for r in rules(cube.space)
    )

"""Mutations of a configuration: one hyperparameter becomes another value near by, and what a change of branch or of a row leaves valid stays."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from whet.errors import SpaceError
from whet.tune.domain import Domain, Float, Int, Ordered, Value
from whet.tune.search.model.belief import Belief
from whet.tune.search.model.cube import Cube
from whet.tune.search.model.row import rows

__all__ = ["Mutation", "nearest_value"]

# the least and the largest standard deviation of a move along a number, in ranges; drawn evenly by magnitude
_STEPS = 0.05, 0.3


class Mutation:
    """Mutations in one space.

    A number moves by a normal step on its own scale, whose size is drawn, and stops at the ends; a whole or ordered number by one value at least; a choice
    takes any other option. What a new option brings with it keeps the value that the parent has under the same name (the nearest one there is),
    else it is drawn: from its prior where it has one. A row of layers (`whet.tune.search.model.row`) becomes one longer or one shorter, anywhere, and the other
    layers keep what they have.

    >>> from whet.tune.space import Choice, Space
    >>> space = Space(net=Choice({"small": Space(units=Int(8, 64)), "deep": Space(units=Int(8, 32), skip=Choice([True]))}))
    >>> mutation, rng = Mutation(Cube(space)), np.random.default_rng(4)
    >>> mutation.of(space.encode({"net": "small", "net.units": 20}), rng, 2)[1]
    ('net', 'net.units')
    >>> space.decode(mutation.carried(space.encode({"net": "small", "net.units": 60}), rng) * [0, 1, 1, 1] + [0.75, 0, 0, 0])
    {'net': 'deep', 'net.units': 32, 'net.skip': True}
    """

    def __init__(self, cube: Cube) -> None:
        self.cube = cube
        self._free = np.array([x.domain.size != 1 for x in cube.dims], dtype=bool)
        self._named: dict[str, list[int]] = {}
        for j, x in enumerate(cube.dims):
            self._named.setdefault(x.name, []).append(j)
        self._rows = tuple(rows(cube))

    @cached_property
    def _belief(self) -> Belief:
        return Belief(self.cube)

    def of(self, row: np.ndarray, rng: np.random.Generator, changes: int = 1) -> tuple[np.ndarray, tuple[str, ...]]:
        """Return the row (d,) of a child of `row`, and the names of the `changes` hyperparameters that were changed: fewer when there are not so many.

        Of a layer that was put in or taken out it is the name of the place where that was.
        """
        point, able = self.carried(row, rng), ~np.isnan(row) & self._free
        ends = {j: x for x in self._rows for j in x.ends(row)}
        for x in self._rows:
            able[[j for j in x.slots if j not in ends]] = False
        some = np.sort(rng.permutation(np.flatnonzero(able))[:changes]).tolist()
        for j in some:
            if j not in ends:
                point[j] = self._moved(float(point[j]), j, rng)
        some = [ends[j].changed(point, j, rng) if j in ends else j for j in some]
        return self.cube.rows(point[None])[0], tuple(self.cube.dims[j].name for j in some)

    def carried(self, row: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the point (d,) of a row: what does not exist there has the value that the row has under the same name, else one that is drawn."""
        drawn = rng.random((1, self.cube.d))
        point = np.where(np.isnan(row), (self._belief.follow(drawn) if self._belief.any else drawn)[0], row)
        for columns in self._named.values():
            here = next((j for j in columns if not np.isnan(row[j])), None)
            if here is None or len(columns) == 1:
                continue
            value = self.cube.dims[here].domain.decode(float(row[here]))
            for j in columns:
                if j != here and (near := nearest_value(self.cube.dims[j].domain, value)) is not None:
                    point[j] = self.cube.dims[j].domain.encode(near)
        return point

    def _moved(self, u: float, j: int, rng: np.random.Generator) -> float:
        """Return another place of dimension `j` than `u`."""
        levels, options = self.cube.levels[j], self.cube.options[j]
        if options:
            at = int(self.cube.index(np.array([u]), j)[0])
            return (int(at + rng.integers(1, options)) % options + 0.5) / options
        step = float(np.exp(rng.uniform(*np.log(_STEPS))) * rng.standard_normal())
        to = min(max(u + step, 0.0), 1.0)
        if levels is None:
            return to
        at, new = self.cube.index(np.array([u, to]), j).tolist()
        if new == at:
            new = at + (1 if step > 0 else -1)
            if not 0 <= new < len(levels):
                new = 2 * at - new
        return float(levels[new])


def nearest_value(domain: Domain, value: Value) -> Value:
    """Return `value` when a domain allows it, of numbers the nearest one that it does; None when there is no such.

    >>> nearest_value(Ordered((8, 16, 32)), 25), nearest_value(Int(1, 9), 12), nearest_value(Int(1, 9), "c")
    (32, 9, None)
    """
    try:
        return domain.check(value)
    except SpaceError:
        pass
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(domain, Float):
        return min(max(float(value), domain.low), domain.high)
    if isinstance(domain, Int):
        return min(max(round(value), domain.low), domain.high)
    if isinstance(domain, Ordered):
        numbers = [v for v in domain.values if isinstance(v, (int, float)) and not isinstance(v, bool)]
        return min(numbers, key=lambda v: abs(v - value), default=None)
    return None

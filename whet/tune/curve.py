"""The curve of a trial: its reports, packed, as an immutable sequence that grows without being copied.

A study of a hundred thousand trials holds millions of points, so they are kept as columns of numbers and made into
`Point` when somebody looks. A longer curve shares the columns of the shorter one it came from: adding a point costs the
same however long the curve is, and the shorter one does not see it.
"""

from __future__ import annotations

import bisect
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import overload

__all__ = ["Curve", "Point"]

_NONE: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Point:
    """One report: the value after `step` steps, what it cost since the last one, and other metrics.

    >>> Point(3, 0.5, 1.0, {"accuracy": 0.9}).metrics["accuracy"]
    0.9
    """

    step: int
    value: float
    cost: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)


class Curve(Sequence[Point]):
    """Points in order of their steps; equal to any sequence of the same points.

    >>> curve = Curve([Point(1, 0.5), Point(3, 0.25)])
    >>> longer = curve.plus(Point(4, 0.2))
    >>> len(curve), longer[-1].value, longer[:2] == curve, curve == (Point(1, 0.5), Point(3, 0.25))
    (2, 0.2, True, True)
    """

    __slots__ = ("_costs", "_metrics", "_n", "_steps", "_values")

    def __init__(self, points: Iterable[Point] = ()) -> None:
        self._steps, self._values, self._costs = array("q"), array("d"), array("d")
        # by number, only those that there are: most loops report one value and nothing else
        self._metrics: dict[int, Mapping[str, float]] = {}
        for p in points:
            self._push(p.step, p.value, p.cost, p.metrics)
        self._n = len(self._steps)

    def _push(self, step: int, value: float, cost: float, metrics: Mapping[str, float]) -> None:
        if metrics:
            self._metrics[len(self._steps)] = metrics
        self._costs.append(cost)
        self._values.append(value)
        self._steps.append(step)

    def plus(self, point: Point) -> Curve:
        """Return this curve with one more point at its end."""
        return self.extended(point.step, point.value, point.cost, point.metrics)

    def extended(self, step: int, value: float, cost: float, metrics: Mapping[str, float]) -> Curve:
        """Return this curve with the point of these fields at its end."""
        n = self._n
        longer = Curve.__new__(Curve)
        longer._steps, longer._values, longer._costs = self._steps, self._values, self._costs
        longer._metrics, longer._n = self._metrics, n
        known = len(self._steps)
        if known > n and self._has(n, step, value, cost, metrics):
            longer._n = n + 1  # the same point once more, as when a report that was judged is written
            return longer
        if known > n or n == 0:  # another point followed already; and what is empty is shared by all
            longer._part()
        longer._push(step, value, cost, metrics)
        longer._n = n + 1
        return longer

    def _part(self) -> None:
        """Take columns of its own."""
        n = self._n
        self._steps, self._values, self._costs = self._steps[:n], self._values[:n], self._costs[:n]
        self._metrics = {i: m for i, m in self._metrics.items() if i < n}

    def grow(self, step: int, value: float, cost: float, metrics: Mapping[str, float]) -> None:
        """Add a point to this very curve: for whoever made it, before anybody else has seen it."""
        if len(self._steps) != self._n:
            self._part()
        if metrics:
            self._metrics[self._n] = metrics
        self._costs.append(cost)
        self._values.append(value)
        self._steps.append(step)
        self._n += 1

    def go_on(self, step: int, value: float) -> int:
        """`grow` by a point that cost as much as it has steps and has no metrics; return how many steps these are.

        >>> curve = Curve()
        >>> curve.go_on(3, 0.5), curve.go_on(4, 0.25), curve[-1].cost
        (3, 1, 1.0)
        """
        n, columns = self._n, self._steps  # nine events of ten end here: no calls that are not needed
        if len(columns) != n:
            self._part()
            columns = self._steps
        steps = step - columns[n - 1] if n else step
        self._costs.append(steps)
        self._values.append(value)
        columns.append(step)
        self._n = n + 1
        return steps

    def _has(self, i: int, step: int, value: float, cost: float, metrics: Mapping[str, float]) -> bool:
        row = (self._steps[i], self._values[i], self._costs[i])
        return row == (step, value, cost) and self._metrics.get(i, _NONE) == metrics

    def place(self, step: int) -> int:
        """Return the number of the first point at or past `step`, `len(self)` when there is none.

        >>> Curve([Point(1, 0.5), Point(3, 0.25)]).place(2)
        1
        """
        return bisect.bisect_left(self._steps, step, 0, self._n)

    @property
    def last(self) -> int:
        """The last step, 0 when there is none."""
        return self._steps[self._n - 1] if self._n else 0

    def continues(self, other: Curve) -> bool:
        """Return whether this curve begins with all of `other`.

        >>> Curve([Point(1, 0.5)]).plus(Point(3, 0.25)).continues(Curve([Point(1, 0.5)]))
        True
        """
        if self._n < other._n:
            return False
        return self._steps is other._steps or self[: other._n] == tuple(other)

    def values(self) -> list[float]:
        """Return the values in order.

        >>> Curve([Point(1, 0.5), Point(3, 0.25)]).values()
        [0.5, 0.25]
        """
        return self._values[: self._n].tolist()

    def __len__(self) -> int:
        return self._n

    def _at(self, i: int) -> Point:
        return Point(self._steps[i], self._values[i], self._costs[i], self._metrics.get(i, _NONE))

    @overload
    def __getitem__(self, index: int) -> Point: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Point, ...]: ...
    def __getitem__(self, index: int | slice) -> Point | tuple[Point, ...]:
        if isinstance(index, slice):
            return tuple(self._at(i) for i in range(*index.indices(self._n)))
        if index < 0:
            index += self._n
        if not 0 <= index < self._n:
            raise IndexError(f"point {index} of {self._n}")
        return self._at(index)

    def __iter__(self) -> Iterator[Point]:
        return map(self._at, range(self._n))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str) or len(other) != self._n:
            return NotImplemented if not isinstance(other, Sequence) else False
        if isinstance(other, Curve) and other._steps is self._steps:
            return True
        return all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # points hold dicts

    def __repr__(self) -> str:
        return repr(tuple(self))

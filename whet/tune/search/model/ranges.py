"""The ranges of a pass: which part of every hyperparameter's values is looked at, and how that is narrowed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from whet.errors import SpaceError
from whet.tune.layout import apart
from whet.tune.search.model.cube import Cube
from whet.tune.space import Choice, Domain, Float, Int, Ordered, Space

__all__ = ["Ranges", "narrowed", "scaled"]

_EDGE = 0.1  # the part of a range, at either end, in which the best is at an edge
_LEVELS = 3  # values that a whole or ordered number keeps at least
_TRIED = 5  # trials without which no option is given up
_LAST = 2  # configurations of choices alone
_FINE = 1e-3  # of the whole; a range as narrow as this is fine enough, and none is narrower


def scaled(space: Space, scale: str) -> Space:
    """Return a space with the same values whose numbers are laid out evenly ("uniform"), by magnitude where they are above 0
    ("log"), or as they are ("history").

    >>> scaled(Space(lr=Float(1e-4, 1.0, log=True), n=Int(0, 9)), "uniform")["lr"].log
    False
    """
    if scale == "history":
        return space

    def one(domain: Domain) -> Domain:
        if isinstance(domain, (Float, Int)):
            return replace(domain, log=domain.low > 0) if scale == "log" else replace(domain, log=False)
        if isinstance(domain, Choice) and domain.branches:
            return Choice(dict(zip(domain.options, (b and scaled(b, scale) for b in domain.branches), strict=True)))
        return domain

    made = Space(**{name: one(domain) for name, domain in space.items()})
    for text in space.constraints:
        made = made.where(text)
    return made


@dataclass(frozen=True)
class Ranges:
    """low, high (d,): the places of a cube that are looked at, whole cells where values are listed; options: column -> the numbers of
    the options left.

    >>> from whet.tune.space import Space
    >>> cube = Cube(Space(x=Float(0, 1), k=Int(1, 4), c=Choice(["a", "b"])))
    >>> Ranges.whole(cube).said(cube)
    {'x': [0.0, 1.0], 'k': [1, 4], 'c': ['a', 'b']}
    >>> Ranges.read(cube, {"x": [0.25, 0.5], "k": [2, 3], "c": ["b"]}).points(cube, np.array([[0.5, 0.9, 0.1]]))
    array([[0.375, 0.7  , 0.75 ]])
    """

    low: np.ndarray
    high: np.ndarray
    options: Mapping[int, tuple[int, ...]]

    @classmethod
    def whole(cls, cube: Cube) -> Ranges:
        """Return the ranges that leave out nothing."""
        return cls(np.zeros(cube.d), np.ones(cube.d), {j: tuple(range(n)) for j, n in enumerate(cube.options) if n})

    def said(self, cube: Cube) -> dict[str, list[Any]]:
        """Return them by name (`apart`), as [lowest, highest] or the options left: JSON, numbers with as many digits as a range has use for."""
        out: dict[str, list[Any]] = {}
        for j, name in enumerate(apart(cube.dims)):
            domain = cube.dims[j].domain
            if isinstance(domain, Choice):
                out[name] = [domain.options[i] for i in self.options[j]]
            elif cube.levels[j] is not None:
                first, last = self._cells(cube, j)
                out[name] = [domain.decode(float(cube.levels[j][i])) for i in (first, last)]  # type: ignore[index]
            else:
                out[name] = [_rounded(domain, domain.decode(float(u[j]))) for u in (self.low, self.high)]
        return out

    @classmethod
    def read(cls, cube: Cube, said: object) -> Ranges | None:
        """Return what `said` wrote, None when it is not of this space."""
        names = apart(cube.dims)
        if not isinstance(said, Mapping) or set(said) != set(names):
            return None
        low, high, options = np.zeros(cube.d), np.ones(cube.d), {}
        try:
            for j, name in enumerate(names):
                domain, of = cube.dims[j].domain, said[name]
                if isinstance(domain, Choice):
                    options[j] = tuple(domain.index(o) for o in of)
                    if not options[j]:
                        return None
                    continue
                first, last = (domain.encode(domain.check(v)) for v in of)
                if cube.levels[j] is not None:
                    i, k = (int(cube.index(np.array([u]), j)[0]) for u in (first, last))
                    first, last = cube.edges[j][i], cube.edges[j][k + 1]
                low[j], high[j] = first, last
        except (SpaceError, TypeError, ValueError):
            return None
        return cls(low, high, options) if (low < high).all() else None

    def points(self, cube: Cube, u: np.ndarray) -> np.ndarray:
        """Return the points (k, d) of the cube at places u (k, d) of the ranges."""
        out = self.low + u * (self.high - self.low)
        for j, left in self.options.items():
            at = np.minimum((u[:, j] * len(left)).astype(int), len(left) - 1)
            out[:, j] = (np.array(left)[at] + 0.5) / cube.options[j]
        return np.asarray(np.clip(out, 0.0, 1.0))

    def fine(self, cube: Cube) -> bool:
        """Return whether no range of a number can or need be narrowed any more; without numbers, whether two configurations are left at most."""
        if len(self.options) == cube.d:
            return math.prod(len(left) for left in self.options.values()) <= _LAST
        for j in range(cube.d):
            if j in self.options:
                continue
            if cube.levels[j] is not None:
                first, last = self._cells(cube, j)
                if last - first + 1 > _LEVELS:
                    return False
            elif self.high[j] - self.low[j] > 1.05 * _FINE:  # as it is recorded
                return False
        return True

    def _cells(self, cube: Cube, j: int) -> tuple[int, int]:
        """Return the numbers of the first and the last value of a listed column."""
        edges = cube.edges[j]
        middle = (edges[:-1] + edges[1:]) / 2
        inside = np.flatnonzero((middle > self.low[j]) & (middle < self.high[j]))
        return int(inside[0]), int(inside[-1])


def narrowed(cube: Cube, ranges: Ranges, rows: np.ndarray, best: int, *, keep: float, spread: bool) -> Ranges:
    """Return narrower ranges around what did well. rows (n, d): all trials, the best first; best: how many of them did well.

    keep: the least part of a range that is left; spread: whether a range spans what did well, and a gap more at either side; else it
    is that part, around the best. Where the best is at an edge of its range, the new one is as wide as the old and around it, beyond what
    was cut off before; at an end of the domain that end stays.

    >>> from whet.tune.space import Float, Space
    >>> cube = Cube(Space(x=Float(0, 1)))
    >>> half = narrowed(cube, Ranges.whole(cube), np.array([[0.6]]), 1, keep=0.5, spread=False)
    >>> half.said(cube), narrowed(cube, half, np.array([[0.36]]), 1, keep=0.5, spread=False).said(cube)
    ({'x': [0.35, 0.85]}, {'x': [0.11, 0.61]})
    """
    low, high, options = ranges.low.copy(), ranges.high.copy(), dict(ranges.options)
    for j in range(cube.d):
        there = rows[:, j][~np.isnan(rows[:, j])]
        good = rows[:best, j][~np.isnan(rows[:best, j])]
        if not len(good):
            continue
        if j in options:
            options[j] = _left(ranges.options[j], cube.index(there, j), set(cube.index(good, j).tolist()), keep=keep)
            continue
        levels, whole = cube.levels[j], (float(low[j]), float(high[j]))
        edge = _EDGE * (whole[1] - whole[0])
        if levels is None:
            low[j], high[j] = _wide(_one(whole, good, edge=edge, keep=keep, spread=spread), whole)
        else:  # the first value of a range and the last are at its edges, however wide their cells are
            k = int(cube.index(good[:1], j)[0])
            edge = max(edge, 1.01 * float(levels[k] - cube.edges[j][k]), 1.01 * float(cube.edges[j][k + 1] - levels[k]))
            low[j], high[j] = _cells(
                cube.edges[j], levels, _one(whole, good, edge=edge, keep=keep, spread=spread), good[0]
            )
    return Ranges(low, high, options)


def _left(options: tuple[int, ...], taken: np.ndarray, well: set[int], *, keep: float) -> tuple[int, ...]:
    """Return the options that are left. taken (n,): those of all trials, the best first; well: those of the best trials.

    Given up are those whose best trial is the worst, one at least and no more than the part that a range loses, when five trials tried them.
    """
    tried = np.bincount(taken, minlength=max(options) + 1)
    poor = [i for i in options if i not in well and tried[i] >= _TRIED]
    poor.sort(key=lambda i: -int(np.argmax(taken == i)))
    gone = poor[: max(1, round((1 - keep) * len(options)))]
    return tuple(i for i in options if i not in gone)


def _one(
    whole: tuple[float, float], good: np.ndarray, *, edge: float, keep: float, spread: bool
) -> tuple[float, float]:
    """Return the new range of one column that was `whole`, of places good (k,), the best first; edge: how far its edges reach inwards."""
    low, high = whole
    width, at = high - low, float(good[0])
    if spread and len(good) > 1:
        gap = float(np.ptp(good)) / (len(good) - 1)
        first, last = float(good.min()) - gap, float(good.max()) + gap
        missing = max(0.0, keep * width - (last - first)) / 2
        first, last = first - missing, last + missing
    else:
        first, last = at - keep * width / 2, at + keep * width / 2
    lower, upper = at < low + edge, at > high - edge
    if (lower and low > 0.0) or (upper and high < 1.0):  # what is beyond was cut off, and may be better
        first, last = min(at - width / 2, first), max(at + width / 2, last)
        return _moved(first, last, 0.0, 1.0, width)
    first, last = low if lower else first, high if upper else last
    return _moved(first, last, low, high, keep * width)


def _moved(first: float, last: float, low: float, high: float, least: float) -> tuple[float, float]:
    """Return the part of first to last that is within low to high, made longer at its inner end where it would be shorter than `least`."""
    least, first, last = min(least, high - low), max(first, low), min(last, high)
    if last - first < least:
        return (first, first + least) if first == low else (last - least, last)
    return first, last


def _wide(range: tuple[float, float], whole: tuple[float, float]) -> tuple[float, float]:
    """Return a range, made as wide as the finest when it is narrower, within `whole` where that is: so it waits for those that are not as fine."""
    low, high = range
    if high - low >= _FINE:
        return range
    least, most = whole if low >= whole[0] and high <= whole[1] and whole[1] - whole[0] >= _FINE else (0.0, 1.0)
    low = min(max((low + high - _FINE) / 2, least), most - _FINE)
    return low, low + _FINE


def _cells(edges: np.ndarray, levels: np.ndarray, range: tuple[float, float], at: float) -> tuple[float, float]:
    """Return a range moved to the ends of cells, with the value at `at` and its neighbours in it."""
    n, (low, high) = len(levels), range
    first, last = (int(np.clip(np.searchsorted(edges, u) - 1, 0, n - 1)) for u in (low + 1e-9, high - 1e-9))
    k = int(np.clip(np.searchsorted(edges, at) - 1, 0, n - 1))
    first, last = min(first, max(k - 1, 0)), max(last, min(k + 1, n - 1))
    while last - first + 1 < min(_LEVELS, n):
        first, last = max(first - 1, 0), min(last + 1, n - 1)
    return float(edges[first]), float(edges[last + 1])


def _rounded(domain: Float | Int | Ordered, value: Any) -> Any:
    """Return a number with six digits, or as many more as it takes to be less than a hundredth of the finest range from it."""
    if not isinstance(domain, Float):
        return value
    at = domain.encode(value)
    for digits in range(6, 17):
        near = min(max(float(f"{value:.{digits}g}"), domain.low), domain.high)
        if abs(domain.encode(near) - at) < 0.01 * _FINE:
            return near
    return value


def wanted(share: float, trials: int) -> int:
    """Return how many trials did well."""
    return max(1, math.ceil(share * trials))

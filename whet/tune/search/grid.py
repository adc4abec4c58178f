"""Grid search: every combination of a few values of each hyperparameter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from whet.errors import StudyError
from whet.tune.domain import Value
from whet.tune.search.untried import Line, Tried, used_up
from whet.tune.space import Choice, Domain, Float, Int, Ordered, Params, Space
from whet.tune.strategy import Proposal
from whet.tune.trial import Trials

__all__ = ["Grid", "lattice"]

_MANY = 4  # dimensions above which a grid is a bad idea


@dataclass(frozen=True)
class Grid:
    """Propose every point of a grid once, the last hyperparameter changing fastest.

    points: values per number. A `Float` gets that many from end to end, evenly spaced on its scale; an `Int` or
    `Ordered` all its values when they are no more than that, else that many spread from end to end; a `Choice` always
    all its options, each with the grid of its own branch and no other. One point means the middle. Values are rounded to
    12 digits. Points that a constraint forbids are left out.

    `propose` raises StudyError when the grid is used up. Raises StudyError when `points` is not a whole number >= 1.

    >>> space = Space(lr=Float(1e-3, 1e-1, log=True), o=Choice({"sgd": Space(m=Float(0, 0.9)), "adam": None}))
    >>> grid = Grid(points=3)
    >>> grid.size(space), grid.propose(Trials([], space=space), np.random.default_rng(0)).params
    (12, {'lr': 0.001, 'o': 'sgd', 'o.m': 0.0})
    """

    points: int = 5

    def __post_init__(self) -> None:
        if not isinstance(self.points, int) or isinstance(self.points, bool) or self.points < 1:
            raise StudyError(f"grid: points must be a whole number >= 1, got {self.points!r}. Use e.g. Grid(points=5).")

    @property
    def learns(self) -> bool:
        """Whether earlier studies make a difference."""
        return False

    @cached_property
    def _line(self) -> Line:
        return Line(self._points)

    @cached_property
    def _tried(self) -> Tried:
        # a person's trials may lie off the grid: they leave as much of it as before
        return Tried(within=lambda space: lattice(space, self.points))

    def _points(self, trials: Trials) -> Iterator[Params | None]:
        return lattice(trials.space, self.points).points()

    @property
    def every_goal(self) -> bool:
        """Of several goals none counts more than another: none counts at all."""
        return True

    def propose(self, trials: Trials, rng: np.random.Generator) -> Proposal:
        """Return the first point of the grid that no trial has; `rng` is not used."""
        found = self._line.next(trials)
        if found is None:
            raise used_up(self.size(trials.space), "points of the grid")
        return Proposal(found[1], {"search": "grid", "index": found[0]})

    def size(self, space: Space) -> int:
        """Return the number of points; with constraints exact up to 100,000 and an upper bound beyond."""
        return lattice(space, self.points).size or 0

    def left(self, trials: Trials) -> int:
        """Return how many points no trial has yet."""
        self._tried.see(trials)
        return self._tried.left(self.size(trials.space)) or 0

    def announce(self, space: Space) -> str:
        """Return one line to show before the study starts: how many points, and a warning past 4 dimensions.

        >>> Grid(points=3).announce(Space(lr=Float(1e-3, 1e-1, log=True), depth=Int(1, 2)))
        'grid: 6 points over 2 dimensions (lr 3, depth 2).'
        """
        dims = lattice(space, self.points).dims
        listed = ", ".join(f"{d.name} {d.domain.size}" for d in dims)
        size = self.size(space)
        text = (
            f"grid: {size:,} point{'s' if size != 1 else ''} over {len(dims)} dimension{'s' if len(dims) != 1 else ''}"
        )
        text += f" ({listed})." if listed else "."
        if len(dims) > _MANY:
            text += (
                f" Warning: more than {_MANY} dimensions; a grid tries few values of each and repeats them."
                " Use sobol, or fix what does not matter with Const."
            )
        return text


def lattice(space: Space, points: int) -> Space:
    """Return `space` with every number replaced by the values a grid of `points` has of it.

    >>> lattice(Space(x=Float(0, 1), k=Int(1, 9)), 3)
    Space(x=Ordered(values=(0.0, 0.5, 1.0)), k=Ordered(values=(1, 5, 9)))
    """
    found = Space(**{name: _few(domain, points) for name, domain in space.items()})
    for text in space.constraints:
        found = found.where(text)
    return found


def _few(domain: Domain, points: int) -> Domain:
    values: Iterable[Value]
    match domain:
        case Float(low=low, high=high):
            values = [min(max(float(f"{domain.decode(u):.12g}"), low), high) for u in _places(points)]
        case Int(low=low, high=high) if domain.size > points:
            span = [low * (high / low) ** u if domain.log else low + u * (high - low) for u in _places(points)]
            values = [min(max(math.floor(v + 0.5), low), high) for v in span]
        case Int(low=low, high=high):
            values = range(low, high + 1)
        case Ordered(values=those) if len(those) > points:
            values = [those[round(u * (len(those) - 1))] for u in _places(points)]
        case Choice(options=options, branches=branches) if branches:
            return Choice(dict(zip(options, (b and lattice(b, points) for b in branches), strict=True)))
        case _:
            return domain
    return Ordered(tuple(dict.fromkeys(values)))


def _places(points: int) -> list[float]:
    return [0.5] if points == 1 else [i / (points - 1) for i in range(points)]

"""Zooming: coarse-to-fine passes, each over narrower ranges around what did well."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from whet.errors import StudyError, nearest
from whet.tune.search.design import DIMENSIONS, sequence
from whet.tune.search.model.cube import Cube
from whet.tune.search.model.passes import Pass, Passes
from whet.tune.search.model.ranges import Ranges
from whet.tune.search.sobol import Sobol
from whet.tune.search.untried import Line
from whet.tune.space import Params, Space
from whet.tune.strategy import Proposal
from whet.tune.trial import Trials

__all__ = ["Zoom"]

_SCALES = ("history", "uniform", "log")
_PATIENCE = 64  # points looked at per trial of a pass


@dataclass(frozen=True)
class Zoom:
    """Propose evenly spread points of the ranges of a pass; each pass narrows them around what did well in those before.

    The first pass is a Sobol sequence over the whole space. When as many trials of a pass have ended as it has, the next one begins: with
    scale "history" the range of every number spans the best trials and a gap more at either side, and at least the part `keep` of what it was; with "uniform" and "log" it is
    that part, around the best trial. An option of a choice is given up when none of the best has it, five trials tried it, and its
    best trial is the worst of any option's. Where
    the best lies at an edge of a range, that edge is not cut off: the range stays as wide and moves around the best, beyond what was cut off before, within the
    domain. A range is at least 1e-3 of the domain, or three values; when all are that narrow, the search begins again with the whole space,
    other points, and without what it knew.

    The number of the pass is in every trial's origin ("zoom"), its ranges and the trial they are around in that of its first.

    trials: of a pass, at least 2; keep: the least part of a range that a pass leaves, from 0.1 to 0.9; share: how many of
    a pass's number of trials are the best ones; scale: how numbers are laid out and ranges narrowed: "history" as the domain says, by what did
    well; "uniform" evenly; "log" by magnitude, where the domain is above 0; seed: of the points.

    Raises StudyError when an option is none.

    >>> from whet.tune.space import Float
    >>> from whet.tune.trial import State, Trial
    >>> zoom, space, done = Zoom(trials=6), Space(x=Float(0, 1)), []
    >>> for i in range(13):
    ...     made = zoom.propose(Trials([*done, Trial(i)], space=space), np.random.default_rng(i))
    ...     x = made.params["x"]
    ...     done.append(Trial(i, made.params, State.DONE, value=(x - 0.3) ** 2, origin=made.origin))
    ...     if "ranges" in made.origin["zoom"]:
    ...         print(i, made.origin["zoom"]["ranges"])
    6 {'x': [0.0516589, 0.651659]}
    12 {'x': [0.0598868, 0.419887]}
    """

    trials: int = 10
    keep: float = 0.6
    share: float = 0.3
    scale: str = "history"
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.trials, int) or isinstance(self.trials, bool) or self.trials < 2:
            raise StudyError(
                f"zoom: trials must be a whole number >= 2, got {self.trials!r}. Use e.g. Zoom(trials=16)."
            )
        for name, value, low, high in (("keep", self.keep, 0.1, 0.9), ("share", self.share, 0.01, 1.0)):
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:
                raise StudyError(
                    f"zoom: {name} must be a number from {low:g} to {high:g}, got {value!r}. Use e.g. Zoom({name}=0.5)."
                )
        if self.scale not in _SCALES:
            raise StudyError(
                f"zoom: no scale {self.scale!r}.{nearest(str(self.scale), _SCALES)} Allowed: {', '.join(_SCALES)}."
            )
        Sobol(self.seed)

    @cached_property
    def _passes(self) -> Passes:
        return Passes(self.trials, keep=self.keep, share=self.share, scale=self.scale)

    @cached_property
    def _sobol(self) -> Sobol:
        return Sobol(self.seed)

    @cached_property
    def _way(self) -> _Way:
        return _Way(self.seed)

    def propose(self, trials: Trials, rng: np.random.Generator) -> Proposal:
        """Return the next point of the pass that no trial has; `rng` is used only where a pass has none left."""
        known = self._passes
        view = known.look(trials)
        now, ranges, first = known.now(view, len(trials))
        said = {"search": "zoom", "zoom": now.record() if first else {"pass": now.number}}
        # the first points are those of priors and of earlier studies too
        made = self._sobol.propose(trials, rng) if not now.number else None
        if made is not None and (self.scale == "history" or "like" in made.origin):
            return Proposal(made.params, {**made.origin, **said})
        if 0 < known.cube.d <= DIMENSIONS:
            begun = len(trials) - 1 if first else known.begun(now.number) or 0
            most = _PATIENCE * (len(trials) - begun)
            found = self._way.next(trials, now, ranges, known.cube, most=most)
            if found is not None:
                return Proposal(found, said)
        made = made or self._sobol.propose(trials, rng)
        return Proposal(made.params, {**made.origin, **said, "fallback": "sobol"})

    def size(self, space: Space) -> int | None:
        """Return how many configurations `space` has, None when endless."""
        return space.size

    def left(self, trials: Trials) -> int | None:
        """Return how many configurations no trial has yet, None when endless."""
        return self._sobol.left(trials)


class _Way:
    """The points of one pass, each made once."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._of = ""
        self._line = Line(self._points)
        self._now: tuple[Pass, Ranges, Cube] | None = None

    def next(self, trials: Trials, now: Pass, ranges: Ranges, cube: Cube, *, most: int) -> Params | None:
        """Return the next point that is allowed and that no trial has; None when none of the first `most` is."""
        self._now = now, ranges, cube
        of = json.dumps([now.number, now.ranges, now.since])
        if of != self._of:
            self._of = of
            self._line.begin(trials)
        found = self._line.next(trials, most)
        return None if found is None else found[1]

    def _points(self, trials: Trials) -> Iterator[Params | None]:
        assert self._now is not None
        now, ranges, cube = self._now
        space = trials.space
        for u in sequence(cube.d, self._seed, f"zoom {now.number}"):
            point = ranges.points(cube, u[None])[0]
            params = cube.space.decode(point)
            yield params if space.allows(params) else None

"""A trust region: the part of a space around the best trial that local steps keep to, and how its size follows from what steps did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from whet.tune.follow import Follow
from whet.tune.search.model.bounds import merit
from whet.tune.search.model.climb import around
from whet.tune.search.model.cube import Cube
from whet.tune.search.model.seen import View
from whet.tune.trial import State, Trial, Trials

__all__ = ["LEAST", "MOST", "Region", "Rule", "Step", "Trust"]

GLOBAL, LOCAL = "global", "local"
LEAST, MOST = (
    1e-3,
    2.0,
)  # of a range: narrower than the one it begins again; as wide as the other it is everything, wherever it is


@dataclass(frozen=True)
class Region:
    """The points whose numbers are at most half of `length` from those of `center` (d,), in ranges, and of whose choices at most one is another.

    low, high (d,): the ends. Whole and ordered numbers keep the next value at either side. What does not exist at the center (NaN), such
    as a branch that another option opens, is free.

    >>> from whet.tune.space import Choice, Float, Int, Space
    >>> cube = Cube(Space(x=Float(0, 1), k=Int(1, 5), a=Choice(["p", "q"]), b=Choice(["p", "q"])))
    >>> region = Region.around(cube, np.array([0.3, 0.5, 0.25, 0.25]), 0.2)
    >>> region.low.round(2).tolist(), region.high.round(2).tolist()
    ([0.2, 0.3, 0.0, 0.0], [0.4, 0.7, 1.0, 1.0])
    >>> held = region.hold(np.array([[0.9, 0.9, 0.25, 0.75]]), np.random.default_rng(0))
    >>> held.round(2).tolist()
    [[0.4, 0.7, 0.25, 0.75]]
    """

    cube: Cube
    center: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def around(cls, cube: Cube, center: np.ndarray, length: float) -> Region:
        """Return the region of this length around a row (d,)."""
        low, high = np.zeros(cube.d), np.ones(cube.d)
        for j, levels in enumerate(cube.levels):
            if cube.options[j] or np.isnan(center[j]):
                continue
            low[j], high[j] = max(0.0, center[j] - length / 2), min(1.0, center[j] + length / 2)
            if levels is not None:  # of the levels within, and the next ones
                at = int(cube.index(center[j : j + 1], j)[0])
                first = min(int(np.searchsorted(levels, low[j], side="left")), max(at - 1, 0))
                last = max(int(np.searchsorted(levels, high[j], side="right")) - 1, min(at + 1, len(levels) - 1))
                low[j], high[j] = levels[first], levels[last]
        return cls(cube, center, low, high)

    def hold(self, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return points (n, d) moved into the region; of several choices that are others, one drawn at random stays so."""
        held = np.clip(points, self.low, self.high)
        choices = [j for j, o in enumerate(self.cube.options) if o and not np.isnan(self.center[j])]
        if len(choices) > 1 and len(held):
            here = self.cube.snap(self.center[None])[0, choices]
            differs = self.cube.snap(held)[:, choices] != here
            drawn = np.where(differs, rng.random(differs.shape), -1.0)
            back = differs & (drawn < drawn.max(1, keepdims=True))
            held[:, choices] = np.where(back, here, held[:, choices])
        return held

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n points (n, d) of the region: half of them evenly, half like the center in most dimensions."""
        even = self.low + (self.high - self.low) * rng.random((n - n // 2, self.cube.d))
        return self.hold(np.vstack([even, around(self.center[None], self.cube, rng, n // 2)]), rng)


@dataclass(frozen=True)
class Step:
    """What the next proposal is: a global step, or a local one within `region`, of this `length` around the trial `around`."""

    length: float
    around: int | None = None
    region: Region | None = None

    @property
    def record(self) -> dict[str, Any]:
        """What to write down with the proposal."""
        if self.region is None:
            return {"step": GLOBAL, "length": self.length}
        return {"step": LOCAL, "length": self.length, "around": self.around}

    def wide(self) -> Step:
        """Return the global step in its place."""
        return Step(self.length)


@dataclass(frozen=True)
class Rule:
    """How steps follow one another, and the length of the region.

    length: at first; beta: what a local step that fails multiplies the length by, one that succeeds divides it by; kappa: a step
    succeeds when the value is below the best before by more than kappa times the square of half the length, in units of `spread`; turns: how many global steps in a row may
    fail before the local ones, and how many of those there are.

    >>> rule = Rule(0.4, 0.5, 0.0, (1, 2))
    >>> rule.after([("global", 0.0), ("local", 0.1), ("local", 0.0)], spread=1.0)
    ('global', 0.4)
    >>> rule.after([("global", 0.0), ("local", 0.0)], spread=1.0)
    ('local', 0.2)
    >>> rule.after([("global", 0.3)], spread=1.0)
    ('global', 0.4)
    """

    length: float
    beta: float
    kappa: float
    turns: tuple[int, int]

    def after(self, steps: Iterable[tuple[str, float | None]], spread: float) -> tuple[str, float]:
        """Return which step is next, and the length, after these: (which it was, by how much it was better than the best before), None
        when that is not known yet: it counts as a step that did not succeed, but leaves the length alone.
        """
        now, count, length = GLOBAL, 0, self.length
        for which, gain in steps:
            if which != now:  # what ended since would have led elsewhere
                now, count = which, 0
            count += 1
            good = gain is not None and gain > spread * self.kappa * (length / 2) ** 2
            if which == LOCAL and gain is not None:
                length = min(length / self.beta, MOST) if good else length * self.beta
                length = self.length if length < LEAST else length
            if which == GLOBAL and good:
                count = 0
            elif count >= self.turns[which == LOCAL]:
                now, count = (LOCAL if which == GLOBAL else GLOBAL), 0
        return now, length


class Trust:
    """Follows the steps of one study at a time: what is next is a function of its trials, in the order of their numbers.

    length: the first one, None for the cube of a fifth of the volume; beta, kappa, turns: as in `Rule`.
    """

    def __init__(self, length: float | None, beta: float, kappa: float, turns: tuple[int, int]) -> None:
        self._length, self._beta, self._kappa, self._turns = length, beta, kappa, turns
        self._follow = Follow()
        self._steps: dict[int, str] = {}

    def rule(self, cube: Cube) -> Rule:
        """Return the rule for a space: the more numbers it has, the longer is the region at first."""
        numbers = sum(not o for o in cube.options)
        return Rule(self._length or 0.2 ** (1 / max(numbers, 1)), self._beta, self._kappa, self._turns)

    def now(self, trials: Trials, view: View, cube: Cube) -> Step:
        """Return the next step; one trial at least has a value."""
        again, news = self._follow.news(trials)
        if again:
            self._steps.clear()
        for t in news:
            if (which := read(t)) is not None:
                self._steps[t.id] = which
        scores = merit(view)
        which, length = self.rule(cube).after(self._gains(view, scores), float(np.median(scores) - scores.min()))
        length = float(f"{length:.6g}")
        if which == GLOBAL:
            return Step(length)
        best = int(np.argmin(scores))
        return Step(length, int(view.ids[best]), Region.around(cube, view.rows[best], length))

    def _gains(self, view: View, scores: np.ndarray) -> Iterable[tuple[str, float | None]]:
        """Yield of every step which it was, and by how much it was better than the best of the trials with smaller numbers."""
        failed = set(view.failed_ids.tolist())
        place = {id: i for i, id in enumerate(view.ids.tolist())}
        before = np.minimum.accumulate(np.concatenate([[np.inf], scores])).tolist()
        value = scores.tolist()
        for id in sorted(self._steps):
            if id in place:
                i = place[id]
                yield self._steps[id], before[i] - value[i] if np.isfinite(before[i]) else None
            else:
                yield self._steps[id], -np.inf if id in failed else None


def read(t: Trial) -> str | None:
    """Return which step a trial is of, None when it is of none.

    >>> read(Trial(3, {"x": 0.5}, State.DONE, origin={"trego": {"step": "local", "length": 0.2, "around": 1}}))
    'local'
    >>> read(Trial(3, {"x": 0.5}, State.DONE, origin={"search": "gp"})) is None
    True
    """
    said = t.origin.get("trego")
    if t.state is State.WAITING or not t.params or not isinstance(said, Mapping):
        return None
    return said["step"] if said.get("step") in (GLOBAL, LOCAL) else None

"""What becomes of a trial that is trained on, judged by what became of others that stood where it stands.

A trial's state at a step is how good it is, how fast it got better lately, and how long it was trained. What trials that were in a like
state gained afterwards is a sample of what this one will gain: the same part of what it is above the best that can be hoped for. No curve
is assumed to have a shape, so plateaus, sudden falls and crossings are forecast once one was seen; what nobody has reached yet is
forecast as by the longest there is.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from whet.tune.follow import Follow
from whet.tune.trial import Curve, State, Trial, Trials

__all__ = ["Forecast", "Stand", "marks"]

_FACTOR = 1.5  # between the steps at which curves are looked at
_WIDTHS = np.array([0.35, 0.35, 0.7, 0.35])  # of the kernel: log level, log slope, log step, log of how much further
_NEAREST = 10  # at least as wide as to reach so many earlier cases
_BLOCK = 16  # trials that are compared with all cases at a time: what is made of them stays in the processor's cache
_CASES = 1500  # cases that are looked at, those of the trials trained furthest
_LARGE = 1e300  # scores beyond count as that: differences of larger ones overflow
_FLOOR, _STILL = 0.1, 0.03  # what is added to levels and slopes before their logarithm: below, differences do not count
_MOST = 3.0  # of how far behind trials begin: what is further behind counts as that
_ENOUGH = 8  # trials from which on a level is what the best quarter is behind
_BEYOND = 1.0  # how much better than the best of all a trial can become, in levels: those near to it have less to gain
_FINEST = 0.01  # of how far behind trials begin: no level is smaller


def marks(steps: int) -> tuple[int, ...]:
    """Return the steps at which curves are looked at: 1, 2, 3, 5, 8, 11, 17 ..., each half as much more, and the last.

    >>> marks(51), marks(9), marks(1)
    ((1, 2, 3, 5, 8, 11, 17, 26, 38, 51), (1, 2, 3, 5, 9), (1,))
    """
    found, at = [], 1.0
    while round(at) * np.sqrt(_FACTOR) < steps:
        found.append(round(at))
        at *= _FACTOR
    return (*dict.fromkeys(found), steps)


@dataclass(frozen=True, slots=True)
class Stand:
    """Where a trial stands. step: its last; low: its best score so far; first: its first score; last: its last; lows: its best scores so
    far at the marks that it reached; open: whether it may go on; curve: all of it.
    """

    step: int
    low: float
    first: float
    last: float
    lows: tuple[float, ...]
    open: bool
    curve: Curve


class Forecast:
    """What trials will have become. `see` first, then ask.

    Scores are lower-is-better whatever the goal. A level is a score on the scale on which the best of the study is 0 and one `unit` behind it is 1.

    >>> from whet.tune.space import Space
    >>> from whet.tune.trial import Point
    >>> fast, slow = [Point(k, 1 / k) for k in range(1, 10)], [Point(k, 1 - 0.01 * k) for k in range(1, 10)]
    >>> trials = [Trial(i, {}, State.DONE, curve=(fast, slow)[i % 2], value=0.5) for i in range(8)]
    >>> trials += [Trial(8, {}, State.PAUSED, curve=fast[:3]), Trial(9, {}, State.PAUSED, curve=slow[:3])]
    >>> forecast = Forecast()
    >>> forecast.see(Trials(trials, space=Space(), steps=9))
    >>> forecast.final([8, 9]).round(2)
    array([0.15, 0.93])
    """

    def __init__(self) -> None:
        self._follow = Follow()
        self._clear((1,))

    def _clear(self, at: tuple[int, ...]) -> None:
        self.marks = at
        self.stands: dict[int, Stand] = {}
        self.without: frozenset[int] = frozenset()
        self._dirty = True

    def see(self, trials: Trials, *, without: frozenset[int] = frozenset()) -> None:
        """Take in what is new. without: trials, not all of them, that are not counted when it is asked which is the best."""
        again, news = self._follow.news(trials)
        if again:
            self._clear(marks(trials.steps))
        if without != self.without:
            self.without, self._dirty = without, True
        for t in news:
            stand = self._stand(t, trials)
            if stand is None:
                self.stands.pop(t.id, None)
            else:
                self.stands[t.id] = stand
            self._dirty = True

    def _stand(self, t: Trial, trials: Trials) -> Stand | None:
        if not t.curve or t.state is State.FAILED:
            return None
        old, new = self.stands.get(t.id), t.curve

        def score(value: float) -> float:
            return min(max(trials.goal.score(value), -_LARGE), _LARGE)

        if old is not None and new.continues(old.curve):
            low, lows, begin = old.low, list(old.lows), len(old.curve)
        else:
            low, lows, begin = np.inf, [], 0
        for point in new[begin:]:  # only what is new: curves may be long
            low = min(low, score(point.value))
            passed = bisect.bisect_right(self.marks, point.step) - len(lows)
            lows += [np.nan] * (passed - 1) + [low] * (passed > 0)  # marks without a report say nothing
        open_ = t.state in (State.PAUSED, State.RUNNING) and new.last < trials.steps
        return Stand(new.last, low, score(new[0].value), score(new[-1].value), tuple(lows), open_, new)

    def _before(self, s: Stand) -> float:
        """Return the best score of a trial at half its steps, or at the first mark before that it reported at."""
        half = max(1, bisect.bisect_right(self.marks, s.step // 2))
        return next((x for x in reversed(s.lows[:half]) if x == x), s.low)

    def _learn(self) -> None:
        """Make the table of cases: (low at a, low at a / 2, log a, log b / a, low at b) for all pairs of marks a < b of a trial."""
        if not self._dirty:
            return
        self._dirty = False
        rows: list[tuple[float, float, float, float, float]] = []
        logs = np.log(self.marks)
        halves = [max(0, bisect.bisect_right(self.marks, m // 2) - 1) for m in self.marks]
        ids = sorted(self.stands)
        for id in sorted(ids, key=lambda i: (-self.stands[i].step, -i)):
            lows = self.stands[id].lows
            known = [m for m, x in enumerate(lows) if x == x]
            rows += [
                (
                    lows[a],
                    next((lows[h] for h in reversed(known) if h <= halves[a]), lows[a]),
                    logs[a],
                    logs[b] - logs[a],
                    lows[b],
                )
                for b in known
                for a in known
                if a < b
            ]
            if len(rows) >= _CASES:
                break
        self._cases = np.array(rows[:_CASES]).reshape(-1, 5)
        stands = self.stands.values()
        self._best = min((s.low for id, s in self.stands.items() if id not in self.without), default=0.0)
        early = [s.lows[0] for s in stands if s.lows and s.lows[0] == s.lows[0]] or [s.first for s in stands] or [1.0]
        began = float(np.median(early))
        self._scale = max(began - self._best, 1e-12 * max(1.0, abs(self._best)))
        self._unit = self._scale
        if len(self.stands) >= _ENOUGH:
            quarter = float(np.quantile([s.low for s in stands], 0.25)) - self._best
            self._unit = min(max(quarter, _FINEST * self._scale), self._scale)

    @property
    def best(self) -> float:
        """The best score of all."""
        self._learn()
        return self._best

    @property
    def scale(self) -> float:
        """How much better it is than that at which the median trial began."""
        self._learn()
        return self._scale

    @property
    def unit(self) -> float:
        """How much better it is than the best quarter of the trials by now, within `scale` and a hundredth of it: one level.

        Where trials begin far behind, as with a network that first learns what is common, all that matters afterwards would be next to nothing
        on that scale, and trials that differ would count as alike.
        """
        self._learn()
        return self._unit

    def level(self, scores: np.ndarray) -> np.ndarray:
        """Return scores as levels."""
        with np.errstate(over="ignore"):  # what is too far behind to be a number is as far as counts
            return np.clip((np.asarray(scores, float) - self.best) / self.unit, 0.0, _MOST * self.scale / self.unit)

    def _state(self, low: np.ndarray, before: np.ndarray, log_step: np.ndarray, further: np.ndarray) -> np.ndarray:
        level, slope = self.level(low), np.maximum(self.level(before) - self.level(low), 0.0)
        return np.column_stack([np.log(level + _FLOOR), np.log(slope + _STILL), log_step, further]) / _WIDTHS

    def outcomes(self, ids: list[int], steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return levels (n, m) that trials may have at `steps` (n,), and how likely each is (n, m), rows adding up to 1.

        One column is what one earlier case makes of the trial: with a and b the case's levels before and after, `level` becomes
        (level + 1) (b + 1) / (a + 1) - 1. A difference a - b, taken off as it is, would send a trial that is close to the best far below it,
        since cases as close are few. Without any case there is one column: that nothing changes.
        """
        self._learn()
        n, m = len(ids), len(self._cases) or 1
        levels, weights = np.empty((n, m)), np.empty((n, m))
        for some, part, likely in self._blocks(ids, steps):
            levels[some], weights[some] = part, likely
        return levels, weights

    def _blocks(self, ids: list[int], steps: np.ndarray) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Yield (which trials, their levels, how likely each is), a few trials at a time, as `outcomes` has them."""
        stands = [self.stands[i] for i in ids]
        low = np.array([s.low for s in stands])
        level, step = self.level(low), np.array([s.step for s in stands], float)
        if not len(self._cases):
            yield slice(None), level[:, None], np.ones((len(ids), 1))
            return
        further = np.log(np.maximum(steps, step) / step)
        asked = self._state(low, np.array([self._before(s) for s in stands]), np.log(step), further)
        a, half, log_step, more, b = self._cases.T
        known = self._state(a, half, log_step, more)
        long, across = (asked * asked).sum(1)[:, None], (known * known).sum(1)[None]
        shared = 2.0 * asked @ known.T
        k = min(_NEAREST, len(known)) - 1
        ratio = ((self.level(b) + _BEYOND) / (self.level(a) + _BEYOND))[None]
        for start in range(0, len(ids), _BLOCK):
            some = slice(start, start + _BLOCK)
            apart = long[some] + across
            apart -= shared[some]
            wide = np.maximum(np.partition(apart, k, axis=1)[:, k : k + 1], 0.25)
            weights = np.maximum(apart, 0.0, out=apart)
            np.negative(weights, out=weights)
            weights /= wide
            np.exp(weights, out=weights)
            weights /= weights.sum(1, keepdims=True)
            found = (level[some, None] + _BEYOND) * np.where(further[some, None] > 0, ratio, 1.0)
            found -= _BEYOND
            yield some, found, weights

    def final(self, ids: list[int], step: int | None = None) -> np.ndarray:
        """Return the score (n,) each trial is expected to have at `step` (default: the last)."""
        if not ids:
            return np.zeros(0)
        self._learn()
        mean = np.empty(len(ids))
        for some, levels, weights in self._blocks(ids, np.full(len(ids), step or self.marks[-1], float)):
            mean[some] = (levels * weights).sum(1)
        return self.best + self.unit * mean

"""How scores fall while trials are trained, so that trials trained unequally far can be compared."""

from __future__ import annotations

import math

import numpy as np

from whet.tune.follow import Follow
from whet.tune.search.model.seen import View
from whet.tune.trial import State, Trial, Trials

__all__ = ["Progress"]

_LEVELS = 20  # of the logarithm of the steps


class Progress:
    """Follows the curves of the trials of one study at a time.

    >>> from whet.tune.search.model.seen import Seen
    >>> from whet.tune.space import Float, Space
    >>> from whet.tune.trial import Curve, Point
    >>> ended = Trial(0, {"x": 0.5}, State.DONE, curve=Curve([Point(1, 5.0), Point(9, 1.0)]), value=1.0)
    >>> paused = Trial(1, {"x": 0.7}, State.PAUSED, curve=Curve([Point(1, 6.0)]), value=6.0)
    >>> trials = Trials([ended, paused], space=Space(x=Float(0, 1)), steps=9)
    >>> Progress().ends(trials, Seen().look(trials))
    array([1., 2.])
    """

    def __init__(self) -> None:
        self._follow = Follow()
        self._rows: dict[int, np.ndarray] = {}

    def ends(self, trials: Trials, view: View) -> np.ndarray:
        """Return the scores (n,) of `view` as they would be at the end, if each trial became better as the median of those that went on did.

        The median is over the differences within a trial, from each of 20 steps of the logarithm to the next, and so it does not matter that only
        the better ones went on, but for what better ones gain more or less than others.
        """
        if not (view.reach < 1.0).any():
            return view.scores
        again, news = self._follow.news(trials)
        if again:
            self._rows.clear()
        for t in news:
            self._rows.pop(t.id, None)
            if t.value is not None and t.state is not State.FAILED:
                self._rows[t.id] = _levels(t, trials)
        gains = np.diff(np.array([self._rows[i] for i in sorted(self._rows)]).reshape(-1, _LEVELS + 1), axis=1)
        medians = [float(np.median(g)) if len(g) else 0.0 for g in (column[~np.isnan(column)] for column in gains.T)]
        rest = np.append(np.cumsum(medians[::-1])[::-1], 0.0)
        return view.scores + rest[np.floor(view.reach * _LEVELS + 1e-9).astype(int)]


def _levels(t: Trial, trials: Trials) -> np.ndarray:
    """Return the score at each level (21,), NaN before the first report and behind the last."""
    out = np.full(_LEVELS + 1, np.nan)
    long = math.log(trials.steps)
    points = [(p.step, p.value) for p in t.curve]
    if t.value is not None:
        points.append((trials.reach(t), t.value))
    for step, value in points:
        if step >= 1:
            out[math.ceil(min(1.0, math.log(step) / long) * _LEVELS - 1e-9) :] = trials.goal.score(value)
    last = math.floor(min(1.0, math.log(max(1, trials.reach(t))) / long) * _LEVELS + 1e-9)
    out[last + 1 :] = np.nan
    return out

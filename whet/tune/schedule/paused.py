"""Paused trials: which there are, and the checkpoints that open trials stand on.

A scheduler that never pauses meets paused trials all the same: an interrupted study leaves its running trials so.
"""

from __future__ import annotations

from whet.tune.follow import Follow
from whet.tune.trial import State, Trials

__all__ = ["Paused", "Standing"]

_CLOSED = frozenset({State.DONE, State.STOPPED, State.FAILED})


class Paused:
    """The paused trials of a study, kept up to date.

    >>> from whet.tune.space import Space
    >>> from whet.tune.trial import Trial
    >>> Paused().first(Trials([Trial(0, state=State.RUNNING), Trial(1, state=State.PAUSED)], space=Space()))
    1
    """

    def __init__(self) -> None:
        self._follow = Follow()
        self._ids: set[int] = set()

    def first(self, trials: Trials) -> int | None:
        """Return the lowest id of a paused trial, None when there is none."""
        again, news = self._follow.news(trials)
        if again:
            self._ids.clear()
        for t in news:
            if t.state is State.PAUSED:
                self._ids.add(t.id)
            else:
                self._ids.discard(t.id)
        return min(self._ids, default=None)


class Standing:
    """The checkpoints that open trials stand on, kept up to date: what most schedulers `keep`.

    >>> from whet.tune.space import Space
    >>> from whet.tune.trial import Point, Trial
    >>> Standing().on(Trials([Trial(0, state=State.PAUSED, curve=(Point(3, 0.5),))], space=Space()))
    {(0, 3)}
    """

    def __init__(self) -> None:
        self._follow = Follow()
        self._steps: dict[int, int] = {}

    def on(self, trials: Trials) -> set[tuple[int, int]]:
        """Return (id, last step) of every trial that is not closed and has reported."""
        again, news = self._follow.news(trials)
        if again:
            self._steps.clear()
        for t in news:
            if t.curve and t.state not in _CLOSED:
                self._steps[t.id] = t.curve.last
            else:
                self._steps.pop(t.id, None)
        return set(self._steps.items())

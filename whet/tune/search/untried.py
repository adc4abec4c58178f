"""Configurations that no trial has yet: from a fixed sequence of points, or drawn.

The trials shown to a searcher hold the one it proposes for, WAITING, and perhaps others that workers asked for at the same
time. With w others the point after the next w is taken, so that they do not all get the same one.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator

import numpy as np

from whet.errors import SpaceError, UsedUp
from whet.tune.follow import Follow
from whet.tune.space import Params, Space
from whet.tune.trial import State, Trials

__all__ = ["Line", "Tried", "draw", "key"]

_DRAWS = 100  # draws in a finite space before what is left is listed
_LISTED = 100_000  # the largest space that is listed


def key(params: Params) -> str:
    """Return a text that is the same for the same configuration only; 1 and True are not the same.

    >>> key({"b": 1, "a": True})
    '{"a": true, "b": 1}'
    """
    return json.dumps(params, sort_keys=True)


class Tried:
    """The configurations that trials have, kept up to date.

    keys: the `key` of each, only of those inside the space that `within` makes of the study's, when it is given;
    coming: the trials asked for that have no configuration yet; guessed: a person's that have none yet, complete at least.

    >>> from whet.tune.space import Int
    >>> from whet.tune.trial import Trial
    >>> tried = Tried()
    >>> tried.see(Trials([Trial(0, {"a": 1}, State.DONE), Trial(1)], space=Space(a=Int(1, 5))))
    True
    >>> tried.keys, tried.coming, tried.left(5)
    ({'{"a": 1}'}, {1}, 3)
    """

    def __init__(self, within: Callable[[Space], Space] | None = None) -> None:
        self._follow = Follow()
        self._within, self._inner = within, Space()
        self.keys: set[str] = set()
        self.coming: set[int] = set()
        self.guessed: set[int] = set()

    def see(self, trials: Trials) -> bool:
        """Take in what is new; return True when everything had to be taken in again."""
        again, news = self._follow.news(trials)
        if again:
            self.keys.clear()
            self.coming.clear()
            self.guessed.clear()
            self._inner = self._within(trials.space) if self._within else trials.space
        for t in news:
            if t.state is not State.WAITING:
                self.coming.discard(t.id)
                self.guessed.discard(t.id)
                # one that failed before it got a configuration has used none up
                if (self._within is None and t.state is not State.FAILED) or _fits(self._inner, t.params):
                    self.keys.add(key(t.params))
            elif t.origin.get("search") != "enqueue":
                self.coming.add(t.id)
            else:  # it takes one too, though not the next of a sequence
                self.guessed.add(t.id)
        return again

    def left(self, size: int | None) -> int | None:
        """Return how many of `size` configurations are still free, None when they are endless."""
        return None if size is None else max(0, size - len(self.keys) - len(self.coming) - len(self.guessed))


def _fits(space: Space, params: Params) -> bool:
    try:
        space.check(params)
    except SpaceError:
        return False
    return True


class Line:
    """A walk along a fixed sequence of points, past those that trials have. Every point is made once.

    points: trials -> the sequence, which depends on their space and what they are like; None in it stands for a point that the space does not allow.

    >>> from whet.tune.space import Int
    >>> from whet.tune.trial import Trial
    >>> line, space = Line(lambda trials: trials.space.points()), Space(a=Int(1, 3))
    >>> line.next(Trials([Trial(0, {"a": 1}, State.RUNNING), Trial(1)], space=space))
    (1, {'a': 2})
    """

    def __init__(self, points: Callable[[Trials], Iterator[Params | None]]) -> None:
        self._points = points
        self._tried = Tried()
        self._source: Iterator[tuple[int, Params | None]] = iter(())
        self._made = 0
        self._ahead: dict[str, tuple[int, Params]] = {}  # points made but not given to a trial yet, in order

    def next(self, trials: Trials, most: int | None = None) -> tuple[int, Params] | None:
        """Return (place in the sequence, params) of the next free point, None when none is left.

        most: how many points of the sequence are looked at, from its beginning; it must depend on nothing but trials.
        """
        tried = self._tried
        if tried.see(trials):
            self.begin(trials)
        for text in list(self._ahead):
            if text not in tried.keys:
                break
            del self._ahead[text]
        others = max(0, len(tried.coming) - 1)
        last: tuple[int, Params] | None = None  # when fewer are free than are coming, any free one is better than none
        for text, point in itertools.chain(list(self._ahead.items()), self._more(most)):
            if text not in tried.keys:
                last = point
                if not others:
                    break
                others -= 1
        return last and (last[0], dict(last[1]))

    def begin(self, trials: Trials) -> None:
        """Drop the points; what is known of trials stays, so that another sequence can take their place at little cost."""
        self._source, self._made = enumerate(self._points(trials)), 0
        self._ahead.clear()

    def _more(self, most: int | None) -> Iterator[tuple[str, tuple[int, Params]]]:
        while most is None or self._made < most:
            place, params = next(self._source, (None, None))
            if place is None:
                return
            self._made += 1
            if params is None or (text := key(params)) in self._ahead:
                continue
            if text not in self._tried.keys:
                self._ahead[text] = (place, params)
                yield text, (place, params)


def draw(space: Space, tried: Tried, rng: np.random.Generator) -> Params:
    """Return a configuration drawn from `space`; in a finite space one that no trial has.

    Raises UsedUp when a finite space is used up. Above 100,000 configurations a repetition is possible, though not
    likely before nearly all of them are used.

    >>> from whet.tune.space import Int
    >>> draw(Space(a=Int(1, 3)), Tried(), np.random.default_rng(0))
    {'a': 2}
    """
    params = space.sample(rng)
    if space.size is None:
        return params
    for _ in range(_DRAWS):
        if key(params) not in tried.keys:
            return params
        params = space.sample(rng)
    if space.size > _LISTED:
        return params
    free = [p for p in space.points() if key(p) not in tried.keys]
    if not free:
        raise used_up(space.size, "configurations")
    return free[int(rng.integers(len(free)))]


def used_up(size: int | None, what: str) -> UsedUp:
    """Return the error of a space in which everything was tried."""
    return UsedUp(f"search: all {size} {what} were tried; there is nothing left to propose.")

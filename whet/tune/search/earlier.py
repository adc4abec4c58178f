"""The best configurations of earlier studies, as the first to try."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from whet.tune.domain import same
from whet.tune.layout import Dim
from whet.tune.overlap import carried
from whet.tune.search.design import sequence
from whet.tune.search.untried import Line
from whet.tune.space import Params, Space
from whet.tune.trial import State, Trial, Trials

__all__ = ["Advice", "best", "said"]

_MOST = 6  # configurations of earlier studies that are tried
_FAIR = 2  # of them, and of others, that have ended before they are compared
_TRIES = 64  # ways to fill in what an earlier study does not know
_APART = 0.1  # the least mean distance of two that are tried, in the unit cube


def said(space: Space, trials: Trials) -> list[tuple[Trial, Params, np.ndarray]]:
    """Return the trials of an earlier study that have a value and lie in `space`: each, what it says here, and its place.

    The place (d,) is as `Space.encode` gives it, and NaN where it says nothing too.
    """
    found = []
    for t in trials:
        if t.value is None or t.state is State.FAILED or (params := carried(space, t.params)) is None:
            continue
        found.append((t, params, np.array([_place(d, params) for d in space.dims])))
    return found


def _place(dim: Dim, params: Params) -> float:
    if dim.name not in params or any(not same(params.get(c), o) for c, o in dim.when):
        return np.nan
    return dim.domain.encode(params[dim.name])


def best(space: Space, like: tuple[Trials, ...]) -> Iterator[tuple[int, Trial, Params, np.ndarray]]:
    """Yield (study, trial, what it says here, place): the best of each study in turn, none near to one before."""
    lists = []
    for i, trials in enumerate(like):
        there = said(space, trials)
        there.sort(key=lambda x, trials=trials: (-trials.reach(x[0]), trials.goal.score(x[0].value or 0.0), x[0].id))
        half = there[: (len(there) + 1) // 2]  # what was worse than the median is no advice
        lists.append([(i, *x) for x in half])
    chosen: list[np.ndarray] = []
    while any(lists):
        for rest in lists:
            while rest:
                found = rest.pop(0)
                if all(_apart(found[3], c) >= _APART for c in chosen):
                    chosen.append(found[3])
                    yield found
                    break


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    if not len(a):
        return 0.0
    apart = np.abs(a - b)
    one = np.isnan(a) != np.isnan(b)
    return float(np.where(one, 1.0, np.nan_to_num(apart)).mean())


class Advice:
    """The configurations of earlier studies that a study tries first: every other of its own proposals, until they disappoint."""

    def __init__(self, seed: int) -> None:
        self._line, self._seed = Line(self._points), seed

    def _points(self, trials: Trials) -> Iterator[Params | None]:
        space = trials.space
        even = sequence(len(space.dims), self._seed, "like")
        for _, _, params, place in itertools.islice(best(space, trials.like), _MOST):
            yield _filled(space, params, place, even)

    def next(self, trials: Trials) -> tuple[dict[str, Any], Params] | None:
        """Return (where it is from, configuration) of the next one; None when it is no turn of theirs."""
        own = sum(t.origin.get("search") != "enqueue" for t in trials)
        if own > 2 * _MOST or not own % 2 or disappointing(trials):
            return None
        found = self._line.next(trials)
        return None if found is None else ({"place": found[0]}, found[1])


def disappointing(trials: Trials) -> bool:
    """Return whether what earlier studies advised is worse than what else was tried: their medians, at two of each."""
    told = [t for t in trials if t.value is not None or t.state is State.FAILED]
    advised, others = ([t for t in told if ("like" in t.origin) == w] for w in (True, False))
    if min(len(advised), len(others)) < _FAIR:
        return False
    a, b = (np.median([_score(trials, t) for t in some]) for some in (advised, others))
    return bool(a > b)


def _score(trials: Trials, t: Trial) -> float:
    return np.inf if t.state is State.FAILED or t.value is None else trials.goal.score(t.value)


def _filled(space: Space, params: Params, place: np.ndarray, even: Iterator[np.ndarray]) -> Params | None:
    """Return a configuration with what an earlier study says, and evenly spread values of what it does not know; None when no one is allowed."""
    for u in itertools.islice(even, _TRIES):
        made = space.decode(np.where(np.isnan(place), u, place))
        found = {n: params.get(n, v) for n, v in made.items()}
        if space.allows(found):
            return found
    return None

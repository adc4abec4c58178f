"""The best configurations of earlier studies, as the first to try."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from whet.tune.domain import same
from whet.tune.layout import Dim
from whet.tune.overlap import carried
from whet.tune.search.design import DIMENSIONS, sequence
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
    found: list[tuple[Trial, Params, np.ndarray]] = []
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
        there = sorted(said(space, trials), key=partial(_rank, trials))
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


def _rank(trials: Trials, found: tuple[Trial, Params, np.ndarray]) -> tuple[int, float, int]:
    """Return what is less for what is better."""
    t = found[0]
    return -trials.reach(t), trials.goal.score(t.value or 0.0), t.id


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mean distance over the columns that one of two places has; one that the other has not is as far as can be."""
    known = ~(np.isnan(a) & np.isnan(b))
    return float(np.nan_to_num(np.abs(a - b), nan=1.0)[known].mean()) if known.any() else 0.0


class Advice:
    """The configurations of earlier studies that a study tries first: every other of its own proposals, until they disappoint."""

    def __init__(self, seed: int) -> None:
        self._line, self._seed = Line(self._points), seed
        self._from: list[dict[str, Any]] = []

    def _points(self, trials: Trials) -> Iterator[Params | None]:
        space = trials.space
        even = sequence(len(space.dims), self._seed, "like")
        self._from.clear()
        for study, trial, params, place in itertools.islice(best(space, trials.like), _MOST):
            self._from.append({"study": trials.like[study].name, "trial": trial.origin.get("trial", trial.id)})
            yield _filled(space, params, place, even)

    def next(self, trials: Trials) -> tuple[dict[str, Any], Params] | None:
        """Return ({study, trial} it is from, configuration) of the next one; None when it is no turn of theirs."""
        most = 2 * _MOST
        own = sum(1 for _ in itertools.islice((t for t in trials if t.origin.get("search") != "enqueue"), most))
        if own == most or not own % 2 or not 0 < len(trials.space.dims) <= DIMENSIONS or disappointing(trials):
            return None
        found = self._line.next(trials)
        return None if found is None else (dict(self._from[found[0]]), found[1])


def disappointing(trials: Trials) -> bool:
    """Return whether what earlier studies advised is worse than what else was tried: their medians, at two of each.

    They are compared at the first step that all of them have reached; one that failed is worse than all that did not.

    >>> from whet.tune.space import Float
    >>> def trials(*values):
    ...     like = {"like": {}}
    ...     done = [Trial(i, {"x": i / 9}, State.DONE, value=v, origin=like if i % 2 else {}) for i, v in enumerate(values)]
    ...     return Trials(done, space=Space(x=Float(0, 1)))
    >>> disappointing(trials(1.0, 5.0, 2.0)), disappointing(trials(1.0, 5.0, 2.0, 4.0)), disappointing(trials(5.0, 1.0, 4.0, 9.0, 7.0, 2.0))
    (False, True, False)
    """
    told = [t for t in trials if t.value is not None or t.state is State.FAILED]
    advised, others = ([t for t in told if ("like" in t.origin) == w] for w in (True, False))
    if min(len(advised), len(others)) < _FAIR:
        return False
    common = min((t.step for t in told if t.curve and t.state is not State.FAILED), default=0)
    a, b = (np.median([_score(trials, t, common) for t in some]) for some in (advised, others))
    return bool(a > b)


def _score(trials: Trials, t: Trial, step: int) -> float:
    if t.state is State.FAILED or t.value is None:
        return np.inf
    value = t.curve[max(0, t.curve.place(step + 1) - 1)].value if t.curve else t.value
    return trials.goal.score(value)


def _filled(space: Space, params: Params, place: np.ndarray, even: Iterator[np.ndarray]) -> Params | None:
    """Return a configuration with what an earlier study says, and evenly spread values of what it does not know; None when no one is allowed."""
    for u in itertools.islice(even, _TRIES):
        made = space.decode(np.where(np.isnan(place), u, place))
        found = {n: params.get(n, v) for n, v in made.items()}
        if space.allows(found):
            return found
    return None

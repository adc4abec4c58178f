"""The order of trials at one step when there are several goals: by what beats them, and of one rank those first that are far from each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from whet.tune.dominance import ranks
from whet.tune.schedule.limits import Limits
from whet.tune.trial import Trials

__all__ = ["Mark", "Traded", "net", "plain", "standing"]

_APART = 2.0  # of a goal that was not reported, where the others reach from 0 to 1


class Mark(NamedTuple):
    """What a trial said at a step. scores: of every goal, lower is better, inf where there is nothing; excesses: over every bound, as `Limits.excesses` has
    them; failed: whether the trial did.
    """

    scores: tuple[float, ...]
    excesses: tuple[float, ...] = ()
    failed: bool = False


def plain(trials: Trials) -> bool:
    """Return whether one number tells which of two trials is better: there is one goal, and no bound.

    >>> from whet.tune.goal import parse_goals
    >>> from whet.tune.space import Space
    >>> [plain(Trials([], space=Space(), goals=parse_goals(g))) for g in (["min loss"], ["min loss", "ms <= 5"])]
    [True, False]
    """
    return len(trials.goals) == 1


def standing(marks: Sequence[Mark], limits: Limits) -> np.ndarray:
    """Return the rank (n,) of what each of n trials said, 0 for those that nothing beats; who is held to break a bound is behind all that are not."""
    scores = np.array([m.scores for m in marks], dtype=float).reshape(len(marks), -1)
    broken = np.array([np.inf if m.failed else limits.beyond(m.excesses) for m in marks])
    if scores.shape[1] == 1:
        _, found = np.unique(np.column_stack([broken, scores]), axis=0, return_inverse=True)
        return found.ravel()
    return ranks(scores, broken)


def net(scores: np.ndarray) -> list[int]:
    """Return the order of points (n, m), in which each next one is as far as can be from all before it, from the best in the first column on.

    The farthest of all first makes of every beginning of the order an epsilon-net of the points: no point is further from it than the last of it from
    those before (Gonzalez 1985). Columns count from 0 to 1, whatever their units.

    >>> net(np.array([[0.0, 1.0], [0.1, 0.9], [0.5, 0.5], [1.0, 0.0]]))
    [0, 3, 2, 1]
    """
    seen = np.isfinite(scores)
    low = np.where(seen, scores, np.inf).min(axis=0, initial=np.inf)
    high = np.where(seen, scores, -np.inf).max(axis=0, initial=-np.inf)
    width = np.where(high > low, high - low, 1.0)
    with np.errstate(invalid="ignore"):
        at = np.where(seen, (scores - np.where(np.isfinite(low), low, 0.0)) / width, _APART)
    left = np.lexsort((*(scores.T[:0:-1]), scores[:, 0])).tolist()
    order = [left[0]]
    far = ((at - at[order[0]]) ** 2).sum(axis=1)
    far[order[0]] = -1.0
    while len(order) < len(scores):
        i = int(far.argmax())
        order.append(i)
        far = np.minimum(far, ((at - at[i]) ** 2).sum(axis=1))
        far[i] = -1.0
    return order


class Traded:
    """The trials at a rung of a study with several goals, or with bounds; the same questions as `whet.tune.schedule.rungs.Line`.

    Trials that are held to break a bound come after all that are not, then goes the rank of non-domination, then the place in the epsilon-net of the rank, so that
    the best so many are spread over all of what can be traded for what (Salinas et al. 2021; Schmucker et al. 2021, "Multi-objective Asynchronous Successive Halving", who
    found it better than crowding). There the first point of a net is any; here it is the best in the first goal. Of equal ones the oldest is first.

    factor: the order is only asked for among the best one of so many; behind them those of one rank are in the order of their ids.

    >>> rung = Traded(Limits(), 2)
    >>> for id, scores in enumerate(((0.0, 9.0), (1.0, 8.0), (9.0, 0.0), (9.0, 9.0), (5.0, 4.0), (9.5, 9.5))):
    ...     rung.put(id, Mark(scores), waits=id > 0)
    >>> [rung.place(i) for i in range(6)], rung.foremost()
    ([0, 3, 1, 4, 2, 5], 2)
    """

    def __init__(self, limits: Limits, factor: int) -> None:
        self._limits, self._factor = limits, factor
        self._marks: dict[int, Mark] = {}
        self._waiting: set[int] = set()
        self._places: dict[int, int] = {}
        self._upto: tuple[float, ...] | None = (
            None  # what was known of the bounds when these were found; None: never, or marks are new
        )

    def put(self, id: int, mark: Mark | None, *, waits: bool = False) -> None:
        """Take in what trial `id` said here, and whether it waits here; None: that it is not here."""
        if self._marks.get(id) != mark:
            self._upto = None
            if mark is None:
                del self._marks[id]
            else:
                self._marks[id] = mark
        (self._waiting.add if waits else self._waiting.discard)(id)

    def __len__(self) -> int:
        return len(self._marks)

    def place(self, id: int) -> int:
        """Return how many trials are before `id`."""
        return self._ordered()[id]

    def score(self, id: int) -> float:
        """Return a number by which trials of different brackets are compared: the share of the trials here that are before `id`."""
        return self._ordered()[id] / len(self._marks)

    def foremost(self) -> int | None:
        """Return the first of those that wait, None when none does."""
        places = self._ordered() if self._waiting else {}
        return min(self._waiting, key=lambda id: places[id], default=None)

    def sound(self) -> bool:
        """Return whether a trial is here that did not fail."""
        return any(not m.failed for m in self._marks.values())

    def _ordered(self) -> dict[int, int]:
        known = self._limits.known
        if self._upto != known:
            self._places, self._upto = self._order(), known
        return self._places

    def _order(self) -> dict[int, int]:
        ids = sorted(self._marks)  # whatever order they came in
        marks = [self._marks[id] for id in ids]
        rank, most = standing(marks, self._limits), len(ids) // self._factor
        found: list[int] = []
        by_rank = np.argsort(rank, kind="stable")
        ends = np.searchsorted(rank[by_rank], np.arange(int(rank.max(initial=-1)) + 2))
        for start, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
            some = by_rank[start:end]
            if start < most and end - start > 1:
                some = some[net(np.array([marks[i].scores for i in some.tolist()], dtype=float))]
            found += some.tolist()
        return {ids[i]: place for place, i in enumerate(found)}

"""How trials stand when there are several goals: by what beats them, and where few others are."""

from __future__ import annotations

import numpy as np

from whet.tune.dominance import crowding, ranks
from whet.tune.search.model.bounds import beyond, merit
from whet.tune.search.model.seen import View

__all__ = ["standing"]


def standing(view: View) -> np.ndarray:
    """Return numbers (n,) that order the trials with a value, the smallest being the best.

    With one goal these are `merit`. With several it is the rank of non-domination, trials that break a bound behind all
    that keep them, and between one rank and the next the less the less crowded a trial's place on the front is (Deb et al. 2002).

    >>> from whet.tune.search.model.seen import Seen
    >>> from whet.tune.goal import parse_goals
    >>> from whet.tune.space import Float, Space
    >>> from whet.tune.trial import Point, State, Trial, Trials
    >>> said = [(3.0, 3.0), (1.0, 2.0), (2.0, 1.0), (4.0, 4.0)]
    >>> done = [Trial(i, {"x": i / 4}, State.DONE, [Point(1, v, metrics={"ms": ms})], v) for i, (v, ms) in enumerate(said)]
    >>> trials = Trials(done, space=Space(x=Float(0, 1)), goals=parse_goals(["min loss", "min ms"]))
    >>> standing(Seen().look(trials)).tolist()
    [1.0, 0.0, 0.0, 2.0]
    """
    if not view.aims.shape[1]:
        return merit(view)
    scores = np.column_stack([view.scores, view.aims])
    rank = ranks(scores, beyond(view))
    found = rank.astype(float)
    for level in range(int(rank.max()) + 1 if len(rank) else 0):
        here = np.flatnonzero(rank == level)
        room = crowding(scores[here])
        widest = room[np.isfinite(room)].max(initial=0.0) or 1.0
        found[here] += 0.5 * (1.0 - np.minimum(room / widest, 1.0))
    return found

"""Several goals as one score, by weights that are drawn anew for every proposal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from whet.tune.search.model.outcomes import Scale
from whet.tune.search.model.seen import View

__all__ = ["weighed"]

_ALL = 0.05  # how much the sum of the goals counts beside the worst of them, so that of equal ones the one better in another goal is better


def weighed(view: View, rng: np.random.Generator) -> View:
    """Return the view with one score for all goals: the worst of them when each is weighed, and a little of their sum (Knowles 2006, "ParEGO").

    The weights are drawn evenly from those that add up to 1. Each goal counts from 0, the best that was seen, to 1, the worst, on the `Scale` of what
    was seen, on which it has no tails; in the paper, as it is. One that is the same in all trials counts 0, one that no trial reported has no part. A trial that did not report a goal is
    as bad as one that is the worst in all.

    >>> from whet.tune.goal import parse_goals
    >>> from whet.tune.search.model.seen import Seen
    >>> from whet.tune.space import Float, Space
    >>> from whet.tune.trial import Point, State, Trial, Trials
    >>> said = [(1.0, {"ms": 3.0}), (2.0, {"ms": 2.0}), (3.0, {"ms": 1.0}), (0.0, {})]
    >>> done = [Trial(i, {"x": i / 4}, State.DONE, [Point(1, v, metrics=m)], v) for i, (v, m) in enumerate(said)]
    >>> trials = Trials(done, space=Space(x=Float(0, 1)), goals=parse_goals(["min loss", "min ms"]))
    >>> weighed(Seen().look(trials), np.random.default_rng(0)).scores.round(2).tolist()
    [0.63, 0.32, 0.42, 0.65]
    """
    goals = np.column_stack([view.scores, view.aims])
    goals = goals[:, np.isfinite(goals).any(0)]
    weights = rng.dirichlet(np.ones(goals.shape[1]))
    there = np.isfinite(goals).all(1)
    parts = np.ones(goals.shape)
    for part, column in zip(parts.T, goals.T, strict=True):
        values = Scale.of(column[there]).to(column[there]) if there.any() else np.zeros(0)
        wide = np.ptp(values) if len(values) else 0.0
        part[there] = (values - values.min()) / wide if wide > 0 else 0.0
    parts *= weights
    return replace(view, scores=parts.max(1) + _ALL * parts.sum(1), aims=np.zeros((len(parts), 0)))

"""Several goals, each with a model of its own: what a configuration is worth is what it is expected to add to their front."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from whet.tune.pareto import targets
from whet.tune.search.model.cube import Cube
from whet.tune.search.model.seen import View
from whet.tune.search.model.standing import standing
from whet.tune.search.model.volume import Volume
from whet.tune.search.model.worth import Expected, Worth
from whet.tune.trial import Trials

__all__ = ["Part", "front", "several"]

E = TypeVar("E", bound=Expected)
Part = Callable[[Trials, View, Cube, str], Expected]


def several(trials: Trials, view: View, cube: Cube, worth: Worth[E], *, part: Part) -> Worth[E]:
    """Return what rows are worth when all goals count, from what they are `worth` for the first.

    part: what makes the model of another goal, of those trials that reported it, none of them failed, without bounds: failures and bounds are in the
    first model already. A goal of which no two trials say something different has no part in it; when that is so of all, the first remains.
    """
    scores = [view.scores, *view.aims.T]
    models: list[Expected] = []
    ends: list[tuple[float, float]] = []
    fits: dict[str, Any] = {}
    for j, (goal, column) in enumerate(zip(targets(trials), scores, strict=True)):
        there = np.isfinite(column)
        if not there.any() or np.ptp(column[there]) == 0.0:
            continue
        if j:
            model = part(trials, _of(view, column, there), cube, goal.name)
            if "fit" in model.record:
                fits[goal.name] = model.record["fit"]
        else:
            model = worth.posterior
        values = model.scale.to(column[there])
        models.append(model)
        ends.append((float(values.min()), float(values.max())))
    if not models:
        return worth
    rows, within = np.vstack([view.rows, view.running]), worth.posterior.within
    if within is not None and within.any:
        rows = rows[np.concatenate([within.kept, within.believed])]
    low, high = np.array(ends).T
    return replace(worth, volume=Volume.of(models, rows, low, high), fits=fits)


def front(view: View, rng: np.random.Generator) -> np.ndarray:
    """Return the places (n,) in `view` of its trials by rank of non-domination, those that break a bound last, and of one rank in any order.

    >>> from whet.tune.goal import parse_goals
    >>> from whet.tune.search.model.seen import Seen
    >>> from whet.tune.space import Float, Space
    >>> from whet.tune.trial import Point, State, Trial
    >>> said = [(3.0, 3.0), (1.0, 2.0), (2.0, 1.0), (4.0, 4.0)]
    >>> done = [Trial(i, {"x": i / 4}, State.DONE, [Point(1, v, metrics={"ms": ms})], v) for i, (v, ms) in enumerate(said)]
    >>> trials = Trials(done, space=Space(x=Float(0, 1)), goals=parse_goals(["min loss", "min ms"]))
    >>> front(Seen().look(trials), np.random.default_rng(0)).tolist()
    [2, 1, 0, 3]
    """
    rank = np.floor(standing(view))
    return np.lexsort((rng.random(len(rank)), rank))


def _of(view: View, scores: np.ndarray, there: np.ndarray) -> View:
    """Return a view of one goal: of the trials that reported it, and of those that run."""
    none = np.zeros((0, 0))
    return replace(
        view, ids=view.ids[there], rows=view.rows[there], scores=scores[there], failed=view.failed[:0],
        failed_ids=view.failed_ids[:0], bounds=(), measured=none, failed_measured=none, aims=none,
    )  # fmt: skip

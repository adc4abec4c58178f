"""The same number of trials for every rule, on seeds and images that are not reported."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from evidence.kept import Kept
from evidence.training import end

__all__ = ["Tuned", "tuned"]


class Tuned(NamedTuple):
    """The best of some trials: its setting, its mean error in % on held-out training images, and all trials' in order."""

    setting: dict[str, Any]
    error: float
    errors: tuple[float, ...]


def tuned(
    kept: Kept, trials: Sequence[Mapping[str, Any]], seeds: Sequence[int], what: str, *, finals: int = 3
) -> Tuned:
    """Train every trial with the first of the seeds, the best `finals` with the others too; return the best of these by the mean.

    A training that diverged counts as 90 %.
    """
    scores = [[_score(r)] for r in kept.all([_on(t, seeds[0]) for t in trials], what)]
    last = sorted(range(len(trials)), key=lambda i: scores[i][0])[:finals]
    more = [_on(trials[i], s) for i in last for s in seeds[1:]]
    for i, result in zip([i for i in last for _ in seeds[1:]], kept.all(more, what), strict=True):
        scores[i].append(_score(result))
    best = min(last, key=lambda i: fmean(scores[i]))
    return Tuned(dict(trials[best]), fmean(scores[best]), tuple(fmean(s) for s in scores))


def _on(trial: Mapping[str, Any], seed: int) -> dict[str, Any]:
    return {**trial, "seed": seed, "report": False}


def _score(result: Mapping[str, Any]) -> float:
    error = end(result)
    return 90.0 if math.isnan(error) else error

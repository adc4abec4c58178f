"""Which trials of a study are good, all compared at the same step of training."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from whet.tune.search.model.seen import View
from whet.tune.trial import Trials

__all__ = ["Split", "split"]

_GOOD = 50  # good trials at most
_OTHERS = 150  # others at most, those that run aside
_SAME = 1e-9  # differences in reach that are none


@dataclass(frozen=True)
class Split:
    """good (k, d): rows of the good trials, the best first; gain (k,): how much better each is than the best of the others, with
    mean 1; others (m, d): rows of the others; counts (m,): how many trials each of these stands for.
    """

    good: np.ndarray
    gain: np.ndarray
    others: np.ndarray
    counts: np.ndarray


def split(view: View, trials: Trials, share: float) -> Split:
    """Return the good trials and the others; at least two have a value.

    Of trials trained to the end the best `share` are good, at most 50. Otherwise trials are compared by their values at the last step that d + 2 of them
    have reached (Falkner et al. 2018, "BOHB"), and the best half of those at most is good; what did not get there is not: it was stopped
    for something better, or it has yet to show. What still runs is not either (a constant liar), so that the next proposal goes elsewhere. Above 150 others an
    even choice by rank stands for all.

    >>> from whet.tune.search.model.seen import Seen
    >>> from whet.tune.space import Float, Space
    >>> from whet.tune.trial import State, Trial
    >>> done = [Trial(i, {"x": x}, State.DONE, value=x) for i, x in enumerate((0.5, 0.0, 0.25, 1.0))]
    >>> trials = Trials(done, space=Space(x=Float(0, 1)))
    >>> parts = split(Seen().look(trials), trials, 0.5)
    >>> parts.good.ravel().tolist(), parts.gain.round(2).tolist(), parts.others.ravel().tolist()
    ([0.0, 0.25], [1.33, 0.67], [0.5, 1.0])
    """
    scores, far, rest = _compared(view, trials)
    order = far[np.argsort(scores[far], kind="stable")]
    k = min(math.ceil(share * len(view.ids)), math.ceil(len(order) / 2), _GOOD)
    good, others = order[:k], np.concatenate([order[k:], rest])
    better = scores[order[k]] - scores[good] if k < len(order) else np.zeros(k)
    mean = better.mean()
    gain = better / mean if mean > 0 and np.isfinite(mean) else np.ones(k)
    each = max(1.0, len(others) / _OTHERS)
    if len(others) > _OTHERS:
        others = others[np.linspace(0, len(others) - 1, _OTHERS).astype(int)]
    counts = np.concatenate([np.full(len(others), each), np.ones(len(view.running))])
    return Split(view.rows[good], gain, np.vstack([view.rows[others], view.running]), counts)


def _compared(view: View, trials: Trials) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (scores (n,), the trials that are compared, the others)."""
    n, reach = len(view.ids), view.reach
    if not (reach < 1.0).any():
        return view.scores, np.arange(n), np.arange(0)
    enough = min(n, view.rows.shape[1] + 2)
    at = np.partition(reach, n - enough)[n - enough]  # so many have come so far
    far = reach >= at - _SAME
    scores = view.scores.copy()
    step = round(trials.steps**at)
    for i in np.flatnonzero(reach > at + _SAME):  # fewer than are enough
        curve = trials[int(view.ids[i])].curve
        if (place := curve.place(step + 1)) > 0:
            scores[i] = trials.goal.score(curve[place - 1].value)
    return scores, np.flatnonzero(far), np.flatnonzero(~far)

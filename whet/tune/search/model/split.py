"""Which trials of a study are good."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from whet.tune.search.model.seen import View

__all__ = ["Split", "split"]

_GOOD = 50  # good trials at most
_OTHERS = 150  # others at most, those that run aside


@dataclass(frozen=True)
class Split:
    """good (k, d): rows of the good trials, the best first; gain (k,): how much better each is than the best of the others, with
    mean 1; others (m, d): rows of the others; counts (m,): how many trials each of these stands for.
    """

    good: np.ndarray
    gain: np.ndarray
    others: np.ndarray
    counts: np.ndarray


def split(view: View, share: float) -> Split:
    """Return the good trials and the others; at least two have a value.

    The best `share` is good, at most 50, by what trials end with or are forecast to. What still runs is not (a constant liar), so that the next
    proposal goes elsewhere. Above 150 others an even choice by rank stands for all.

    >>> from whet.tune.search.model.seen import Seen
    >>> from whet.tune.space import Float, Space
    >>> from whet.tune.trial import State, Trial, Trials
    >>> done = [Trial(i, {"x": x}, State.DONE, value=x) for i, x in enumerate((0.5, 0.0, 0.25, 1.0))]
    >>> trials = Trials(done, space=Space(x=Float(0, 1)))
    >>> parts = split(Seen().look(trials), 0.5)
    >>> parts.good.ravel().tolist(), parts.gain.round(2).tolist(), parts.others.ravel().tolist()
    ([0.0, 0.25], [1.33, 0.67], [0.5, 1.0])
    """
    scores = view.scores
    order = np.argsort(scores, kind="stable")
    k = min(math.ceil(share * len(view.ids)), _GOOD)
    good, others = order[:k], order[k:]
    with np.errstate(over="ignore"):  # where it is too much to tell by how much, all are equally good
        better = scores[order[k]] - scores[good] if k < len(order) else np.zeros(k)
        mean = better.mean()
    gain = better / mean if mean > 0 and np.isfinite(mean) else np.ones(k)
    each = max(1.0, len(others) / _OTHERS)
    if len(others) > _OTHERS:
        others = others[np.linspace(0, len(others) - 1, _OTHERS).astype(int)]
    counts = np.concatenate([np.full(len(others), each), np.ones(len(view.running))])
    return Split(view.rows[good], gain, np.vstack([view.rows[others], view.running]), counts)

"""Bounds on what is measured: the chance that a configuration keeps them, learnt from what trials reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import log_ndtr

from whet.tune.goal import Bound
from whet.tune.search.model.cube import Cube
from whet.tune.search.model.features import Features
from whet.tune.search.model.process import Process, fit
from whet.tune.search.model.seen import View

__all__ = ["Within", "beyond", "margins", "merit", "within"]

_SHOWN = 150  # trials that the process of a bound is made of: half of them the nearest to the limit


@dataclass(frozen=True)
class Within:
    """The chance that every bound holds.

    processes: one for each bound, over the `margins` of what was measured in units of `spreads`, with the limit at 0; kept (n,), believed
    (r,): whether each trial with a value kept all bounds, and whether each running one is expected to; fitted: whether one was
    fitted anew.
    """

    processes: tuple[Process | None, ...]
    spreads: tuple[tuple[float, float], ...]
    kept: np.ndarray
    believed: np.ndarray
    fitted: bool = True

    @property
    def any(self) -> bool:
        """Whether a trial kept all bounds, or one that runs is expected to."""
        return bool(self.kept.any() or self.believed.any())

    def log_chance(self, rows: np.ndarray) -> np.ndarray:
        """Return the logarithm of the chance (k,) that a trial of each of rows (k, d) keeps all bounds."""
        total = np.zeros(len(rows))
        for process, (middle, width) in zip(self.processes, self.spreads, strict=True):
            if process is not None:  # else nothing was measured, and nothing is known
                mean, sd = process.predict(rows)
                total += log_ndtr((-middle / width - mean) / np.sqrt(sd**2 + process.noise))
        return total

    def weigh(self, value: np.ndarray, rows: np.ndarray, *, logarithm: bool = True) -> np.ndarray:
        """Return what rows (k, d) of this value (k,) are worth when they may break a bound: the value times the chance that they do not
        (Gardner et al. 2014). logarithm: whether `value` is a logarithm. As long as nothing keeps the bounds the chance alone decides.
        """
        log_chance = self.log_chance(rows)
        if not self.any:
            return log_chance if logarithm else np.exp(log_chance)
        return value + log_chance if logarithm else value * np.exp(log_chance)

    @property
    def record(self) -> list[list[float] | None]:
        """The hyperparameters of each process, as `within` reads them."""
        return [None if p is None else p.theta.tolist() for p in self.processes]


def within(cube: Cube, view: View, last: Mapping[str, Any] | None = None, *, refit: bool = True) -> Within | None:
    """Return what was measured says of the bounds, None when there are none.

    last: the last fit on record, which this one begins from, or which is kept when not `refit`. Running trials are taken to measure what
    is expected of them.

    >>> from whet.tune.search.model.seen import Seen
    >>> from whet.tune.space import Float, Space
    >>> from whet.tune.trial import Goal, Point, State, Trial, Trials
    >>> done = [
    ...     Trial(i, {"x": x}, State.DONE, [Point(1, 0.0, metrics={"memory": 1 + 10 * x})], 0.0)
    ...     for i, x in enumerate((0.1, 0.3, 0.45, 0.55, 0.7, 0.9))
    ... ]
    >>> goals = Goal("loss", "min"), Bound("memory", "<=", 6.0)
    >>> seen = Seen()
    >>> view = seen.look(Trials(done, space=Space(x=Float(0, 1)), goals=goals))
    >>> found = within(seen.cube, view)
    >>> found.kept.tolist(), np.exp(found.log_chance(np.array([[0.2], [0.8]]))).round(1).tolist()
    ([True, True, True, False, False, False], [1.0, 0.0])
    """
    if not view.bounds:
        return None
    features = Features(cube)
    every = np.vstack([view.rows, view.failed])
    before = _recorded(last, len(view.bounds), cube.d)
    believed = np.ones(len(view.running), bool)
    fitted = False
    processes: list[Process | None] = []
    spreads: list[tuple[float, float]] = []
    for j, bound in enumerate(view.bounds):
        measured = np.concatenate([view.measured[:, j], view.failed_measured[:, j]])
        there = np.isfinite(measured)
        if not there.any():
            processes.append(None)
            spreads.append((0.0, 1.0))
            believed &= False
            continue
        margin = margins(bound, measured[there])
        some = _nearest(margin, _SHOWN)
        rows, margin = every[there][some], margin[some]
        # in their own spread; far from the limit that is at least how far they are from it, so that equal ones are not nothing
        middle = float(margin.mean())
        width = float(margin.std()) if margin.std() > 1e-9 * abs(middle) else abs(middle)
        values = (margin - middle) / width
        theta = before[j]
        if theta is None or refit:
            theta = fit(features, rows, values, starts=[] if theta is None else [theta]).theta.round(4)  # as recorded
            fitted = True
        process = Process(features, rows, values, theta)
        if len(view.running):
            mean = process.predict(view.running)[0]
            process = process.given(view.running, mean)
            believed &= mean <= -middle / width
        processes.append(process)
        spreads.append((middle, width))
    return Within(tuple(processes), tuple(spreads), _kept(view), believed, fitted)


def margins(bound: Bound, measured: np.ndarray) -> np.ndarray:
    """Return how far measured numbers (n,), all finite, are beyond the limit of a bound: negative where it holds.

    When all are positive, as memory and time are, it is the logarithm of how many times the limit they are. Else it is their
    distance to the limit in units of the median distance, as sign(y) log(1 + |y|) (Eriksson and Poloczek 2021, "SCBO"), which keeps the
    limit sharp whatever is far away. When some are the limit itself, as sizes are, that is halfway to the next on its other side.

    >>> margins(Bound("memory", "<=", 8.0), np.array([2.0, 8.0, 16.0])).round(2).tolist()
    [-1.73, -0.35, 0.35]
    >>> margins(Bound("margin", ">", 0.0), np.array([-1.0, 1.0, 20.0])).round(2).tolist()
    [0.69, -0.69, -3.04]
    """
    sign = 1.0 if bound.op in ("<=", "<") else -1.0
    if bound.limit > 0 and (measured > 0).all():
        out = sign * (np.log(measured) - np.log(bound.limit))
    else:
        away = sign * (measured - bound.limit)
        y = away / (float(np.median(np.abs(away))) or float(np.abs(away).max()) or 1.0)
        out = np.sign(y) * np.log1p(np.abs(y))
    tied = measured == bound.limit
    if tied.any():
        inside = bound.op in ("<=", ">=")
        other = out[out > 0] if inside else -out[out < 0]
        step = 0.5 * float(other.min()) if len(other) else 0.5
        out = out - step if inside else out + step
    return out


def merit(view: View) -> np.ndarray:
    """Return the scores (n,) of a view, with trials that break a bound behind all that keep them all, the further the further they are
    beyond their limits. Without bounds these are the scores themselves.

    >>> from whet.tune.search.model.seen import Seen
    >>> from whet.tune.space import Float, Space
    >>> from whet.tune.trial import Goal, Point, State, Trial, Trials
    >>> done = [
    ...     Trial(i, {"x": x}, State.DONE, [Point(1, -x, metrics={"memory": 10 * x})], -x) for i, x in enumerate((0.25, 0.5, 0.75, 1.0))
    ... ]
    >>> goals = Goal("loss", "min"), Bound("memory", "<=", 6.0)
    >>> np.argsort(merit(Seen().look(Trials(done, space=Space(x=Float(0, 1)), goals=goals)))).tolist()
    [1, 0, 2, 3]
    """
    if not view.bounds or not len(view.ids):
        return view.scores
    kept, good = _kept(view), view.scores[_kept(view)]
    last, spread = (float(good.max()), float(np.ptp(good)) or 1.0) if len(good) else (0.0, 1.0)
    return np.where(kept, view.scores, last + spread * beyond(view))


def beyond(view: View) -> np.ndarray:
    """Return how far the trials with a value (n,) are beyond the limits of their bounds, in `margins`: 0 for those that keep them all; what was
    not measured is behind all that was.
    """
    over = np.zeros(len(view.ids))
    for j, bound in enumerate(view.bounds):
        measured = view.measured[:, j]
        there = np.isfinite(measured)
        far = np.full(len(measured), np.inf)
        if there.any():
            far[there] = np.maximum(margins(bound, measured[there]), 0.0)
        over += far
    over[_kept(view)] = 0.0
    worst = np.isinf(over)
    over[worst] = over[~worst].max(initial=0.0) + 1.0
    return over


def _kept(view: View) -> np.ndarray:
    """Return whether each trial with a value (n,) measured what every bound wants."""
    kept = np.ones(len(view.ids), bool)
    for j, bound in enumerate(view.bounds):
        kept &= bound.met(view.measured[:, j])
    return kept


def _nearest(margin: np.ndarray, most: int) -> np.ndarray:
    """Return the numbers of at most so many points: half of them the nearest to the limit, and of the rest every so many."""
    if len(margin) <= most:
        return np.arange(len(margin))
    order = np.argsort(np.abs(margin), kind="stable")
    near, rest = order[: most // 2], np.sort(order[most // 2 :])
    even = rest[np.linspace(0, len(rest) - 1, most - most // 2).astype(int)]
    return np.sort(np.concatenate([near, even]))


def _recorded(last: Mapping[str, Any] | None, bounds: int, d: int) -> list[np.ndarray | None]:
    """Return the recorded hyperparameters of each bound, where they are of as many dimensions."""
    found = (last or {}).get("bounds")
    if not isinstance(found, list) or len(found) != bounds:
        return [None] * bounds
    return [np.array(t, float) if isinstance(t, list) and len(t) == d + 2 else None for t in found]

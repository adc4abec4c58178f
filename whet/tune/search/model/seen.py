"""The trials of a study as arrays, kept up to date: what a model is made of."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from whet.tune.follow import Follow
from whet.tune.forecast import Forecast
from whet.tune.search.model.climb import fingerprint
from whet.tune.search.model.cube import Cube
from whet.tune.trial import Bound, Goal, State, Trial, Trials

__all__ = ["Seen", "View"]

_NEW, _OK, _FAILED, _RUNNING, _HEIR = range(
    5
)  # what is known of a trial: nothing yet, a value, that it failed, its configuration; that others trained its weights too


@dataclass(frozen=True)
class View:
    """What a study has to say. ids (n,), rows (n, d), scores (n,): of trials with a value, the smallest is the best, that of a
    trial that was not trained to the end being what it is forecast to end with; failed (f, d), failed_ids (f,): of those that failed;
    running (r, d): of those that have no value yet. Trials that went on from weights that another configuration trained are in none of these unless they
    failed: what they come to is not what their own configuration comes to. inherited (h,): their ids. bounds (b): of the goals; measured (n, b), failed_measured (f, b): what trials with a
    value, and failed ones, last reported of the metric of each, NaN when nothing. aims (n, g): the scores of the goals after the first in the last
    report, inf where there is none.
    """

    ids: np.ndarray
    rows: np.ndarray
    scores: np.ndarray
    failed: np.ndarray
    failed_ids: np.ndarray
    running: np.ndarray
    inherited: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    bounds: tuple[Bound, ...] = ()
    measured: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    failed_measured: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    aims: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    def failing(self, last: int) -> float:
        """Return the share of the last trials, at most so many, that failed."""
        ended = np.sort(np.concatenate([self.ids, self.failed_ids]))[-last:]
        return float(np.isin(ended, self.failed_ids).mean()) if len(ended) else 0.0


class Seen:
    """Follows the trials of one study at a time.

    cube: of its space; tried: the fingerprints of all configurations that trials have.

    >>> from whet.tune.space import Float, Space
    >>> trial = Trial(0, {"x": 0.25}, State.DONE, value=2.0)
    >>> seen = Seen()
    >>> view = seen.look(Trials([trial], space=Space(x=Float(0, 1))))
    >>> view.rows, view.scores, len(seen.tried)
    (array([[0.25]]), array([2.]), 1)
    """

    def __init__(self) -> None:
        self._follow, self._forecast = Follow(), Forecast()
        self.tried: set[bytes] = set()

    def look(self, trials: Trials) -> View:
        """Take in what is new; return what all trials say."""
        again, news = self._follow.news(trials)
        if again:
            self.cube = Cube(trials.space)
            self.tried = set()
            # by trial, whenever each was seen: the same trials are the same arrays to the last bit
            self._rows = np.zeros((0, self.cube.d))
            self._scores = np.zeros(0)
            self._partial: set[int] = set()  # trials with a value that were not trained to the end
            self._group = np.zeros(0, dtype=np.int8)
            self._bounds = tuple(g for g in trials.goals if isinstance(g, Bound))
            self._measured = np.zeros((0, len(self._bounds)))
            self._goals = tuple(g for g in trials.goals[1:] if isinstance(g, Goal))
            self._aims = np.zeros((0, len(self._goals)))
        if len(trials) > len(self._group):
            self._grow(len(trials) + len(trials) // 4 + 64)
        for t in news:
            self._take(t, trials)
        ok, failed, running, heirs = (np.flatnonzero(self._group == group) for group in (_OK, _FAILED, _RUNNING, _HEIR))
        scores, rows = self._scores, self._rows
        if self._partial:
            self._forecast.see(trials)
            part = sorted(self._partial & self._forecast.stands.keys())
            scores = scores.copy()
            scores[part] = self._forecast.final(part)
        view = View(ok, rows[ok], scores[ok], rows[failed], failed, rows[running], heirs, aims=self._aims[ok])
        if not self._bounds:
            return view
        return replace(view, bounds=self._bounds, measured=self._measured[ok], failed_measured=self._measured[failed])

    def _grow(self, size: int) -> None:
        more = size - len(self._group)
        self._rows = np.vstack([self._rows, np.zeros((more, self.cube.d))])
        self._scores = np.concatenate([self._scores, np.zeros(more)])
        self._group = np.concatenate([self._group, np.full(more, _NEW, dtype=np.int8)])
        self._measured = np.vstack([self._measured, np.full((more, len(self._bounds)), np.nan)])
        self._aims = np.vstack([self._aims, np.full((more, len(self._goals)), np.inf)])

    def _take(self, t: Trial, trials: Trials) -> None:
        self._partial.discard(t.id)
        if not t.params or t.state is State.WAITING:
            self._group[t.id] = _NEW
            return
        if self._group[t.id] == _NEW:
            self._rows[t.id] = self.cube.encode([t.params])[0]
            self.tried.add(fingerprint(self._rows[t.id]))
        if self._bounds or self._goals:
            metrics = trials.measured(t)
            self._measured[t.id] = [metrics.get(b.name, np.nan) for b in self._bounds]
            self._aims[t.id] = [g.score(metrics.get(g.name, np.nan)) for g in self._goals]
        if t.state is State.FAILED:
            self._group[t.id] = _FAILED
        elif trials.inherits(t):
            self._group[t.id] = _HEIR
        elif t.value is None:
            self._group[t.id] = _RUNNING
        else:
            self._group[t.id] = _OK
            self._scores[t.id] = trials.goal.score(t.value)
            if trials.reach(t) < trials.steps:
                self._partial.add(t.id)

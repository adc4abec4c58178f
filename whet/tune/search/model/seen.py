"""The trials of a study as arrays, kept up to date: what a model is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whet.tune.follow import Follow
from whet.tune.forecast import Forecast
from whet.tune.search.model.climb import fingerprint
from whet.tune.search.model.cube import Cube
from whet.tune.trial import State, Trial, Trials

__all__ = ["Seen", "View"]


@dataclass(frozen=True)
class View:
    """What a study has to say. ids (n,), rows (n, d), scores (n,): of trials with a value, the smallest is the best, that of a
    trial that was not trained to the end being what it is forecast to end with; failed (f, d), failed_ids (f,): of those that failed;
    running (r, d): of those that have no value yet.
    """

    ids: np.ndarray
    rows: np.ndarray
    scores: np.ndarray
    failed: np.ndarray
    failed_ids: np.ndarray
    running: np.ndarray

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
        self._rows: dict[int, np.ndarray] = {}
        self.tried: set[bytes] = set()

    def look(self, trials: Trials) -> View:
        """Take in what is new; return what all trials say."""
        again, news = self._follow.news(trials)
        if again:
            self.cube = Cube(trials.space)
            self._rows, self.tried = {}, set()
            self._ok: dict[int, float] = {}
            self._partial: set[int] = set()
            self._failed: dict[int, None] = {}
            self._running: dict[int, None] = {}
        for t in news:
            self._take(t, trials)
        ok = sorted(self._ok)  # by id, whenever each was seen: the same trials are the same arrays to the last bit
        scores = np.array([self._ok[i] for i in ok], dtype=float)
        if self._partial:
            self._forecast.see(trials)
            part = sorted(self._partial & self._forecast.stands.keys())
            scores[np.searchsorted(ok, part)] = self._forecast.final(part)
        return View(
            np.array(ok, dtype=int), self._of(ok), scores, self._of(sorted(self._failed)),
            np.array(sorted(self._failed), dtype=int), self._of(sorted(self._running)),
        )  # fmt: skip

    def _of(self, ids: list[int]) -> np.ndarray:
        return np.array([self._rows[i] for i in ids], dtype=float).reshape(len(ids), self.cube.d)

    def _take(self, t: Trial, trials: Trials) -> None:
        for group in (self._ok, self._failed, self._running):
            group.pop(t.id, None)
        self._partial.discard(t.id)
        if not t.params or t.state is State.WAITING:
            return
        if t.id not in self._rows:
            self._rows[t.id] = self.cube.encode([t.params])[0]
            self.tried.add(fingerprint(self._rows[t.id]))
        if t.state is State.FAILED:
            self._failed[t.id] = None
        elif t.value is None:
            self._running[t.id] = None
        else:
            self._ok[t.id] = trials.goal.score(t.value)
            if trials.reach(t) < trials.steps:
                self._partial.add(t.id)

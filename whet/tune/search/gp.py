"""Bayesian optimisation with a Gaussian process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import log_ndtr

from whet.errors import StudyError, nearest
from whet.tune.search.model.climb import climb
from whet.tune.search.model.features import Features
from whet.tune.search.model.improvement import ACQUISITIONS
from whet.tune.search.model.outcomes import settle
from whet.tune.search.model.process import Priors, Process, fit
from whet.tune.search.model.seen import Seen, View
from whet.tune.search.model.threads import one_thread
from whet.tune.search.sobol import Sobol
from whet.tune.space import Space
from whet.tune.strategy import Proposal
from whet.tune.trial import Trials

__all__ = ["GP"]

_FITTED = 150  # points that hyperparameters are fitted to
_KEPT = 300  # points that the posterior is made of
_ALWAYS = 40  # points up to which every proposal fits anew
_LABELS = Priors(noise=(-3.0, 0.5))  # of the process of failures: labels of 1 and -1, some of which are chance
_RECENT = 20  # trials whose failures say how careful to be
_FAILING = (0.05, 0.15)  # from this share of failures on with more care, up to the most at this share
_SAFE = 0.95  # then a proposal must have this chance not to fail
_GROWTH = 1.1  # then a fit each time there are so many times more


@dataclass(frozen=True)
class GP:
    """Propose where a Gaussian process expects the largest improvement.

    acquisition: "log-ei", "ei", "pi" or "ucb"; start: how many values there are before the model is asked, a Sobol
    sequence until then (default: 4 and half the number of dimensions, at most 12); seed: of that sequence.

    Jones, Schonlau and Welch 1998 with the changes of 25 years: the kernel of `Features` and `Process`, the outcomes of
    `settle`, the logarithm of expected improvement (Ament et al. 2023), improvement counted from the best posterior mean
    instead of the best value, which noise flatters. Running trials are taken to become what is expected of them (Ginsbourger
    et al. 2010, "kriging believer"). Failed trials teach a second process where trials fail; the acquisition is
    multiplied by the probability that one does not (Gardner et al. 2014). Trials that were not trained to the end are
    points of one more dimension of the kernel.

    Raises StudyError when an option is none.

    >>> from whet.tune.space import Float
    >>> from whet.tune.trial import State, Trial
    >>> done = [Trial(i, {"x": x}, State.DONE, value=(x - 0.3) ** 2) for i, x in enumerate((0.1, 0.2, 0.5, 0.6, 0.9))]
    >>> trials = Trials(done, space=Space(x=Float(0, 1)))
    >>> 0.2 < GP().propose(trials, np.random.default_rng(0)).params["x"] < 0.4
    True
    """

    acquisition: str = "log-ei"
    start: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.acquisition not in ACQUISITIONS:
            raise StudyError(
                f"gp: no acquisition {self.acquisition!r}.{nearest(str(self.acquisition), ACQUISITIONS)} "
                f"Allowed: {', '.join(ACQUISITIONS)}."
            )
        if self.start is not None and (
            not isinstance(self.start, int) or isinstance(self.start, bool) or self.start < 1
        ):
            raise StudyError(f"gp: start must be a whole number >= 1, got {self.start!r}. Use e.g. GP(start=8).")
        Sobol(self.seed)

    @cached_property
    def _seen(self) -> Seen:
        return Seen()

    @cached_property
    def _sobol(self) -> Sobol:
        return Sobol(self.seed)

    def propose(self, trials: Trials, rng: np.random.Generator) -> Proposal:
        """Return the configuration with the largest acquisition; before `start` values the next Sobol point."""
        view = self._seen.look(trials)
        d = len(trials.space.dims)
        start = self.start or min(12, 4 + (d + 1) // 2)
        told = len(view.ids) + len(view.failed)
        if not len(view.ids) or told < start or not d:
            return self._first(trials, rng)
        with one_thread():
            process, sound, record = self._models(view, self._fitted(trials, view))
            row = climb(
                self._score(process, sound, view), self._seen.cube, rng,
                near=view.rows[np.argsort(view.scores, kind="stable")[:5]], tried=self._seen.tried,
            )  # fmt: skip
        if row is None:
            return self._first(trials, rng)
        return Proposal(self._seen.cube.params(row), {"search": "gp", **record})

    def _first(self, trials: Trials, rng: np.random.Generator) -> Proposal:
        made = self._sobol.propose(trials, rng)
        return Proposal(made.params, {**made.origin, "search": "gp", "start": "sobol"})

    def _fitted(self, trials: Trials, view: View) -> dict[str, Any] | None:
        """Return the last fit on record, which this proposal begins from."""
        found = (t.origin["fit"] for t in reversed(trials) if "fit" in t.origin)
        return next(
            (f for f in found if isinstance(f, dict) and f.get("n", 0) <= len(view.ids) + len(view.failed)), None
        )

    def _models(self, view: View, last: dict[str, Any] | None) -> tuple[Process, Process | None, dict[str, Any]]:
        """Return the process of values, that of failures when there are any, and what to record of a new fit."""
        partial = bool((view.reach < 1.0).any())
        features = Features(self._seen.cube, reach=partial)
        chosen = _most_telling(view.scores, _KEPT)
        rows = _with_reach(view.rows, view.reach, partial)[chosen]
        values = settle(view.scores)[chosen]
        n = len(view.ids) + len(view.failed)
        fresh = last is None or n <= _ALWAYS or n >= _GROWTH * last["n"]
        old = _theta(last, "theta", features.d + 2 * partial)
        record: dict[str, Any] = {}
        if fresh or old is None:
            some = _most_telling(values, _FITTED)
            process = fit(features, rows[some], values[some], starts=[] if old is None else [old])
            record = {"fit": {"n": n, "theta": [float(x) for x in process.theta.round(4)]}}
            old = np.array(record["fit"]["theta"])
        process = Process(features, rows, values, old)
        if len(view.running):
            running = _with_reach(view.running, np.ones(len(view.running)), partial)
            process = process.given(running, process.predict(running)[0])
        sound = None
        if len(view.failed):
            plain = Features(self._seen.cube)
            failed = view.failed[-_FITTED:]
            rows = np.vstack([view.rows[chosen][-_FITTED:], failed])
            labels = np.concatenate([np.ones(len(rows) - len(failed)), -np.ones(len(failed))])
            theta = _theta(last, "sound", plain.d)
            if record or theta is None:
                made = fit(plain, rows, labels, starts=[] if theta is None else [theta], priors=_LABELS)
                record.setdefault("fit", {"n": n, "theta": [float(x) for x in old]})["sound"] = [
                    float(x) for x in made.theta.round(4)
                ]
                theta = np.array(record["fit"]["sound"])
            sound = Process(plain, rows, labels, theta)
        return process, sound, record

    def _score(self, process: Process, sound: Process | None, view: View) -> Callable[[np.ndarray], np.ndarray]:
        """Return what `climb` maximises: the acquisition of rows (k, d)."""
        reach = process.features.reach
        best = float(process.predict(_with_reach(view.rows, np.ones(len(view.rows)), reach))[0].min())
        acquisition = ACQUISITIONS[self.acquisition]
        # where the best values lie at the edge of what fails, a product alone would fail every other time for ever
        least = min(_SAFE, _SAFE * (view.failing(_RECENT) - _FAILING[0]) / (_FAILING[1] - _FAILING[0]))

        def score(rows: np.ndarray) -> np.ndarray:
            mean, sd = process.predict(_with_reach(rows, np.ones(len(rows)), reach))
            value = acquisition(mean, sd, best)
            if sound is None:
                return value
            at, unsure = sound.predict(rows)
            log_sound = log_ndtr(at / np.sqrt(unsure**2 + sound.noise))
            value = value * np.exp(log_sound) if self.acquisition == "ei" else value + log_sound
            chance = np.exp(log_sound)
            return np.where(chance < least, value.min() - 1e3 * (least - chance) - 1.0, value)

        return score

    def size(self, space: Space) -> int | None:
        """Return how many configurations `space` has, None when endless."""
        return space.size

    def left(self, trials: Trials) -> int | None:
        """Return how many configurations no trial has yet, None when endless."""
        return self._sobol.left(trials)


def _with_reach(rows: np.ndarray, reach: np.ndarray, partial: bool) -> np.ndarray:
    return np.column_stack([rows, reach]) if partial else rows


def _theta(last: dict[str, Any] | None, key: str, dimensions: int) -> np.ndarray | None:
    """Return the recorded hyperparameters when they are of as many dimensions."""
    found = (last or {}).get(key)
    return np.array(found, float) if found is not None and len(found) == dimensions + 2 else None


def _most_telling(scores: np.ndarray, most: int) -> np.ndarray:
    """Return the numbers of at most so many points: the better half, and of the rest every so many."""
    if len(scores) <= most:
        return np.arange(len(scores))
    order = np.argsort(scores, kind="stable")
    best, rest = order[: most // 2], np.sort(order[most // 2 :])
    even = rest[np.linspace(0, len(rest) - 1, most - most // 2).astype(int)]
    return np.sort(np.concatenate([best, even]))

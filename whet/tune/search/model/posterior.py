"""What the values of a study's trials say of every configuration: a Gaussian process fitted at fixed numbers of trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from whet.tune.search.model.bounds import Within, merit, within
from whet.tune.search.model.cube import Cube
from whet.tune.search.model.earlier import Earlier
from whet.tune.search.model.features import Features
from whet.tune.search.model.outcomes import Scale
from whet.tune.search.model.process import Process, fit, matern
from whet.tune.search.model.seen import View
from whet.tune.search.model.sound import Sound, sound
from whet.tune.search.model.warp import Warp, bendable
from whet.tune.search.model.worth import Expected
from whet.tune.trial import Trials

__all__ = ["Posterior", "best", "chances", "due", "last_fit", "recorded"]

_FITTED = 150  # points that hyperparameters are fitted to
_KEPT = 300  # points that the posterior is made of
_ALWAYS = 40  # points up to which every proposal fits anew
_GROWTH = 1.1  # then a fit each time there are so many times more


def last_fit(trials: Trials, view: View, *keys: str, goal: str = "") -> dict[str, Any] | None:
    """Return the last fit on record among proposals that has any of the `keys`, None when there is none that knows no more than `view`.

    Other searchers may have taken turns with the one that asks, and fitted other things. goal: the name of the goal whose fit it is; "" is
    the first.
    """
    if goal:
        fits = (t.origin["fits"] for t in reversed(trials) if "fits" in t.origin)
        found = (f[goal] for f in fits if isinstance(f, Mapping) and goal in f)
    else:
        found = (t.origin["fit"] for t in reversed(trials) if "fit" in t.origin)
    n = len(view.ids) + len(view.failed)
    return next((f for f in found if isinstance(f, dict) and any(k in f for k in keys) and f.get("n", 0) <= n), None)


def due(n: int, last: Mapping[str, Any] | None) -> bool:
    """Return whether hyperparameters are fitted anew when `n` trials have ended: always up to 40, then each time a tenth more have.

    >>> due(40, {"n": 39}), due(43, {"n": 40}), due(44, {"n": 40})
    (True, False, True)
    """
    return last is None or n <= _ALWAYS or n >= _GROWTH * last["n"]


class Posterior:
    """Mean and standard deviation of the value of every configuration, trained to the end, and the chances that it does not fail and keeps
    the bounds.

    Values are those of `scale`, small is good. best: the smallest mean at a configuration that was tried: noise flatters the best value.
    Running trials are taken to have become what is expected of them (Ginsbourger et al. 2010, "kriging believer"). record: what to write
    down of a fit that was made, for the next posterior to begin from; empty when the last one was kept.
    """

    def __init__(
        self,
        cube: Cube,
        view: View,
        last: Mapping[str, Any] | None = None,
        earlier: Earlier | None = None,
        *,
        warp: bool = False,
    ) -> None:
        n = len(view.ids) + len(view.failed)
        features = Features(cube, beside=earlier, warp=Warp(bendable(cube)) if warp else None)
        ranks = merit(view)
        chosen = _most_telling(ranks, _KEPT)
        self.scale = Scale.of(view.scores)
        rows, values = view.rows[chosen], self.scale.to(view.scores)[chosen]
        old, refit = _last(last, features), due(n, last)
        self.record: dict[str, Any] = {}
        if refit or old is None:
            some = _most_telling(ranks[chosen] if view.bounds else values, _FITTED)
            made = fit(features, rows[some], values[some], starts=[] if old is None else [old])
            old = np.concatenate([made.theta, made.features.shape]).round(4)
            self.record = {"fit": _written(n, old, features)}
        theta, features = old[: features.d + 2], features.bent(old[features.d + 2 :])
        self.process = Process(features, rows, values, theta)
        self.best = float(self.process.smoothed().min())
        if len(view.running):
            self.process = self.process.given(view.running, self.process.predict(view.running)[0])
        before = recorded(last, "sound", cube.d)
        self.sound: Sound | None = sound(cube, view, before, refit=bool(self.record))
        self.within: Within | None = within(cube, view, last, refit=bool(self.record))
        new = (self.sound is not None and before is None) or (self.within is not None and self.within.fitted)
        if self.record or new:
            self.record = {"fit": {**_written(n, old, features), **chances(self.sound, self.within)}}
        if view.bounds:
            self.best = best(self, view)

    def predict(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (mean, standard deviation), each (k,), of rows (k, d)."""
        return self.process.predict(rows)

    def alike(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return the correlation (k,) of each of the rows a (k, d), trained to the end, with its counterpart in b (k, d).

        It is that of what the study's own trials say: what earlier studies know of both has no part in it.
        """
        features, process = self.process.features, self.process
        scale = np.exp(-process.theta[: features.d])[features.groups]
        apart = ((features.of(a) - features.of(b))[:, : len(scale)] * scale) ** 2
        return matern(apart.sum(1))[0]


def chances(sound: Sound | None, within: Within | None) -> dict[str, Any]:
    """Return what to write down of where trials fail and where they keep the bounds."""
    failing = {} if sound is None else {"sound": sound.process.theta.tolist()}
    return failing if within is None else {**failing, "bounds": within.record}


def best(posterior: Expected, view: View) -> float:
    """Return the smallest mean at a configuration that was tried and keeps the bounds, running ones as expected; of all when none does."""
    within = posterior.within
    if within is None or not within.any:
        return float(posterior.predict(view.rows)[0].min())
    rows = np.vstack([view.rows[within.kept], view.running[within.believed]])
    return float(posterior.predict(rows)[0].min())


def recorded(last: Mapping[str, Any] | None, key: str, dimensions: int) -> np.ndarray | None:
    """Return the recorded hyperparameters when they are of as many dimensions."""
    found = (last or {}).get(key)
    return np.array(found, float) if found is not None and len(found) == dimensions + 2 else None


def _last(last: Mapping[str, Any] | None, features: Features) -> np.ndarray | None:
    """Return the recorded hyperparameters, then the shape of the warp, when all are there."""
    theta, shape = recorded(last, "theta", features.d), (last or {}).get("warp", [])
    return None if theta is None or len(shape) != len(features.shape) else np.concatenate([theta, shape])


def _written(n: int, found: np.ndarray, features: Features) -> dict[str, Any]:
    theta, shape = np.split(found, [features.d + 2])
    return {"n": n, "theta": theta.tolist(), **({"warp": shape.tolist()} if len(shape) else {})}


def _most_telling(scores: np.ndarray, most: int) -> np.ndarray:
    """Return the numbers of at most so many points: the better half, and of the rest every so many."""
    if len(scores) <= most:
        return np.arange(len(scores))
    order = np.argsort(scores, kind="stable")
    best, rest = order[: most // 2], np.sort(order[most // 2 :])
    even = rest[np.linspace(0, len(rest) - 1, most - most // 2).astype(int)]
    return np.sort(np.concatenate([best, even]))

"""Exploring with a model: a Gaussian process of how fast a member gets better, over what it is trained with and when.

Parker-Holder et al., "Provably Efficient Online Hyperparameter Optimization with Population-Based Bandits" (PB2), NeurIPS 2020. Values at later
steps follow other laws than early ones, so the process has the step among its inputs, and, as in the authors' code, the value that a stretch began with.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from whet.tune.domain import Float, Value
from whet.tune.schedule.explore import live
from whet.tune.schedule.seats import Arrival, Population
from whet.tune.search.model.cube import Cube
from whet.tune.search.model.features import Features
from whet.tune.search.model.process import Process, fit
from whet.tune.space import Params, Space
from whet.tune.trial import State, Trial

__all__ = ["Stretches", "advise"]

_LEAST = 6  # stretches that a process is made of
_MOST = 200
_CANDIDATES = 1000
_BOUND = (0.2, 0.4)  # of the paper's code: sqrt(c1 + log(c2 t)) standard deviations


class Stretches:
    """The stretches between rungs of a population's members, those that have the `names` of `good`: what each was trained with, and what came of it.

    rows (n, d + 2): the encoded live values, the step as a share of the training, the place of the value it began with among all;
    gains (n,): by how much the score fell per step, standardised; pending (m, d + 2): of members that are in the middle of one.
    """

    def __init__(self, members: Population, good: Trial) -> None:
        self._space = members.trials.space
        self.domains = live(self._space, good.params)
        found: list[tuple[list[float], float, float, float]] = []  # live values, step, score at the beginning, gain
        going: list[tuple[list[float], float, float]] = []
        score, steps = members.trials.goal.score, members.trials.steps
        for trial in (t for seat in members.seats for t in seat):
            if live(self._space, trial.params).keys() != self.domains.keys():
                continue  # of another branch
            at = self.encode(trial.params)
            points = [p for _, p in members.arrivals(trial)]
            if trial.parent is not None and trial.curve:
                points.insert(0, trial.curve[0])
            for a, b in pairwise(points):
                if b.step > a.step and math.isfinite(a.value) and math.isfinite(b.value):
                    gain = (score(a.value) - score(b.value)) / (b.step - a.step)
                    found.append((at, a.step / steps, score(a.value), gain))
            if points and trial.state in (State.RUNNING, State.PAUSED):
                going.append((at, points[-1].step / steps, score(points[-1].value)))
        found = found[-_MOST:]
        begun = sorted(f[2] for f in found)
        self._begun = begun
        self.rows = np.array([[*at, step, self._rank(s)] for at, step, s, _ in found]).reshape(
            -1, len(self.domains) + 2
        )
        self.pending = np.array([[*at, step, self._rank(s)] for at, step, s in going]).reshape(
            -1, len(self.domains) + 2
        )
        gains = np.array([f[3] for f in found])
        spread = float(gains.std()) if len(gains) else 0.0
        self.gains = (gains - gains.mean()) / spread if spread > 0 else np.zeros(len(gains))

    def encode(self, params: Params) -> list[float]:
        """Return the live values of a configuration in [0, 1]."""
        return [float(d.encode(params[n])) for n, d in self.domains.items()]

    def context(self, arrival: Arrival, steps: int) -> list[float]:
        """Return what a child of `arrival` begins with: its step and the place of its value, as in a row."""
        return [arrival.step / steps, self._rank(arrival.key[1])]

    def _rank(self, score: float) -> float:
        """Return which share of the stretches began with a better score."""
        return float(np.searchsorted(self._begun, score)) / max(1, len(self._begun))

    def process(self) -> Process | None:
        """Return the process, with running members taken to gain what is expected of them; None when there is too little to see."""
        if len(self.gains) < _LEAST or not self.gains.any():
            return None
        names = [f"x{i}" for i in range(self.rows.shape[1])]
        features = Features(Cube(Space(**{n: Float(0.0, 1.0) for n in names})))
        made = fit(features, self.rows, self.gains, iterations=40)
        return made.given(self.pending, made.predict(self.pending)[0]) if len(self.pending) else made


def advise(members: Population, good: Arrival, rng: np.random.Generator) -> dict[str, Value] | None:
    """Return the configuration of `good` with the live values that may gain most from where it stands; None when there is too little to see.

    That is the largest upper bound, mean and so many standard deviations, over 1,000 points of the unit cube.
    """
    seen = Stretches(members, good.trial)
    process = seen.process()
    if process is None:
        return None
    steps, space = members.trials.steps, members.trials.space
    candidates = rng.random((_CANDIDATES, len(seen.domains)))
    context = np.tile(seen.context(good, steps), (_CANDIDATES, 1))
    mean, sd = process.predict(np.hstack([candidates, context]))
    rung = good.step // members.every + 1
    wide = math.sqrt(max(0.0, _BOUND[0] + math.log(max(1.0, _BOUND[1] * rung))))
    for i in np.argsort(-(mean + wide * sd), kind="stable"):
        params = {**good.trial.params, **_decoded(seen, candidates[i])}
        if space.allows(params):
            return params
    return None


def _decoded(seen: Stretches, at: Sequence[float] | np.ndarray) -> dict[str, Value]:
    pairs: Iterable[tuple[str, float]] = zip(seen.domains, map(float, at), strict=True)
    return {name: seen.domains[name].decode(u) for name, u in pairs}

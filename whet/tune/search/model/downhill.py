"""Descents along gradients that trials report: which there are, where each stands, and its next step.

All of it is in units of the unit cube: a step of 0.1 is a tenth of a range, on the range's own scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from whet.tune.domain import Float, same
from whet.tune.space import Params, Space
from whet.tune.trial import State, Trial, Trials

__all__ = [
    "Descent", "Place", "apart", "descents", "followed", "gradient_of", "minimum", "parent_of", "place", "pushed", "real_in", "slopes", "walked",
]  # fmt: skip

_TRIES = 8  # steps from one place, each shorter, none of which did better
_FAILED = 0.25  # of a step that failed, or said nothing
_SHRINK = (0.1, 0.5)  # the least and the most that is left of a step that did not do better
_GROW = 3.0  # times the step before, at most
_AT_END = 1e-12
_BUSY = (State.WAITING, State.RUNNING)


@dataclass(frozen=True)
class Place:
    """What a trial says. u (d,): where it is, NaN in what does not exist; score: what is followed there, the smaller the better, inf when
    it is not known; keeps: whether it keeps the bounds of the goal; slope (d,): of the score by u, 0 where nothing is known;
    busy: whether its end is still to come.
    """

    id: int
    u: np.ndarray
    score: float
    keeps: bool
    slope: np.ndarray
    busy: bool

    def better(self, other: Place) -> bool:
        """Return whether this place is better than another one."""
        return self.score < np.inf and (not self.keeps, self.score) < (not other.keeps, other.score)


@dataclass(frozen=True)
class Descent:
    """A start and the steps from it. path: the places that did better than the one before; tried: steps from the last of them that did not, in order; busy: whether one is
    still on its way; lost: all steps that did not do better, with the place each was made from.
    """

    path: tuple[Place, ...]
    tried: tuple[Place, ...] = ()
    busy: bool = False
    lost: tuple[tuple[Place, Place], ...] = ()

    def joins(self, other: Descent, near: float) -> bool:
        """Return whether this descent has come near to a better place of another one: it would only go the same way."""
        here = self.path[-1]
        return any(there.better(here) and apart(here.u, there.u) <= near for there in other.path)

    @property
    def begun(self) -> bool:
        """Whether a step was made."""
        return len(self.path) > 1 or bool(self.tried) or self.busy

    def next(self, first: float, least: float, memory: int) -> np.ndarray | None:
        """Return the step (d,) to take from the last place of the path; None when it is at its end: the slope is 0, or the step shorter than `least`.

        first: how long the first step is; memory: how many of the last steps tell the curvature.
        """
        here = self.path[-1]
        if len(self.tried) >= _TRIES or here.score == np.inf:
            return None
        if self.tried:
            last = self.tried[-1]
            found = (np.nan_to_num(last.u) - np.nan_to_num(here.u)) * _left(here, last)
        else:
            found = self._fresh(here, first, memory)
        return found if np.abs(found).max(initial=0.0) >= least else None

    def _fresh(self, here: Place, first: float, memory: int) -> np.ndarray:
        u, down = np.nan_to_num(here.u), pushed(here.u, -here.slope)
        free = down != 0
        if not free.any():
            return down
        steps = [
            (np.nan_to_num(b.u) - np.nan_to_num(a.u), b.slope - a.slope)
            for a, b in zip(self.path, self.path[1:], strict=False)
        ]
        pairs = [(s[free], y[free]) for s, y in steps[-memory:]]
        pairs = [(s, y) for s, y in pairs if s @ y > 1e-8 * np.linalg.norm(s) * np.linalg.norm(y)]
        step = np.zeros(len(u))
        if pairs:
            step[free] = _turned(down[free], pairs)
        moved = np.clip(u + step, 0, 1) - u
        if not pairs or moved @ down <= 0:  # no curvature is known, or it leads up
            length = first if not steps else max(first / 4, float(np.abs(steps[-1][0]).max()))
            moved = np.clip(u + down * (length / np.abs(down).max()), 0, 1) - u
        most = max(first, _GROW * float(np.abs(steps[-1][0]).max())) if steps else first
        return moved * min(1.0, most / max(float(np.abs(moved).max()), 1e-300))


def pushed(u: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Return a direction (d,) without what would lead out of the unit cube from the place u (d,), or along what does not exist.

    >>> pushed(np.array([0.0, 0.0, 0.5, np.nan]), np.array([-1.0, 1.0, 1.0, 1.0])).tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    out = (u <= _AT_END) & (direction < 0) | (u >= 1 - _AT_END) & (direction > 0) | np.isnan(u)
    return np.where(out, 0.0, direction)


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest distance along any dimension of two places (d,), inf when something exists in one of them alone.

    >>> apart(np.array([0.1, 0.5, np.nan]), np.array([0.2, 0.7, np.nan])), apart(np.array([np.nan]), np.array([0.5]))
    (0.2, inf)
    """
    if (np.isnan(a) != np.isnan(b)).any():
        return np.inf
    return round(float(np.nanmax(np.abs(a - b), initial=0.0)), 12)


def _turned(down: np.ndarray, pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return the quasi-Newton step along `down` (k,) by the pairs of steps and changes of the slope: the two loops of L-BFGS."""
    q, kept = down.copy(), []
    for s, y in reversed(pairs):
        a = (s @ q) / (s @ y)
        q -= a * y
        kept.append(a)
    s, y = pairs[-1]
    q *= (s @ y) / (y @ y)
    for (s, y), a in zip(pairs, reversed(kept), strict=True):
        q += s * (a - (y @ q) / (s @ y))
    return q


def _left(here: Place, last: Place) -> float:
    """Return the part of a step that is left when it did not do better."""
    if last.score == np.inf or last.keeps < here.keeps:
        return _FAILED
    step = np.nan_to_num(last.u) - np.nan_to_num(here.u)
    at = minimum(here.score, float(here.slope @ step), last.score, float(last.slope @ step))
    return float(np.clip(at, *_SHRINK))


def minimum(f0: float, d0: float, f1: float, d1: float) -> float:
    """Return where the cubic with these values and slopes at 0 and 1 is least, inf when it has no minimum; d1 = 0 counts as not known.

    Nocedal and Wright, "Numerical Optimization", 2006, (3.59); without d1 the parabola, (3.58).

    >>> minimum(1.0, -4.0, 1.0, 4.0), minimum(1.0, -4.0, 1.0, 0.0)  # (2 x - 1)^2
    (0.5, 0.5)
    """
    if d1 == 0.0:
        below = 2 * (f1 - f0 - d0)
        return -d0 / below if below > 0 else np.inf
    a = d0 + d1 - 3 * (f1 - f0)
    root = a * a - d0 * d1
    if root < 0 or (below := d1 - d0 + 2 * np.sqrt(root)) == 0:
        return np.inf
    return float(1 - (d1 + np.sqrt(root) - a) / below)


def gradient_of(trial: Trial) -> tuple[str, dict[str, float]]:
    """Return what the gradient is of that a trial reported last, and it by hyperparameter; "" is the value itself.

    A gradient of the value stands in the metrics "gradient.NAME"; that of another metric, which is followed in its place and is to be small, in
    "gradient(METRIC).NAME".

    >>> from whet.tune.trial import Point
    >>> gradient_of(Trial(0, curve=(Point(1, 0.5, metrics={"gradient.lr": 2.0, "accuracy": 0.9}),)))
    ('', {'lr': 2.0})
    """
    metrics: Mapping[str, float] = trial.curve[-1].metrics if trial.curve else {}
    found: dict[str, dict[str, float]] = {}
    for key, value in metrics.items():
        if key.startswith("gradient.") and len(key) > len("gradient."):
            found.setdefault("", {})[key.removeprefix("gradient.")] = value
        elif key.startswith("gradient(") and ")." in key:
            of, _, name = key.removeprefix("gradient(").partition(").")
            found.setdefault(of, {})[name] = value
    of = "" if "" in found else min(found, default="")
    return of, found.get(of, {})


def followed(trials: Trials, trial: Trial) -> tuple[float, float]:
    """Return the score of what a trial's gradient is of, and the factor that makes the gradient one of the score."""
    of, found = gradient_of(trial)
    if of:
        value = trials.measured(trial).get(of, np.inf)
        return (value if np.isfinite(value) else np.inf), 1.0
    done = trial.value is not None and trials.reach(trial) >= trials.steps
    return (trials.goal.score(trial.value or 0.0) if done and found else np.inf), trials.goal.score(1.0)


def slopes(space: Space, u: np.ndarray, gradient: Mapping[str, float]) -> np.ndarray:
    """Return the slope (d,) along the unit cube of what has this gradient by the values: the chain rule through every scale.

    Only a `Float` that exists has one; a number that is not finite says nothing.

    >>> slopes(Space(lr=Float(1e-4, 1.0, log=True), w=Float(0, 5)), np.array([0.5, 0.2]), {"lr": 100.0, "w": 2.0}).round(2).tolist()
    [9.21, 10.0]
    """
    out = np.zeros(len(u))
    for j, dim in enumerate(space.dims):
        g = gradient.get(dim.name, 0.0)
        if not isinstance(dim.domain, Float) or np.isnan(u[j]) or not np.isfinite(g):
            continue
        low, high = dim.domain.low, dim.domain.high
        out[j] = g * (dim.domain.decode(float(u[j])) * np.log(high / low) if dim.domain.log else high - low)
    return out if np.isfinite(out).all() else np.zeros(len(u))


def place(trials: Trials, trial: Trial) -> Place:
    """Return the place of a trial that has a configuration."""
    u = trials.space.encode(trial.params)
    score, factor = np.inf, 1.0
    if trial.state is State.DONE:
        score, factor = followed(trials, trial)
    slope = slopes(trials.space, u, gradient_of(trial)[1]) * factor
    return Place(trial.id, u, score, trials.keeps(trial), slope, trial.state in _BUSY)


def descents(places: Mapping[int, Place], parents: Mapping[int, int]) -> list[Descent]:
    """Return the descents, by their starts; places: of trials by id; parents: of each step, the trial it was made from."""
    steps: dict[int, list[Place]] = {}
    for id in sorted(parents):
        steps.setdefault(parents[id], []).append(places[id])
    found = []
    for id in sorted(places.keys() - parents.keys()):
        path, last, busy = [places[id]], places[id], False
        tried: tuple[Place, ...] = ()
        lost: list[tuple[Place, Place]] = []
        while True:
            those = steps.get(last.id, [])
            busy = any(p.busy for p in those)
            on = [p for p in those if not p.busy and p.better(last)]
            lost += [(last, p) for p in those if not p.busy and p not in on]
            if not on:
                tried = tuple(p for p in those if not p.busy)
                break
            last = min(on, key=lambda p: (not p.keeps, p.score, p.id))
            path.append(last)
        found.append(Descent(tuple(path), tried, busy, tuple(lost)))
    return found


def walked(trials: Trials) -> list[Descent]:
    """Return the descents of a study in which a step was made, in the order of their starts."""
    known = [t for t in trials if t.params and t.state is not State.WAITING]
    parents = {t.id: p for t in known if (p := parent_of(trials, t)) is not None}
    return [d for d in descents({t.id: place(trials, t) for t in known}, parents) if d.begun]


def parent_of(trials: Trials, trial: Trial) -> int | None:
    """Return the trial that a trial is a step from, None when it is a start.

    The two must differ in real numbers alone: a step of another study, taken in here, may name a trial that is another one here.
    """
    said = trial.origin.get("hypergradient")
    id = said.get("from") if isinstance(said, Mapping) else None
    if not isinstance(id, int) or not 0 <= id < trial.id:
        return None
    other, real = trials[id], set(real_in(trials.space, trial.params))
    alike = other.params.keys() == trial.params.keys() and all(
        same(v, trial.params[n]) for n, v in other.params.items() if n not in real
    )
    return id if alike else None


def real_in(space: Space, params: Params) -> list[str]:
    """Return the names of the real numbers in a configuration."""
    return [d.name for d in space.dims if isinstance(d.domain, Float) and d.name in params]

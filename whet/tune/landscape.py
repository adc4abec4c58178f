"""What a model believes of a study: the value it expects, how sure it is, what is worth trying, on lines and planes through a configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np

from whet.errors import StudyError, UsedUp, nearest
from whet.tune.domain import Value
from whet.tune.effects import total_effects
from whet.tune.pareto import first_alone
from whet.tune.search.gp import GP
from whet.tune.search.model.posterior import Posterior
from whet.tune.search.model.threads import one_thread
from whet.tune.search.model.worth import Worth
from whet.tune.slice import BAND, Axis, Kind, Mark, Slice
from whet.tune.space import Params
from whet.tune.told import own, sound, told
from whet.tune.trial import State, Trial, Trials

__all__ = ["LEAST", "Landscape", "landscape"]

LEAST = 4  # trials with a value below which there is nothing to believe


class Landscape:
    """A model of a study's trials, to be looked at. Made by `landscape`.

    trials: what it was fitted to; worth: the model itself; around: the configuration that slices go through, and where from (`origin`); next: the
    next proposal, None when everything was tried. weights: by name of the dimensions that exist at `around`, those that matter most first,
    how much of what the model expects to differ is due to each: Sobol' total effects of the posterior mean over the whole
    space (Jansen 1999, eq. 8, from 256 pairs of configurations), made to add up to 1. lengths: the kernel's length scales of the same, in units of the range.
    A length scale says how fast the value changes along a dimension, not how far, so it is not what they are ordered by.
    """

    def __init__(
        self, trials: Trials, worth: Worth[Posterior], proposal: Params | None, *, around: Params, origin: str = ""
    ) -> None:
        self.trials, self.worth, self.next, self.around, self.origin = trials, worth, proposal, dict(around), origin
        self.posterior = worth.posterior
        self.cube = self.posterior.process.features.cube
        space = trials.space
        self._row = space.encode(self.around)
        self._told = [t for t in trials if t.params and t.state is not State.WAITING]
        self._rows = self.cube.encode([t.params for t in self._told])
        self._base = self._filled()
        self._there = ~np.isnan(self._row)
        names = [d.name for d in space.dims]
        with one_thread():
            effects = total_effects(lambda points: self.posterior.predict(self.cube.rows(points))[0], self.cube.d)
        order = [j for j in np.argsort(-effects, kind="stable") if self._there[j] and space.dims[j].varies]
        self._column = {names[j]: int(j) for j in order}
        self.weights = {names[j]: float(effects[j]) for j in order}
        lengths = np.exp(self.posterior.process.theta[: self.cube.d])
        self.lengths = {names[j]: float(lengths[j]) for j in order}

    def _filled(self) -> np.ndarray:
        """Return `around` as a point of the whole cube: branches that it does not take are as the best trial has them that did."""
        base = np.where(np.isnan(self._row), self.worth.belief.likely, self._row)
        score = self.trials.goal.score
        ok = [i for i, t in enumerate(self._told) if t.value is not None and t.state is not State.FAILED]
        for j in np.flatnonzero(np.isnan(self._row)):
            have = [i for i in ok if not np.isnan(self._rows[i, j])]
            if have:
                base[j] = self._rows[min(have, key=lambda i: (score(self._told[i].value or 0.0), self._told[i].id)), j]
        return base

    @cached_property
    def _ahead(self) -> tuple[np.ndarray, float, float] | None:
        """The next proposal: its row, the value expected, its acquisition."""
        if self.next is None:
            return None
        row = self.trials.space.encode(self.next)
        return row, float(self._back(self.posterior.predict(row[None])[0])[0]), float(self.worth(row[None])[0])

    def _back(self, values: np.ndarray) -> np.ndarray:
        """Return values of the model in the metric's units."""
        scores = self.posterior.scale.back(values)
        return scores if self.trials.goal.better == "min" else -scores

    @property
    def pulled(self) -> float | None:
        """The value that the model takes for all worse ones, None when there is none so bad."""
        worst, goal = self.posterior.scale.worst, self.trials.goal
        far = any(
            t.value is not None and t.state is not State.FAILED and goal.score(t.value) > worst for t in self._told
        )
        return (worst if goal.better == "min" else -worst) if far else None

    @property
    def kinds(self) -> set[Kind]:
        """What kinds of trials there are."""
        return {self._kind(t) for t in self._told}

    def expected(self, params: Params) -> tuple[float, float, float]:
        """Return (median, low, high) of the value of a configuration, in the metric's units."""
        mean, sd = self.posterior.predict(self.trials.space.encode(self.trials.space.clean(params))[None])
        ends = sorted(float(self._back(mean + s * sd)[0]) for s in (-BAND, BAND))
        return float(self._back(mean)[0]), ends[0], ends[1]

    def slices(self, most: int | None = None, *, points: int = 101) -> tuple[Slice, ...]:
        """Return a slice along each dimension, those that matter most first, at most so many."""
        return tuple(self.slice(name, points=points) for name in list(self.weights)[:most])

    def slice(self, x: str, y: str | None = None, *, points: int = 101) -> Slice:
        """Return what is believed along one dimension, or over two.

        points: how many values of each are looked at, all there are when they are fewer. Raises StudyError for a name that is no dimension at `around`.
        """
        columns = [self._column[self.find(name)] for name in ((x,) if y is None else (x, y))]
        if len(set(columns)) < len(columns):
            raise StudyError(f"{x}: is given twice. A map needs two dimensions: {', '.join(self.weights)}.")
        axes = tuple(self._axis(j, points) for j in columns)
        shape = tuple(len(a.places) for a in axes)
        at = np.tile(self._base, (math.prod(shape), 1))
        grid = np.meshgrid(*(a.places for a in axes), indexing="ij")
        for j, places in zip(columns, grid, strict=True):
            at[:, j] = places.ravel()
        rows = self.cube.rows(at)
        allowed = ~np.isnan(rows[:, columns]).any(1)
        if self.cube.constrained:
            allowed &= [self.trials.space.allows(self.cube.params(row)) for row in rows]
        with one_thread():
            mean, sd = self.posterior.predict(rows)
            worth, peak, failing = self._worths(rows, allowed)
        ends = np.sort([self._back(mean - BAND * sd), self._back(mean + BAND * sd)], axis=0)

        def put(values: np.ndarray) -> np.ndarray:
            return np.where(allowed, values, np.nan).reshape(shape)

        return Slice(
            axes, self.trials.goal, put(self._back(mean)), put(ends[0]), put(ends[1]), put(mean), put(sd), put(worth), peak,
            None if failing is None else put(failing), allowed.reshape(shape),
            tuple(self.weights[a.name] for a in axes), tuple(self.lengths[a.name] for a in axes),
            self._marks(columns), self._next(columns),
        )  # fmt: skip

    def find(self, name: str) -> str:
        """Return the name of the dimension meant: lr is enough for optimizer.lr; raise StudyError when there is none at `around`."""
        inner = [n for n in self._column if name and n.endswith("." + name)]
        if name in self._column or len(inner) == 1:
            return name if name in self._column else inner[0]
        if inner:
            raise StudyError(f"{name}: may be {' or '.join(inner)}. Write it out.")
        elsewhere = [d for d in self.trials.space.dims if name in (d.name, d.name.rpartition(".")[2])]
        if elsewhere:
            if not elsewhere[0].varies:
                raise StudyError(f"{name}: has one value only. Allowed: {', '.join(self._column)}.")
            choice, option = elsewhere[0].when[-1]
            has = self.around.get(choice)
            why = f"{choice} {option}" + (f", and {self.origin} has {has}" if has is not None else "")
            raise StudyError(f"{name}: exists only with {why}. Give a trial that has it as around.")
        raise StudyError(
            f"{name or repr(name)}: no such dimension.{nearest(name, self._column)} Allowed: {', '.join(self._column)}."
        )

    def json(self) -> dict[str, Any]:
        """Return what the model is, what it would try next and which dimensions matter, as JSON values."""
        process = self.posterior.process
        ahead: dict[str, Any] | None = None
        if self.next is not None:
            names = ("params", "expected", "low", "high")
            ahead = dict(zip(names, (dict(self.next), *self.expected(self.next)), strict=True))
        return {
            "goal": str(self.trials.goal), "trials": len(self.trials), "values": self.worth.n,
            "model": {"kind": "gp", "variance": process.variance, "noise": process.noise, "acquisition": self.worth.acquisition},
            "around": self.around, "next": ahead,
            "dimensions": [{"name": n, "weight": w, "length": self.lengths[n]} for n, w in self.weights.items()],
        }  # fmt: skip

    def _axis(self, j: int, points: int) -> Axis:
        dim, levels = self.cube.dims[j], self.cube.levels[j]
        places = np.linspace(0.0, 1.0, points) if levels is None or len(levels) > points else levels
        values = list(dict.fromkeys(dim.domain.decode(float(u)) for u in places))
        return Axis(dim.name, dim.domain, tuple(values), np.array([dim.domain.encode(v) for v in values]))

    def _worths(self, rows: np.ndarray, allowed: np.ndarray) -> tuple[np.ndarray, float | None, np.ndarray | None]:
        """Return the acquisition beside its largest, that largest beside the next one's, the chance of failing."""
        value, sound = self.worth(rows), self.posterior.sound
        chance = None if sound is None else np.exp(sound.log_chance(rows))
        top = float(value[allowed].max()) if allowed.any() else 0.0
        ahead = self._ahead
        failing = None if chance is None else 1.0 - chance
        if self.worth.acquisition == "ucb":
            fine = allowed if chance is None or sound is None else allowed & (chance >= sound.least)
            floor = float(value[fine if fine.any() else allowed].min()) if allowed.any() else 0.0
            return np.clip((value - floor) / max(top - floor, 1e-300), 0.0, 1.0), None, failing
        if self.worth.acquisition == "ei":
            peak = max(top, 0.0) / ahead[2] if ahead and ahead[2] > 0 else None
            return np.maximum(value, 0.0) / max(top, 1e-300), peak, failing
        with np.errstate(over="ignore"):
            peak = None if ahead is None else float(np.exp(min(top - ahead[2], 700.0)))
            return np.exp(np.minimum(value - top, 0.0)), peak, failing

    def _marks(self, columns: Sequence[int]) -> tuple[Mark, ...]:
        there = ~np.isnan(self._rows[:, columns]).any(1) if len(self._rows) else np.zeros(0, bool)
        near = self._near(self._rows[there], columns)
        trials = [t for t, ok in zip(self._told, there, strict=True) if ok]
        rows = self._rows[there][:, columns]
        return tuple(
            Mark(t.id, self._kind(t), self._at(t.params, columns), tuple(map(float, row)), t.value, float(n))
            for t, row, n in zip(trials, rows, near, strict=True)
        )

    def _next(self, columns: Sequence[int]) -> Mark | None:
        if self._ahead is None or self.next is None or np.isnan(self._ahead[0][list(columns)]).any():
            return None
        row, value, _ = self._ahead
        places = tuple(float(row[j]) for j in columns)
        near = float(self._near(row[None], columns)[0])
        return Mark(None, "next", self._at(self.next, columns), places, value if math.isfinite(value) else None, near)

    def _at(self, params: Params, columns: Sequence[int]) -> tuple[Value, ...]:
        return tuple(params[self.cube.dims[j].name] for j in columns)

    def _kind(self, t: Trial) -> Kind:
        if t.state is State.FAILED:
            return "failed"
        if t.value is None:
            return "running"
        if self.trials.inherits(t):
            return "inherited"
        return "done" if self.trials.reach(t) >= self.trials.steps else "partial"

    def _near(self, rows: np.ndarray, columns: Sequence[int]) -> np.ndarray:
        if not len(rows):
            return np.zeros(0)
        there = np.tile(self._base, (len(rows), 1))
        there[:, columns] = rows[:, columns]
        return self.posterior.alike(rows, self.cube.rows(there))


def landscape(
    trials: Trials,
    *,
    around: int | Params | Literal["best", "next"] = "best",
    search: GP | None = None,
    rng: np.random.Generator | None = None,
) -> Landscape:
    """Fit a model to the trials of a study, whatever searcher made them, and return what it believes.

    around: what slices go through: the best trial, the next proposal, a trial's id or a configuration; search: whose model and
    acquisition (default: `GP()`); rng: for the next proposal, `whet.seed.rng(study.seed, len(trials), 0, "propose")` is what a study would use.

    Raises StudyError when fewer than 4 trials have a value, the space has no dimension, or there is no such trial; SpaceError for what is no configuration.

    >>> from whet.tune.space import Float, Space
    >>> done = [Trial(i, {"x": x}, State.DONE, value=(x - 0.3) ** 2) for i, x in enumerate((0.0, 0.2, 0.4, 0.6, 0.8, 1.0))]
    >>> found = landscape(Trials(done, space=Space(x=Float(0, 1)))).slice("x")
    >>> 0.25 < found.axes[0].values[found.best[0]] < 0.35, found.median.shape, found.clear
    (True, (101,), True)
    """
    if not any(dim.varies for dim in trials.space.dims):
        raise StudyError("the space has no dimension that could be plotted: every value in it is fixed.")
    trials = first_alone(sound(trials))
    if (n := len(told(trials))) < LEAST:
        raise StudyError(
            f"{n} of {len(trials)} trials {'has' if n == 1 else 'have'} a value{own(trials)}; a model needs at least {LEAST}. Run more trials first."
        )
    search = search or GP()
    worth = search.worth(trials)
    try:
        ahead: Params | None = search.propose(trials, rng or np.random.default_rng(0)).params
    except UsedUp:
        ahead = None
    params, origin = _around(trials, around, ahead)
    return Landscape(trials, worth, ahead, around=params, origin=origin)


def _around(trials: Trials, around: int | Params | str, ahead: Params | None) -> tuple[Params, str]:
    """Return the configuration, and in words which one it is."""
    if isinstance(around, Mapping):
        return trials.space.clean(around), "the configuration given"
    if around == "next":
        if ahead is None:
            raise StudyError("around next: everything was tried, so there is none. Use best.")
        return ahead, "the next proposal"
    if around == "best":
        best = trials.best
        assert best is not None
        return best.params, f"trial {best.id}, the best,"
    if not isinstance(around, int) or isinstance(around, bool):
        raise StudyError(f"around {around!r}: no such place. Allowed: best, next, a trial's number, a configuration.")
    trial = trials.get(around)
    if not trial.params or trial.state is State.WAITING:
        raise StudyError(f"trial {around}: has no configuration yet. Take another one.")
    return trial.params, f"trial {around}"

"""Search along gradients: descents over the real numbers of a space, from several starts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from whet.errors import StudyError, nearest
from whet.tune.domain import Float, Value
from whet.tune.follow import Follow
from whet.tune.search.model.downhill import Descent, Place, descents, gradient_of, parent_of, place, real_in
from whet.tune.search.sobol import Sobol
from whet.tune.search.untried import Tried, key
from whet.tune.space import Params, Space
from whet.tune.strategy import Proposal
from whet.tune.trial import State, Trials

__all__ = ["Hypergradient"]

_METHODS = ("unrolled", "implicit")
_WHOLE = ("full", "median", "race")  # schedulers that train trials to their end, but for poor ones
_HALVES = 12  # of a step that is not allowed, or leads to what was tried


@dataclass(frozen=True)
class Hypergradient:
    """Propose steps down the gradient that trials report, d value / d hyperparameter, over the real numbers of a space.

    A descent begins at a point of a Sobol sequence: the best of those that none began at, once there are `starts` of them for each descent. A step is
    quasi-Newton in the unit cube (the two loops of L-BFGS over the last `memory` steps, Nocedal and Wright 2006), so logarithmic scales are
    its own by the chain rule; what would lead out of a range stays at its end. The first is `step` long, one grows at most threefold. When it does no better it is made again, shorter, where the cubic
    through both values and slopes is least. A descent ends when a step becomes shorter than `least`, or when it comes within half of `step` of a better place of another one; then the next begins. Workers that find every descent busy
    draw the next starts.

    Whole numbers, orders and choices, and numbers whose gradient nobody reports, are a start's and stay as they are. A trial that failed, was stopped,
    or breaks a bound of the goal that the place before keeps did no better.

    The gradient is what `run.report(value, gradient={name: ...})` gave with the last step. One of another metric than the value, which is followed in its place and is to be
    small, is reported as "gradient(METRIC).NAME": as a task's accuracy has none, its runs report that of the loss. The trial a step was made from, its
    length, and how often it was tried, are in the origin ("hypergradient").

    starts: points drawn for each descent; step: the length of its first step, in ranges; least: of the last; memory: steps that tell the curvature; method: how the runs
    of a `Task` find the gradient, "unrolled" or "implicit" (see `whet.train.hypergradient`); seed: of the Sobol sequence.

    Raises StudyError when an option is none.

    >>> from whet.tune.trial import Point, Trial
    >>> found, space, done = Hypergradient(starts=1), Space(x=Float(0, 1), y=Float(0, 1)), []
    >>> for i in range(12):
    ...     made = found.propose(Trials([*done, Trial(i)], space=space), np.random.default_rng(i))
    ...     x, y = made.params["x"] - 0.3, made.params["y"] - 0.6
    ...     told = Point(1, x**2 + 9 * y**2, metrics={"gradient.x": 2 * x, "gradient.y": 18 * y})
    ...     done.append(Trial(i, made.params, State.DONE, (told,), told.value, origin=made.origin))
    >>> min(t.value for t in done) < 1e-8
    True
    """

    starts: int = 4
    step: float = 0.1
    least: float = 0.003
    memory: int = 6
    method: str = "unrolled"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("starts", self.starts), ("memory", self.memory)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise StudyError(
                    f"hypergradient: {name} must be a whole number >= 1, got {value!r}. Use e.g. Hypergradient({name}=4)."
                )
        for name, length, most in (("step", self.step, 1.0), ("least", self.least, self.step)):
            if not isinstance(length, (int, float)) or isinstance(length, bool) or not 0 < length <= most:
                what = "1" if name == "step" else f"step ({self.step:g})"
                raise StudyError(
                    f"hypergradient: {name} must be a number above 0, at most {what}, got {length!r}. "
                    f"Use e.g. Hypergradient({name}={getattr(Hypergradient, name)})."
                )
        if self.method not in _METHODS:
            raise StudyError(
                f"hypergradient: no method {self.method!r}.{nearest(str(self.method), _METHODS)} Allowed: {', '.join(_METHODS)}."
            )
        Sobol(self.seed)

    @property
    def gradient(self) -> str:
        """How the runs of a task are to find the gradient."""
        return self.method

    @property
    def whole(self) -> bool:
        """It wants trials that are trained to their end: "auto" is the schedule `full`."""
        return True

    def refuses(self, space: Space, steps: int, schedule: str) -> str:
        """Return why a study makes no sense, "" when it does.

        >>> Hypergradient().refuses(Space(x=Float(0, 1)), 9, "asha")
        "search 'hypergradient' does not go with schedule 'asha': that ends or pauses many trials before their last step, which the gradient is of. Use full, median or race."
        """
        if not any(isinstance(d.domain, Float) for d in space.dims):
            return "search 'hypergradient': the space has no Float, and only a real number has a gradient. Use e.g. Float(1e-4, 1, log=True), or another searcher."
        if {"rule", "workers"} <= set(space.names):
            return (
                "search 'hypergradient': a trial that several workers train (rule and workers in the space) has no gradient. "
                "Take rule and workers out of the space, or use another searcher."
            )
        if steps > 1 and schedule not in _WHOLE and ":" not in schedule:
            return (
                f"search 'hypergradient' does not go with schedule {schedule!r}: that ends or pauses many trials before their last step, "
                "which the gradient is of. Use full, median or race."
            )
        return ""

    def misses(self, trials: Trials) -> str:
        """Return what trials that ended did not report, "" when they did, or none has ended.

        >>> from whet.tune.trial import Trial
        >>> done = Trial(0, {"x": 0.5}, State.DONE, value=1.0, origin={"search": "hypergradient"})
        >>> Hypergradient().misses(Trials([done], space=Space(x=Float(0, 1))))
        "search 'hypergradient': trial 0 reported no gradient of loss. Use run.report(value, gradient={'x': ...}), in a task its value as it is, without float(); or another searcher."
        """
        bare = None
        for t in trials:
            if t.state is not State.DONE or t.origin.get("search") != "hypergradient":
                continue
            if gradient_of(t)[1]:
                return ""
            if bare is None and any(real_in(trials.space, t.params)):
                bare = t
        if bare is None:
            return ""
        name = next(iter(real_in(trials.space, bare.params)))
        return (
            f"search 'hypergradient': trial {bare.id} reported no gradient of {trials.goal.name}. "
            f"Use run.report(value, gradient={{{name!r}: ...}}), in a task its value as it is, without float(); or another searcher."
        )

    @cached_property
    def _seen(self) -> _Seen:
        return _Seen()

    @cached_property
    def _sobol(self) -> Sobol:
        return Sobol(self.seed)

    def propose(self, trials: Trials, rng: np.random.Generator) -> Proposal:
        """Return the next step of the first descent that waits for one, or the next point to start from; `rng` is used as Sobol does."""
        seen = self._seen
        seen.look(trials)
        ahead = max(0, len(seen.tried.coming) - 1)  # others that were asked for before and have no configuration yet
        taken: set[str] = set()
        for descent in self._waiting(trials):
            found = self._step(trials, descent, taken)
            if found is None:
                continue
            if not ahead:
                return found
            ahead -= 1
            taken.add(key(found.params))
        made = self._sobol.propose(trials, rng)
        return Proposal(made.params, {**made.origin, "search": "hypergradient", "start": "sobol"})

    def _waiting(self, trials: Trials) -> list[Descent]:
        """Return the descents that a step may be made in: those that were begun, and the best starts as far as there are enough of them."""
        found = descents(self._seen.places, self._seen.parents)
        begun = [d for d in found if d.begun]
        room = sum(not d.path[0].busy for d in found) // self.starts - len(begun)
        near = self.step / 2
        fresh = [
            d
            for d in found
            if not d.begun and d.path[0].score < np.inf and self._length(d) and not any(d.joins(o, near) for o in begun)
        ]
        score = trials.goal.score
        fresh.sort(key=lambda d: (not d.path[0].keeps, score(trials[d.path[0].id].value or 0.0), d.path[0].id))
        going = [d for d in begun if not d.busy and not any(d.joins(o, near) for o in begun if o is not d)]
        return going + fresh[: max(0, room)]

    def _length(self, descent: Descent) -> bool:
        return descent.next(self.step, self.least, self.memory) is not None

    def _step(self, trials: Trials, descent: Descent, taken: set[str]) -> Proposal | None:
        """Return the next step of a descent; None when it is at its end."""
        step = descent.next(self.step, self.least, self.memory)
        here, space = descent.path[-1], trials.space
        if step is None:
            return None
        for _ in range(_HALVES):
            if np.abs(step).max() < self.least:
                return None
            params = _moved(space, trials[here.id].params, here, step)
            text = key(params)
            if text not in self._seen.tried.keys and text not in taken and space.allows(params):
                said = {"from": here.id, "length": round(float(np.abs(step).max()), 6), "try": len(descent.tried) + 1}
                return Proposal(params, {"search": "hypergradient", "hypergradient": said})
            step = step / 2
        return None

    def size(self, space: Space) -> int | None:
        """Return how many configurations `space` has, None when endless."""
        return space.size

    def left(self, trials: Trials) -> int | None:
        """Return how many configurations no trial has yet, None when endless."""
        return self._sobol.left(trials)


class _Seen:
    """The places of a study's trials and which step was made from which, kept up to date."""

    def __init__(self) -> None:
        self._follow = Follow()
        self.tried = Tried()
        self.places: dict[int, Place] = {}
        self.parents: dict[int, int] = {}

    def look(self, trials: Trials) -> None:
        self.tried.see(trials)
        again, news = self._follow.news(trials)
        if again:
            self.places, self.parents = {}, {}
        for t in news:
            if t.state is State.WAITING or not t.params:
                continue
            self.places[t.id] = place(trials, t)
            if (parent := parent_of(trials, t)) is not None:
                self.parents[t.id] = parent


def _moved(space: Space, params: Params, here: Place, step: np.ndarray) -> dict[str, Value]:
    """Return a configuration with its real numbers a step further."""
    found = dict(params)
    for j, dim in enumerate(space.dims):
        if isinstance(dim.domain, Float) and not np.isnan(here.u[j]) and step[j] != 0:
            found[dim.name] = dim.domain.decode(float(np.clip(here.u[j] + step[j], 0, 1)))
    return found

"""The front of a study with several goals: the trials that no other beats in every goal, and how far they reach."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from whet.errors import StudyError, nearest
from whet.tune.curve import Curve, Point
from whet.tune.dominance import ranks, violation
from whet.tune.hypervolume import gain
from whet.tune.trial import Bound, Goal, State, Trial, Trials

__all__ = ["Advance", "advance", "first_alone", "front", "in_view_of", "reported", "targets", "unkept"]


def targets(trials: Trials) -> tuple[Goal, ...]:
    """Return the goals that are to be small or large, without the bounds.

    >>> from whet.tune.goal import parse_goals
    >>> from whet.tune.space import Space
    >>> goals = parse_goals(["min loss", "size <= 1e6", "min latency"])
    >>> [str(g) for g in targets(Trials([], space=Space(), goals=goals))]
    ['min loss', 'min latency']
    """
    return tuple(g for g in trials.goals if isinstance(g, Goal))


def unkept(trials: Trials) -> str:
    """Return that the best trial of a study with one goal breaks a bound, as no trial keeps all of them; "" when it does not.

    >>> from whet.tune.goal import parse_goals
    >>> from whet.tune.space import Space
    >>> from whet.tune.trial import Point
    >>> done = [Trial(0, {}, State.DONE, (Point(1, 0.5, metrics={"ms": 9.0}),), 0.5)]
    >>> unkept(Trials(done, space=Space(), goals=parse_goals(["min loss", "ms <= 5"])))
    'no trial keeps ms <= 5; the best is chosen by loss alone'
    """
    best = trials.best
    if best is None or trials.keeps(best) or len(targets(trials)) > 1:  # a front says so itself
        return ""
    bounds = [str(g) for g in trials.goals if isinstance(g, Bound)]
    which = bounds[0] if len(bounds) == 1 else f"{', '.join(bounds[:-1])} and {bounds[-1]}"
    return f"no trial keeps {which}; the best is chosen by {trials.goal.name} alone"


def reported(trials: Trials, trial: Trial) -> tuple[float | None, ...]:
    """Return what `trial` says of each of the `targets`, None where it says nothing: its value, and metrics of its last report."""
    said = trials.measured(trial)
    found = [said.get(g.name) for g in targets(trials)]
    return tuple(None if v is None or not math.isfinite(v) else float(v) for v in found)


def in_view_of(trials: Trials, name: str) -> Trials:
    """Return the trials with one of the goals in the first place, by the name of its metric: their values and curves are what they reported of it.

    That is for whatever looks at one number of a trial: what matters for it, what a model expects of it. A report without the metric is left out; a
    trial that never reported it has no value. The other goals and bounds stay, the one that was first among them. Raises StudyError when it is none of the goals to be small or large.

    >>> from whet.tune.goal import parse_goals
    >>> from whet.tune.space import Space
    >>> from whet.tune.trial import Point
    >>> done = [Trial(0, {}, State.DONE, (Point(1, 0.5, metrics={"ms": 9.0}),), 0.5)]
    >>> found = in_view_of(Trials(done, space=Space(), goals=parse_goals(["min loss", "min ms", "loss <= 1"])), "ms")
    >>> str(found.goal), found[0].value, dict(found[0].curve[-1].metrics), found.best.id
    ('min ms', 9.0, {'loss': 0.5}, 0)
    """
    aims = targets(trials)
    goal = next((g for g in aims if g.name == name), None)
    if goal is None:
        names = [g.name for g in aims]
        raise StudyError(f"goal {name}: is none of this study.{nearest(name, names)} Goals: {', '.join(names)}.")
    first = trials.goal.name
    if name == first:
        return trials

    def seen(t: Trial) -> Trial:
        curve = []
        for p in t.curve:
            numbers = {**p.metrics, first: p.value}
            if math.isfinite(numbers.get(name, math.nan)):
                curve.append(Point(p.step, numbers.pop(name), p.cost, numbers))
        value = trials.measured(t).get(name, math.nan) if t.value is not None else math.nan
        # what a searcher fitted to the first goal says nothing of this one
        origin = {k: v for k, v in t.origin.items() if k not in ("fit", "fits")}
        if isinstance(fits := t.origin.get("fits"), Mapping) and name in fits:
            origin["fit"] = fits[name]
        return replace(t, curve=Curve(curve), value=value if math.isfinite(value) else None, origin=origin)

    return Trials(
        tuple(seen(t) for t in trials), space=trials.space, goals=(goal, *(g for g in trials.goals if g != goal)),
        steps=trials.steps, seq=trials.seq, name=trials.name,
    )  # fmt: skip


def first_alone(trials: Trials) -> Trials:
    """Return the trials of a study that has its first goal and its bounds alone: for whatever models one number.

    >>> from whet.tune.goal import parse_goals
    >>> from whet.tune.space import Space
    >>> trials = Trials([], space=Space(), goals=parse_goals(["min loss", "min ms", "ms <= 5"]))
    >>> [str(g) for g in first_alone(trials).goals]
    ['min loss', 'ms <= 5']
    """
    if len(targets(trials)) == 1:
        return trials
    goals: tuple[Goal | Bound, ...] = (trials.goal, *(g for g in trials.goals if isinstance(g, Bound)))
    return Trials(
        trials[:], space=trials.space, goals=goals, steps=trials.steps, seq=trials.seq, like=trials.like, name=trials.name
    )  # fmt: skip


def front(trials: Trials) -> Trials:
    """Return the trials that no other dominates, the best in the first goal first; they keep their ids.

    They are chosen as `Trials.best` is: of those that did not fail, at the highest step any reached, which keep the bounds.
    When none keeps them it is who breaks them least (see `whet.tune.dominance`). A trial that did not report all of the
    targets is not among them. With one target it is the best, and those that are as good.

    >>> from whet.tune.goal import parse_goals
    >>> from whet.tune.space import Float, Space
    >>> from whet.tune.trial import Point
    >>> said = [(0.1, 9.0), (0.3, 2.0), (0.2, 4.0), (0.3, 5.0)]
    >>> done = [Trial(i, {"x": v}, State.DONE, (Point(1, v, metrics={"ms": ms}),), v) for i, (v, ms) in enumerate(said)]
    >>> trials = Trials(done, space=Space(x=Float(0, 1)), goals=parse_goals(["min loss", "min ms"]))
    >>> [t.id for t in front(trials)]
    [0, 2, 1]
    """
    found = _counted(trials)
    if found:
        points = _scores(trials, found)
        bounds = [g for g in trials.goals if isinstance(g, Bound)]
        broken = np.array([violation(bounds, trials.measured(t)) for t in found])
        first = np.flatnonzero(ranks(points, broken) == 0)
        found = [found[i] for i in sorted(first, key=lambda i: (*points[i], found[i].id))]
    return Trials(
        tuple(found), space=trials.space, goals=trials.goals, steps=trials.steps, seq=trials.seq, name=trials.name
    )


@dataclass(frozen=True)
class Advance:
    """How far a study had come after each of its trials.

    reference: of each target, what the volume reaches up to, in its own units; volumes: (trial, hypervolume of the trials up to it),
    of the trials that count. The unit is the product of the targets' units.
    """

    reference: Mapping[str, float]
    volumes: Sequence[tuple[int, float]]


def advance(trials: Trials, reference: Mapping[str, float] | None = None) -> Advance:
    """Return the hypervolume of the front after every trial, in the order of their ids, of those that keep the bounds at the highest step.

    reference: for each target the value that is just worth nothing; by default a tenth of the range beyond the worst that any of these trials
    reported, which is only good to compare within this study. Raises StudyError when it misses a target, has a name that is none, or is not finite.

    >>> from whet.tune.goal import parse_goals
    >>> from whet.tune.space import Float, Space
    >>> from whet.tune.trial import Point
    >>> said = [(3.0, 2.0), (1.0, 3.0), (2.0, 1.0)]
    >>> done = [Trial(i, {}, State.DONE, (Point(1, v, metrics={"ms": ms}),), v) for i, (v, ms) in enumerate(said)]
    >>> trials = Trials(done, space=Space(), goals=parse_goals(["min loss", "min ms"]))
    >>> advance(trials, {"loss": 4.0, "ms": 4.0}).volumes
    [(0, 2.0), (1, 4.0), (2, 7.0)]
    """
    aims = targets(trials)
    found = [t for t in _counted(trials) if trials.keeps(t)]
    points = _scores(trials, found)
    if reference is None:
        if not found:
            return Advance({}, [])
        worst, best = points.max(axis=0), points.min(axis=0)
        spread = np.where(worst > best, worst - best, np.maximum(np.abs(worst), 1.0))
        corner = worst + 0.1 * spread
    else:
        names = [g.name for g in aims]
        if sorted(reference) != sorted(names):
            raise StudyError(f"reference: must have a value for {' and '.join(names)}, got {dict(reference)}.")
        if not all(math.isfinite(float(v)) for v in reference.values()):
            raise StudyError(
                f"reference: must be finite numbers, got {dict(reference)}. Use what is just worth nothing."
            )
        corner = np.array([g.score(float(reference[g.name])) for g in aims])
    volumes: list[tuple[int, float]] = []
    so_far, volume = np.zeros((0, len(aims))), 0.0
    for t, point in zip(found, points, strict=True):
        if (point < corner).all() and not (so_far <= point).all(axis=1).any():
            volume += gain(point, so_far, corner)
            so_far = np.vstack([so_far[~(point <= so_far).all(axis=1)], point])
        volumes.append((t.id, volume))
    units = {g.name: float(c if g.better == "min" else -c) for g, c in zip(aims, corner, strict=True)}
    return Advance(units, volumes)


def _counted(trials: Trials) -> list[Trial]:
    """Return the trials that `Trials.best` would choose from, of those that reported every target."""
    found = [
        t for t in trials if t.value is not None and t.state is not State.FAILED and None not in reported(trials, t)
    ]
    found = [t for t in found if trials.keeps(t)] or found
    top = max((trials.reach(t) for t in found), default=0)
    return [t for t in found if trials.reach(t) == top]


def _scores(trials: Trials, some: Sequence[Trial]) -> np.ndarray:
    """Return the scores (n, m) of trials that reported every target."""
    aims = targets(trials)
    rows = [[g.score(v) for g, v in zip(aims, reported(trials, t), strict=True) if v is not None] for t in some]
    return np.array(rows, dtype=float).reshape(len(rows), len(aims))

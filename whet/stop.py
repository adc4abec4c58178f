"""When to stop one run: criteria over its curve, alone or together (`a | b`, `a & b`).

A criterion is a frozen function of the curve so far, so it says the same after a resume; the run's owner asks it.

    for point in run:
        curve.append(point)
        if why := stop(curve):
            break
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from whet.errors import UsageError

__all__ = [
    "All",
    "Any",
    "Cost",
    "Diverged",
    "Patience",
    "Reading",
    "Reported",
    "Steps",
    "Stop",
    "Target",
    "Time",
    "best",
    "curve",
]

Better = Literal["min", "max"]


class Reported(Protocol):
    """What a criterion reads of a point; `whet.Point` is one."""

    @property
    def step(self) -> int: ...
    @property
    def value(self) -> float: ...
    @property
    def cost(self) -> float: ...
    @property
    def metrics(self) -> Mapping[str, float]: ...


Curve = Sequence[Reported]


@dataclass(frozen=True)
class Reading:
    """A point of a curve of one's own, for loops that use nothing else of whet.

    >>> Reading(1, 0.5).value
    0.5
    """

    step: int
    value: float
    cost: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)


def curve(*values: float) -> list[Reading]:
    """Return the curve with these values at steps 1, 2, ...

    >>> [(p.step, p.value) for p in curve(0.5, 0.4)]
    [(1, 0.5), (2, 0.4)]
    """
    return [Reading(i, v) for i, v in enumerate(values, 1)]


class Stop(Protocol):
    """A stopping criterion: why to stop after `curve`, as one line, or None to go on."""

    def __call__(self, curve: Curve) -> str | None: ...


class _Joins:
    """Gives criteria `|` and `&`; a criterion of one's own joins as `Any((mine,))`."""

    def __or__(self, other: Stop) -> Any:
        return Any((self, other))  # type: ignore[arg-type]

    def __and__(self, other: Stop) -> All:
        return All((self, other))  # type: ignore[arg-type]


def _check(name: str, better: str) -> None:
    if better not in ("min", "max"):
        raise UsageError(f'{name}: better must be "min" or "max", got {better!r}.')


def _positive(name: str, value: float, *, zero: bool = False) -> None:
    if not (math.isfinite(value) and (value >= 0 if zero else value > 0)):
        raise UsageError(f"{name}: must be a finite number {'>= 0' if zero else '> 0'}, got {value!r}.")


def _read(point: Reported, metric: str) -> float:
    return point.metrics.get(metric, math.nan) if metric else point.value


@dataclass(frozen=True)
class Any(_Joins):
    """Stop as soon as one of several criteria says so; written `a | b`.

    >>> (Steps(2) | Target(0.1))(curve(0.5, 0.05))
    '2 steps taken; 0.05 reached the target 0.1'
    """

    criteria: tuple[Stop, ...]

    def __call__(self, curve: Curve) -> str | None:
        """Return the reasons of all that say stop, or None."""
        return "; ".join(why for c in self.criteria if (why := c(curve))) or None


@dataclass(frozen=True)
class All(_Joins):
    """Stop when all of several criteria say so at once; written `a & b`. Without criteria it never stops.

    >>> (Steps(2) & Target(0.1))(curve(0.5, 0.2)) is None
    True
    """

    criteria: tuple[Stop, ...]

    def __call__(self, curve: Curve) -> str | None:
        """Return all reasons when there is one from each, or None."""
        reasons = [c(curve) for c in self.criteria]
        return "; ".join(r for r in reasons if r) if reasons and all(reasons) else None


@dataclass(frozen=True)
class Target(_Joins):
    """Stop when the last value has reached `target`; metric: another one than the goal's.

    >>> Target(0.9, "max")(curve(0.5, 0.93))
    '0.93 reached the target 0.9'
    """

    target: float
    better: Better = "min"
    metric: str = ""

    def __post_init__(self) -> None:
        _check("Target", self.better)

    def __call__(self, curve: Curve) -> str | None:
        """Return why to stop, or None; a value that is not there or NaN has reached nothing."""
        value = _read(curve[-1], self.metric) if curve else math.nan
        reached = value <= self.target if self.better == "min" else value >= self.target
        return f"{value:.6g} reached the target {self.target:.6g}" if reached else None


@dataclass(frozen=True)
class Patience(_Joins):
    """Stop when `points` points in a row have not improved the best one by more than `delta` (absolute).

    Improvement is counted against the best value at the last improvement, so a slow creep of less than delta a point
    that adds up to delta counts. A NaN is no improvement. `best(curve)` says which point to restore. (Prechelt 1998,
    "Early stopping, but when?", criterion UP counts rises in a row; this counts failures to improve, as Keras does.)

    >>> Patience(2)(curve(0.5, 0.4, 0.41, 0.4))
    'no improvement on 0.4 (step 2) in 2 points'
    """

    points: int
    better: Better = "min"
    delta: float = 0.0
    metric: str = ""

    def __post_init__(self) -> None:
        _check("Patience", self.better)
        _positive("Patience: points", self.points)
        _positive("Patience: delta", self.delta, zero=True)

    def __call__(self, curve: Curve) -> str | None:
        """Return why to stop, or None."""
        sign = 1.0 if self.better == "min" else -1.0
        score, step, since = math.inf, 0, 0
        for point in curve:
            value = sign * _read(point, self.metric)
            if value < score - self.delta:  # false for NaN
                score, step, since = value, point.step, 0
            else:
                since += 1
        if since < self.points:
            return None
        what = f"no improvement on {sign * score:.6g} (step {step})" if math.isfinite(score) else "no finite value"
        return f"{what} in {since} points"


@dataclass(frozen=True)
class Diverged(_Joins):
    """Stop when the last value is NaN or infinite, or worse than `factor` times the best in size.

    factor: only for quantities of which 0 is the ideal, such as losses; None looks for values that are not finite alone.
    metric: e.g. "train_loss".

    >>> Diverged()(curve(0.5, float("nan"))), Diverged(10.0)(curve(0.5, 0.2, 2.5))
    ('the value nan is not finite', '2.5 is more than 10 times the best, 0.2')
    """

    factor: float | None = None
    metric: str = ""

    def __post_init__(self) -> None:
        if self.factor is not None and not self.factor > 1:
            raise UsageError(f"Diverged: factor must be > 1 or None, got {self.factor!r}.")

    def __call__(self, curve: Curve) -> str | None:
        """Return why to stop, or None."""
        values = [_read(p, self.metric) for p in curve if not self.metric or self.metric in p.metrics]
        if not values:
            return None
        if not math.isfinite(values[-1]):
            return f"the {self.metric or 'value'} {values[-1]} is not finite"
        low = min(abs(v) for v in values if math.isfinite(v))
        if self.factor is not None and low > 0 and abs(values[-1]) > self.factor * low:
            return f"{values[-1]:.6g} is more than {self.factor:g} times the best, {low:.6g}"
        return None


@dataclass(frozen=True)
class Steps(_Joins):
    """Stop after `steps` steps.

    >>> Steps(3)(curve(1, 1)) is None, Steps(2)(curve(1, 1))
    (True, '2 steps taken')
    """

    steps: int

    def __post_init__(self) -> None:
        _positive("Steps", self.steps)

    def __call__(self, curve: Curve) -> str | None:
        """Return why to stop, or None."""
        return f"{curve[-1].step} steps taken" if curve and curve[-1].step >= self.steps else None


@dataclass(frozen=True)
class Cost(_Joins):
    """Stop when the points' costs add up to `cost`, in whatever unit they are reported.

    >>> Cost(1.0)(curve(1, 1)) is None
    True
    """

    cost: float

    def __post_init__(self) -> None:
        _positive("Cost", self.cost)

    def __call__(self, curve: Curve) -> str | None:
        """Return why to stop, or None."""
        spent = math.fsum(p.cost for p in curve)
        return f"cost {spent:.6g} of {self.cost:.6g} spent" if spent >= self.cost else None


@dataclass(frozen=True)
class Time(_Joins):
    """Stop `seconds` after the criterion was made, on a clock that only goes forward.

    >>> now = iter([100.0, 104.0, 105.0])
    >>> stop = Time(5, clock=lambda: next(now))
    >>> stop(curve(1)), stop(curve(1))
    (None, '5 s of 5 s are over')
    """

    seconds: float
    clock: Callable[[], float] = field(default=time.monotonic, repr=False, compare=False)
    start: float = field(default=math.nan, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _positive("Time", self.seconds)
        object.__setattr__(self, "start", self.clock())

    def __call__(self, curve: Curve) -> str | None:
        """Return why to stop, or None."""
        spent = self.clock() - self.start
        return f"{spent:.3g} s of {self.seconds:.3g} s are over" if spent >= self.seconds else None


def best(curve: Curve, better: Better = "min") -> Reported | None:
    """Return the first point with the best finite value, None when there is none: the one whose weights to restore.

    >>> best(curve(0.5, 0.2, 0.3)).step
    2
    """
    _check("best", better)
    sign = 1.0 if better == "min" else -1.0
    return min((p for p in curve if math.isfinite(p.value)), key=lambda p: sign * p.value, default=None)

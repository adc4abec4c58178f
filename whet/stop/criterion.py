"""The criteria: target reached, no improvement, diverged, steps, cost, time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from whet.errors import UsageError
from whet.stop.combine import Joins
from whet.stop.point import Better, Curve, Reported, check_better

__all__ = ["Cost", "Diverged", "Patience", "Steps", "Target", "Time", "number"]


def number(value: float) -> str:
    """Return a number as text that reads back as the same number.

    >>> number(10.0), number(1 / 3), number(True)
    ('10', '0.3333333333333333', '1')
    """
    return f"{value:g}" if float(f"{value:g}") == value else repr(float(value))


def _positive(name: str, value: float, *, zero: bool = False, whole: bool = False) -> None:
    if not (math.isfinite(value) and (value >= 0 if zero else value > 0) and not (whole and value != int(value))):
        kind = "a whole number" if whole else "a finite number"
        raise UsageError(f"{name}: must be {kind} {'>= 0' if zero else '> 0'}, got {value!r}.")


def _of(metric: str, better: str = "") -> str:
    if not metric:
        return ""
    return f" of {better} {metric}" if better else f" of {metric}"


def _read(point: Reported, metric: str) -> float:
    return point.metrics.get(metric, math.nan) if metric else point.value


@dataclass(frozen=True)
class Target(Joins):
    """Stop when the last value has reached `target`; metric: another one than the goal's.

    >>> from whet.stop import curve
    >>> Target(0.9, "max")(curve(0.5, 0.93))
    '0.93 reached the target 0.9'
    """

    target: float
    better: Better = "min"
    metric: str = ""

    def __post_init__(self) -> None:
        check_better("Target", self.better)
        if not math.isfinite(self.target):
            raise UsageError(f"Target: must be a finite number, got {self.target!r}.")

    def __call__(self, curve: Curve) -> str | None:
        """Return why to stop, or None; a value that is not there or NaN has reached nothing."""
        value = _read(curve[-1], self.metric) if curve else math.nan
        reached = value <= self.target if self.better == "min" else value >= self.target
        return f"{value:.6g} reached the target {self.target:.6g}" if reached else None

    def __str__(self) -> str:
        return f"target {number(self.target)}{_of(self.metric, self.better)}"


@dataclass(frozen=True)
class Patience(Joins):
    """Stop when `points` points in a row have not improved the best one by more than `delta` (absolute).

    Improvement is counted against the best value at the last improvement, so a slow creep of less than delta a point
    that adds up to delta counts. A NaN is no improvement. `best(curve)` says which point to restore. (Prechelt 1998,
    "Early stopping, but when?", criterion UP counts rises in a row; this counts failures to improve, as Keras does.)
    unit: what a point stands for, for the reason given: "" for a step of a run, "trial" for a trial of a study.

    >>> from whet.stop import curve
    >>> Patience(2)(curve(0.5, 0.4, 0.41, 0.4))
    'no improvement on 0.4 (step 2) in 2 points'
    """

    points: int
    better: Better = "min"
    delta: float = 0.0
    metric: str = ""
    unit: str = field(default="", repr=False, compare=False)

    def __post_init__(self) -> None:
        check_better("Patience", self.better)
        _positive("Patience: points", self.points, whole=True)
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
        at = "" if self.unit else f" (step {step})"
        what = f"no improvement on {sign * score:.6g}{at}" if math.isfinite(score) else "no finite value"
        return f"{what} in {since} {self.unit or 'point'}{'' if since == 1 else 's'}"

    def __str__(self) -> str:
        delta = f" delta {number(self.delta)}" if self.delta else ""
        return f"patience {number(self.points)}{delta}{_of(self.metric, self.better)}"


@dataclass(frozen=True)
class Diverged(Joins):
    """Stop when the last value is NaN or infinite, or worse than `factor` times the best in size.

    factor: only for quantities of which 0 is the ideal, such as losses; None looks for values that are not finite alone.
    metric: e.g. "train_loss".

    >>> from whet.stop import curve
    >>> Diverged()(curve(0.5, float("nan"))), Diverged(10.0)(curve(0.5, 0.2, 2.5))
    ('the value nan is not finite', '2.5 is more than 10 times the best, 0.2')
    """

    factor: float | None = None
    metric: str = ""

    def __post_init__(self) -> None:
        if self.factor is not None and not (self.factor > 1 and math.isfinite(self.factor)):
            raise UsageError(f"Diverged: factor must be a finite number > 1 or None, got {self.factor!r}.")

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

    def __str__(self) -> str:
        factor = "" if self.factor is None else f" {number(self.factor)}"
        return f"diverged{factor}{_of(self.metric)}"


@dataclass(frozen=True)
class Steps(Joins):
    """Stop after `steps` steps; unit: what a step of this curve is, "step" of a run or "trial" of a study.

    >>> from whet.stop import curve
    >>> Steps(3)(curve(1, 1)) is None, Steps(2)(curve(1, 1))
    (True, '2 steps taken')
    """

    steps: int
    unit: str = "step"

    def __post_init__(self) -> None:
        _positive("Steps", self.steps, whole=True)

    def __call__(self, curve: Curve) -> str | None:
        """Return why to stop, or None."""
        if not curve or curve[-1].step < self.steps:
            return None
        done = curve[-1].step
        return f"{done} {self.unit}{'' if done == 1 else 's'} {'taken' if self.unit == 'step' else 'ended'}"

    def __str__(self) -> str:
        return f"{self.unit}s {number(self.steps)}"


@dataclass(frozen=True)
class Cost(Joins):
    """Stop when the points' costs add up to `cost`, in whatever unit they are reported.

    >>> from whet.stop import curve
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

    def __str__(self) -> str:
        return f"cost {number(self.cost)}"


@dataclass(frozen=True)
class Time(Joins):
    """Stop when `seconds` have passed since the criterion was made, on a clock that only goes forward.

    clock: what tells the time, in seconds; start: the time to count from (default: the clock's when this was made).

    >>> from whet.stop import curve
    >>> now = iter([100.0, 104.0, 105.0])
    >>> stop = Time(5, clock=lambda: next(now))
    >>> stop(curve(1)), stop(curve(1))
    (None, '5 s of 5 s are over')
    """

    seconds: float
    clock: Callable[[], float] = field(default=time.monotonic, repr=False, compare=False)
    start: float | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        _positive("Time", self.seconds)
        if self.start is None:
            object.__setattr__(self, "start", self.clock())

    def __call__(self, curve: Curve) -> str | None:
        """Return why to stop, or None."""
        spent = self.clock() - (self.start or 0.0)
        return f"{spent:.3g} s of {self.seconds:.3g} s are over" if spent >= self.seconds else None

    def __str__(self) -> str:
        return f"time {number(self.seconds)}s"

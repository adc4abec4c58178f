"""Learning-rate schedules: a factor on the learning rate, as a function of the epochs done. None is a constant rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from whet.errors import TaskError, nearest

__all__ = ["RATES", "Constant", "Cosine", "Rate", "Step", "rate"]

Rate = Callable[[float], float]
RATES = ("constant", "cosine", "step")


@dataclass(frozen=True)
class Constant:
    """The full rate after a linear warm-up of `warmup` epochs.

    >>> Constant(warmup=2)(1.0), Constant()(1.0)
    (0.5, 1.0)
    """

    warmup: float = 0.0

    def __call__(self, epochs: float) -> float:
        """Return the factor after `epochs` epochs (a fraction inside one)."""
        return min(1.0, epochs / self.warmup) if self.warmup > 0 else 1.0


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from 1 to `floor` over `horizon` epochs (Loshchilov & Hutter 2016, arXiv:1608.03983, no restarts).

    After the horizon the factor stays at `floor`. warmup: epochs of linear rise, part of the horizon.

    >>> [round(Cosine(10)(e), 3) for e in (0, 5, 10, 11)]
    [1.0, 0.5, 0.0, 0.0]
    """

    horizon: float
    floor: float = 0.0
    warmup: float = 0.0

    def __call__(self, epochs: float) -> float:
        """Return the factor after `epochs` epochs (a fraction inside one)."""
        if epochs < self.warmup:
            return epochs / self.warmup
        part = min(1.0, (epochs - self.warmup) / max(self.horizon - self.warmup, 1e-9))
        return self.floor + (1.0 - self.floor) * 0.5 * (1.0 + math.cos(math.pi * part))


@dataclass(frozen=True)
class Step:
    """The rate times `factor` after every `every` epochs. warmup: epochs of linear rise.

    >>> [Step(2, 0.5)(e) for e in (0, 1.9, 2, 4)]
    [1.0, 1.0, 0.5, 0.25]
    """

    every: float
    factor: float = 0.1
    warmup: float = 0.0

    def __call__(self, epochs: float) -> float:
        """Return the factor after `epochs` epochs (a fraction inside one)."""
        rise = min(1.0, epochs / self.warmup) if self.warmup > 0 else 1.0
        return rise * self.factor ** math.floor(epochs / self.every + 1e-9)


def rate(params: Mapping[str, Any], steps: int) -> Rate | None:
    """Return the schedule a configuration names, None for a constant rate.

    Keys: "rate": "constant" (the default: a rate never falls silently), "cosine" or "step"; "rate.warmup" epochs (0);
    "rate.floor" (0) of cosine; "rate.every" epochs (a third of `steps`) and "rate.factor" (0.1) of step.
    steps: the epochs of a whole training, the cosine's horizon: a trial that is paused at a rung and resumed follows the
    same curve as one that never paused. Raises TaskError for an unknown name or option.

    >>> rate({}, 27) is None, rate({"rate": "cosine"}, 27)
    (True, Cosine(horizon=27.0, floor=0.0, warmup=0.0))
    """
    name = params.get("rate", "constant")
    given = {k.removeprefix("rate."): float(v) for k, v in params.items() if k.startswith("rate.")}
    options = {"constant": ("warmup",), "cosine": ("warmup", "floor"), "step": ("warmup", "every", "factor")}
    if name not in options:
        raise TaskError(f"rate: got {name!r}. Allowed: {', '.join(RATES)}.{nearest(str(name), RATES)}")
    for key in given:
        if key not in options[name]:
            raise TaskError(f"rate.{key}: {name} has no such option. Allowed: {', '.join(options[name])}.")
    if name == "cosine":
        return Cosine(float(steps), **given)
    if name == "step":
        return Step(given.pop("every", max(steps / 3, 1.0)), **given)
    return Constant(**given) if given.get("warmup") else None

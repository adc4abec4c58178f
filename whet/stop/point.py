"""What a criterion looks at: the points of a curve, and the best of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from whet.errors import UsageError

__all__ = ["Better", "Curve", "Reading", "Reported", "Stop", "best", "check_better", "curve"]

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


class Stop(Protocol):
    """A stopping criterion: why to stop after `curve`, as one line, or None to go on."""

    def __call__(self, curve: Curve) -> str | None: ...


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


def check_better(name: str, better: str) -> None:
    """Raise UsageError when `better` is no direction."""
    if better not in ("min", "max"):
        raise UsageError(f'{name}: better must be "min" or "max", got {better!r}.')


def best(curve: Curve, better: Better = "min") -> Reported | None:
    """Return the first point with the best finite value, None when there is none: the one whose weights to restore.

    >>> best(curve(0.5, 0.2, 0.3)).step
    2
    """
    check_better("best", better)
    sign = 1.0 if better == "min" else -1.0
    return min((p for p in curve if math.isfinite(p.value)), key=lambda p: sign * p.value, default=None)

"""The part of a metric's axis that several pictures show together."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from whet.report.scale import Scale
from whet.tune.slice import Slice
from whet.tune.trial import Goal

__all__ = ["Frame"]

_FAR = 2.0  # trials worse than the median by so many times what the best is better are left out
_ROOM = 0.25  # how far, of the height of the rest, a band may reach out of it
_EDGE = 0.09  # free room at either end


@dataclass(frozen=True)
class Frame:
    """The part of a metric's axis that pictures show, the same for several of them.

    scale: how values are drawn; low, high: the ends, as the axis counts (the logarithm when it is logarithmic), the lower first.
    """

    scale: Scale
    low: float
    high: float

    @classmethod
    def of(cls, goal: Goal, slices: Iterable[Slice]) -> Frame:
        """Return the frame that holds the trials and what is expected, but for far worse ones; a wide band is cut off."""
        slices = list(slices)
        told = {m.id: float(m.value) for s in slices for m in s.marks if m.kind != "failed" and m.value is not None}
        medians = _finite(v for s in slices for v in s.median.ravel())
        scores = [goal.score(v) for v in told.values()]
        middle = statistics.median(scores) if scores else 0.0
        worst = middle + _FAR * (middle - min(scores, default=0.0))
        values = [v for v in told.values() if goal.score(v) <= worst]
        every = [*values, *medians]  # these are never far worse: the model pulls in what is
        scale = Scale.of(goal, values or every)
        lines = [e for v in every if math.isfinite(e := cls(scale, 0.0, 0.0).line(v))]
        low, high = min(lines), max(lines)
        room = _ROOM * (high - low)
        edges = (v for s in slices for edge in (s.low, s.high) for v in edge.ravel())
        lines += [e for v in _finite(edges) if low - room <= (e := cls(scale, 0.0, 0.0).line(v)) <= high + room]
        low, high = min(lines), max(lines)
        span = (high - low) or abs(low) or 1.0
        return cls(scale, low - _EDGE * span, high + _EDGE * span)

    def line(self, value: float) -> float:
        """Return where `value` lies, as the axis counts."""
        place = self.scale.place(value)
        if self.scale.kind == "linear":
            return place
        return math.log10(place) if place > 0 else -math.inf

    def place(self, value: float) -> float:
        """Return the number Plotly is given for `value`; what lies far outside is brought near, for there are no infinite places."""
        span = self.high - self.low
        return self.back(min(max(self.line(value), self.low - span), self.high + span))

    def back(self, at: float) -> float:
        """Return the number Plotly is given for a place as the axis counts."""
        return at if self.scale.kind == "linear" else 10.0**at

    @property
    def rail(self) -> float:
        """Where trials without a value stand: at the worse end."""
        low_is_worse = (self.scale.goal.better == "max") != (self.scale.kind == "lack")
        span = self.high - self.low
        return self.back(self.low + 0.035 * span if low_is_worse else self.high - 0.035 * span)

    def axis(self) -> dict[str, Any]:
        """Return Plotly's axis."""
        axis = self.scale.axis()
        axis.pop("autorange", None)
        ends = [self.low, self.high]
        return {**axis, "range": ends[::-1] if self.scale.kind == "lack" else ends}


def _finite(values: Iterable[float]) -> list[float]:
    return [float(v) for v in values if math.isfinite(v)]

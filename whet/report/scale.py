"""The scale a metric is read on: where good values lie close together, they are drawn apart.

Accuracies of 0.98 and 0.99 are a hair apart on a plain axis that also shows 0.3, yet one makes half the mistakes of the
other. So a share that comes near 1 is drawn by what it lacks, on a logarithmic axis labelled with the share itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from whet.report.block import label
from whet.report.quantity import show
from whet.tune.trial import Goal

__all__ = ["SHARES", "Scale", "round_ticks"]

SHARES = ("accuracy", "balanced", "f1", "precision", "recall", "auc", "r2")
_UNITS = {"rmse": "in units of the target", "mae": "in units of the target", "mse": "in squared units of the target"}
_LACKS = [m * 10.0**-k for k in range(7) for m in (5, 2, 1)]


def round_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers from low to high, at most `most` of them.

    >>> round_ticks(0.0, 0.99), round_ticks(1, 4)
    ([0.0, 0.2, 0.4, 0.6, 0.8], [1.0, 2.0, 3.0, 4.0])
    """
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for step in (power * k for k in (1, 2, 5, 10, 20)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            return [float(f"{k * step:.12g}") for k in range(first, last + 1)]
    return [low, high]


@dataclass(frozen=True)
class Scale:
    """How the values of a goal are drawn.

    kind: "linear", "log", or "lack" (of 1, logarithmic); low, high: the lowest and the highest value there is.

    >>> Scale.of(Goal("accuracy", "max"), [0.3, 0.9, 0.99]).kind, Scale.of(Goal("rmse", "min"), [52.0, 60.0]).kind
    ('lack', 'linear')
    """

    goal: Goal
    kind: str
    low: float
    high: float

    @classmethod
    def of(cls, goal: Goal, values: Sequence[float]) -> Scale:
        """Return the scale for these values, which must be finite and at least one."""
        low, high = float(min(values)), float(max(values))
        if goal.better == "max" and goal.name in SHARES and low >= 0 and 0.9 <= high <= 1 and 1 - low > 5 * (1 - high):
            return cls(goal, "lack", low, high)
        if goal.better == "min" and low > 0 and high / low > 20:
            return cls(goal, "log", low, high)
        return cls(goal, "linear", low, high)

    def place(self, value: float) -> float:
        """Return the number Plotly is given for `value`: of a lack the lack itself, at least a half of the next smallest."""
        if self.kind == "lack":
            least = 0.5 * (1 - self.high) if self.high < 1 else 1e-4
            return float(f"{max(1 - value, least):.12g}")
        return float(value)

    def _line(self, value: float) -> float:
        place = self.place(value)
        return place if self.kind == "linear" else math.log10(max(place, 1e-300))

    def height(self, value: float) -> float:
        """Return where `value` lies from the worst (0) to the best (1) value there is, along this scale."""
        worst, best = (self.low, self.high) if self.goal.better == "max" else (self.high, self.low)
        a, b = self._line(worst), self._line(best)
        return 0.5 if a == b else min(max((self._line(value) - a) / (b - a), 0.0), 1.0)

    def ticks(self) -> list[float]:
        """Return the values that are marked on the axis."""
        if self.kind == "lack":
            floor = self.place(self.high)
            found = [1 - x for x in _LACKS if floor * 0.999 <= x <= (1 - self.low) * 1.001]
            return [float(f"{v:.9g}") for v in found] or [self.low, self.high]
        if self.kind == "log":
            found = [m * 10.0**k for k in range(-12, 13) for m in (1, 2, 5) if self.low <= m * 10.0**k <= self.high]
            found = (
                found
                if len(found) <= 7
                else [v for v in found if math.log10(v) % 1 < 1e-9 or math.log10(v) % 1 > 1 - 1e-9]
            )
            return found or [self.low, self.high]
        return round_ticks(self.low, self.high)

    def title(self, split: str = "validation") -> str:
        """Return what stands beside the axis, with its unit.

        >>> Scale(Goal("rmse", "min"), "linear", 1.0, 2.0).title()
        'validation rmse (in units of the target)'
        """
        share = self.goal.name in SHARES or self.goal.name in ("error", "ece")
        unit = _UNITS.get(
            self.goal.name, "0 to 1" if share and self.goal.name != "r2" else "1 is best" if share else ""
        )
        parts = [p for p in (unit, "" if self.kind == "linear" else "log scale") if p]
        return f"{split} {label(self.goal.name, 18)}".strip() + (f" ({', '.join(parts)})" if parts else "")

    def axis(self) -> dict[str, Any]:
        """Return Plotly's axis; the better end of a lack is on top."""
        axis: dict[str, Any] = {"title": {"text": self.title()}}
        if self.kind != "linear":
            marked = self.ticks()
            axis |= {
                "type": "log",
                "tickmode": "array",
                "tickvals": [self.place(v) for v in marked],
                "ticktext": [show(v) for v in marked],
            }
        if self.kind == "lack":
            axis["autorange"] = "reversed"
        return axis

    @property
    def hover(self) -> str:
        """The part of a hover text that says the value; a lack is named for what it is."""
        if self.kind != "lack":
            return "%{y:.4g}"
        return "error %{y:.4g}" if self.goal.name == "accuracy" else f"1 - {self.goal.name} = %{{y:.4g}}"

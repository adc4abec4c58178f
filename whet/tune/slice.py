"""A slice through what a model believes of a study, along one dimension or two, as a value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from whet.tune.domain import Choice, Float, Int, Ordered, Value
from whet.tune.goal import Goal

__all__ = ["BAND", "Axis", "Kind", "Mark", "Slice"]

BAND = 1.959963984540054  # standard deviations either way that hold 95 %

Kind = Literal["done", "partial", "failed", "inherited", "running", "next"]


@dataclass(frozen=True)
class Axis:
    """One dimension of a slice. values: in order, as a configuration has them; places: theirs in [0, 1]."""

    name: str
    domain: Float | Int | Choice | Ordered
    values: tuple[Value, ...]
    places: np.ndarray


@dataclass(frozen=True)
class Mark:
    """A trial, seen from a slice.

    id: None for the next proposal; kind: "done", "partial" (not trained to the end), "failed", "running", "next" or "inherited" (its weights were trained by
    another configuration too, so the model leaves it out); at: its values on the axes;
    places: theirs in [0, 1]; value: what was reported, of the next what is expected; near: how much it tells of the slice, the model's
    correlation (0 to 1) of the trial with the point of the slice that has its values.
    """

    id: int | None
    kind: Kind
    at: tuple[Value, ...]
    places: tuple[float, ...]
    value: float | None
    near: float


@dataclass(frozen=True)
class Slice:
    """What is believed along one or two dimensions, the others being kept. Arrays are (x,) or, over two, (x, y).

    median, low, high: of the value when trained to the end, and the 95 % band of it (of the function, without noise), in the metric's units;
    mean, sd: the same as the model has it, where small is good; worth: the acquisition, the largest of the slice being 1; peak: that largest
    one beside the next proposal's (1: as good), None for "ucb", which has no zero; failing: the chance that it fails, None when no trial failed; allowed: whether
    there is such a configuration, by the constraints and branches; elsewhere all are NaN. weight, length: of each axis, see `Landscape`.
    """

    axes: tuple[Axis, ...]
    goal: Goal
    median: np.ndarray
    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    worth: np.ndarray
    peak: float | None
    failing: np.ndarray | None
    allowed: np.ndarray
    weight: tuple[float, ...]
    length: tuple[float, ...]
    marks: tuple[Mark, ...]
    next: Mark | None

    @property
    def best(self) -> tuple[int, ...]:
        """The indices of the best mean."""
        return tuple(int(i) for i in np.unravel_index(np.nanargmin(self.mean), self.mean.shape))

    @property
    def clear(self) -> bool:
        """Whether the best and the worst mean differ by more than doubt: 1.96 standard deviations, as if the two were independent."""
        worst = np.unravel_index(np.nanargmax(self.mean), self.mean.shape)
        apart = self.mean[worst] - self.mean[self.best]
        return bool(apart > BAND * math.hypot(self.sd[worst], self.sd[self.best]))

    def json(self) -> dict[str, Any]:
        """Return the slice as JSON values; what is not finite or not allowed is None."""
        names = ("median", "low", "high", "mean", "sd", "worth", *(() if self.failing is None else ("failing",)))
        marks = [*self.marks, *([self.next] if self.next else [])]
        return {
            "axes": [
                {"name": a.name, "values": list(a.values), "weight": w, "length": s}
                for a, w, s in zip(self.axes, self.weight, self.length, strict=True)
            ],
            **{n: _plain(getattr(self, n)) for n in names},
            "peak": self.peak, "clear": self.clear, "best": [a.values[i] for a, i in zip(self.axes, self.best, strict=True)],
            "trials": [{"id": m.id, "kind": m.kind, "at": list(m.at), "value": m.value, "near": m.near} for m in marks],
        }  # fmt: skip


def _plain(array: np.ndarray) -> list[Any]:
    if array.ndim > 1:
        return [_plain(row) for row in array]
    return [float(v) if math.isfinite(v) else None for v in array]

"""What matters in a study, as values: shares with intervals, a verdict for each dimension, curves with bands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from whet.tune.goal import Goal
from whet.tune.slice import Axis

__all__ = ["Importance", "Joint", "Part", "Share", "Verdict"]

Verdict = Literal["matters", "does not matter", "cannot tell"]


@dataclass(frozen=True)
class Share:
    """A part of the variance, from 0 to 1: the mean over trees, and what 95 % of them lie between.

    >>> round(Share.of(np.array([0.2, 0.4])).value, 1)
    0.3
    """

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, shares: np.ndarray) -> Share:
        """Return the share of those (t,) of single trees."""
        low, high = np.quantile(shares, (0.025, 0.975))
        return cls(float(shares.mean()), float(low), float(high))

    def json(self) -> dict[str, float]:
        """Return the share as JSON values."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Part:
    """What is due to one dimension.

    alone: to it by itself; total: by itself or together with others; chance: the `total` that a dimension with the same values has that means nothing, as
    they were dealt out anew among the trials (0 when it was not asked); verdict: "matters", "does not matter", "cannot tell"; exists: the share of the space where it is a
    part of the configuration, below 1 in a branch, and that `alone` and `total` are already multiplied with; when: the choices it hangs on, in words.
    axis, mean, low, high (c,): the curve, in the metric's units: the mean over all other dimensions, where it exists, and 95 % of the trees.
    """

    name: str
    alone: Share
    total: Share
    chance: float
    verdict: Verdict
    exists: float
    when: str
    axis: Axis
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def best(self, goal: Goal) -> int:
        """Return the number of the value with the best mean."""
        return int(np.argmin(self.mean) if goal.better == "min" else np.argmax(self.mean))

    def json(self) -> dict[str, Any]:
        """Return the part as JSON values."""
        return {
            "name": self.name, "alone": self.alone.json(), "total": self.total.json(), "chance": self.chance, "verdict": self.verdict,
            "exists": self.exists, "when": self.when or None,
            "curve": {
                "values": list(self.axis.values), "mean": self.mean.tolist(), "low": self.low.tolist(), "high": self.high.tolist(),
            },
        }  # fmt: skip


@dataclass(frozen=True)
class Joint:
    """What two dimensions do together, beyond what each does alone."""

    names: tuple[str, str]
    share: Share

    def json(self) -> dict[str, Any]:
        """Return the pair as JSON values."""
        return {"names": list(self.names), **self.share.json()}


@dataclass(frozen=True)
class Importance:
    """What matters in a study. Made by `importance`.

    trials: how many have a value; failed, partial: how many failed, which it does not know of, and how many were not trained to the end, which count
    with the value they are forecast to end with; inherited: how many are left out as they went on from weights that another configuration trained; pulled: the value that all worse ones count as, None when there is none so bad; top: the share of the trials that
    count as good, None for all. r2: how much of the variance the forest predicts of trials it was not shown; limit: the least of it from which its word is taken.
    parts: the dimensions, the largest share alone first; pairs: those of dimensions that exist at the same time, the largest first, empty when not asked
    for; rest: what is left of 1 then, due to three or more together (None without pairs).
    """

    goal: Goal
    trials: int
    failed: int
    partial: int
    inherited: int
    pulled: float | None
    top: float | None
    r2: float
    limit: float
    parts: tuple[Part, ...]
    pairs: tuple[Joint, ...] = ()
    rest: float | None = None

    @property
    def predicts(self) -> bool:
        """Whether the forest predicts enough to be believed."""
        return self.r2 >= self.limit

    def said(self, verdict: Verdict) -> tuple[Part, ...]:
        """Return the dimensions of which this is said."""
        return tuple(p for p in self.parts if p.verdict == verdict)

    def json(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {
            "goal": str(self.goal), "trials": self.trials, "failed": self.failed, "partial": self.partial, "inherited": self.inherited, "pulled": self.pulled, "top": self.top,
            "r2": self.r2 if np.isfinite(self.r2) else None, "limit": self.limit, "predicts": self.predicts,
            "parts": [p.json() for p in self.parts], "pairs": [p.json() for p in self.pairs], "rest": self.rest,
        }  # fmt: skip

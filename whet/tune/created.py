"""What a study was created with: its "created" event, read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from whet.tune.earlier import revived
from whet.tune.space import Space
from whet.tune.trial import Bound, Goal, Trials, parse_goals

__all__ = ["Terms"]


@dataclass(frozen=True)
class Terms:
    """What a study was created with; like: the trials of earlier studies that it learns from."""

    space: Space
    goals: tuple[Goal | Bound, ...]
    steps: int
    seed: int
    search: Mapping[str, Any]
    schedule: Mapping[str, Any]
    asked: Mapping[str, str]
    like: tuple[Trials, ...] = ()

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Terms:
        """Return the terms that a "created" event holds."""
        return cls(
            Space.from_json(data["space"]), parse_goals(data["goals"]), data["steps"], data["seed"],
            data["search"], data["schedule"], data["asked"], tuple(revived(x) for x in data.get("like", ())),
        )  # fmt: skip

"""What one look at the data comes to: facts, findings, the examples behind them, and what could not be looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from whet.finding import Finding, NotRun

__all__ = ["Example", "Outcome"]


@dataclass(frozen=True)
class Example:
    """One example a person should see.

    code: the finding it belongs to; split, id: where it is ("train", "valid"; its number in the source); index: its position
    in the split; label: its target in words; reason: what is odd about it; score: how odd, larger is odder, comparable
    within a code only.

    >>> Example("LABEL", "train", 7, 3, "cat", "looks like 'dog'", 0.98).json()["id"]
    7
    """

    code: str
    split: str
    id: int
    index: int
    label: str
    reason: str
    score: float

    def json(self) -> dict[str, Any]:
        """Return the example as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Outcome:
    """What a look showed; facts are JSON.

    >>> Outcome().findings
    ()
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    examples: tuple[Example, ...] = ()
    not_run: tuple[NotRun, ...] = ()

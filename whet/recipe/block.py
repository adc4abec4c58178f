"""What a step of the recipe tells while it happens and when it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["WIDTH", "Began", "Block", "Progress"]

WIDTH = 70  # columns of a block's lines, which stand beside its name on a terminal of 80


@dataclass(frozen=True)
class Began:
    """A step begins: its name, and what it does in a few words.

    >>> Began("check").step
    'check'
    """

    step: str
    what: str = ""


@dataclass(frozen=True)
class Progress:
    """How far a step is.

    done: the share of the budget that is spent, 0 to 1; spent, limit: the same in words; seconds: until the end, as far
    as can be told; counts: trials, finished, failed, epochs, as far as the step has them; rates: trials and epochs per
    second; best: the best so far; trying: the configuration that was begun last; rows: more to see where there is room for a picture,
    lines of at most WIDTH columns; told: whether it is worth a line where there is none.

    >>> Progress("tune", 0.5, "30 s", "1:00 min", 30.0, {"trials": 12}).counts["trials"]
    12
    """

    step: str
    done: float
    spent: str
    limit: str
    seconds: float | None
    counts: Mapping[str, int] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    best: str = ""
    trying: str = ""
    rows: tuple[str, ...] = ()
    told: bool = False


@dataclass(frozen=True)
class Block:
    """The result of a step: lines for a person, data (JSON) for a program. failed: it was found wrong.

    >>> Block("data", ("1,797 examples",)).step
    'data'
    """

    step: str
    lines: tuple[str, ...]
    data: Mapping[str, Any] = field(default_factory=dict)
    failed: bool = False

    def json(self) -> dict[str, Any]:
        """Return the block as JSON values."""
        return {"lines": list(self.lines), "data": dict(self.data), "failed": self.failed}

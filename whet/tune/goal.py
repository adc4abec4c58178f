"""Goals: which reported numbers are to be small or large, and which must keep a bound."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from whet.errors import StudyError

__all__ = ["Bound", "Goal", "parse_goals"]

_COMPARE: Mapping[str, Callable[[Any, float], Any]] = {
    "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}  # fmt: skip


@dataclass(frozen=True)
class Goal:
    """A metric to minimise or maximise. Scores are lower-is-better whatever the direction.

    >>> Goal("accuracy", "max").score(0.9)
    -0.9
    """

    name: str
    better: Literal["min", "max"]

    def score(self, value: float) -> float:
        """Return `value` turned so that lower is better; a value that is not finite is worst (inf)."""
        if not math.isfinite(value):
            return math.inf
        return value if self.better == "min" else -value

    def __str__(self) -> str:
        return f"{self.better} {self.name}"


@dataclass(frozen=True)
class Bound:
    """A condition on a reported metric, such as latency <= 5.

    >>> Bound("latency", "<=", 5.0).holds({"latency": 4.0})
    True
    """

    name: str
    op: Literal["<=", ">=", "<", ">"]
    limit: float

    def holds(self, metrics: Mapping[str, float]) -> bool:
        """Return whether the metric was reported and meets the bound."""
        return self.name in metrics and bool(_COMPARE[self.op](metrics[self.name], self.limit))

    def met(self, values: np.ndarray) -> np.ndarray:
        """Return whether each of `values` (n,) meets the bound; NaN does not.

        >>> Bound("latency", "<=", 5.0).met(np.array([4.0, 6.0, np.nan])).tolist()
        [True, False, False]
        """
        found: np.ndarray = _COMPARE[self.op](values, self.limit)
        return found

    def __str__(self) -> str:
        short = f"{self.limit:g}"
        return f"{self.name} {self.op} {short if float(short) == self.limit else repr(self.limit)}"  # read again it is the same


def parse_goals(goal: str | Sequence[str]) -> tuple[Goal | Bound, ...]:
    """Return the goals written as "min loss", "max accuracy" or "latency <= 5"; the first is what is reported.

    Raises StudyError when one cannot be read, or the first is a bound.

    >>> [str(g) for g in parse_goals(["max accuracy", "latency <= 5"])]
    ['max accuracy', 'latency <= 5']
    """
    found: list[Goal | Bound] = []
    texts = [goal] if isinstance(goal, str) else list(goal)
    for text in texts:
        if m := re.fullmatch(r"\s*(min|max)\s+([^\s<>=]+)\s*", str(text)):
            found.append(Goal(m[2], "min" if m[1] == "min" else "max"))
        elif m := re.fullmatch(r"\s*([^\s<>=]+)\s*(<=|>=|<|>)\s*([-+.\deE]+)\s*", str(text)):
            try:
                found.append(Bound(m[1], m[2], float(m[3])))  # type: ignore[arg-type]
            except ValueError:
                raise StudyError(f'goal "{text}": {m[3]!r} is not a number. Use e.g. "latency <= 5".') from None
        else:
            raise StudyError(f'goal "{text}": cannot be read. Use "min NAME", "max NAME" or "NAME <= NUMBER".')
    if not found or not isinstance(found[0], Goal):
        raise StudyError(f'goal {texts}: the first must be "min NAME" or "max NAME": it is the value that is reported.')
    if len({g.name for g in found if isinstance(g, Goal)}) < sum(isinstance(g, Goal) for g in found):
        raise StudyError(f"goal {texts}: a metric is named twice. Name every metric once.")
    return tuple(found)

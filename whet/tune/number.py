"""Domains of numbers: `Float` and `Int`, on an even or a logarithmic scale."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Any

from whet.errors import SpaceError

__all__ = ["Float", "Int"]

_MOST = 2**40  # whole numbers beyond this cannot all be told apart in the unit interval


def real(value: Any) -> bool:
    """Return whether `value` is a finite real number (and no boolean)."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:  # a whole number too large for a float
        return False


def check_range(d: Float | Int, example: str) -> None:
    """Raise SpaceError when a numeric domain's bounds or prior make no sense."""
    kind = type(d).__name__
    if not real(d.low) or not real(d.high):
        raise SpaceError(
            f"{kind}: low and high must be finite numbers, got {d.low!r} and {d.high!r}. Use e.g. {example}."
        )
    if d.low >= d.high:
        raise SpaceError(
            f"{kind}: low must be below high, got {d.low!r} and {d.high!r}. Use e.g. {example}, or Const for one value."
        )
    if not math.isfinite(float(d.high) - float(d.low)):
        raise SpaceError(f"{kind}: the range from {d.low!r} to {d.high!r} is too wide. Use e.g. {example}.")
    if d.log and d.low <= 0:
        raise SpaceError(f"{kind}: low must be > 0 when log=True, got {d.low!r}. Use e.g. {example}.")
    if d.prior is not None:
        if not (isinstance(d.prior, (tuple, list)) and len(d.prior) == 2 and all(real(p) for p in d.prior)):
            raise SpaceError(f"{kind}: prior must be (value, spread), got {d.prior!r}. Use e.g. prior=(1e-3, 0.5).")
        object.__setattr__(d, "prior", (d.prior[0], float(d.prior[1])))
        if not d.low <= d.prior[0] <= d.high or d.prior[1] <= 0:
            raise SpaceError(
                f"{kind}: prior must have a value in [{d.low}, {d.high}] and a spread > 0, got {d.prior!r}."
            )


@dataclass(frozen=True)
class Float:
    """A real number in [low, high].

    log: spread evenly over magnitudes; prior: (likely value, spread), the spread in units of the range (of the
    logarithm's range when log); live: it may change while training goes on (rates and decays, not widths).

    >>> lr = Float(1e-5, 1e-1, log=True)
    >>> round(lr.encode(1e-3), 3), round(lr.decode(0.5), 6)
    (0.5, 0.001)
    """

    low: float
    high: float
    log: bool = False
    prior: tuple[float, float] | None = None
    live: bool = False

    size = None

    def __post_init__(self) -> None:
        check_range(self, "Float(1e-6, 1e-1, log=True)")
        object.__setattr__(self, "low", float(self.low))
        object.__setattr__(self, "high", float(self.high))

    def check(self, value: Any) -> float:
        """Return `value` as this domain holds it; raise SpaceError when it is outside."""
        if not real(value) or not self.low <= float(value) <= self.high:
            raise SpaceError(f"got {value!r}, allowed a number from {self.low:g} to {self.high:g}")
        return float(value)

    def encode(self, value: Any) -> float:
        """Return the place of `value` in [0, 1]."""
        low, high, v = self.low, self.high, float(value)
        if self.log:
            low, high, v = math.log(low), math.log(high), math.log(v)
        return min(max((v - low) / (high - low), 0.0), 1.0)

    def decode(self, u: float) -> float:
        """Return the value at `u` of [0, 1]."""
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            value = math.exp(low + u * (high - low))
        else:
            value = self.low + u * (self.high - self.low)
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class Int:
    """A whole number from low to high, both included.

    log: spread evenly over magnitudes; prior and live as for `Float`.

    >>> Int(1, 4).decode(0.99), [Int(1, 4).decode(Int(1, 4).encode(k)) for k in (1, 2, 3, 4)]
    (4, [1, 2, 3, 4])
    """

    low: int
    high: int
    log: bool = False
    prior: tuple[float, float] | None = None
    live: bool = False

    def __post_init__(self) -> None:
        check_range(self, "Int(16, 512, log=True)")
        if int(self.low) != self.low or int(self.high) != self.high:
            raise SpaceError(
                f"Int: low and high must be whole, got {self.low!r} and {self.high!r}. Use e.g. Int(1, 8)."
            )
        if max(abs(self.low), abs(self.high)) > _MOST:
            raise SpaceError(
                f"Int: at most {_MOST} either way, got {self.low!r} and {self.high!r}. Use Float, or a Choice."
            )
        object.__setattr__(self, "low", int(self.low))
        object.__setattr__(self, "high", int(self.high))

    @property
    def size(self) -> int:
        """How many values there are."""
        return self.high - self.low + 1

    def check(self, value: Any) -> int:
        """Return `value` as this domain holds it; raise SpaceError when it is outside."""
        if not real(value) or int(value) != value or not self.low <= value <= self.high:
            raise SpaceError(f"got {value!r}, allowed a whole number from {self.low} to {self.high}")
        return int(value)

    # Every whole number owns the interval [k - 1/2, k + 1/2) of the (log) axis, so the ends are not half as likely.
    def _ends(self) -> tuple[float, float]:
        low, high = self.low - 0.5, self.high + 0.5
        return (math.log(low), math.log(high)) if self.log else (low, high)

    def encode(self, value: Any) -> float:
        """Return the place of `value` in [0, 1]: inside the cell that decodes to it."""
        low, high = self._ends()
        v = math.log(value) if self.log else float(value)
        return (v - low) / (high - low)

    def decode(self, u: float) -> int:
        """Return the value at `u` of [0, 1]."""
        low, high = self._ends()
        v = low + u * (high - low)
        return min(max(math.floor((math.exp(v) if self.log else v) + 0.5), self.low), self.high)

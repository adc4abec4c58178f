"""One hyperparameter's domain: which values it may take, and their place in the unit interval.

A domain is a frozen value. `encode` maps a value into [0, 1] and `decode` maps any number of [0, 1] back, so that a
strategy may work in the unit cube and never see scales, steps or categories. `decode(encode(v)) == v` for every value.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from whet.errors import SpaceError

if TYPE_CHECKING:
    from whet.tune.space import Space

__all__ = ["Choice", "Const", "Domain", "Float", "Int", "Ordered", "Value"]

Value = str | int | float | bool | None


def scalar(value: Any, what: str) -> Value:
    """Return `value` as a plain JSON scalar (NumPy's become Python's); raise SpaceError when it is none."""
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        raise SpaceError(f"{what} must be finite, got {value}.")
    raise SpaceError(
        f"{what} must be text, a number, True, False or None, got {value!r}. Give it a name and look it up in your code."
    )


def same(a: Value, b: Value) -> bool:
    """Return whether two options are the same one; True and 1 are not, 1 and 1.0 are."""
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def real(value: Any) -> bool:
    """Return whether `value` is a finite real number (and no boolean)."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(float(value))


def check_range(d: Float | Int, example: str) -> None:
    """Raise SpaceError when a numeric domain's bounds or prior make no sense."""
    kind = type(d).__name__
    if not real(d.low) or not real(d.high):
        raise SpaceError(f"{kind}: low and high must be finite numbers, got {d.low!r} and {d.high!r}. Use e.g. {example}.")
    if d.low >= d.high:
        raise SpaceError(
            f"{kind}: low must be below high, got {d.low!r} and {d.high!r}. Use e.g. {example}, or Const for one value."
        )
    if d.log and d.low <= 0:
        raise SpaceError(f"{kind}: low must be > 0 when log=True, got {d.low!r}. Use e.g. {example}.")
    if d.prior is not None:
        if not (isinstance(d.prior, (tuple, list)) and len(d.prior) == 2 and all(real(p) for p in d.prior)):
            raise SpaceError(f"{kind}: prior must be (value, spread), got {d.prior!r}. Use e.g. prior=(1e-3, 0.5).")
        object.__setattr__(d, "prior", (d.prior[0], float(d.prior[1])))
        if not d.low <= d.prior[0] <= d.high or d.prior[1] <= 0:
            raise SpaceError(f"{kind}: prior must have a value in [{d.low}, {d.high}] and a spread > 0, got {d.prior!r}.")


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
            raise SpaceError(f"Int: low and high must be whole, got {self.low!r} and {self.high!r}. Use e.g. Int(1, 8).")
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


@dataclass(frozen=True, init=False)
class Choice:
    """One of several options without an order. A mapping gives each option a `Space` that exists only with it.

    Members of a branch are named with a dot: `{"optimizer": "sgd", "optimizer.momentum": 0.9}`.

    >>> Choice(["relu", "gelu"]).decode(0.7)
    'gelu'
    """

    options: tuple[Value, ...]
    branches: tuple[Space | None, ...] = field(default=())

    def __init__(self, options: Iterable[Value] | Mapping[Any, Space | None]) -> None:
        if isinstance(options, str) or not isinstance(options, Iterable):
            raise SpaceError(f'Choice: options must be a list or a mapping, got {options!r}. Use e.g. Choice(["a", "b"]).')
        given = dict(options) if isinstance(options, Mapping) else None
        object.__setattr__(self, "options", distinct("Choice", options))
        branches = tuple((given or {}).get(o) for o in options) if given else ()
        for option, branch in zip(self.options, branches, strict=False):
            if branch is not None and not hasattr(branch, "dims"):
                raise SpaceError(f"Choice: the branch of {option!r} must be a Space, got {branch!r}. Use e.g. Space().")
        object.__setattr__(self, "branches", branches if any(branches) else ())

    @property
    def size(self) -> int:
        """How many options there are (their branches not counted)."""
        return len(self.options)

    def index(self, value: Any) -> int:
        """Return the number of the option `value`; raise SpaceError when it is none of them."""
        return find(self.options, value)

    def check(self, value: Any) -> Value:
        """Return `value` as this domain holds it; raise SpaceError when it is no option."""
        return self.options[self.index(value)]

    def branch(self, value: Any) -> Space | None:
        """Return the space that exists with option `value`, or None when it has none."""
        return self.branches[self.index(value)] if self.branches else None

    def encode(self, value: Any) -> float:
        """Return the middle of the option's cell in [0, 1]."""
        return (self.index(value) + 0.5) / len(self.options)

    def decode(self, u: float) -> Value:
        """Return the option at `u` of [0, 1]."""
        return self.options[min(int(u * len(self.options)), len(self.options) - 1)]


@dataclass(frozen=True)
class Ordered:
    """One of several values in a meaningful order, such as powers of two or small to large.

    >>> Ordered([16, 32, 64, 128]).encode(32)
    0.375
    """

    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if isinstance(self.values, str) or not isinstance(self.values, Iterable):
            raise SpaceError(f"Ordered: values must be a list, got {self.values!r}. Use e.g. Ordered([16, 32, 64]).")
        object.__setattr__(self, "values", distinct("Ordered", self.values))

    @property
    def size(self) -> int:
        """How many values there are."""
        return len(self.values)

    def check(self, value: Any) -> Value:
        """Return `value` as this domain holds it; raise SpaceError when it is not among them."""
        return self.values[find(self.values, value)]

    def encode(self, value: Any) -> float:
        """Return the middle of the value's cell in [0, 1]."""
        return (find(self.values, value) + 0.5) / len(self.values)

    def decode(self, u: float) -> Value:
        """Return the value at `u` of [0, 1]."""
        return self.values[min(int(u * len(self.values)), len(self.values) - 1)]


@dataclass(frozen=True)
class Const:
    """A value that is fixed, but belongs to the configuration.

    >>> Const(10).check(10)
    10
    """

    value: Value

    size = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", scalar(self.value, "Const: the value"))

    def check(self, value: Any) -> Value:
        """Return `value`; raise SpaceError when it is not the fixed one."""
        return (self.value,)[find((self.value,), value)]

    def encode(self, value: Any) -> float:
        """Return 0.5: a fixed value has no place to choose."""
        return 0.5

    def decode(self, u: float) -> Value:
        """Return the fixed value."""
        return self.value


Domain = Float | Int | Choice | Ordered | Const


def distinct(kind: str, options: Iterable[Any]) -> tuple[Value, ...]:
    """Return the options as plain scalars; raise SpaceError when there is none or one comes twice."""
    found: list[Value] = []
    for option in options:
        value = scalar(option, f"{kind}: an option")
        if any(same(value, f) for f in found):
            raise SpaceError(f"{kind}: {value!r} is given twice. List every option once.")
        found.append(value)
    if not found:
        raise SpaceError(f'{kind}: no options. Give at least one, e.g. {kind}([1, 2]).')
    return tuple(found)


def find(options: tuple[Value, ...], value: Any) -> int:
    """Return the index of `value` among `options`; raise SpaceError when it is not there."""
    for i, option in enumerate(options):
        if same(option, value):
            return i
    shown = ", ".join(map(repr, options[:10])) + (", ..." if len(options) > 10 else "")
    raise SpaceError(f"got {value!r}, allowed {shown}")

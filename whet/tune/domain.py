"""One hyperparameter's domain: which values it may take, and their place in the unit interval.

A domain is a frozen value. `encode` maps a value into [0, 1] and `decode` maps any number of [0, 1] back, so that a
strategy may work in the unit cube and never see scales, steps or categories. `decode(encode(v)) == v` for every value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from whet.errors import SpaceError, nearest
from whet.tune.number import Float, Int

if TYPE_CHECKING:
    from whet.tune.space import Space

__all__ = ["Choice", "Const", "Domain", "Float", "Int", "Ordered", "Value"]

Value = str | int | float | bool | None


def scalar(value: Any, what: str) -> Value:
    """Return `value` as a plain JSON scalar (NumPy's become Python's); raise SpaceError when it is none."""
    value = plain(value)
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        raise SpaceError(f"{what} must be finite, got {value}.")
    raise SpaceError(
        f"{what} must be text, a number, True, False or None, got {value!r}. Give it a name and look it up in your code."
    )


def plain(value: Any) -> Any:
    """Return a NumPy scalar, or a member of an enumeration of text or numbers, as Python's own; others as they are."""
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind.__str__(value) if kind is str else kind(value)
    return value


def same(a: Any, b: Any) -> bool:
    """Return whether two options are the same one; True and 1 are not, 1 and 1.0 are."""
    a, b = plain(a), plain(b)
    if not (isinstance(a, (str, int, float)) and isinstance(b, (str, int, float))):
        return a is None and b is None
    return a == b and isinstance(a, bool) == isinstance(b, bool)


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
            raise SpaceError(
                f'Choice: options must be a list or a mapping, got {options!r}. Use e.g. Choice(["a", "b"]).'
            )
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


@dataclass(frozen=True, init=False)
class Ordered:
    """One of several values in a meaningful order, such as powers of two or small to large.

    >>> Ordered([16, 32, 64, 128]).encode(32)
    0.375
    """

    values: tuple[Value, ...]

    def __init__(self, values: Iterable[Value]) -> None:
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise SpaceError(f"Ordered: values must be a list, got {values!r}. Use e.g. Ordered([16, 32, 64]).")
        object.__setattr__(self, "values", distinct("Ordered", values))

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
        raise SpaceError(f"{kind}: no options. Give at least one, e.g. {kind}([1, 2]).")
    return tuple(found)


def find(options: tuple[Value, ...], value: Any) -> int:
    """Return the index of `value` among `options`; raise SpaceError when it is not there."""
    bare = plain(value)
    if bare is None or isinstance(bare, (str, int, float)):
        for i, option in enumerate(options):
            if option == bare and isinstance(option, bool) == isinstance(bare, bool):
                return i
    shown = ", ".join(map(repr, options[:10])) + (", ..." if len(options) > 10 else "")
    hint = nearest(value, [o for o in options if isinstance(o, str)]) if isinstance(value, str) else ""
    raise SpaceError(f"got {value!r}, allowed {shown}.{hint}".removesuffix("."))


def values(name: str, domain: Domain) -> Iterator[Value]:
    """Yield every value of a finite domain, in order; raise SpaceError when there is no end of them."""
    match domain:
        case Float():
            raise SpaceError(f"{name}: a real number has endless values, so the space cannot be listed.")
        case Int(low=low, high=high):
            yield from range(low, high + 1)
        case Choice(options=options) | Ordered(values=options):
            yield from options
        case Const(value=value):
            yield value


def domain_json(domain: Domain) -> dict[str, Any]:
    """Return the domain as JSON values."""
    match domain:
        case Float() | Int():
            out: dict[str, Any] = {"type": type(domain).__name__, "low": domain.low, "high": domain.high}
            out |= {"log": True} if domain.log else {}
            out |= {"prior": list(domain.prior)} if domain.prior else {}
            return out | ({"live": True} if domain.live else {})
        case Choice():
            out = {"type": "Choice", "options": list(domain.options)}
            return out | ({"branches": [b and b.json() for b in domain.branches]} if domain.branches else {})
        case Ordered():
            return {"type": "Ordered", "values": list(domain.values)}
        case Const():
            return {"type": "Const", "value": domain.value}


def domain_from_json(data: Mapping[str, Any], space: Callable[[Mapping[str, Any]], Space]) -> Domain:
    """Return the domain that `domain_json` wrote; `space` makes the branches. Raises SpaceError when it cannot be read."""
    rest = {k: v for k, v in data.items() if k != "type"}
    try:
        match data["type"]:
            case "Float":
                return Float(**rest)
            case "Int":
                return Int(**rest)
            case "Choice" if "branches" in rest:
                branches = [b and space(b) for b in rest["branches"]]
                return Choice(dict(zip(rest["options"], branches, strict=True)))
            case "Choice":
                return Choice(rest["options"])
            case "Ordered":
                return Ordered(tuple(rest["values"]))
            case "Const":
                return Const(rest["value"])
    except (KeyError, TypeError) as e:
        raise SpaceError(
            f"space: cannot read the domain {dict(data)} ({e}). It may be from a newer version of whet."
        ) from None
    raise SpaceError(f"space: unknown domain type {data['type']!r}. It may be from a newer version of whet.")

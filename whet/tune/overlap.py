"""What two spaces have in common: the hyperparameters that both search, and what a configuration of one says in the other.

A hyperparameter is the same when it has the same name and there are values that both allow, whatever its scale and kind.
"""

from __future__ import annotations

from typing import Any

from whet.errors import SpaceError
from whet.tune.domain import Choice, Const, Domain, Float, Int, Ordered, Value
from whet.tune.space import Params, Space

__all__ = ["carried", "shared"]


def shared(space: Space, other: Space) -> tuple[str, ...]:
    """Return the names that both spaces search, with values in common.

    >>> a = Space(lr=Float(1e-3, 1.0, log=True), width=Int(8, 64), norm=Choice(["batch", "none"]))
    >>> b = Space(lr=Float(0.1, 10.0), width=Ordered([128, 256]), norm=Choice(["none", "layer"]), k=Int(1, 3))
    >>> shared(a, b)
    ('lr', 'norm')
    """
    theirs: dict[str, list[Domain]] = {}
    for dim in other.dims:
        theirs.setdefault(dim.name, []).append(dim.domain)
    found = (d.name for d in space.dims if any(_meet(d.domain, o) for o in theirs.get(d.name, ())))
    return tuple(dict.fromkeys(found))


def _meet(a: Domain, b: Domain) -> bool:
    """Return whether there is a value that both allow."""
    for one, two in ((a, b), (b, a)):
        listed = one.options if isinstance(one, Choice) else one.values if isinstance(one, Ordered) else None
        if listed is not None:
            return any(_allows(two, v) for v in listed)
    assert isinstance(a, (Float, Int))
    assert isinstance(b, (Float, Int))
    return a.low <= b.high and b.low <= a.high


def _allows(domain: Domain, value: Any) -> bool:
    try:
        domain.check(value)
    except SpaceError:
        return False
    return True


def carried(space: Space, params: Params) -> dict[str, Value] | None:
    """Return what a configuration of another space says in `space`, in its order; None when it lies outside.

    It lies outside when a value is not allowed here, or a constraint does not hold. What only the other space has is left out; what
    only this one has is not there (nor is what hangs on it), except for constants.

    >>> space = Space(lr=Float(1e-3, 1.0, log=True), opt=Choice({"sgd": Space(m=Float(0, 1)), "adam": None}), k=Int(1, 3))
    >>> carried(space, {"lr": 0.1, "opt": "sgd", "opt.m": 0.5, "width": 3})
    {'lr': 0.1, 'opt': 'sgd', 'opt.m': 0.5}
    >>> carried(space, {"lr": 10.0, "opt": "adam"}) is None
    True
    """
    found: dict[str, Value] = {}

    def walk(space: Space, prefix: str) -> bool:
        for name, domain in space.items():
            full = prefix + name
            if full in params:
                try:
                    found[full] = domain.check(params[full])
                except SpaceError:
                    return False
            elif isinstance(domain, Const):
                found[full] = domain.value
            else:
                continue
            branch = domain.branch(found[full]) if isinstance(domain, Choice) else None
            if branch is not None and not walk(branch, f"{full}."):
                return False
        return True

    try:
        return found if walk(space, "") and space.allows(found) else None
    except SpaceError:  # a constraint that cannot be computed of these values
        return None

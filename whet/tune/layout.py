"""What a space looks like when its branches are laid out flat: columns, names, and the rules between values."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from whet.tune.constraint import Constraint
from whet.tune.domain import Choice, Const, Float, Int, Ordered, Value, same, values

if TYPE_CHECKING:
    from whet.tune.space import Space

__all__ = ["Dim", "Rule", "apart", "dims", "listed", "names", "rules", "total"]

When = tuple[tuple[str, Value], ...]


@dataclass(frozen=True)
class Dim:
    """One column of an encoded configuration.

    name: the name in the configuration, dotted inside a branch; when: the choices, outermost first, that must be
    taken for it to exist.

    >>> from whet.tune.space import Space
    >>> [d.name for d in Space(o=Choice({"sgd": Space(m=Float(0, 1)), "adam": None})).dims]
    ['o', 'o.m']
    """

    name: str
    domain: Float | Int | Choice | Ordered
    when: When = ()

    @property
    def varies(self) -> bool:
        """Whether it has more than one value: nothing can be due to one that has not."""
        return self.domain.size != 1


class Rule(NamedTuple):
    """A constraint, what stands before its names, and the choices that must be taken for it to count."""

    constraint: Constraint
    prefix: str
    when: When

    def holds(self, params: Mapping[str, Any]) -> bool:
        """Return whether `params` meet the constraint, or are in another branch."""
        if any(not same(params.get(c), o) for c, o in self.when):
            return True
        return self.constraint.holds(params, self.prefix)


def _walk(space: Space, prefix: str = "", when: When = ()) -> Iterator[tuple[Space, str, When]]:
    """Yield the space and every branch in it, each with what stands before its names and when it exists."""
    yield space, prefix, when
    for name, domain in space.items():
        if isinstance(domain, Choice):
            for option, branch in zip(domain.options, domain.branches, strict=False):
                if branch is not None:
                    yield from _walk(branch, f"{prefix}{name}.", (*when, (prefix + name, option)))


def dims(space: Space) -> tuple[Dim, ...]:
    """Return one `Dim` per column of `encode`, a choice before the members of its branches; `Const` has none."""
    found: list[Dim] = []

    def walk(space: Space, prefix: str, when: When) -> None:
        for name, domain in space.items():
            full = prefix + name
            if isinstance(domain, Const):
                continue
            found.append(Dim(full, domain, when))
            if isinstance(domain, Choice):
                for option, branch in zip(domain.options, domain.branches, strict=False):
                    if branch is not None:
                        walk(branch, full + ".", (*when, (full, option)))

    walk(space, "", ())
    return tuple(found)


def apart(dims: Sequence[Dim]) -> tuple[str, ...]:
    """Return the names of columns, with the option where two branches have the same name, with all options where that is not enough.

    >>> from whet.tune.space import Space
    >>> inner = Choice({"x": Space(m=Float(0, 1))})
    >>> apart(Space(k=Int(1, 3), o=Choice({"s": Space(lr=Float(0, 1)), "t": Space(lr=Float(0, 1))})).dims)
    ('k', 'o', 'o.lr (s)', 'o.lr (t)')
    >>> apart(Space(o=Choice({"s": Space(c=inner), "t": Space(c=inner)})).dims)
    ('o', 'o.c (s)', 'o.c.m (s, x)', 'o.c (t)', 'o.c.m (t, x)')
    """
    found = [dim.name for dim in dims]
    for name in {n for n in found if found.count(n) > 1}:
        at = [j for j, dim in enumerate(dims) if dim.name == name]
        options = [[option for _, option in dims[j].when] for j in at]
        ways = (
            [str(o[-1]) for o in options],
            [", ".join(map(str, o)) for o in options],
            [", ".join(map(json.dumps, o)) for o in options],  # 1 and "1"
        )
        way = next((w for w in ways if len(set(w)) == len(w)), ways[-1])
        for j, said in zip(at, way, strict=True):
            found[j] = f"{name} ({said})"
    return tuple(found)


def names(space: Space) -> tuple[str, ...]:
    """Return every name a configuration may have, constants and branch members included, each once."""
    found: dict[str, None] = {}

    def walk(space: Space, prefix: str) -> None:
        for name, domain in space.items():
            found[prefix + name] = None
            for branch in domain.branches if isinstance(domain, Choice) else ():
                if branch is not None:
                    walk(branch, prefix + name + ".")

    walk(space, "")
    return tuple(found)


def rules(space: Space) -> tuple[Rule, ...]:
    """Return the constraints of the space and of every branch in it."""
    return tuple(Rule(c, prefix, when) for s, prefix, when in _walk(space) for c in s.own)


def total(space: Space) -> int | None:
    """Return how many configurations there are when no constraint counts; None when there is no end of them."""
    product = 1
    for domain in space.values():
        size: int | None = domain.size
        if isinstance(domain, Choice) and domain.branches:
            sizes = [1 if b is None else total(b) for b in domain.branches]
            size = None if None in sizes else sum(s for s in sizes if s is not None)
        if size is None:
            return None
        product *= size
    return product


def listed(space: Space) -> Iterator[dict[str, Value]]:
    """Yield every configuration, in order, whatever the constraints say; raise SpaceError when there is no end of them."""
    axes: list[list[dict[str, Value]]] = []
    for name, domain in space.items():
        axis: list[dict[str, Value]] = []
        for value in values(name, domain):
            branch = domain.branch(value) if isinstance(domain, Choice) else None
            inner = listed(branch) if branch is not None else iter([{}])
            axis += [{name: value, **{f"{name}.{k}": v for k, v in point.items()}} for point in inner]
        axes.append(axis)
    for parts in itertools.product(*axes):
        yield {k: v for part in parts for k, v in part.items()}

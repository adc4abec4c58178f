"""The space of configurations: names and domains, with branches and constraints.

Anything chosen before training is an entry of a `Space`: rates and decays, layers and widths, a loss, a preprocessing
step, an augmentation. There is no second registry for them.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from whet.errors import SpaceError, nearest
from whet.tune.constraint import Constraint
from whet.tune.domain import Choice, Const, Domain, Float, Int, Ordered, Value

__all__ = ["Choice", "Const", "Dim", "Domain", "Float", "Int", "Ordered", "Params", "Space"]

Params = Mapping[str, Value]

_TRIES = 1000  # draws before a constraint is called unsatisfiable
_COUNTED = 100_000  # constrained spaces up to this many points are counted exactly


@dataclass(frozen=True)
class Dim:
    """One column of an encoded configuration.

    name: the name in the configuration, dotted inside a branch; when: the choices, outermost first, that must be
    taken for it to exist.

    >>> [d.name for d in Space(o=Choice({"sgd": Space(m=Float(0, 1)), "adam": None})).dims]
    ['o', 'o.m']
    """

    name: str
    domain: Float | Int | Choice | Ordered
    when: tuple[tuple[str, Value], ...] = ()


class Space(Mapping[str, Domain]):
    """Names and domains of the hyperparameters.

    >>> space = Space(lr=Float(1e-5, 1e-1, log=True), depth=Int(1, 4),
    ...               optimizer=Choice({"sgd": Space(momentum=Float(0, 0.99)), "adam": Space()}))
    >>> params = space.sample(np.random.default_rng(0))
    >>> space.check(params)
    >>> len(space.encode(params)), space.decode(space.encode(params)) == params
    (4, True)
    """

    def __init__(self, **domains: Domain) -> None:
        for name, domain in domains.items():
            if not re.fullmatch(r"[^\W\d]\w*", name):
                raise SpaceError(f"{name!r}: not a name. Use letters, digits and _.")
            if not isinstance(domain, (Float, Int, Choice, Ordered, Const)):
                hint = "Const(...)" if not isinstance(domain, (list, tuple, dict)) else "Choice(...) or Ordered(...)"
                raise SpaceError(
                    f"{name}: must be Float, Int, Choice, Ordered or Const, got {domain!r}. Wrap it, e.g. in {hint}."
                )
        self._domains = domains
        self._constraints: tuple[Constraint, ...] = ()

    # -- the mapping

    def __getitem__(self, name: str) -> Domain:
        return self._domains[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._domains)

    def __len__(self) -> int:
        return len(self._domains)

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and self.json() == other.json()

    def __hash__(self) -> int:
        return hash(tuple(self._domains))

    def __repr__(self) -> str:
        inside = ", ".join(f"{n}={d!r}" for n, d in self._domains.items())
        return f"Space({inside})" + "".join(f'.where("{c.text}")' for c in self._constraints)

    # -- its shape

    @cached_property
    def dims(self) -> tuple[Dim, ...]:
        """One `Dim` per column of `encode`, a choice before the members of its branches; `Const` has none."""
        found: list[Dim] = []

        def walk(space: Space, prefix: str, when: tuple[tuple[str, Value], ...]) -> None:
            for name, domain in space.items():
                full = prefix + name
                if isinstance(domain, Const):
                    continue
                found.append(Dim(full, domain, when))
                if isinstance(domain, Choice):
                    for option, branch in zip(domain.options, domain.branches, strict=False):
                        if branch is not None:
                            walk(branch, full + ".", (*when, (full, option)))

        walk(self, "", ())
        return tuple(found)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every name a configuration may have, constants and branch members included."""
        found: dict[str, None] = {}

        def walk(space: Space, prefix: str) -> None:
            for name, domain in space.items():
                found[prefix + name] = None
                for branch in domain.branches if isinstance(domain, Choice) else ():
                    if branch is not None:
                        walk(branch, prefix + name + ".")

        walk(self, "")
        return tuple(found)

    @cached_property
    def size(self) -> int | None:
        """How many configurations there are, or None when a real number makes them endless.

        With constraints it is exact up to 100,000 points and an upper bound beyond.
        """
        total = 1
        for domain in self._domains.values():
            size = domain.size
            if isinstance(domain, Choice) and domain.branches:
                sizes = [1 if b is None else b.size for b in domain.branches]
                size = None if None in sizes else sum(s for s in sizes if s is not None)
            if size is None:
                return None
            total *= size
        if self._constraints and total <= _COUNTED:
            return sum(1 for _ in self.points())
        return total

    @property
    def constraints(self) -> tuple[str, ...]:
        """The constraints, as written."""
        return tuple(c.text for c in self._constraints)

    def where(self, text: str) -> Space:
        """Return this space with a constraint between its values, e.g. "width * depth <= 2048".

        >>> Space(a=Int(1, 4), b=Int(1, 4)).where("a < b").size
        6
        """
        if not isinstance(text, str):
            raise SpaceError(f'where: a constraint is text, got {text!r}. Use e.g. where("width * depth <= 2048").')
        space = Space(**self._domains)
        space._constraints = (*self._constraints, Constraint(text, self.names))
        return space

    def allows(self, params: Params) -> bool:
        """Return whether every constraint holds for `params`."""
        return all(c.holds(params) for c in self._constraints) if self._constraints else True

    # -- configurations

    def check(self, params: Params) -> None:
        """Raise SpaceError (a ValueError) when `params` are not one configuration of this space."""
        self.clean(params)

    def clean(self, params: Params) -> dict[str, Value]:
        """Return `params` in the order of the space with plain Python values; raise SpaceError as `check` does."""
        found = self._walk(params, None)
        self._known(params, found)
        for c in self._constraints:
            if not c.holds(found):
                raise SpaceError(f'configuration {found}: violates the constraint "{c.text}".')
        return found

    def _known(self, params: Params, found: Mapping[str, Value]) -> None:
        for name in params:
            if name not in found:
                if name in self.names:
                    raise SpaceError(f"{name}: does not exist in this branch; got {_short(params)}. Leave it out.")
                raise SpaceError(
                    f"{name}: no such hyperparameter.{nearest(str(name), self.names)} Allowed: {', '.join(self.names)}."
                )

    def _walk(self, params: Params, rng: np.random.Generator | None) -> dict[str, Value]:
        """Return the configuration that `params` give; what is missing is drawn from `rng`, or refused without one."""
        found: dict[str, Value] = {}

        def walk(space: Space, prefix: str) -> None:
            for name, domain in space.items():
                full = prefix + name
                if full in params:
                    try:
                        value = domain.check(params[full])
                    except SpaceError as e:
                        raise SpaceError(f"{full}: {e}.") from None
                elif rng is None:
                    raise SpaceError(f"{full}: missing; got {_short(params)}. Allowed: {domain!r}.")
                else:
                    value = _draw(domain, full, params, rng)
                found[full] = value
                if isinstance(domain, Choice) and (branch := domain.branch(value)) is not None:
                    walk(branch, full + ".")

        walk(self, "")
        return found

    def sample(self, rng: np.random.Generator) -> dict[str, Value]:
        """Return a configuration drawn evenly over the encoded space, among those the constraints allow."""
        for _ in range(_TRIES):
            params = self.decode(rng.random(len(self.dims)))
            if self.allows(params):
                return params
        raise self._empty()

    def fill(self, partial: Params, rng: np.random.Generator) -> dict[str, Value]:
        """Return a configuration with the given values; the others are drawn.

        Raises SpaceError when a given name or value does not exist, or the constraints leave nothing.

        >>> Space(a=Int(1, 3), b=Const(2)).fill({"a": 3}, np.random.default_rng(0))
        {'a': 3, 'b': 2}
        """
        for _ in range(_TRIES):
            params = self._walk(partial, rng)
            self._known(partial, params)
            if self.allows(params):
                return params
        raise self._empty()

    def _empty(self) -> SpaceError:
        return SpaceError(
            f"space: {_TRIES} draws met no configuration that satisfies {' and '.join(self.constraints)}. Loosen them."
        )

    def points(self) -> Iterator[dict[str, Value]]:
        """Yield every configuration of a finite space, in order; raise SpaceError when it is endless."""
        for params in self._points():
            if self.allows(params):
                yield params

    def _points(self) -> Iterator[dict[str, Value]]:
        axes: list[list[dict[str, Value]]] = []
        for name, domain in self._domains.items():
            axis: list[dict[str, Value]] = []
            for value in _values(name, domain):
                branch = domain.branch(value) if isinstance(domain, Choice) else None
                inner = branch._points() if branch is not None else iter([{}])
                axis += [{name: value, **{f"{name}.{k}": v for k, v in point.items()}} for point in inner]
            axes.append(axis)
        for parts in itertools.product(*axes):
            yield {k: v for part in parts for k, v in part.items()}

    # -- the unit cube

    def encode(self, params: Params) -> np.ndarray:
        """Return `params` as a float array (len(dims),) in [0, 1]; NaN where a dimension does not exist."""
        taken = params.get
        return np.array(
            [
                d.domain.encode(params[d.name]) if all(_is(taken(c), o) for c, o in d.when) else np.nan
                for d in self.dims
            ],
            dtype=float,
        )

    def decode(self, array: Any) -> dict[str, Value]:
        """Return the configuration at a point of the unit cube; columns that do not exist there are ignored."""
        u = [float(x) for x in array]
        if len(u) != len(self.dims):
            raise SpaceError(f"decode: got {len(u)} numbers, the space has {len(self.dims)} dimensions.")
        found: dict[str, Value] = {}
        column = iter(range(len(u)))

        def walk(space: Space, prefix: str, active: bool) -> None:
            for name, domain in space.items():
                full = prefix + name
                if isinstance(domain, Const):
                    if active:
                        found[full] = domain.value
                    continue
                i = next(column)
                if active:
                    if not 0.0 <= u[i] <= 1.0:
                        raise SpaceError(f"{full}: decode needs a number from 0 to 1, got {u[i]}.")
                    found[full] = domain.decode(u[i])
                if isinstance(domain, Choice):
                    for option, branch in zip(domain.options, domain.branches, strict=False):
                        if branch is not None:
                            walk(branch, full + ".", active and _is(found[full], option))

        walk(self, "", True)
        return found

    # -- as JSON

    def json(self) -> dict[str, Any]:
        """Return the space as JSON values, as the journal records it."""
        out: dict[str, Any] = {"domains": {n: _domain_json(d) for n, d in self._domains.items()}}
        if self._constraints:
            out["where"] = list(self.constraints)
        return out

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Space:
        """Return the space that `json` wrote.

        >>> s = Space(a=Int(1, 3), b=Choice({"x": Space(c=Float(0, 1)), "y": None})).where("a < 3")
        >>> Space.from_json(s.json()) == s
        True
        """
        space = cls(**{n: _domain_from_json(d) for n, d in data["domains"].items()})
        for text in data.get("where", ()):
            space = space.where(text)
        return space


def _short(params: Params) -> str:
    return "{" + ", ".join(f"{k}: {v!r}" for k, v in list(params.items())[:6]) + (", ...}" if len(params) > 6 else "}")


def _is(value: Any, option: Value) -> bool:
    return value == option and isinstance(value, bool) == isinstance(option, bool)


def _draw(domain: Domain, name: str, params: Params, rng: np.random.Generator) -> Value:
    if isinstance(domain, Choice) and domain.branches:
        # a given member of a branch says which branches are meant
        given = [n for n in params if n.startswith(name + ".")]
        fits = [
            o
            for o, b in zip(domain.options, domain.branches, strict=True)
            if all(b is not None and n[len(name) + 1 :] in b.names for n in given)
        ]
        if fits:
            return fits[int(rng.integers(len(fits)))]
    return domain.decode(float(rng.random()))


def _values(name: str, domain: Domain) -> Iterator[Value]:
    match domain:
        case Float():
            raise SpaceError(f"{name}: a real number has endless values, so the space cannot be listed.")
        case Int(low=low, high=high):
            yield from range(low, high + 1)
        case Choice(options=options) | Ordered(values=options):
            yield from options
        case Const(value=value):
            yield value


def _domain_json(domain: Domain) -> dict[str, Any]:
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


def _domain_from_json(data: Mapping[str, Any]) -> Domain:
    rest = {k: v for k, v in data.items() if k != "type"}
    match data["type"]:
        case "Float":
            return Float(**rest)
        case "Int":
            return Int(**rest)
        case "Choice" if "branches" in rest:
            branches = [b and Space.from_json(b) for b in rest["branches"]]
            return Choice(dict(zip(rest["options"], branches, strict=True)))
        case "Choice":
            return Choice(rest["options"])
        case "Ordered":
            return Ordered(tuple(rest["values"]))
        case "Const":
            return Const(rest["value"])
    raise SpaceError(f"space: unknown domain type {data['type']!r}. It may be from a newer version of whet.")

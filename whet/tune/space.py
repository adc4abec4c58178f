"""The space of configurations: names and domains, with branches and constraints.

Anything chosen before training is an entry of a `Space`: rates and decays, layers and widths, a loss, a preprocessing
step, an augmentation. There is no second registry for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from whet.errors import SpaceError
from whet.tune import drawn, layout
from whet.tune.constraint import Constraint
from whet.tune.domain import Choice, Const, Domain, Float, Int, Ordered, Value, domain_from_json, domain_json, same
from whet.tune.layout import Dim

__all__ = ["Choice", "Const", "Dim", "Domain", "Float", "Int", "Ordered", "Params", "Space"]

Params = Mapping[str, Value]


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
        self.own: tuple[Constraint, ...] = ()

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
        return f"Space({inside})" + "".join(f'.where("{c.text}")' for c in self.own)

    # -- its shape

    @cached_property
    def dims(self) -> tuple[Dim, ...]:
        """One `Dim` per column of `encode`, a choice before the members of its branches; `Const` has none."""
        return layout.dims(self)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every name a configuration may have, constants and branch members included."""
        return layout.names(self)

    @cached_property
    def _rules(self) -> tuple[layout.Rule, ...]:
        return layout.rules(self)

    @cached_property
    def size(self) -> int | None:
        """How many configurations there are, or None when a real number makes them endless.

        With constraints it is exact up to 100,000 points and an upper bound beyond.
        """
        return sum(1 for _ in self.points()) if self._rules and self._drawn.listable else layout.total(self)

    @property
    def constraints(self) -> tuple[str, ...]:
        """The constraints, as written; those of the branches belong to the branches."""
        return tuple(c.text for c in self.own)

    @property
    def constrained(self) -> bool:
        """Whether there is a constraint, here or in a branch."""
        return bool(self._rules)

    def where(self, text: str) -> Space:
        """Return this space with a constraint between its values, e.g. "width * depth <= 2048".

        >>> Space(a=Int(1, 4), b=Int(1, 4)).where("a < b").size
        6
        """
        if not isinstance(text, str):
            raise SpaceError(f'where: a constraint is text, got {text!r}. Use e.g. where("width * depth <= 2048").')
        space = Space(**self._domains)
        space.own = (*self.own, Constraint(text, self.names))
        return space

    def allows(self, params: Params) -> bool:
        """Return whether every constraint holds for `params`."""
        return all(rule.holds(params) for rule in self._rules)

    # -- configurations

    def check(self, params: Params) -> None:
        """Raise SpaceError (a ValueError) when `params` are not one configuration of this space."""
        self.clean(params)

    def clean(self, params: Params) -> dict[str, Value]:
        """Return `params` in the order of the space with plain Python values; raise SpaceError as `check` does."""
        found = drawn.complete(self, params, None)
        for rule in self._rules:
            if not rule.holds(found):
                raise SpaceError(f'configuration {found}: violates the constraint "{rule.constraint.text}".')
        return found

    def sample(self, rng: np.random.Generator) -> dict[str, Value]:
        """Return a configuration drawn evenly over the encoded space, among those the constraints allow.

        Raises SpaceError when they allow none.
        """
        return self._drawn.sample(rng)

    def fill(self, partial: Params, rng: np.random.Generator) -> dict[str, Value]:
        """Return a configuration with the given values; the others are drawn.

        Raises SpaceError when a given name or value does not exist, or the constraints leave nothing.

        >>> Space(a=Int(1, 3), b=Const(2)).fill({"a": 3}, np.random.default_rng(0))
        {'a': 3, 'b': 2}
        """
        return self._drawn.fill(partial, rng)

    @cached_property
    def _drawn(self) -> drawn.Drawn:
        return drawn.Drawn(self)

    def points(self) -> Iterator[dict[str, Value]]:
        """Yield every configuration of a finite space, in order; raise SpaceError when it is endless."""
        for params in layout.listed(self):
            if self.allows(params):
                yield params

    # -- the unit cube

    def encode(self, params: Params) -> np.ndarray:
        """Return `params` as a float array (len(dims),) in [0, 1]; NaN where a dimension does not exist."""
        taken = params.get
        try:
            row = [
                d.domain.encode(params[d.name]) if all(same(taken(c), o) for c, o in d.when) else np.nan
                for d in self.dims
            ]
        except (KeyError, TypeError, ValueError) as e:
            self.check(params)  # says what is wrong with them
            raise SpaceError(f"encode: {e}") from e
        return np.array(row, dtype=float)

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
                            walk(branch, full + ".", active and same(found[full], option))

        walk(self, "", True)
        return found

    # -- as JSON

    def json(self) -> dict[str, Any]:
        """Return the space as JSON values, as the journal records it."""
        out: dict[str, Any] = {"domains": {n: domain_json(d) for n, d in self._domains.items()}}
        if self.own:
            out["where"] = list(self.constraints)
        return out

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Space:
        """Return the space that `json` wrote.

        >>> s = Space(a=Int(1, 3), b=Choice({"x": Space(c=Float(0, 1)), "y": None})).where("a < 3")
        >>> Space.from_json(s.json()) == s
        True
        """
        if not isinstance(data, Mapping) or "domains" not in data:
            raise SpaceError(f"space: cannot read {data!r}. It may be from a newer version of whet.")
        space = cls(**{n: domain_from_json(d, cls.from_json) for n, d in data["domains"].items()})
        for text in data.get("where", ()):
            space = space.where(text)
        return space

"""Configurations out of what is given of them: completed, and drawn among those that the constraints of a space allow."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from whet.errors import SpaceError, nearest
from whet.tune import layout
from whet.tune.domain import Choice, Domain, Value, same

if TYPE_CHECKING:
    from whet.tune.space import Params, Space

__all__ = ["Drawn", "complete"]

_TRIES = 1000  # draws before what the constraints allow is listed
_LONG = 20_000  # draws in a space too large for that before its constraints are called unsatisfiable
_COUNTED = 100_000  # spaces up to this many points, constraints aside, are listed


def complete(space: Space, params: Params, rng: np.random.Generator | None) -> dict[str, Value]:
    """Return the configuration that `params` give, constraints aside; what is missing is drawn from `rng`, or refused without one.

    Raises SpaceError when a name or value does not exist.
    """
    if not isinstance(params, Mapping):
        raise SpaceError(
            f"configuration: must be a mapping of names to values, got {params!r}. Use e.g. {{'lr': 0.1}}."
        )
    found: dict[str, Value] = {}

    def walk(space: Space, prefix: str) -> None:
        for name, domain in space.items():
            full = prefix + name
            if full in params:
                try:
                    value = domain.check(params[full])
                except SpaceError as e:
                    raise SpaceError(f"{full}: {e}" + ("" if str(e).endswith("?") else ".")) from None
            elif rng is None:
                raise SpaceError(f"{full}: missing; got {_short(params)}. Allowed: {domain!r}.")
            else:
                value = _draw(domain, full, params, rng)
            found[full] = value
            if isinstance(domain, Choice) and (branch := domain.branch(value)) is not None:
                walk(branch, full + ".")

    walk(space, "")
    for name in params:
        if name not in found:
            if name in space.names:
                raise SpaceError(f"{name}: does not exist in this branch, got {_short(params)}. Leave it out.")
            raise SpaceError(
                f"{name}: no such hyperparameter.{nearest(str(name), space.names)} Allowed: {', '.join(space.names)}."
            )
    return found


class Drawn:
    """Draws from one space.

    Where constraints leave so little that draws hardly meet it, what they leave is listed, if the space is small enough for that.
    """

    def __init__(self, space: Space) -> None:
        self._space = space

    @cached_property
    def listable(self) -> bool:
        """Whether all configurations can be listed, constraints aside."""
        total = layout.total(self._space)
        return total is not None and total <= _COUNTED

    @cached_property
    def _rare(self) -> bool:
        """Whether draws would hardly ever meet what the constraints allow."""
        space = self._space
        return space.constrained and self.listable and (space.size or 0) * _TRIES < (layout.total(space) or 0)

    @cached_property
    def _few(self) -> list[dict[str, Value]]:
        return list(self._space.points()) if self.listable else []

    def sample(self, rng: np.random.Generator) -> dict[str, Value]:
        """Return a configuration drawn evenly over the encoded space, among those the constraints allow."""
        for _ in range(0 if self._rare else _TRIES if self.listable else _LONG):
            params = self._space.decode(rng.random(len(self._space.dims)))
            if self._space.allows(params):
                return params
        return self._listed({}, rng)

    def fill(self, partial: Params, rng: np.random.Generator) -> dict[str, Value]:
        """Return a configuration with the given values; the others are drawn."""
        for _ in range(_TRIES if self.listable else _LONG):
            params = complete(self._space, partial, rng)
            if self._space.allows(params):
                return params
            if len(params) == len(partial):
                return self._space.clean(partial)  # nothing was drawn: say which constraint it is
        return self._listed({name: params[name] for name in partial}, rng)

    def _listed(self, given: Params, rng: np.random.Generator) -> dict[str, Value]:
        """Return one of the configurations with the given values that draws did not meet; raise SpaceError when there is none."""
        free = [p for p in self._few if all(n in p and same(p[n], v) for n, v in given.items())]
        if free:
            return dict(free[int(rng.integers(len(free)))])
        none = "no configuration" if self.listable else f"{_LONG} draws met no configuration that"
        raise SpaceError(
            f"space: {none} satisfies {' and '.join(r.constraint.text for r in layout.rules(self._space))}. Loosen them."
        )


def _short(params: Params) -> str:
    return "{" + ", ".join(f"{k}: {v!r}" for k, v in list(params.items())[:6]) + (", ...}" if len(params) > 6 else "}")


def _draw(domain: Domain, name: str, params: Params, rng: np.random.Generator) -> Value:
    if isinstance(domain, Choice) and domain.branches:
        # a given member of a branch says which branches are meant
        given = {n[len(name) + 1 :]: v for n, v in params.items() if n.startswith(name + ".")}
        fits = [o for o, b in zip(domain.options, domain.branches, strict=True) if not given or _takes(b, given)]
        if fits:
            return fits[int(rng.integers(len(fits)))]
    return domain.decode(float(rng.random()))


def _takes(branch: Space | None, given: Params) -> bool:
    """Return whether `given` can be part of a configuration of `branch`, constraints aside."""
    if branch is None:
        return False
    try:
        complete(branch, given, np.random.default_rng(0))
    except SpaceError:
        return False
    return True

"""Another configuration near a good one: what may change while training goes on is perturbed or drawn anew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whet.tune.domain import Float, Int, Value, same
from whet.tune.space import Params, Space

__all__ = ["explore", "live"]

_TRIES = 50  # draws until one changes something and keeps the constraints


def live(space: Space, params: Params | None = None) -> dict[str, Float | Int]:
    """Return the domains of a space that may change while training goes on, by name; of `params`, those that it has.

    >>> list(live(Space(lr=Float(0, 1, live=True), width=Int(1, 9))))
    ['lr']
    """
    return {
        d.name: d.domain
        for d in space.dims
        if isinstance(d.domain, (Float, Int))
        and d.domain.live
        and (params is None or all(c in params and same(params[c], o) for c, o in d.when))
    }


def explore(
    space: Space, params: Params, rng: np.random.Generator, *, factors: Sequence[float], resample: float
) -> dict[str, Value]:
    """Return `params` with each live value times one of the `factors`, or, with probability `resample`, drawn anew.

    What leaves its domain is put back to its end; a whole number that a factor does not move goes one further, and 0, which no
    factor moves, is drawn anew. A draw that breaks a constraint of the space, or changes nothing, is made again; when none
    is left the values stay as they are.

    >>> space = Space(lr=Float(1e-4, 1.0, log=True, live=True), width=Int(1, 9))
    >>> explore(space, {"lr": 0.1, "width": 3}, np.random.default_rng(0), factors=(0.5,), resample=0.0)
    {'lr': 0.05, 'width': 3}
    """
    domains = live(space, params)
    for _ in range(_TRIES):
        found = dict(params)
        for name, domain in domains.items():
            anew, which, at = rng.random(), int(rng.integers(len(factors))), float(rng.random())
            if anew < resample or (found[name] == 0 and factors[which] != 1):
                found[name] = domain.decode(at)
            else:
                found[name] = _moved(domain, found[name], factors[which])
        if found != params and space.allows(found):
            return found
    return dict(params)


def _moved(domain: Float | Int, value: Value, factor: float) -> float | int:
    """Return a value times a factor, inside its domain."""
    assert isinstance(value, (int, float))
    moved = value * factor
    if isinstance(domain, Int):
        whole = round(moved)
        if whole == value and moved != value:
            whole += 1 if moved > value else -1
        return min(max(whole, domain.low), domain.high)
    return min(max(moved, domain.low), domain.high)

"""Points that fill a space evenly, some of them where a person believes the best is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from whet import seed as keyed
from whet.tune.space import Params, Space

__all__ = ["DIMENSIONS", "believed", "design", "has_priors", "sequence"]

DIMENSIONS = 21_201  # the direction numbers SciPy has
_BLOCK = 64  # points made at a time; a power of two keeps the sequence balanced


def has_priors(space: Space) -> bool:
    """Return whether any number of `space` has a prior.

    >>> from whet.tune.space import Float
    >>> has_priors(Space(x=Float(0, 1))), has_priors(Space(x=Float(0, 1, prior=(0.8, 0.05))))
    (False, True)
    """
    return any(getattr(x.domain, "prior", None) is not None for x in space.dims)


def believed(space: Space, rng: np.random.Generator) -> Params:
    """Return a configuration drawn from the priors of `space`, evenly where there are none; it may be one that is not allowed."""
    from whet.tune.search.model.belief import Belief  # loads SciPy, which only this needs
    from whet.tune.search.model.cube import Cube

    cube = Cube(space)
    return space.decode(Belief(cube).follow(rng.random((1, cube.d)))[0])


def design(space: Space, *, seed: int) -> Iterator[Params | None]:
    """Yield the points of a Sobol sequence (at least one dimension, at most 21,201), without end.

    When the space has priors: first the most likely configuration, then in turn a point of that sequence and one of another that
    follows the priors. None stands for a point that the space does not allow.

    >>> from itertools import islice
    >>> from whet.tune.space import Float
    >>> [round(p["x"], 2) for p in islice(design(Space(x=Float(0, 1, prior=(0.8, 0.05))), seed=0), 5)]
    [0.8, 0.7, 0.91, 0.08, 0.76]
    """
    from whet.tune.search.model.belief import Belief
    from whet.tune.search.model.cube import Cube

    cube = Cube(space)
    belief = Belief(cube)
    even, likely = (sequence(cube.d, seed, of) for of in ("sobol", "prior"))
    if belief.any:
        yield _allowed(space, belief.likely)
    while True:
        yield _allowed(space, next(even))
        if belief.any:
            yield _allowed(space, belief.follow(next(likely)[None])[0])


def _allowed(space: Space, point: np.ndarray) -> Params | None:
    params = space.decode(point)
    return params if space.allows(params) else None


def sequence(d: int, seed: int, of: str) -> Iterator[np.ndarray]:
    """Yield the points (d,) of a scrambled Sobol sequence; of: what it is for, so that two are not the same."""
    from scipy.stats import qmc  # half a second of import that only this needs

    engine = qmc.Sobol(d, scramble=True, rng=keyed.rng(seed, of))
    while True:
        yield from engine.random(_BLOCK)

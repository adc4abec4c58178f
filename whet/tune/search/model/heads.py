"""A controller over a space: for every dimension a head of its own, a softmax over options or a normal distribution, and their gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from whet.tune.domain import Ordered
from whet.tune.search.model.cube import Cube

__all__ = ["Drawn", "Heads", "Params"]

_FLAT = math.log(2 * math.pi)


@dataclass(frozen=True)
class Params:
    """What a controller has learnt. logits (k, w): of the choices' options, -inf beyond as many as a choice has; mean, log_sd (n,): of
    the numbers, in places of the unit cube.
    """

    logits: np.ndarray
    mean: np.ndarray
    log_sd: np.ndarray


@dataclass(frozen=True)
class Drawn:
    """What a controller was told or has drawn. taken (k,): numbers of options, -1 where the choice does not exist; raw (n,): numbers before
    they were moved into [0, 1], NaN where the number does not exist.
    """

    taken: np.ndarray
    raw: np.ndarray


class Heads:
    """The heads of a space: choices, numbers: their columns. Ordered values are options as those of a choice are.

    A head counts where its dimension exists: the chance of a configuration is the product of those of its own dimensions.

    >>> from whet.tune.space import Choice, Float, Space
    >>> heads = Heads(Cube(Space(o=Choice({"sgd": Space(m=Float(0, 1)), "adam": None}))))
    >>> p = heads.first(0.25)
    >>> some = [heads.of(np.array(row)) for row in ([0.25, 0.5], [0.75, np.nan])]
    >>> [round(heads.logp(p, d), 4) for d in some]
    [-0.2258, -0.6931]
    """

    def __init__(self, cube: Cube) -> None:
        self.cube = cube
        several = [levels is None or len(levels) > 1 for levels in cube.levels]
        listed = [bool(o) or isinstance(x.domain, Ordered) for o, x in zip(cube.options, cube.dims, strict=True)]
        self.choices = np.array([j for j in range(cube.d) if several[j] and listed[j]], int)
        self.numbers = np.array([j for j in range(cube.d) if several[j] and not listed[j]], int)
        sizes = [len(cube.levels[j]) for j in self.choices]
        self._width = max(sizes, default=1)
        self._none = np.arange(self._width) >= np.array(sizes, int)[:, None]  # (k, w): no option
        # a distribution over whole numbers that is narrower than a quarter of one draws nothing else any more
        cells = [0.0 if cube.levels[j] is None else 0.25 / len(cube.levels[j]) for j in self.numbers]
        self.narrowest = np.log(np.maximum(1e-3, np.array(cells, float)))

    def first(self, sd: float) -> Params:
        """Return what nothing has been learnt of: options equally likely, numbers around the middle, or where they are believed to be."""
        priors = [getattr(self.cube.dims[j].domain, "prior", None) for j in self.numbers]
        domains = [self.cube.dims[j].domain for j in self.numbers]
        mean = [0.5 if p is None else d.encode(p[0]) for p, d in zip(priors, domains, strict=True)]
        spread = [sd if p is None else min(sd, max(p[1], 0.02)) for p in priors]
        logits = np.where(self._none, -np.inf, 0.0)
        return Params(logits, np.array(mean, float), np.log(np.array(spread, float)))

    def of(self, row: np.ndarray, raw: np.ndarray | None = None) -> Drawn:
        """Return what a row (d,) of a cube means, NaN where nothing exists; raw: its numbers before they were moved, where they are known."""
        there = ~np.isnan(row[self.choices])
        levels = [
            self.cube.index(row[j : j + 1], int(j))[0] if ok else -1 for j, ok in zip(self.choices, there, strict=True)
        ]
        numbers = row[self.numbers]
        if raw is not None:
            numbers = np.where(np.isnan(numbers), np.nan, raw)
        return Drawn(np.array(levels, int), numbers)

    def draw(self, p: Params, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return a point (d,) and raw numbers (n,); what lies beyond the end of a range is moved to the end."""
        point = np.full(self.cube.d, 0.5)
        raw = p.mean + np.exp(p.log_sd) * rng.standard_normal(len(p.mean))
        raw = raw.round(9)  # as the journal has it
        point[self.numbers] = np.clip(raw, 0.0, 1.0)
        total = np.cumsum(self.chances(p), axis=1)
        options = (total < rng.random(len(total))[:, None]).sum(1)
        for i, j in enumerate(self.choices):
            levels = self.cube.levels[j]
            assert levels is not None
            point[j] = levels[min(int(options[i]), len(levels) - 1)]
        return point, raw

    def chances(self, p: Params) -> np.ndarray:
        """Return the chances (k, w) of options."""
        e = np.exp(p.logits - p.logits.max(1, keepdims=True))
        out: np.ndarray = e / e.sum(1, keepdims=True)
        return out

    def logp(self, p: Params, d: Drawn) -> float:
        """Return the logarithm of the chance of a draw; of numbers its density."""
        there, known = d.taken >= 0, ~np.isnan(d.raw)
        at = np.log(np.maximum(self.chances(p)[np.flatnonzero(there), d.taken[there]], 1e-300)).sum()
        z = (d.raw[known] - p.mean[known]) / np.exp(p.log_sd[known])
        return float(at - (0.5 * z**2 + p.log_sd[known] + 0.5 * _FLAT).sum())

    def even(self, d: Drawn) -> float:
        """Return the same when options are equally likely and numbers spread evenly over their range."""
        sizes = (~self._none).sum(1)
        return -float(np.log(sizes[d.taken >= 0]).sum())

    def gradient(self, p: Params, d: Drawn) -> Params:
        """Return the gradient of `logp`, in logits, means and logarithms of deviations; 0 where nothing exists."""
        there, known = d.taken >= 0, ~np.isnan(d.raw)
        logits = np.where(there[:, None], -self.chances(p), 0.0)
        logits[np.flatnonzero(there), d.taken[there]] += 1.0
        sd = np.exp(p.log_sd)
        z = np.where(known, (np.where(known, d.raw, 0.0) - p.mean) / sd, 0.0)
        return Params(logits, z / sd, np.where(known, z**2 - 1.0, 0.0))

    def entropy(self, p: Params, d: Drawn) -> float:
        """Return the sum of the entropies of the heads that made a draw."""
        there, known = d.taken >= 0, ~np.isnan(d.raw)
        q = self.chances(p)[there]
        return float(-(q * np.log(np.maximum(q, 1e-300))).sum() + (p.log_sd[known] + 0.5 * (1 + _FLAT)).sum())

    def entropy_gradient(self, p: Params, d: Drawn) -> Params:
        """Return the gradient of `entropy`, as that of `logp`."""
        there, known = d.taken >= 0, ~np.isnan(d.raw)
        q = self.chances(p)
        log = np.log(np.maximum(q, 1e-300))
        h = -(q * log).sum(1, keepdims=True)
        return Params(np.where(there[:, None], -q * (log + h), 0.0), np.zeros(len(p.mean)), known.astype(float))

    def wider(self, p: Params, times: float) -> Params:
        """Return the heads with numbers spread so many times wider, and options so much nearer to equally likely."""
        even = 1.0 - 1.0 / times
        sizes = (~self._none).sum(1, keepdims=True)
        mixed = (1.0 - even) * self.chances(p) + even / sizes
        logits = np.where(self._none, -np.inf, np.log(np.maximum(mixed, 1e-300)))
        return Params(logits, p.mean, p.log_sd + math.log(times))

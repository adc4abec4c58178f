"""What evolution samples from: a normal distribution over the numbers of a space, and chances of the options of each choice."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from whet import seed as keyed
from whet.tune.search.model.covariance import Normal, adapted, rates, sized
from whet.tune.search.model.cube import Cube
from whet.tune.search.model.margin import cell, kept_apart

__all__ = ["Columns", "Mixture"]

_LEARNT = 0.3  # how far the chances of options move in a generation towards those of its best points
_MIXED = 0.73  # the chance that no choice of a point leaves its most likely option, at most
_FINE = 1e-5  # the step, in ranges, below which the search begins again elsewhere
_LONG = 1e14  # the condition of the matrix beyond which it does
_ROUND = 9  # decimals of places, so that they are what the journal has


class Columns:
    """Which columns of a cube are numbers and which are choices; those with one value only are neither.

    numbers, choices: the columns; listed: place among the numbers -> the ends between the cells of its values; free: whether
    each of the numbers is not listed; spread (n,): how wide a person believes the place of the best to be, in steps of `step`.

    >>> from whet.tune.space import Choice, Float, Int, Space
    >>> columns = Columns(Cube(Space(x=Float(0, 1), k=Int(1, 2), c=Choice(["a", "b"]))), 0.2)
    >>> columns.numbers.tolist(), columns.choices.tolist(), columns.listed
    ([0, 1], [2], {1: array([0.5])})
    """

    def __init__(self, cube: Cube, step: float) -> None:
        self.cube = cube
        several = [levels is None or len(levels) > 1 for levels in cube.levels]
        self.numbers = np.array([j for j in range(cube.d) if several[j] and not cube.options[j]], int)
        self.choices = np.array([j for j in range(cube.d) if several[j] and cube.options[j]], int)
        self.listed = {i: cube.edges[j][1:-1] for i, j in enumerate(self.numbers) if cube.levels[j] is not None}
        self.free = np.array([i not in self.listed for i in range(len(self.numbers))], bool)
        priors = [getattr(cube.dims[j].domain, "prior", None) for j in self.numbers]
        self.spread = np.array([1.0 if p is None else min(1.0, p[1] / step) for p in priors], float)

    def points(self, raw: np.ndarray, options: np.ndarray, normal: Normal) -> np.ndarray:
        """Return the points (k, d) of the cube that numbers (k, n), as `Mixture.draw` gives them, and numbers of options (k, c) mean."""
        out = np.full((len(raw), self.cube.d), 0.5)
        out[:, self.numbers] = raw
        for i, inner in self.listed.items():
            j = self.numbers[i]
            spread = normal.mean[i] + normal.widened[i] * (raw[:, i] - normal.mean[i])
            out[:, j] = self.cube.levels[j][cell(inner, spread)]
        for i, j in enumerate(self.choices):
            out[:, j] = (options[:, i] + 0.5) / self.cube.options[j]
        return out


@dataclass(frozen=True)
class Mixture:
    """normal: of the numbers; chances: of the options of each choice; size: points of a generation; restarts: how often it began again."""

    normal: Normal
    chances: tuple[np.ndarray, ...]
    size: int
    restarts: int = 0

    @classmethod
    def first(cls, columns: Columns, rows: np.ndarray, step: float, size: int | None) -> Mixture:
        """Return the distribution around the best of rows (k, d) of the first trials, the best first; options as they did, mixed with equal chances."""
        size = size or sized(columns.cube.d)
        best = rows[0, columns.numbers]
        mean = np.where(np.isnan(best), 0.5, best)
        chances = [np.full(columns.cube.options[j], 1.0 / columns.cube.options[j]) for j in columns.choices]
        made = cls(Normal.at(mean, step, columns.spread), tuple(chances), size)
        return made._choose(columns, rows)._apart(columns)

    def draw(
        self, columns: Columns, rng: np.random.Generator, count: int, wider: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return numbers (k, n) and points (k, d). wider: how many times the distribution's own width they are spread.

        What lies beyond the end of a range is drawn once more, and then moved to the end: so an end where the best lies is met, and one
        where it does not is not met too often.
        """
        n = len(self.normal.mean)
        raw, other = (self.normal.draw(wider * rng.standard_normal((count, n))) for _ in range(2))
        beyond = (columns.free & ((raw < 0.0) | (raw > 1.0))).any(1)
        raw[beyond] = other[beyond]
        raw = np.round(np.where(columns.free, np.clip(raw, 0.0, 1.0), raw), _ROUND)
        options = np.zeros((count, len(self.chances)), int)
        for i, p in enumerate(self.chances):
            even = (wider - 1.0) / wider
            total = np.cumsum((1 - even) * p + even / len(p))
            options[:, i] = np.minimum(np.searchsorted(total, rng.random(count), side="right"), len(p) - 1)
        return raw, columns.points(raw, options, self.normal)

    def after(
        self, columns: Columns, numbers: np.ndarray, rows: np.ndarray, *, failed: int, seed: int, step: float
    ) -> Mixture:
        """Return the distribution after a generation of numbers (size, n) and rows (size, d), the best first, the last `failed` of which failed.

        A failed one is behind all others; where it would pull the mean for want of better ones, it counts as the mean itself.
        """
        n = len(self.normal.mean)
        normal = self.normal
        if n:
            best = rates(n, self.size).best
            ranked = numbers.copy()
            if self.size - failed < best:
                ranked[self.size - failed : best] = normal.mean
            normal = adapted(normal, ranked)
        new = replace(self, normal=normal)
        new = new._choose(columns, rows[: self.size - failed])._apart(columns)
        return new._again(columns, seed, step) if new._spent(columns) else new

    def _choose(self, columns: Columns, rows: np.ndarray) -> Mixture:
        """Return it with chances moved towards the options of rows, the best first."""
        if not self.chances or not len(rows):
            return self
        rows = rows[: self.size // 2]
        weights = rates(1, self.size).weights[: len(rows)]
        out = []
        for p, j in zip(self.chances, columns.choices, strict=True):
            there = ~np.isnan(rows[:, j])  # where its branch was taken
            taken = columns.cube.index(rows[there, j], j)
            w = weights[there]
            seen = np.bincount(taken, w, len(p)) - w.sum() * p
            least = (1 - _MIXED ** (1 / len(self.chances))) / (len(p) - 1)
            q = np.maximum(p + _LEARNT * seen, least)
            over = q - least
            out.append(
                least + over * (1 - least * len(p)) / over.sum() if over.sum() > 0 else np.full(len(p), 1 / len(p))
            )
        return replace(self, chances=tuple(out))

    def _apart(self, columns: Columns) -> Mixture:
        n = len(self.normal.mean)
        moved = kept_apart(self.normal, columns.listed, 1.0 / (n * self.size)) if n else self.normal
        return replace(self, normal=moved)

    def _spent(self, columns: Columns) -> bool:
        """Return whether there is nothing left to find here, or nothing can be told any more."""
        small = self.normal.deviations[columns.free] < _FINE
        return bool(len(small) and small.all()) or self.normal.condition > _LONG

    def _again(self, columns: Columns, seed: int, step: float) -> Mixture:
        """Return a distribution somewhere else, with generations twice as large (Auger and Hansen 2005, "IPOP")."""
        restarts = self.restarts + 1
        mean = keyed.rng(seed, "cma", restarts).random(len(self.normal.mean)).round(_ROUND)
        chances = tuple(np.full(len(p), 1.0 / len(p)) for p in self.chances)
        return Mixture(Normal.at(mean, step), chances, 2 * self.size, restarts)._apart(columns)

"""Regularised evolution as published, for comparison: random at first, children trained whether or not somebody was trained with the same values."""

from __future__ import annotations

from collections import deque

import numpy as np

import whet
from peers.flat import configuration, unconstrained
from whet.tune.domain import Domain, Value

POPULATION, SAMPLE = 10, 3  # as in Dong and Yang 2020, "NAS-Bench-201", for budgets of about a hundred trainings


class Aging:
    """Real et al. 2019, algorithm 1: the best of a sample has a child with one other value, any of its domain, and the oldest dies.

    It is written from the paper and shares nothing with whet's searcher but the domains. A failure is worse than any value.
    """

    def __init__(self, space: whet.Space, seed: int, evaluations: int) -> None:
        self.space = unconstrained(space)
        self._rng = np.random.default_rng(seed)
        self._alive: deque[tuple[float, dict[str, Value]]] = deque()
        self._genes: dict[str, Value] = {}

    def ask(self) -> dict[str, Value]:
        rng, genes, mutated = self._rng, {}, ""
        if len(self._alive) == POPULATION:
            drawn = [self._alive[int(rng.integers(POPULATION))] for _ in range(SAMPLE)]
            genes = dict(min(drawn, key=lambda member: member[0])[1])
            mutated = list(genes)[int(rng.integers(len(genes)))]
        self._genes = {}

        def take(label: str, domain: Domain) -> Value:
            if label not in genes:
                value = domain.decode(rng.random())
            elif label != mutated:
                value = genes[label]
            else:
                value = genes[label]
                while domain.encode(value) == domain.encode(genes[label]):
                    value = domain.decode(rng.random())
            self._genes[label] = value
            return value

        return configuration(self.space, take)

    def tell(self, value: float) -> None:
        self._alive.append((value if value == value else np.inf, self._genes))
        if len(self._alive) > POPULATION:
            self._alive.popleft()

    def close(self) -> None:
        pass

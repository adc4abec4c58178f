"""One number for what a column has to do with the target, against SciPy and against chance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from whet.data.seen.relation import relation

SEEDS = [0, 1, 2]


@pytest.mark.parametrize("seed", SEEDS)
def test_numbers_and_numbers_are_spearmans(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 20, 200).astype(float)
    y = -x + 4 * rng.normal(size=200)
    assert relation(x, y, classes=False) == pytest.approx(abs(stats.spearmanr(x, y).statistic))


@pytest.mark.parametrize("seed", SEEDS)
def test_categories_and_classes_are_cramers_less_chance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, 2000)
    x = np.where(rng.random(2000) < 0.5, y, rng.integers(0, 5, 2000))
    table = stats.contingency.crosstab(x, y).count
    plain = stats.contingency.association(table, method="cramer")
    phi = plain**2 * 2 - 4 * 2 / 1999
    least = min(5 - 16 / 1999, 3 - 4 / 1999) - 1
    assert relation(x, y, ordered=False) == pytest.approx(np.sqrt(phi / least))


@pytest.mark.parametrize("seed", SEEDS)
def test_numbers_and_classes_are_kruskals_epsilon(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, 300)
    x = y + 2 * rng.normal(size=300)
    h = stats.kruskal(*(x[y == c] for c in range(4))).statistic
    epsilon = (h - 4 + 1) / (300 - 4)
    assert relation(x, y) == pytest.approx(np.sqrt(epsilon))
    assert relation(y, x, ordered=False, classes=False) == pytest.approx(np.sqrt(epsilon))


@pytest.mark.parametrize("ordered", [True, False])
def test_chance_gives_little_however_many_values(ordered: bool) -> None:
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        found.append(relation(rng.integers(0, 150, 300), rng.integers(0, 3, 300), ordered=ordered))
    assert np.mean(found) < 0.1
    assert relation(np.arange(300), np.arange(300) % 3, ordered=False) == 0.0


def test_missing_numbers_are_left_out_and_constants_say_nothing() -> None:
    y = np.arange(40) % 2
    x = np.where(np.arange(40) < 20, np.nan, y)
    assert relation(x, y) == pytest.approx(1.0)
    assert relation(np.zeros(40), y) == relation(x[:25], y[:25]) == 0.0

"""Series of losses: blocks, slopes against SciPy, deviations by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from whet.checks.trend import Blocks, far, slope, slope_interval


@pytest.mark.parametrize("n", [1, 63, 64, 65, 1000, 12345])
def test_blocks_are_means_of_equal_parts(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    blocks = Blocks()
    for v in values:
        blocks.add(float(v))
    k = len(blocks.means)
    assert blocks.n == n
    assert k < 64
    assert n < 64 or k >= 32
    assert blocks.means == pytest.approx(values[: k * blocks.size].reshape(k, blocks.size).mean(1).tolist())
    assert n - k * blocks.size < blocks.size
    start = values[:20]
    assert blocks.first == pytest.approx((start.mean(), start.std(ddof=1) if n > 1 else 0.0, len(start)))
    again = Blocks()
    again.load(blocks.state())
    for v in values[:70]:
        blocks.add(float(v))
        again.add(float(v))
    assert again.state() == blocks.state()


@pytest.mark.parametrize("seed", range(5))
def test_slope_is_scipys(seed: int) -> None:
    y = np.random.default_rng(seed).normal(size=23).cumsum()
    assert slope(y.tolist()) == pytest.approx(stats.theilslopes(y).slope)


def test_the_interval_covers_as_it_says() -> None:
    """True slope 0.02 under noise of 1 over 40 blocks: the interval holds it in about 95 % of 200 series."""
    held = 0
    for seed in range(200):
        y = 0.02 * np.arange(40) + np.random.default_rng(seed).normal(size=40)
        low, high = slope_interval(y.tolist(), seed=seed)
        held += low <= 0.02 <= high
    assert 0.88 <= held / 200 <= 0.99


def test_far_is_the_distance_in_deviations() -> None:
    history = np.random.default_rng(0).normal(size=51)
    mad = stats.median_abs_deviation(history)
    assert far(history.tolist(), 3.0) == pytest.approx((3.0 - np.median(history)) / mad)
    assert far([1.0, 1.0, 1.0], 1.0) == 0.0
    assert far([1.0, 1.0, 1.0], 2.0) == np.inf
    assert far([1.0, 1.0, 1.0], 0.0, least=0.5) == -2.0

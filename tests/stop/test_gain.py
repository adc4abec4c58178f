"""`expected_gain` against what going on really brought, on simulated studies whose distribution is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from whet.stop import Gain, Reading, curve, expected_gain

# how a random search's values (true, without noise) are distributed
KINDS = {
    "square of 2": lambda r, n: (r.uniform(-1, 1, (n, 2)) ** 2).sum(1),
    "square of 6": lambda r, n: (r.uniform(-1, 1, (n, 6)) ** 2).sum(1),
    "normal": lambda r, n: r.normal(0, 0.3, n),
    "one in five good": lambda r, n: np.where(r.random(n) < 0.2, r.normal(0, 0.05, n), r.normal(1, 0.05, n)),
    "flat": lambda r, n: np.full(n, 0.5),
}
MOST = 400


def stops(kind: str, noise: float, seed: int) -> tuple[int, float]:
    """Return when a study is stopped (MOST + 1: never), and what as many trials again would gain on average then.

    The gain is one of true values: of what would be chosen by the values seen, after and before.
    """
    r = np.random.default_rng(seed)
    true = KINDS[kind](r, MOST)
    seen = true + r.normal(0, noise, MOST)
    for n in range(20, MOST + 1):
        if expected_gain(seen[:n]) < noise:
            best, chosen, gains = seen[:n].min(), true[np.argmin(seen[:n])], []
            for _ in range(200):
                more = KINDS[kind](r, n)
                looks = more + r.normal(0, noise, n)
                gains.append(chosen - more[np.argmin(looks)] if looks.min() < best else 0.0)
            return n, float(np.mean(gains))
    return MOST + 1, 0.0


def false_stops(kind: str, noise: float, seeds: int) -> tuple[int, float]:
    """Return how many studies are stopped though they would gain more than twice the noise, and the median length."""
    found = [stops(kind, noise, seed) for seed in range(seeds)]
    return sum(gain > 2 * noise for _, gain in found), float(np.median([n for n, _ in found]))


@pytest.mark.parametrize("kind", list(KINDS))
def test_it_seldom_stops_while_there_is_much_to_gain(kind):
    for noise in (0.03, 0.1):
        assert false_stops(kind, noise, 12)[0] <= 2, noise


def test_it_stops_where_nothing_is_left():
    assert false_stops("flat", 0.03, 12) == (0, 20)  # the first look there is
    assert false_stops("square of 2", 0.1, 12)[1] < 120
    assert false_stops("one in five good", 0.1, 12)[1] < 150


def test_it_does_not_stop_a_search_that_keeps_improving():
    r = np.random.default_rng(0)
    falling = -0.1 * np.arange(200) + r.normal(0, 0.05, 200)
    assert all(expected_gain(falling[:n]) > 0.05 for n in range(20, 201))


@pytest.mark.soak
@pytest.mark.parametrize("noise", [0.03, 0.1])
@pytest.mark.parametrize("kind", list(KINDS))
def test_false_stops_in_many_studies(kind, noise):
    wrong, length = false_stops(kind, noise, 300)
    print(f"{kind}, noise {noise}: {wrong} of 300 stopped too early, median after {length:.0f} of {MOST} trials")
    assert wrong <= 300 * 0.2


def test_the_expectation_is_right_for_an_exponential_tail():
    r = np.random.default_rng(1)
    gains, bounds = [], []
    for _ in range(400):
        x = -r.exponential(1.0, 400)
        gains.append(max(0.0, x[:200].min() - x[200:].min()))
        bounds.append(expected_gain(x[:200]))
    true, bound = float(np.mean(gains)), float(np.mean(bounds))
    assert true == pytest.approx(math.log(2), abs=0.15)
    # 0.797 for a tail whose best value stands at its median place, times the upper bound's 1.62
    assert bound == pytest.approx(0.797 * 1.618, abs=0.1)
    assert np.mean(np.array(bounds) > 0.797) == pytest.approx(0.8, abs=0.06)  # an 80 % bound


@pytest.mark.parametrize("better", ["min", "max"])
def test_direction_and_values_that_do_not_count(better):
    sign = 1 if better == "min" else -1
    values = [sign * v / 10 for v in range(20)]
    assert expected_gain(values, better) == pytest.approx(expected_gain([v / 10 for v in range(20)]))
    assert expected_gain([*values, math.nan, math.inf, -math.inf], better) == expected_gain(values, better)
    assert expected_gain(values[:19], better) == math.inf
    assert expected_gain([], better) == math.inf


def test_the_noise_is_given_or_the_winners():
    values = [v / 100 for v in range(20)]
    gain = expected_gain(values)
    assert Gain(gain * 1.01)(curve(*values))
    assert Gain(gain * 0.99)(curve(*values)) is None
    points = [Reading(i, v, metrics={"standard_error": gain * (1.01 if v == 0 else 0.5)}) for i, v in enumerate(values)]
    assert Gain()(points)
    assert Gain(better="max")(points) is None, "the winner's, not any"
    assert Gain()(curve(*values)) is None, "no noise is known"

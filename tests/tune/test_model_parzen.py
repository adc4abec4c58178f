"""Kernel densities against SciPy's truncated normal, and their sums over whole spaces, branches included."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, truncnorm

from whet import seed as streams
from whet.testing import SPACES
from whet.tune.search.model import parzen
from whet.tune.search.model.cube import Cube
from whet.tune.search.model.parzen import LOOSE, Density, Kernels, _mean_normal
from whet.tune.space import Choice, Float, Int, Ordered, Space


def cut(centre, h):
    return truncnorm(-centre / h, (1 - centre) / h, loc=centre, scale=h)


def made(space, n, h=0.15, *, seed=0, even=1.0):
    """A density of n kernels at random configurations, with random weights and widths, each its own."""
    rng, cube = streams.rng(seed), Cube(space)
    rows = cube.encode([space.sample(rng) for _ in range(n)])
    return Density(Kernels(cube), rows, rng.random(n) + 0.1, h * (0.5 + rng.random(cube.d)), even=even)


def kernel(density, i, row):
    """The density of one kernel at one row beside an even one, column by column, from SciPy."""
    cube, value = density.kernels.cube, 1.0
    for j, (u, c) in enumerate(zip(row, density.rows[i], strict=True)):
        h = density.widths[j]
        if np.isnan(u) or np.isnan(c):
            continue
        if k := cube.options[j]:
            b = min(h, (k - 1) / k)
            value *= k * (1 - b if u == c else b / (k - 1))
        elif cube.levels[j] is None:
            value *= LOOSE + (1 - LOOSE) * cut(c, h).pdf(u)
        else:
            at = int(np.abs(cube.levels[j] - u).argmin())
            low, high = cube.edges[j][at : at + 2]
            value *= LOOSE + (1 - LOOSE) * (cut(c, h).cdf(high) - cut(c, h).cdf(low)) / (high - low)
    return value


WIDE = Space(n=Int(1, 300), m=Int(1, 3000, log=True), x=Float(0, 1), k=Choice(["a", "b"]))


@pytest.mark.parametrize("space", [SPACES["mixed"], SPACES["branches"], SPACES["finite"], WIDE], ids=["mixed", "branches", "finite", "wide"])  # fmt: skip
def test_densities_are_scipys(space):
    density = made(space, 7)
    rng = streams.rng(1)
    rows = density.kernels.cube.encode([space.sample(rng) for _ in range(25)])
    expected = [sum(w * kernel(density, i, row) for i, w in enumerate(density.weights)) + density.even for row in rows]
    np.testing.assert_allclose(np.exp(density.log(rows)), expected, rtol=1e-6 if density.kernels.long else 1e-9)


def test_the_mean_of_a_normal_density_over_a_cell_narrow_and_wide():
    low = np.repeat(np.linspace(-7, 7, 1501), 6)
    width = np.tile([1e-4, 0.1, 0.499, 0.501, 2.0, 20.0], 1501)
    centre = np.array([-0.3, 0.0, 2.0])
    normal = norm(centre)
    expected = (normal.cdf((low + width)[:, None]) - normal.cdf(low[:, None])) / width[:, None]
    np.testing.assert_allclose(_mean_normal(low, low + width, centre), expected, rtol=0, atol=2e-7 * 0.3989)


def test_weights_and_the_even_part_sum_to_one():
    density = made(SPACES["mixed"], 5, even=2.0)
    assert density.weights.sum() + density.even == pytest.approx(1.0)
    assert density.even / density.weights.max() > 1.0


@pytest.mark.parametrize("even", [0.0, 1.0])
def test_masses_of_a_finite_conditional_space_sum_to_one(even):
    space = Space(
        a=Int(1, 6, log=True), b=Choice({"x": Space(c=Ordered((1, 2, 4)), d=Choice({"p": Space(e=Int(0, 2)), "q": None})), "y": None})
    )  # fmt: skip
    density = made(space, 6, even=even)
    cube, total = density.kernels.cube, 0.0
    for p in space.points():
        row = cube.encode([p])
        cells = [
            np.diff(cube.edges[j])[int(cube.index(row[:, j], j)[0])] for j in range(cube.d) if not np.isnan(row[0, j])
        ]
        total += np.exp(density.log(row)[0]) * np.prod(cells)
    assert total == pytest.approx(1.0, abs=1e-12)


def test_a_density_over_reals_in_branches_integrates_to_one():
    space = Space(
        o=Choice({"s": Space(m=Float(0, 1)), "t": Space(r=Float(0, 1), n=Int(1, 3)), "none": None}), x=Float(0, 1)
    )
    density = made(space, 8, h=0.3)
    cube = density.kernels.cube
    nodes, weights = np.polynomial.legendre.leggauss(60)
    u, w = (nodes + 1) / 2, weights / 2
    total = 0.0
    for o in range(3):
        for n in range(3 if o == 1 else 1):
            x, y = (g.ravel() for g in np.meshgrid(u, u))
            points = np.full((len(x), cube.d), 0.5)
            names = [dim.name for dim in cube.dims]
            points[:, names.index("o")] = (o + 0.5) / 3
            points[:, names.index("x")] = x
            for name in ("o.m", "o.r"):
                points[:, names.index(name)] = y
            points[:, names.index("o.n")] = (n + 0.5) / 3
            at = np.exp(density.log(cube.rows(points))) @ np.outer(w, w).ravel()
            total += at / 3 / (3 if o == 1 else 1)
    assert total == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("space", [SPACES["finite"], Space(x=Float(0, 1), n=Int(1, 300), o=Choice({"s": Space(m=Int(1, 4, log=True)), "t": None}))], ids=["finite", "numbers"])  # fmt: skip
def test_what_is_drawn_has_the_density(space):
    """The mean of one over the density beside an even one is 1 for draws of the density, and so is that of parts of the space."""
    density = made(space, 4, h=0.2)
    cube = density.kernels.cube
    rows = cube.rows(density.draw(40_000, streams.rng(3)))
    even = cube.rows(streams.rng(4).random((40_000, cube.d)))
    for j in range(cube.d):
        for third in range(3):
            drawn, there = ((r[:, j] >= third / 3) & (r[:, j] < (third + 1) / 3) for r in (rows, even))
            assert drawn.mean() == pytest.approx((np.exp(density.log(even)) * there).mean(), abs=0.02)


def test_a_choice_and_the_members_of_its_branches_move_together():
    """With sgd a high rate was good, with adam a low one. Columns by themselves would find all four places as good."""
    space = Space(o=Choice({"sgd": Space(m=Float(0, 1)), "adam": Space()}), lr=Float(0, 1))
    trials = [
        {"o": "sgd", "o.m": 0.9, "lr": 0.8},
        {"o": "sgd", "o.m": 0.8, "lr": 0.85},
        {"o": "adam", "lr": 0.15},
        {"o": "adam", "lr": 0.2},
    ]
    cube = Cube(space)
    density = Density(Kernels(cube), cube.encode(trials), np.ones(4), np.array([0.2, 0.1, 0.1]))
    right = density.log(cube.encode([{"o": "sgd", "o.m": 0.85, "lr": 0.8}, {"o": "adam", "lr": 0.2}]))
    wrong = density.log(cube.encode([{"o": "sgd", "o.m": 0.85, "lr": 0.2}, {"o": "adam", "lr": 0.8}]))
    assert (right - wrong > np.log(2.5)).all()


def test_what_another_branch_says_of_shared_columns_counts():
    """Only sgd was tried, and was good at a high rate: adam's rate is likelier there too."""
    space = Space(o=Choice({"sgd": Space(m=Float(0, 1)), "adam": Space(b=Float(0, 1))}), lr=Float(0, 1))
    cube = Cube(space)
    density = Density(Kernels(cube), cube.encode([{"o": "sgd", "o.m": 0.5, "lr": 0.9}]), np.ones(1), np.full(4, 0.2))
    high, low, other = density.log(
        cube.encode([{"o": "adam", "o.b": b, "lr": lr} for b, lr in ((0.1, 0.9), (0.1, 0.1), (0.9, 0.9))])
    )
    assert high > low
    assert high == other  # nothing is known of its own columns


def test_one_far_column_does_not_make_a_kernel_vanish():
    space = Space(**{f"x{i}": Float(0, 1) for i in range(12)})
    cube = Cube(space)
    density = Density(Kernels(cube), np.full((1, 12), 0.3), np.ones(1), np.full(12, 0.05))
    near = np.full((1, 12), 0.3)
    near[0, 7] = 1.0
    assert density.log(near)[0] > 10


def test_hundreds_of_columns_do_not_overflow():
    space = Space(**{f"x{i}": Float(0, 1) for i in range(450)}, **{f"k{i}": Choice(["a", "b"]) for i in range(450)})
    density = made(space, 3, h=0.03)
    assert np.isfinite(density.log(density.rows)).all()
    assert np.isfinite(density.log(1 - density.rows)).all()
    assert (density.log(density.rows) > 700).all()  # more than a float can hold when it is no logarithm


def test_draws_of_numbers_stay_within_their_range():
    density = made(Space(x=Float(0, 1), n=Int(1, 500)), 3, h=1.5)
    drawn = density.draw(5000, streams.rng(0))
    assert 0 <= drawn.min() <= drawn.max() <= 1


def test_tables_are_used_again_while_widths_are_nearly_the_same():
    space = Space(n=Ordered(tuple(range(9))))
    cube = Cube(space)
    kernels, rows = Kernels(cube), np.array([[0.5]])
    for h in (0.2, 0.2005, 0.201, 0.4):
        Density(kernels, rows, np.ones(1), np.array([h]))
    assert kernels.log_table.cache_info().misses == 2
    assert parzen._GRID == 0.05

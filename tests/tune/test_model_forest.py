"""The trees and the forest: against walks in plain Python, against scikit-learn, and against themselves when rebuilt."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import yeojohnson, yeojohnson_normmax
from sklearn.ensemble import ExtraTreesRegressor

from whet import Choice, Float, Int, Space
from whet import seed as streams
from whet.testing import SPACES
from whet.tune.search.model.cube import Cube
from whet.tune.search.model.forest import Columns, Forest
from whet.tune.search.model.forest_posterior import ForestPosterior, Stand, grown
from whet.tune.search.model.outcomes import Scale
from whet.tune.search.model.seen import Seen
from whet.tune.search.model.trees import grow
from whet.tune.trial import State, Trial, Trials


def friedman(x):
    return 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]


def walk(trees, tree, point):
    """Return the leaf of a point by the definition: larger goes to the right."""
    node = tree
    while trees.left[node] != node:
        node = trees.left[node] + int(point[trees.column[node]] > trees.cut[node])
    return node


@pytest.mark.parametrize("name", ["mixed", "branches", "finite", "line"])
def test_points_come_to_the_leaves_that_the_cuts_send_them_to(name):
    cube = Cube(SPACES[name])
    columns = Columns(cube).of(cube.rows(streams.rng(0).random((30, cube.d))))
    trees = grow(columns, streams.rng(1).random(30), streams.rng(2), 6)
    others = Columns(cube).of(cube.rows(streams.rng(3).random((300, cube.d))))  # more than a chunk
    leaves = trees.leaves(others)
    assert [[walk(trees, t, p) for t in range(6)] for p in others] == leaves.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_the_variance_is_that_of_the_law_of_total_variance(seed):
    """Against the values of the points in each leaf, gathered one by one; some leaves hold several, as points came after growing."""
    rng = streams.rng(seed)
    x, y = rng.random((80, 4)), rng.standard_normal(80) + 1e3
    trees = grow(x[:40], y[:40], streams.rng(seed, "grow"), 9)
    forest = Forest.of(trees, x, y)
    asked = rng.random((25, 4))
    mean, sd = forest.predict(asked)
    for point, m, s in zip(asked, mean, sd, strict=True):
        leaves = [
            [v for p, v in zip(x, y, strict=True) if walk(trees, t, p) == walk(trees, t, point)] for t in range(9)
        ]
        assert max(map(len, leaves)) > 1
        means = [np.mean(leaf) for leaf in leaves]
        assert m == pytest.approx(np.mean(means), rel=1e-12)
        assert s**2 - forest.floor == pytest.approx(
            np.mean([np.var(leaf) for leaf in leaves]) + np.var(means), rel=1e-9
        )


def test_trees_grow_until_a_leaf_has_one_value_or_one_place():
    rng = streams.rng(0)
    x = rng.integers(0, 3, (60, 2)) / 2.0
    y = rng.integers(0, 2, 60).astype(float)
    trees = grow(x, y, streams.rng(1), 5)
    for column in trees.leaves(x).T:
        for leaf in np.unique(column):
            inside = column == leaf
            assert len(np.unique(y[inside])) == 1 or len(np.unique(x[inside], axis=0)) == 1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n", [30, 200])
def test_it_predicts_as_well_as_the_trees_of_scikit_learn(n, seed):
    rng = streams.rng(seed, n)
    x, others = rng.random((n, 7)), rng.random((500, 7))
    y, truth = friedman(x), friedman(others)
    ours = Forest.of(grow(x, y, streams.rng(seed), 50), x, y).predict(others)[0]
    peer = ExtraTreesRegressor(50, max_features=1.0, random_state=seed).fit(x, y).predict(others)
    assert np.sqrt(np.mean((ours - truth) ** 2)) < 1.08 * np.sqrt(np.mean((peer - truth) ** 2))


def test_what_does_not_exist_is_outside_and_options_are_columns():
    cube = Cube(Space(o=Choice({"a": Space(x=Float(0, 1), two=Choice(["u", "v"])), "b": None, "c": None}), k=Int(1, 2)))
    rows = cube.encode([{"o": "a", "o.x": 0.25, "o.two": "v", "k": 1}, {"o": "c", "k": 2}])
    columns = Columns(cube)
    assert columns.of(rows).tolist() == [[1, 0, 0, 0.25, 0.75, 0.25], [0, 0, 1, -1, -1, 0.75]]
    assert columns.odds == pytest.approx([1 / 3] * 3 + [1, 1, 1])


def test_a_value_that_is_believed_is_known_there_and_changes_little_elsewhere():
    rng = streams.rng(0)
    x = rng.random((60, 3))
    y = friedman(np.hstack([x, x]))
    forest = Forest.of(grow(x, y, streams.rng(1), 50), x, y)
    new = rng.random((4, 3))
    mean, sd = forest.predict(new)
    after = forest.given(new, mean, streams.rng(2), np.ones(3))
    there, unsure = after.predict(new)
    assert there == pytest.approx(mean, abs=1e-9)
    assert (unsure < 0.1 * sd).all()
    assert np.abs(after.predict(x)[0] - y).max() < 1e-9  # each point is still in a leaf of its own
    others = rng.random((300, 3))
    before, then = forest.predict(others), after.predict(others)
    assert np.abs(before[0] - then[0]).mean() < 0.15 * before[1].mean()


def test_a_place_that_was_tried_twice_takes_what_is_believed_too():
    x, y = np.array([[0.2], [0.2], [0.7]]), np.array([0.0, 1.0, 4.0])
    forest = Forest.of(grow(x, y, streams.rng(0), 4), x, y)
    assert forest.given(np.array([[0.2]]), np.array([2.0]), streams.rng(1), np.ones(1)).predict(x[:1])[0] == [1.0]


def test_growth_is_at_fixed_numbers():
    assert [n for n in range(1, 70) if grown(n) == n] == [*range(1, 41), 44, 49, 54, 60, 66]


def test_what_is_kept_changes_nothing():
    """Values come in order, and out of order: one that the trees were grown without, and one that only lies in their leaves."""
    space = Space(x=Float(0, 1), k=Int(1, 9))
    rng, kept = streams.rng(0), Stand()
    trials = [Trial(i, {"x": float(rng.random()), "k": int(rng.integers(1, 10))}, State.DONE, value=float(rng.random())) for i in range(70)]  # fmt: skip
    moments = [range(n) for n in (30, 43, 44, 47, 48)] + [
        [*range(20), *range(21, 60)],
        range(60),
        [*range(46), 47],
        range(48),
    ]
    for which in moments:
        # a trial that has no value yet keeps its place
        shown = Trials([t if i in which else Trial(i) for i, t in enumerate(trials)], space=space)
        seen = Seen()
        view = seen.look(shown)
        rows = seen.cube.rows(streams.rng(1).random((50, 2)))
        one, other = (ForestPosterior(seen.cube, view, 50, stand=s).predict(rows) for s in (kept, None))
        assert np.array_equal(one, other)


def test_the_exponent_of_outcomes_is_that_of_scipy():
    for seed in range(5):
        x = streams.rng(seed).standard_normal(40) ** (1 + seed)
        scale = Scale.of(np.minimum(x, np.median(x) + 1))
        told = np.minimum(x, np.median(x) + 1)
        z = (np.minimum(told, scale.worst) - scale.mean) / scale.spread
        assert scale.power == pytest.approx(yeojohnson_normmax(z), abs=1e-5)
        assert scale.to(told) == pytest.approx((yeojohnson(z, scale.power) - scale.middle) / scale.width, abs=1e-9)

"""Rows and features are what the space says they are, for every shape of space."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from whet.testing import SPACES
from whet.tune.search.model.climb import around, climb, fingerprint, fingerprints
from whet.tune.search.model.cube import Cube
from whet.tune.search.model.features import Features
from whet.tune.search.model.outcomes import Scale, settle
from whet.tune.space import Choice, Float, Ordered, Space

NAMES = [n for n in SPACES if n != "one point"]


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_what_the_space_encodes(name):
    space, cube = SPACES[name], Cube(SPACES[name])
    points = np.random.default_rng(0).random((300, cube.d))
    rows = cube.rows(points)
    for row in rows:
        params = cube.params(row)
        again = space.encode(params)
        np.testing.assert_allclose(again, row, atol=1e-12)
        assert fingerprint(again) == fingerprint(cube.encode([params])[0])
    np.testing.assert_array_equal(np.isnan(rows), ~cube.exists(cube.snap(points)))


def test_choices_of_one_name_in_two_branches_are_two():
    def inner(**more):
        return Space(k=Choice({"x": Space(p=Float(0, 1)), **more}), q=Float(0, 1))

    space = Space(o=Choice({"a": inner(y=None), True: inner(z=None, w=None), "b": inner()}))
    cube = Cube(space)
    points = np.random.default_rng(0).random((300, cube.d))
    rows = cube.rows(points)
    for row, point in zip(rows, points, strict=True):
        np.testing.assert_array_equal(np.isnan(row), np.isnan(space.encode(space.decode(point))))
        np.testing.assert_allclose(row, space.encode(cube.params(row)), atol=1e-12)


def apart_by_dimension(features, a, b):
    """Return squared distances (d, n, k) between columns (n, m) and (k, m)."""
    return np.array([
        ((a[:, None, features.groups == j] - b[None][:, :, features.groups == j]) ** 2).sum(2) for j in range(features.d)
    ])  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_features_tell_configurations_apart_and_nothing_else(name):
    space, cube = SPACES[name], Cube(SPACES[name])
    features, rng = Features(cube), np.random.default_rng(1)
    made = [space.sample(rng) for _ in range(40)]
    columns = features.of(cube.encode(made))
    assert np.isfinite(columns).all()
    assert columns.shape[1] == len(features.groups)
    apart = apart_by_dimension(features, columns, columns).sum(0)
    for i in range(40):
        for j in range(40):
            assert (apart[i, j] < 1e-18) == (made[i] == made[j])


def test_different_options_and_a_missing_branch_are_at_distance_one():
    cube = Cube(SPACES["branches"])
    features = Features(cube)
    rows = cube.encode(
        [
            {"optimizer": "sgd", "optimizer.momentum": 0.0, "optimizer.nesterov": True, "decay": 1e-4},
            {"optimizer": "sgd", "optimizer.momentum": 0.99, "optimizer.nesterov": True, "decay": 1e-4},
            {"optimizer": "adam", "decay": 1e-4},
        ]
    )
    apart = apart_by_dimension(features, features.of(rows), features.of(rows))
    names = [d.name for d in cube.dims]
    momentum, optimizer = names.index("optimizer.momentum"), names.index("optimizer")
    assert apart[momentum].round(9).tolist() == [[0, 2, 1], [2, 0, 1], [1, 1, 0]]
    assert apart[optimizer].round(9).tolist() == [[0, 0, 1], [0, 0, 1], [1, 1, 0]]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_climb_finds_the_point_that_was_hidden(name, seed):
    cube, rng = Cube(SPACES[name]), np.random.default_rng(seed)
    features = Features(cube)
    hidden = features.of(cube.encode([SPACES[name].sample(rng)]))

    def score(rows):
        return -apart_by_dimension(features, features.of(rows), hidden).sum(0)[:, 0]

    found = climb(score, cube, rng, near=np.zeros((0, cube.d)), draws=200, rounds=24)
    assert score(found[None])[0] > -2e-3
    SPACES[name].check(cube.params(found))
    other = climb(score, cube, rng, near=found[None], tried={fingerprint(found)}, draws=200)
    assert fingerprint(other) != fingerprint(found)


def test_a_climb_in_a_space_that_is_used_up_finds_nothing():
    space = SPACES["finite"]
    cube = Cube(space)
    tried = {fingerprint(row) for row in cube.encode(space.points())}
    assert (
        climb(lambda rows: rows[:, 0], cube, np.random.default_rng(0), near=np.zeros((0, cube.d)), tried=tried) is None
    )


@pytest.mark.parametrize("seed", range(4))
def test_settled_scores_keep_their_order_and_have_no_tails(seed):
    rng = np.random.default_rng(seed)
    scores = np.exp(3 * rng.standard_normal(80))
    settled = settle(scores)
    order = np.argsort(scores)
    assert (np.diff(settled[order]) >= 0).all()
    assert settled.mean() == pytest.approx(0.0, abs=1e-9)
    assert settled.std() == pytest.approx(1.0)
    assert np.abs(settled).max() < 4
    assert settle(1e6 * scores + 5) == pytest.approx(settled, abs=1e-6)
    assert settle(np.full(5, 2.0)).tolist() == [0.0] * 5


@pytest.mark.parametrize("value", [0.1, 0.7, 1 / 3, 123.456, 1e300, 5e-324])
@pytest.mark.parametrize("n", [6, 14, 15, 30, 50])
def test_equal_scores_are_all_settled_at_nothing(value, n):
    assert settle(np.full(n, value)).tolist() == [0.0] * n
    scale = Scale.of(np.full(n, value))  # the deviation of n equal numbers is often no 0
    assert scale.back(np.zeros(2)).tolist() == [value, value]


@pytest.mark.parametrize(
    ("scores", "size"),
    [
        ([0.0] * 20 + [1e300], 1e300),
        ([-1e300, 1e300, 2e300, 1.5e300, -1.2e300, 3e299], 1e300),
        ([-1.7e308, 1.7e308] * 4 + [0.0], 1e308),
        ([0.0, 1e-300, 2e-300, 5e-300, 3e-300, 4e-300], 1e-300),
        ([0.0, 5e-324, 1e-323, 5e-323, 2e-323, 4e-323], 1e-323),
    ],
)
def test_scores_of_any_size_are_settled_and_taken_back(scores, size):
    scores = np.array(scores)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scale = Scale.of(scores)
        settled = scale.to(scores)
        back = scale.back(settled)
    assert settled.mean() == pytest.approx(0.0, abs=1e-9)
    assert settled.std() == pytest.approx(1.0)
    assert (np.diff(settled[np.argsort(scores, kind="stable")]) >= 0).all()
    np.testing.assert_allclose(back / size, np.minimum(scores, scale.worst) / size, atol=1e-6)


def test_an_outlier_does_not_flatten_the_rest_when_half_the_scores_tie_at_the_best():
    scores = np.array([0.0] * 20 + [0.25, 0.5, 0.75] + [1e9])
    low, mid, high, far = settle(scores)[-4:]
    assert low - settle(scores)[0] > 0.5
    assert low < mid < high < far < 5


def test_the_fingerprints_of_rows_are_those_of_each():
    rows = np.array([[0.1, np.nan, 0.3], [0.1, 0.2, 0.3], [0.1, np.nan, 0.3]])
    found = fingerprints(np.hstack([rows, rows])[:, :3])
    assert found == [fingerprint(row) for row in rows]
    assert len(set(found)) == 2
    assert fingerprints(rows[:, :0]) == [fingerprint(row) for row in rows[:, :0]]


@pytest.mark.parametrize("name", ["mixed", "branches", "finite", "constrained"])
def test_points_around_others_differ_from_one_of_them_in_few_dimensions(name):
    cube, rng = Cube(SPACES[name]), np.random.default_rng(0)
    near = cube.snap(rng.random((3, cube.d)))
    found = around(near, cube, rng, 400)
    assert found.shape == (400, cube.d)
    assert found.min() >= 0.0
    assert found.max() <= 1.0
    differs = (found[:, None] != near[None]).sum(2)  # (400, 3)
    assert differs.min(1).max() <= cube.d
    assert 0.5 < differs.min(1).mean() < 2.6
    firsts = (differs.argmin(1) == 0).mean()
    assert 0.3 < firsts < 0.6  # 0.4, and those that are as near to another


def test_a_level_moves_by_one_or_two_and_what_does_not_exist_becomes_anything():
    space = Space(k=Ordered([1, 2, 4, 8, 16, 32, 64]), o=Choice({"a": Space(m=Float(0, 1)), "b": None}))
    cube = Cube(space)
    near = cube.encode([{"k": 8, "o": "b"}])
    found = around(near, cube, np.random.default_rng(0), 500)
    assert sorted(set(np.unique(cube.index(found[:, 0], 0)))) == [1, 2, 3, 4, 5]
    assert np.isfinite(found).all()
    assert found[:, 2].std() > 0.2

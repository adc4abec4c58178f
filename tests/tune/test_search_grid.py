from __future__ import annotations

import itertools

import numpy as np
import pytest

from whet import seed as streams
from whet.errors import StudyError
from whet.testing import SPACES, Play
from whet.tune.search.grid import Grid, lattice
from whet.tune.space import Choice, Const, Float, Int, Ordered, Space
from whet.tune.study import Study
from whet.tune.trial import State


def walk(grid, space):
    study = Play(space)
    while grid.left(study.trials):
        id = study.ask()
        study.set(id, params=grid.propose(study.trials, streams.rng(0)).params, state=State.RUNNING)
    return [dict(t.params) for t in study.trials]


def test_it_is_the_product_of_the_levels_in_order():
    space = Space(
        lr=Float(1e-4, 1e-1, log=True), p=Float(0, 0.6), depth=Int(1, 3), act=Choice(["relu", "gelu"]), n=Const(7)
    )
    levels = [(1e-4, 1e-3, 1e-2, 1e-1), (0.0, 0.2, 0.4, 0.6), (1, 2, 3), ("relu", "gelu"), (7,)]
    got = walk(Grid(points=4), space)
    assert [tuple(p.values()) for p in got] == list(itertools.product(*levels))
    assert Grid(points=4).size(space) == len(got) == 96
    for p in got:
        space.check(p)


@pytest.mark.parametrize(
    ("domain", "points", "levels"),
    [
        (Float(-1, 1), 3, (-1.0, 0.0, 1.0)),
        (Float(-1, 1), 1, (0.0,)),
        (Float(1e-5, 1e-1, log=True), 5, (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)),
        (Float(1e-5, 1e-1, log=True), 1, (1e-3,)),
        (Int(1, 5), 5, (1, 2, 3, 4, 5)),
        (Int(-4, 4), 3, (-4, 0, 4)),
        (Int(0, 10), 5, (0, 3, 5, 8, 10)),
        (Int(16, 512, log=True), 6, (16, 32, 64, 128, 256, 512)),
        (Int(1, 6, log=True), 5, (1, 2, 4, 6)),
        (Ordered([16, 32, 64]), 5, (16, 32, 64)),
        (Ordered([1, 2, 4, 8, 16, 32, 64]), 3, (1, 8, 64)),
        (Choice(list("abcdefgh")), 2, tuple("abcdefgh")),
    ],
)
def test_levels(domain, points, levels):
    found = lattice(Space(x=domain), points)["x"]
    assert (found.options if isinstance(found, Choice) else found.values) == levels


def test_a_branch_is_listed_only_where_it_exists():
    space = Space(
        o=Choice({"sgd": Space(m=Float(0, 0.9), k=Choice({"a": Space(z=Int(1, 2)), "b": None})), "adam": None}),
        d=Int(1, 2),
    )
    inner = [{"o.k": "a", "o.k.z": 1}, {"o.k": "a", "o.k.z": 2}, {"o.k": "b"}]
    want = [{"o": "sgd", "o.m": m, **k, "d": d} for m in (0.0, 0.9) for k in inner for d in (1, 2)]
    want += [{"o": "adam", "d": d} for d in (1, 2)]
    got = walk(Grid(points=2), space)
    assert got == want
    assert Grid(points=2).size(space) == len(want)


def test_constraints_leave_points_out():
    space = Space(w=Int(1, 6), d=Int(1, 6), x=Float(0, 1)).where("w * d <= 8").where("w >= d")
    got = walk(Grid(points=6), space)
    levels = itertools.product(range(1, 7), range(1, 7), np.linspace(0, 1, 6).round(12))
    assert [tuple(p.values()) for p in got] == [(w, d, x) for w, d, x in levels if w * d <= 8 and w >= d]
    assert Grid(points=6).size(space) == len(got)


def test_a_persons_trials_count_only_where_they_lie_on_the_grid():
    space, grid = Space(lr=Float(1e-3, 1e-1, log=True), k=Int(1, 2)), Grid(points=3)
    study = Play(space)
    for params in ({"lr": 0.01, "k": 2}, {"lr": 0.017, "k": 1}):
        study.set(study.ask({"search": "enqueue"}), params=params, state=State.RUNNING)
    guess = study.ask({"search": "enqueue"}, {"k": 1})
    assert grid.size(space) == 6
    assert grid.left(study.trials) == 4  # as long as it is not known where the guess will lie
    study.set(guess, params={"lr": 0.02, "k": 1}, state=State.RUNNING)
    assert grid.left(study.trials) == 5
    seen = []
    while grid.left(study.trials):
        id = study.ask()
        params = grid.propose(study.trials, streams.rng(0)).params
        study.set(id, params=params, state=State.RUNNING)
        seen.append(tuple(params.values()))
    assert seen == [(0.001, 1), (0.001, 2), (0.01, 1), (0.1, 1), (0.1, 2)]
    with pytest.raises(StudyError, match="all 6 points of the grid were tried"):
        grid.propose(study.trials, streams.rng(0))


def test_workers_that_ask_together_leave_no_point_out():
    space, rng = SPACES["finite"], np.random.default_rng(0)
    for _ in range(5):
        grid, study, waiting = Grid(), Play(space), []
        while grid.left(study.trials) or waiting:
            if grid.left(study.trials) and ((len(waiting) < 3 and rng.random() < 0.6) or not waiting):
                waiting.append(study.ask())
            else:
                id = waiting.pop(int(rng.integers(len(waiting))))
                study.set(id, params=grid.propose(study.trials, streams.rng(0)).params, state=State.RUNNING)
        assert sorted(str(t.params) for t in study.trials) == sorted(str(p) for p in space.points())


def test_a_run_announces_how_many_points_there_are_before_it_starts(capfd):
    order = []

    def objective(p):
        order.append(capfd.readouterr().err)
        return p["a"]

    study = Study(Space(a=Int(1, 3), b=Choice(["x", "y"])), search="grid")
    study.run(objective, trials=2)
    study.run(objective, trials=3)  # it goes on: nothing is announced
    assert order == ["grid: 6 points over 2 dimensions (a 3, b 2).\n", "", ""]


def test_a_run_of_a_grid_of_many_dimensions_warns_before_it_starts():
    study = Study(Space(**{f"x{i}": Float(0, 1) for i in range(5)}), search="grid")
    with pytest.warns(RuntimeWarning, match="3,125 points over 5 dimensions.*more than 4 dimensions"):
        study.run(lambda p: 0.0, trials=1)


def test_the_announcement():
    small = Space(lr=Float(1e-3, 1e-1, log=True), o=Choice({"sgd": Space(m=Float(0, 1)), "adam": None}))
    assert Grid().announce(small) == "grid: 30 points over 3 dimensions (lr 5, o 2, o.m 5)."
    assert Grid().announce(Space(a=Const(1))) == "grid: 1 point over 0 dimensions."
    large = Space(**{f"x{i}": Float(0, 1) for i in range(5)})
    text = Grid().announce(large)
    assert text.startswith("grid: 3,125 points over 5 dimensions")
    assert "Warning: more than 4 dimensions" in text
    assert "Warning" not in Grid().announce(Space(**{f"x{i}": Float(0, 1) for i in range(4)}))

"""Exploring with a model: what pays is found, at the step where it pays, and every decision is made again."""

from __future__ import annotations

import numpy as np
import pytest

from whet import Choice, Float, Space, State, Study
from whet import seed as streams
from whet.tune.replay import replay
from whet.tune.schedule.bandit import Stretches, advise
from whet.tune.schedule.population import Population
from whet.tune.schedule.seats import populations
from whet.tune.trial import Goal, Point, Trial, Trials

SPACE = Space(a=Float(0.0, 1.0, live=True), b=Float(1e-4, 1.0, log=True, live=True), fixed=Float(0, 1))
STEPS = 40


def gain(a, b, step):
    """Return how much one step gains: most at a = 0.8 early and 0.2 late; b does not matter."""
    peak = 0.8 if step < STEPS / 2 else 0.2
    return 0.1 - 0.3 * (a - peak) ** 2


def studied(seed, better="min"):
    """Return 16 members that each train all the way with values drawn anew at each rung of 4 steps, as chains of trials."""
    rng, sign = streams.rng(seed, "made"), 1 if better == "min" else -1
    trials: list[Trial] = []
    for _ in range(16):
        parent, value, old = None, 10.0, None
        for begin in range(0, STEPS, 4):
            a, b = float(rng.random()), float(10 ** rng.uniform(-4, 0))
            points = [] if parent is None else [Point(begin, sign * value, 0.0)]
            for k in range(begin + 1, begin + 5):
                value -= gain(a, b, k) + 0.001 * float(rng.normal())
                points.append(Point(k, sign * value))
            origin = {"population": {"population": 0, **({} if old is None else {"replaces": old})}}
            state = State.STOPPED if begin + 4 < STEPS else State.RUNNING
            trials.append(
                Trial(len(trials), {"a": a, "b": b, "fixed": 0.5}, state, tuple(points), sign * value, parent, origin)
            )
            old = trials[-1].id
            parent = (old, begin + 4)
    return Trials(trials, space=SPACE, steps=STEPS, goals=(Goal("x", better),))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("better", ["min", "max"])
def test_what_pays_is_found_where_it_pays(seed, better):
    (members,) = populations(studied(seed, better), 16, 4)
    for rung, peak in ((2, 0.8), (8, 0.2)):
        good = members.rungs[rung][0]
        found = [advise(members, good, streams.rng(s)) for s in range(4)]
        assert all(abs(p["a"] - peak) < 0.2 for p in found), (rung, [p["a"] for p in found])
        assert {p["fixed"] for p in found} == {0.5}
        assert all(1e-4 <= p["b"] <= 1.0 for p in found)


def test_a_row_is_what_a_stretch_was_trained_with_and_what_it_gained():
    (members,) = populations(studied(0), 16, 4)
    seen = Stretches(members, members.seats[0][0])
    # the first stretch of a lineage has no report to begin with, and the end is no rung
    assert seen.rows.shape == (16 * 8, 4)
    for row in seen.rows:
        assert ((row >= 0) & (row <= 1)).all()
    assert abs(seen.gains.mean()) < 1e-9
    assert seen.gains.std() == pytest.approx(1.0)
    child = members.seats[0][1]
    at = seen.encode(child.params)
    i = next(i for i, r in enumerate(seen.rows) if r[:2].tolist() == at)
    assert seen.rows[i, 2] == pytest.approx(4 / STEPS)
    raw = (child.curve[0].value - child.curve[-1].value) / 4
    others = [(t.curve[0].value - t.curve[-1].value) / 4 for s in members.seats for t in s[1:-1]]
    assert seen.gains[i] == pytest.approx((raw - np.mean(others)) / np.std(others))


def test_with_little_to_see_it_perturbs_and_other_branches_are_left_out():
    trials = studied(0)
    (few,) = populations(Trials(trials[:3], space=SPACE, steps=STEPS, goals=trials.goals), 16, 4)
    assert advise(few, few.rungs[1][0], streams.rng(0)) is None
    space = Space(o=Choice({"x": Space(a=Float(0, 1, live=True)), "y": None}), b=Float(0, 1, live=True))
    rows = [
        Trial(i, {"o": "y", "b": 0.1 * i} if i % 2 else {"o": "x", "o.a": 0.5, "b": 0.1 * i}, State.RUNNING,
              tuple(Point(k, 1.0 / (k + i)) for k in range(1, 9)))
        for i in range(4)
    ]  # fmt: skip
    (members,) = populations(Trials(rows, space=space, steps=9), 8, 1)
    assert Stretches(members, rows[0]).rows.shape == (2 * 7, 4)
    assert Stretches(members, rows[1]).rows.shape == (2 * 7, 3)
    assert advise(members, members.rungs[3][0], streams.rng(0))["o"] in "xy"


def test_studies_with_it_are_decided_the_same_again():
    def objective(params, run):
        state = run.load() or {"x": 5.0}
        for step in run:
            state["x"] -= gain(params["a"], params["b"], step)
            run.report(state["x"], state)

    with Study(SPACE, search="random", schedule=Population(6, 4, explore="model"), steps=STEPS, seed=1) as study:
        study.run(objective, budget=f"{6 * STEPS}epochs")
        assert sum(t.parent is not None for t in study.trials) > 4
        assert not replay(study.journal.read(), cold=True).differences

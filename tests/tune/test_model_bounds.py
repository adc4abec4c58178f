"""Bounds on what is measured: how likely they hold, and where that leads searchers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from whet import Choice, Float, Space
from whet import seed as streams
from whet.testing import SPACES, Play, play
from whet.testing.play import bowl
from whet.tune.goal import Bound
from whet.tune.schedule.full import Full
from whet.tune.search import searcher
from whet.tune.search.forest import Forest
from whet.tune.search.gp import GP
from whet.tune.search.model.bounds import margins, merit, within
from whet.tune.search.model.seen import Seen
from whet.tune.study import Study
from whet.tune.trial import Goal, Point, State, Trial, Trials

LEARNING = ["gp", "forest", "tpe"]
LINE = Space(x=Float(0, 1))
EDGE = Space(a=Float(0, 1), b=Float(0, 1), c=Float(0, 1), k=Choice(["x", "y", "z"]))


def told(measured, bound="m <= 1", space=LINE, xs=None, values=None):
    """Return trials at `xs` that measured m, None for nothing."""
    xs = np.linspace(0.02, 0.98, len(measured)) if xs is None else xs
    name, op, limit = bound.split()
    return Trials(
        [
            Trial(
                i, {"x": float(x)}, State.DONE,
                [Point(1, 0.0, metrics={} if m is None else {"m": float(m)})], 0.0 if values is None else values[i],
            )
            for i, (x, m) in enumerate(zip(xs, measured, strict=True))
        ],
        space=space,
        goals=(Goal("loss", "min"), Bound(name, op, float(limit))),
    )  # fmt: skip


def look(trials):
    seen = Seen()
    return seen, seen.look(trials)


@pytest.mark.parametrize("op", ["<=", ">="])
@pytest.mark.parametrize("offset", [10.0, 0.0])
def test_the_chance_is_that_of_a_linear_metric_with_normal_noise(offset, op):
    """m = offset + 2 x + noise: P(m <= limit) = Phi((limit - offset - 2 x) / s), whether it is positive (logarithms) or not."""
    xs, s = np.linspace(0, 1, 140), 0.3
    noise = streams.rng(1, "noise").standard_normal(140)
    trials = told(offset + 2 * xs + s * noise, f"m {op} {offset + 1.0}", xs=xs)
    seen, view = look(trials)
    x = np.linspace(0.05, 0.95, 19)
    chance = np.exp(within(seen.cube, view).log_chance(x[:, None]))
    true = norm.cdf((1.0 - 2 * x) / s)
    assert np.abs(chance - (true if op == "<=" else 1 - true)).max() < 0.1


def test_bounds_are_multiplied_and_one_that_nobody_measured_says_nothing():
    one = told(np.linspace(0, 2, 20))
    seen, view = look(one)
    rows = np.array([[0.1], [0.45], [0.9]])
    alone = within(seen.cube, view).log_chance(rows)
    both = Trials(list(one), space=LINE, goals=(*one.goals, Bound("m", ">", 0.5), Bound("unknown", "<", 1.0)))
    seen, view = look(both)
    lower = look(Trials(list(one), space=LINE, goals=(one.goals[0], Bound("m", ">", 0.5))))
    found = within(seen.cube, view)
    assert found.log_chance(rows) == pytest.approx(alone + within(lower[0].cube, lower[1]).log_chance(rows), abs=1e-9)
    assert not found.any  # what has to be measured and was not is not kept


def test_values_that_are_the_limit_itself_keep_it_or_break_it_clearly():
    sizes = np.repeat([2.0, 4.0, 8.0, 16.0, 32.0], 5)
    for bound, kept in (("m <= 8", True), ("m < 8", False)):
        seen, view = look(told(sizes, bound))
        found = within(seen.cube, view)
        at_limit = np.exp(found.log_chance(view.rows[10:15])).mean()
        assert (at_limit > 0.85) if kept else (at_limit < 0.15)
        assert found.kept[10:15].all() == kept


@pytest.mark.parametrize(
    "values", [[3.0], [3.0, 3.0, 3.0], [1.0], [0.0, 0.0], [-2.0, np.inf], [np.nan], [1e300, -1e300]]
)
def test_few_equal_or_strange_measurements(values):
    trials = told(values)
    seen, view = look(trials)
    found = within(seen.cube, view)
    assert np.isfinite(found.log_chance(np.array([[0.1], [0.5]]))).all()
    assert np.isfinite(merit(view)).all()
    assert found.kept.tolist() == [bool(v <= 1) for v in values]


def test_what_failed_after_a_report_is_learnt_from_too():
    trials = list(told([0.5, 0.5, 0.5, 0.5, 0.5, 0.5]))
    bad = [
        Trial(6 + i, {"x": x}, State.FAILED, [Point(1, 0.0, metrics={"m": 5.0})], 0.0, error={"type": "E"})
        for i, x in enumerate((0.85, 0.9, 0.95))
    ]
    goals = told([1.0]).goals
    kept = [t if t.params["x"] < 0.7 else None for t in trials]
    few = [t for t in kept if t is not None]
    few = [Trial(i, t.params, t.state, t.curve, t.value) for i, t in enumerate(few)]
    moved = [Trial(len(few) + i, t.params, t.state, t.curve, t.value, error=t.error) for i, t in enumerate(bad)]
    row = np.array([[0.9]])
    seen, view = look(Trials(few, space=LINE, goals=goals))
    before = np.exp(within(seen.cube, view).log_chance(row))[0]
    seen, view = look(Trials([*few, *moved], space=LINE, goals=goals))
    assert np.exp(within(seen.cube, view).log_chance(row))[0] < 0.2 < before


def test_merit_puts_what_breaks_a_bound_last():
    _, view = look(told([0.5, 0.9, 1.2, 3.0, None], values=[5.0, 4.0, -9.0, -99.0, -1.0]))
    assert np.argsort(merit(view)).tolist() == [1, 0, 2, 3, 4]
    _, view = look(told([1.2, 3.0, 2.0], values=[5.0, -99.0, 1.0]))  # none keeps it
    assert np.argsort(merit(view)).tolist() == [0, 2, 1]


@pytest.mark.parametrize("made", [GP(), Forest()], ids=["gp", "forest"])
def test_improvement_is_counted_from_the_best_that_keeps_the_bound(made):
    """The loss falls from 8 to 1, m is broken below 4; when nothing keeps it, the best of all is what there is."""
    loss = np.arange(8.0, 0.0, -1.0)
    posterior = made.worth(told(loss < 4, "m < 0.5", values=loss)).posterior
    assert posterior.scale.back(np.array([posterior.best]))[0] == pytest.approx(4.0, abs=0.5)
    posterior = made.worth(told(np.ones(8), "m < 0.5", values=loss)).posterior
    assert posterior.scale.back(np.array([posterior.best]))[0] == pytest.approx(1.0, abs=0.5)


def test_far_away_numbers_do_not_blur_the_limit():
    margin = margins(Bound("m", "<=", 0.0), np.array([-1e9, -2.0, -1.0, 1.0, 2.0, 1e9]))
    assert (np.sign(margin) == [-1, -1, -1, 1, 1, 1]).all()
    assert margin[3] - margin[2] > 0.02 * np.ptp(margin)


def loss(p):
    return 2 - p["a"] - p["b"] + (p["c"] - 0.3) ** 2 + 0.2 * (p["k"] != "x")


def memory(p):
    return {"memory": 4 * 2.0 ** (p["a"] + p["b"])}


def edge(space, p, step):
    return {"loss": loss(p), **memory(p)}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", LEARNING)
def test_the_best_lies_on_the_edge_of_what_is_allowed(name, seed):
    """The loss improves towards more memory; at the limit it is 1. Without the bound nine of ten trials break it."""
    goal = ["min loss", "memory <= 8"]
    done = {
        n: play(searcher(n, EDGE, seed=seed), Full(), EDGE, goal=goal, starts=50, seed=seed, objective=edge).trials
        for n in (name, "random")
    }
    broken = {n: sum(not ts.keeps(t) for t in ts) for n, ts in done.items()}
    assert broken[name] <= 18 < 20 <= broken["random"]
    best = done[name].best
    assert done[name].keeps(best)
    assert 1.0 <= best.value < 1.03 < done["random"].best.value


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", LEARNING)
def test_as_long_as_nothing_keeps_a_bound_it_looks_for_what_does(name, seed):
    """One part in 200 of the space is allowed, and the loss leads away from it."""
    space = Space(**{f"x{i}": Float(0, 1) for i in range(3)})

    def far(space, p, step):
        away = sum((p[f"x{i}"] - 0.7) ** 2 for i in range(3)) ** 0.5
        return {"loss": sum(p[f"x{i}"] for i in range(3)), "m": away}

    trials = play(
        searcher(name, space, seed=seed), Full(), space, goal=["min loss", "m <= 0.11"], starts=40, seed=seed, objective=far,
    ).trials  # fmt: skip
    kept = [t for t in trials if trials.keeps(t)]
    assert kept  # random: none in 40 tries, four times of five
    assert trials.best in kept


@pytest.mark.parametrize("acquisition", ["ei", "pi", "ucb"])
def test_the_other_acquisitions_keep_bounds_too(acquisition):
    goal = ["min loss", "memory <= 8"]
    made = GP(acquisition=acquisition)
    trials = play(made, Full(), EDGE, goal=goal, starts=40, objective=edge).trials
    assert sum(not trials.keeps(t) for t in trials) <= 18
    assert 1.0 <= trials.best.value < 1.05


@pytest.mark.parametrize("name", LEARNING)
@pytest.mark.parametrize("space", list(SPACES))
def test_without_a_bound_what_is_measured_changes_nothing(space, name):
    made = [
        play(
            searcher(name, SPACES[space], seed=1), Full(), SPACES[space], starts=min(20, SPACES[space].size or 20),
            crash=0.1, seed=3, objective=objective, workers=2,
        ).trials
        for objective in (bowl, lambda *given: {"loss": bowl(*given), "m": 2.0})
    ]  # fmt: skip
    assert [t.params for t in made[0]] == [t.params for t in made[1]]
    assert not any("bounds" in t.origin.get("fit", {}) for t in made[1])


def test_workers_that_ask_at_once_while_nothing_keeps_the_bound_look_in_different_places():
    space = Space(x=Float(0, 1), y=Float(0, 1))
    study, made = Play(space, goal=["min loss", "m <= 1"]), GP()
    for n in range(8):
        u = streams.rng(n).random(2) * 0.5
        id = study.ask()
        study.set(id, params={"x": float(u[0]), "y": float(u[1])}, state=State.RUNNING)
        study.tell(id, float(u.sum()), m=3 - float(u.sum()))
    places = []
    for _ in range(5):
        id = study.ask()
        said = made.propose(study.trials, streams.rng(5, id))
        study.set(id, params=said.params, origin=said.origin, state=State.RUNNING)
        places.append([said.params["x"], said.params["y"]])
    apart = np.linalg.norm(np.array(places)[:, None] - np.array(places)[None], axis=2)
    assert apart[~np.eye(5, dtype=bool)].min() > 0.02


@pytest.mark.parametrize("name", LEARNING)
def test_a_fit_is_on_record_and_kept_until_the_next_is_due(name):
    with Study(EDGE, goal=["min loss", "memory <= 8"], search=name, schedule="full") as study:
        for _ in range(52):
            trial = study.ask()
            study.tell(trial, loss(trial.params), **memory(trial.params))
        fits = [(f["n"], f["bounds"]) for t in study.trials if (f := t.origin.get("fit"))]
        assert [n for n, _ in fits if n > 40] == [44, 49]
        assert all(len(b) == 1 and len(b[0]) == len(EDGE.dims) + 2 for _, b in fits)


def test_half_trained_trials_count_by_their_last_report():
    points = [Point(1, 3.0, metrics={"m": 0.5}), Point(2, 2.0, metrics={"m": 4.0})]
    trials = Trials(
        [Trial(0, {"x": 0.5}, State.PAUSED, points, 2.0)], space=LINE, steps=9,
        goals=(Goal("loss", "min"), Bound("m", "<=", 1.0)),
    )  # fmt: skip
    _, view = look(trials)
    assert view.measured.tolist() == [[4.0]]

"""Searchers with several goals: how trials stand, that those with a model of each go after all of them, and who says that only the first steers it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from whet import Choice, Float, Int, Space, Study
from whet import seed as streams
from whet.tune.dominance import ranks
from whet.tune.goal import parse_goals
from whet.tune.landscape import landscape
from whet.tune.pareto import advance, in_view_of
from whet.tune.search import NAMES
from whet.tune.search.evolution import Evolution
from whet.tune.search.forest import Forest
from whet.tune.search.gp import GP
from whet.tune.search.model.bounds import merit
from whet.tune.search.model.guide import Guide
from whet.tune.search.model.paying import Paying
from whet.tune.search.model.seen import Seen
from whet.tune.search.model.standing import standing
from whet.tune.search.portfolio import Portfolio
from whet.tune.search.tpe import TPE
from whet.tune.trial import Point, State, Trial, Trials

SPACE = Space(x=Float(0, 1), y=Float(0, 1), z=Float(0, 1), k=Choice(["a", "b", "c"]))
GOALS = ["min loss", "min ms"]
CORNER = {"loss": 1.1, "ms": 6.0}


def trade(p):
    """ZDT1 (Zitzler et al. 2000) over three numbers and a choice: the front is y = z = 0 and k = a, whatever x is."""
    g = 1 + 4.5 * (p["y"] + p["z"]) + {"a": 0.0, "b": 0.5, "c": 1.0}[p["k"]]
    return {"loss": p["x"], "ms": g * (1 - (p["x"] / g) ** 0.5)}


def told(search, seed, *, trials=60, goals=GOALS, value=trade, space=SPACE):
    study = Study(space, goal=goals, search=search, schedule="full", seed=seed)
    study.run(value, trials=trials)
    return study


def viewed(said, goals=GOALS):
    done = [
        Trial(i, {"x": i / len(said), "y": 0.0, "z": 0.0, "k": "a"}, State.DONE, [Point(1, v, metrics=m)], v)
        for i, (v, m) in enumerate(said)
    ]
    return Seen().look(Trials(done, space=SPACE, goals=parse_goals(goals)))


@pytest.mark.parametrize("seed", range(3))
def test_trials_stand_by_rank_then_by_room(seed):
    rng = streams.rng(seed)
    said = [(float(a), {"ms": float(b)}) for a, b in rng.random((50, 2))]
    found = standing(viewed(said))
    rank = ranks(np.array([[a, m["ms"]] for a, m in said]))
    assert np.floor(found).tolist() == rank.tolist()
    first = np.flatnonzero(rank == 0)
    ends = [min(first, key=lambda i: said[i][0]), min(first, key=lambda i: said[i][1]["ms"])]
    assert all(found[i] == 0.0 for i in ends)


def test_with_one_goal_trials_stand_as_before():
    view = viewed([(0.3, {"mb": 5}), (0.1, {"mb": 50}), (0.2, {"mb": 9})], goals=["min loss", "mb <= 10"])
    assert standing(view).tolist() == merit(view).tolist()


def test_who_breaks_a_bound_or_says_nothing_of_a_goal_stands_behind():
    said = [(0.5, {"ms": 5.0, "mb": 5}), (0.1, {"ms": 1.0, "mb": 20}), (0.1, {"ms": 1.0, "mb": 11}), (0.6, {"mb": 5})]
    assert np.argsort(standing(viewed(said, [*GOALS, "mb <= 10"]))).tolist() == [0, 3, 2, 1]
    assert standing(viewed([(0.5, {}), (0.4, {})])).tolist() == [1.0, 0.0]  # of none the second goal is known


def test_it_goes_after_all_goals():
    """What is left of the hypervolume after 60 trials is less than 0.6 of what random search leaves, mean of 6 seeds."""
    volumes = {
        n: np.mean([advance(told(n, s).trials, CORNER).volumes[-1][1] for s in range(6)]) for n in ("random", "tpe")
    }
    whole = 1.1 * 6.0 - 1 / 3  # up to the corner, less what lies below 1 - sqrt(x)
    assert whole - volumes["tpe"] < 0.6 * (whole - volumes["random"])
    # nor is it the first goal that brings it there
    alone = [
        Trials(tuple(told("tpe", s, goals=["min loss"]).trials), space=SPACE, goals=parse_goals(GOALS))
        for s in range(6)
    ]
    assert np.mean([advance(t, CORNER).volumes[-1][1] for t in alone]) < volumes["tpe"] - 0.3


@pytest.mark.parametrize("name", ["gp", "forest"])
def test_models_of_each_goal_go_after_all_of_them(name):
    """What is left after 40 trials is less than a third of what random search leaves, and than with the first goal alone, mean of 3 seeds."""
    whole = 1.1 * 6.0 - 1 / 3

    def left(search, goals=GOALS):
        runs = [tuple(told(search, s, trials=40, goals=goals).trials) for s in range(3)]
        both = [Trials(t, space=SPACE, goals=parse_goals(GOALS)) for t in runs]
        return whole - np.mean([advance(t, CORNER).volumes[-1][1] for t in both])

    assert left(name) < min(left("random"), left(name, ["min loss"])) / 3


@pytest.mark.parametrize("name", ["tpe", "gp", "forest"])
def test_a_bound_holds_at_the_front(name):
    study = told(name, 1, trials=40, goals=[*GOALS, "ms <= 1.5"])
    assert len(study.front) > 4
    assert all(t.curve[-1].metrics["ms"] <= 1.5 for t in study.front)


@pytest.mark.parametrize("make", [TPE, GP, Forest])
@pytest.mark.parametrize("seed", range(2))
def test_a_rebuilt_one_proposes_the_same(seed, make):
    """One that saw every trial come, and one that sees all at once; trials that failed, run, or were stopped early among them."""
    rng, kept, trials = streams.rng(seed), make(), []
    goals = parse_goals([*GOALS, "max gain", "mb <= 4"])
    for i in range(30):
        now = Trials([*trials, Trial(i)], space=SPACE, goals=goals, steps=3)
        said = kept.propose(now, streams.rng(seed, i))
        assert said == make().propose(now, streams.rng(seed, i))
        found = {**trade(said.params), "gain": float(rng.random()), "mb": 6 * said.params["x"]}
        loss, step = found.pop("loss"), int(rng.integers(1, 4))
        state = [State.FAILED, State.RUNNING, State.DONE, State.DONE, State.DONE][int(rng.integers(5))]
        if rng.random() < 0.2:
            del found["gain"]
        curve = (
            () if state is State.RUNNING else tuple(Point(k, loss + 3 - k, metrics=found) for k in range(1, step + 1))
        )
        if state is State.DONE and step < 3:
            state = State.STOPPED
        value = None if state is State.RUNNING else curve[-1].value
        trials.append(Trial(i, said.params, state, curve, value, origin=said.origin))


def spread(said, goals, extra=()):
    """Trials that said these (loss, metrics), in order, and those beside them."""
    done = [
        Trial(i, dict(SPACE.sample(streams.rng(i))), State.DONE, [Point(1, v, metrics=m)], v)
        for i, (v, m) in enumerate(said)
    ]
    more = [Trial(len(done) + k, dict(SPACE.sample(streams.rng(99, k))), state) for k, state in enumerate(extra)]
    return Trials([*done, *more], space=SPACE, goals=parse_goals(goals))


def some(seed, n=16):
    return [(float(a), {"ms": float(b)}) for a, b in streams.rng(seed).random((n, 2))]


@pytest.mark.parametrize("make", [GP, Forest])
@pytest.mark.parametrize("goals", [["min loss"], ["max loss"], ["min loss", "ms <= 0.5"]])
def test_with_one_goal_a_proposal_is_the_model_s_of_it_to_the_last_bit(make, goals):
    alone = Guide("gp", None, 0, GP()._make, refine=True, more=5)
    if make is Forest:
        alone = Guide("forest", None, 0, Forest()._make, draws=1000, rounds=24)
    for n in (12, 15):
        trials = spread(some(n, n), goals, [State.RUNNING, State.FAILED])
        made = make().propose(trials, streams.rng(n))
        assert made == alone.propose(trials, streams.rng(n))
        assert "fits" not in made.origin


@pytest.mark.parametrize("make", [GP, Forest])
@pytest.mark.parametrize("seed", range(2))
def test_it_is_the_same_whether_a_goal_is_small_or_its_negative_large(make, seed):
    said = some(seed)
    turned = [(v, {"speed": -m["ms"]}) for v, m in said]
    states = [State.RUNNING, State.RUNNING, State.FAILED]
    a = make().propose(spread(said, GOALS, states), streams.rng(seed))
    b = make().propose(spread(turned, ["min loss", "max speed"], states), streams.rng(seed))
    assert a.params == b.params


@pytest.mark.parametrize("make", [GP, Forest])
def test_goals_that_say_nothing_new_do_no_harm(make):
    """A goal that nobody reported, is never finite, or always the same leaves the others; so does one that is another one again."""
    said = some(4)
    ways = {
        "missing": [(v, {}) for v, _ in said],
        "not a number": [(v, {"ms": [math.nan, math.inf][i % 2]}) for i, (v, _) in enumerate(said)],
        "constant": [(v, {"ms": 3.0}) for v, _ in said],
        "huge": [(v, {"ms": 1e300 * m["ms"]}) for v, m in said],
        "twice": [(v, {"ms": v}) for v, _ in said],
        "all constant": [(1.0, {"ms": 3.0}) for _ in said],
        "the first constant": [(1.0, m) for _, m in said],
        "sometimes missing": [(v, m if i % 3 else {}) for i, (v, m) in enumerate(said)],
    }
    alone = make().propose(spread(said, ["min loss"]), streams.rng(0)).origin
    for way, told_ in ways.items():
        made = make().propose(spread(told_, GOALS), streams.rng(0))
        assert SPACE.check(made.params) is None, way
        if way in ("missing", "not a number", "constant"):
            assert made.origin == alone, way


@pytest.mark.parametrize("make", [GP, Forest])
def test_workers_that_ask_meanwhile_go_elsewhere(make):
    study = told(make(), 0, trials=24)
    rows = SPACE.encode(study.trials[23].params)[None]
    for _ in range(4):
        rows = np.vstack([rows, SPACE.encode(study.ask().params)])
    apart = [np.abs(a - b).max() for i, a in enumerate(rows[1:]) for b in rows[1:][:i]]
    assert min(apart) > 1e-3


def test_the_model_of_one_goal_is_drawn_as_if_there_was_no_other():
    """What is looked at with `study plot` is one goal, so that is what its next proposal is for."""
    both, one = spread(some(5), GOALS), spread(some(5), ["min loss"])
    assert landscape(both).next == landscape(one).next


def test_a_fit_is_kept_by_the_name_of_its_goal():
    trials = told("gp", 0, trials=14).trials
    last = trials[13].origin
    assert set(last["fits"]) == {"ms"}
    assert last["fits"]["ms"]["theta"] != last["fit"]["theta"]
    assert in_view_of(trials, "ms")[13].origin["fit"] == last["fits"]["ms"]


def test_evolution_keeps_a_front():
    """What is left of the hypervolume after 100 trials is less than half of what random search leaves, mean of 4 seeds."""
    left = {}
    for name in ("random", "evolution"):
        volumes = [advance(told(name, s, trials=100).trials, CORNER).volumes[-1][1] for s in range(4)]
        left[name] = 1.1 * 6.0 - 1 / 3 - np.mean(volumes)
    assert left["evolution"] < 0.5 * left["random"]


@pytest.mark.parametrize("seed", range(3))
def test_parents_are_of_the_best_by_rank_and_room(seed):
    made, rng = Evolution(population=8, sample=1), streams.rng(seed)
    said = [(float(a), {"ms": float(b), "mb": float(c)}) for a, b, c in rng.random((40, 3))]
    goals = [*GOALS, "mb <= 0.7"]
    done = [
        Trial(i, {"x": i / 40, "y": 0.0, "z": 0.0, "k": "a"}, State.DONE, [Point(1, v, metrics=m)], v)
        for i, (v, m) in enumerate(said)
    ]
    trials = Trials(done, space=SPACE, goals=parse_goals(goals))
    order = np.argsort(standing(Seen().look(trials)), kind="stable")
    parents = {made.propose(trials, streams.rng(seed, k)).origin["evolution"]["parent"] for k in range(60)}
    score = standing(Seen().look(trials))
    assert len(parents) > 5
    assert max(score[list(parents)]) <= score[order[7]]
    assert all(said[i][1]["mb"] <= 0.7 for i in parents)


def test_credit_goes_to_who_adds_to_the_front():
    """One member gets ever better in the first goal, each trial beating its last; the other makes a front of which none beats another."""
    goals, done = parse_goals(GOALS), []
    for i in range(24):
        name = "tpe" if i % 2 else "random"
        loss, ms = (0.5 - 0.01 * i, 9.0) if i % 2 else (0.6 + 0.01 * i, 3.0 - 0.1 * i)
        origin = {"search": "portfolio", "with": name}
        done.append(Trial(i, {"x": i / 24}, State.DONE, [Point(1, loss, metrics={"ms": ms})], loss, origin=origin))
    paying = [
        Paying(["tpe", "random"], 20.0).look(Trials(done, space=Space(x=Float(0, 1)), goals=g)).mean
        for g in (goals, goals[:1])
    ]
    assert paying[0][1] > paying[0][0] + 0.1
    assert paying[1][0] > paying[1][1] + 0.3


def test_a_portfolio_says_which_of_its_members_do_not(capfd):
    with Study(Space(x=Float(0, 1)), goal=GOALS, search=Portfolio(["cma", "gp"]), schedule="full") as study:
        study.run(lambda p: {"loss": p["x"], "ms": 1.0}, trials=2)
    line = "portfolio: of its members cma goes by the first of 2 goals alone, min loss; the credit goes by all."
    assert capfd.readouterr().err.count(line) == 1


def test_a_portfolio_of_members_that_weigh_all_says_nothing(capfd):
    with Study(Space(x=Float(0, 1)), goal=GOALS, search=Portfolio(["tpe", "random"]), schedule="full") as study:
        study.run(lambda p: {"loss": p["x"], "ms": 1.0}, trials=2)
    assert not capfd.readouterr().err
    assert Portfolio(["gp", "zoom", "tpe"]).by_first == ("zoom",)


def test_auto_asks_both_that_weigh_all_goals():
    study = told("auto", 0, trials=14)
    assert sorted(t.origin["with"] for t in study.trials[10:]) == ["gp", "gp", "tpe", "tpe"]
    assert {t.origin["because"] for t in study.trials[10:]} == {"gp and tpe in turn"}


@pytest.mark.parametrize("name", NAMES.known)
def test_it_is_said_when_only_the_first_goal_steers(name, capfd):
    space = Space(x=Float(0, 1), n=Int(1, 3))
    for goals in (["min loss", "min ms"], ["min loss", "ms <= 5"]):
        with Study(space, goal=goals, search=name, schedule="full") as study:
            study.run(lambda p: {"loss": p["x"], "ms": 1.0, "gradient.x": 1.0}, trials=2)
            study.run(lambda p: {"loss": p["x"], "ms": 1.0, "gradient.x": 1.0}, trials=3)  # it goes on: nothing is said
        line = f"{name}: only the first of 2 goals steers it, min loss; gp, forest, tpe and evolution weigh all."
        alone = name in ("cma", "zoom", "trego", "policy", "hypergradient") and "min ms" in goals
        assert capfd.readouterr().err.count(line) == alone

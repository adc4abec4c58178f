"""Searchers with several goals: how trials stand, that `tpe` and `evolution` go after all of them, and who says that only the first steers it."""

from __future__ import annotations

import numpy as np
import pytest

from whet import Choice, Float, Int, Space, Study
from whet import seed as streams
from whet.tune.dominance import ranks
from whet.tune.goal import parse_goals
from whet.tune.pareto import advance
from whet.tune.search import NAMES
from whet.tune.search.evolution import Evolution
from whet.tune.search.model.bounds import merit
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
        name: np.mean([advance(told(name, s).trials, CORNER).volumes[-1][1] for s in range(6)])
        for name in ("random", "tpe")
    }
    whole = 1.1 * 6.0 - 1 / 3  # up to the corner, less what lies below 1 - sqrt(x)
    assert whole - volumes["tpe"] < 0.6 * (whole - volumes["random"])
    # nor is it the first goal that brings it there
    alone = [
        Trials(tuple(told("tpe", s, goals=["min loss"]).trials), space=SPACE, goals=parse_goals(GOALS))
        for s in range(6)
    ]
    assert np.mean([advance(t, CORNER).volumes[-1][1] for t in alone]) < volumes["tpe"] - 0.3


def test_a_bound_holds_at_the_front():
    study = told("tpe", 1, goals=[*GOALS, "ms <= 1.5"])
    assert len(study.front) > 4
    assert all(t.curve[-1].metrics["ms"] <= 1.5 for t in study.front)


@pytest.mark.parametrize("seed", range(2))
def test_a_rebuilt_one_proposes_the_same(seed):
    """One that saw every trial come, and one that sees all at once; trials that failed, run, or were stopped early among them."""
    rng, kept, trials = streams.rng(seed), TPE(), []
    goals = parse_goals([*GOALS, "max gain", "mb <= 4"])
    for i in range(30):
        now = Trials([*trials, Trial(i)], space=SPACE, goals=goals, steps=3)
        said = kept.propose(now, streams.rng(seed, i))
        assert said == TPE().propose(now, streams.rng(seed, i))
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


def test_a_portfolio_of_members_that_weigh_all_says_nothing(capfd):
    with Study(Space(x=Float(0, 1)), goal=GOALS, search=Portfolio(["tpe", "random"]), schedule="full") as study:
        study.run(lambda p: {"loss": p["x"], "ms": 1.0}, trials=2)
    assert not capfd.readouterr().err
    assert Portfolio(["gp", "zoom", "tpe"]).by_first == ("gp", "zoom")


def test_auto_asks_tpe():
    study = told("auto", 0, trials=14)
    assert {(t.origin["with"], t.origin["because"]) for t in study.trials[10:]} == {("tpe", "several goals")}


@pytest.mark.parametrize("name", NAMES.known)
def test_it_is_said_when_only_the_first_goal_steers(name, capfd):
    space = Space(x=Float(0, 1), n=Int(1, 3))
    for goals in (["min loss", "min ms"], ["min loss", "ms <= 5"]):
        with Study(space, goal=goals, search=name, schedule="full") as study:
            study.run(lambda p: {"loss": p["x"], "ms": 1.0, "gradient.x": 1.0}, trials=2)
            study.run(lambda p: {"loss": p["x"], "ms": 1.0, "gradient.x": 1.0}, trials=3)  # it goes on: nothing is said
        line = f"{name}: only the first of 2 goals steers it, min loss; tpe and evolution weigh all."
        if name == "portfolio":
            line = "portfolio: of its members gp goes by the first of 2 goals alone, min loss; the credit goes by all."
        alone = name not in ("random", "sobol", "grid", "tpe", "evolution", "auto") and "min ms" in goals
        assert capfd.readouterr().err.count(line) == alone

"""Evolution by covariance matrix adaptation: contracts, optima, failures, workers, choices and branches, new beginnings."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from whet import Choice, Float, Idle, Int, Ordered, Space, StudyError
from whet import seed as streams
from whet.testing import SEARCHER
from whet.tune.search.cma import CMA
from whet.tune.search.model.generations import Generations, read
from whet.tune.study import Study
from whet.tune.trial import Point, State, Trial, Trials


@pytest.mark.parametrize("clause", SEARCHER, ids=lambda c: c.__name__)
def test_contract(clause):
    clause(CMA)


@pytest.mark.parametrize("clause", [c for c in SEARCHER if "rebuilt" in c.__name__ or "repeats" in c.__name__])
def test_contract_with_options(clause):
    clause(lambda: CMA(population=4, start=2, step=0.5, seed=4))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"population": 3}, "cma: population must be a whole number >= 4, got 3"),
        ({"population": 8.0}, "population must be"),
        ({"step": 0}, "cma: step must be a number above 0, at most 1, got 0"),
        ({"step": 1.5}, "step must be"),
        ({"step": True}, "step must be"),
        ({"start": 0}, "cma: start must be a whole number >= 1, got 0"),
        ({"seed": -1}, "seed must be a whole number"),
    ],
)
def test_options_that_make_no_sense(options, why):
    with pytest.raises(StudyError, match=why):
        CMA(**options)


def played(space, value, search, *, trials, seed=0, workers=1):
    """A study of so many trials of a function, told in the order they were asked for; NaN fails."""
    study = Study(space, goal="min loss", search=search, schedule="full", seed=seed)
    running = []
    for _ in range(trials):
        found = study.ask()
        assert not isinstance(found, Idle)
        running.append(found)
        if len(running) == workers:
            end(study, running.pop(0), value)
    for trial in running:
        end(study, trial, value)
    return study


def end(study, trial, value):
    found = value(trial.params)
    if found != found:
        study.fail(trial, "failed")
    else:
        study.tell(trial, found)


VALLEY = Space(a=Float(0, 1), b=Float(0, 1), c=Float(0, 1))


def valley(p):
    x, y, z = p["a"] - 0.37, p["b"] - 0.61, p["c"] - 0.44
    return 100 * (x - y) ** 2 + (x + y) ** 2 + z**2


@pytest.mark.parametrize("workers", [1, 5])
def test_it_runs_down_a_narrow_valley_that_chance_does_not_find(workers):
    def least(search):
        best = [played(VALLEY, valley, search(s), trials=150, seed=s, workers=workers).best.value for s in range(5)]
        return float(np.exp(np.log(best).mean()))

    assert least(lambda s: CMA(seed=s)) < 0.2 * least(lambda s: "random")


@pytest.mark.parametrize("seed", range(3))
def test_the_best_at_an_end_of_every_range_is_found(seed):
    space = Space(a=Float(1e-6, 1e-1, log=True), b=Float(0, 1), k=Int(1, 64, log=True), o=Ordered((1, 2, 4, 8)))
    study = played(space, lambda p: -space.encode(p).sum(), CMA(seed=seed), trials=120, seed=seed)
    best = study.best.params
    assert best["k"] >= 60
    assert best["o"] == 8
    assert best["b"] > 0.97
    assert best["a"] > 0.07


@pytest.mark.parametrize("seed", range(3))
def test_choices_branches_and_whole_numbers_are_learnt(seed):
    space = Space(
        lr=Float(1e-5, 1.0, log=True),
        n=Int(1, 40),
        o=Choice({"sgd": Space(momentum=Float(0.0, 0.99)), "adam": None, "rms": None}),
        k=Choice(["a", "b", "c", "d"]),
    )

    def value(p):
        worst = {"sgd": 0.0, "adam": 0.3, "rms": 0.5}[p["o"]] + {"a": 0.4, "b": 0.0, "c": 0.3, "d": 0.5}[p["k"]]
        more = (p["o.momentum"] - 0.8) ** 2 if p["o"] == "sgd" else 0.0
        return (math.log10(p["lr"]) + 2.3) ** 2 / 4 + (p["n"] - 27) ** 2 / 200 + worst + more

    study = played(space, value, CMA(seed=seed), trials=200, seed=seed)
    assert study.best.params["o"] == "sgd"
    assert study.best.params["k"] == "b"
    assert study.best.value < 0.05
    last = study.trials[150:]
    assert sum(t.params["k"] == "b" for t in last) > 25  # of 50; even draws give 13
    assert len({t.params["k"] for t in last}) > 1  # and none is given up


def crash(p):
    return math.nan if p["a"] + p["b"] > 1.1 else 2 - p["a"] - p["b"] + (p["c"] - 0.5) ** 2


@pytest.mark.parametrize("seed", range(3))
def test_it_comes_to_the_edge_of_what_fails_and_not_beyond(seed):
    study = played(VALLEY, crash, CMA(seed=seed), trials=150, seed=seed)
    assert study.best.value < 0.95
    failed = sum(t.state is State.FAILED for t in study.trials)
    assert failed < 0.6 * 150  # drawn evenly 40 % fail; towards the edge half of what is near it


def test_a_generation_of_which_nothing_has_a_value_goes_on_until_something_has():
    made, space = CMA(population=4, start=2), VALLEY
    done = [Trial(0, {"a": 0.1, "b": 0.1, "c": 0.1}, State.DONE, value=1.0)]
    done.append(Trial(1, {"a": 0.4, "b": 0.2, "c": 0.5}, State.DONE, value=2.0))
    for i in range(2, 12):
        said = made.propose(Trials([*done, Trial(i)], space=space), streams.rng(i))
        assert said.origin["cma"]["generation"] == 0
        done.append(Trial(i, said.params, State.FAILED, origin=said.origin))
    said = made.propose(Trials([*done, Trial(12)], space=space), streams.rng(12))
    done.append(Trial(12, said.params, State.DONE, value=0.5, origin=said.origin))
    said = made.propose(Trials([*done, Trial(13)], space=space), streams.rng(13))
    assert said.origin["cma"]["generation"] == 1
    assert said.origin["cma"]["ranked"][0] == 12
    assert said.origin["cma"]["failed"] == 3


def test_what_was_sampled_does_not_change_when_a_trial_of_long_ago_ends_or_gets_another_value():
    made = Generations(4, 0.2, 0)
    study = played(VALLEY, valley, CMA(population=4, start=4), trials=30)
    done = list(study.trials)
    told = {t.origin["cma"]["generation"]: t for t in done if "ranked" in t.origin.get("cma", {})}
    view = made.look(Trials(done, space=VALLEY))
    state, generation, _ = made.now(view)
    assert generation >= 5
    k = told[2].origin["cma"]["ranked"][0]
    done[k] = Trial(k, done[k].params, State.DONE, value=99.0, origin=done[k].origin)
    other = Generations(4, 0.2, 0)
    again, same, _ = other.now(other.look(Trials(done, space=VALLEY)))
    assert same == generation
    assert again.normal.step == state.normal.step
    np.testing.assert_array_equal(again.normal.matrix, state.normal.matrix)


def test_every_generation_is_that_of_the_recorded_points():
    """What is proposed comes from the distribution that the published update makes of the recorded points."""
    from whet.tune.search.model.covariance import Normal, adapted

    study = played(VALLEY, valley, CMA(population=6, start=6), trials=48, workers=3)
    by = {t.id: t for t in study.trials}
    told = {t.origin["cma"]["generation"]: t.origin["cma"] for t in study.trials if "ranked" in t.origin.get("cma", {})}
    assert max(told) >= 5  # of 48 trials, 6 before: what ends late is not lost
    every = [i for generation in range(1, max(told) + 1) for i in told[generation]["ranked"]]
    assert len(every) == len(set(every))
    best = by[told[0]["ranked"][0]]
    assert best.value == min(by[i].value for i in range(6))
    normal = Normal.at(VALLEY.encode(best.params), 0.2)
    made = Generations(6, 0.2, 0)
    for generation in range(1, max(told) + 1):
        ids = told[generation]["ranked"]
        assert {by[i].origin["cma"]["generation"] for i in ids} <= {generation - 1, generation - 2}
        assert [by[i].value for i in ids] == sorted(by[i].value for i in ids)
        points = np.array([VALLEY.encode(by[i].params) for i in ids])
        np.testing.assert_allclose(points, [by[i].origin["cma"]["at"] for i in ids], atol=1e-8)
        normal = adapted(normal, points)
    state, generation, _ = made.now(made.look(study.trials))
    if generation == max(told):
        np.testing.assert_allclose(state.normal.mean, normal.mean, atol=1e-7)
        np.testing.assert_allclose(state.normal.matrix, normal.matrix, rtol=1e-5, atol=1e-6)


def test_it_begins_again_elsewhere_with_larger_generations():
    space = Space(a=Float(0, 1), b=Float(0, 1))
    study = played(space, lambda p: (p["a"] - 0.3) ** 2 + (p["b"] - 0.6) ** 2, CMA(), trials=420)
    made = Generations(None, 0.2, 0)
    state, _, _ = made.now(made.look(study.trials))
    assert state.restarts >= 1
    assert state.size == 6 * 2**state.restarts
    assert study.best.value < 1e-8


def test_priors_say_where_it_looks_at_first():
    space = Space(a=Float(0, 1, prior=(0.8, 0.02)), b=Float(0, 1))
    study = played(space, lambda p: (p["a"] - 0.8) ** 2 + (p["b"] - 0.5) ** 2, CMA(), trials=24)
    first = [t.params for t in study.trials if t.origin.get("cma", {}).get("generation") == 0]
    assert np.std([p["a"] for p in first]) < 0.3 * np.std([p["b"] for p in first])


def test_constraints_hold_and_a_space_without_numbers_is_searched():
    space = Space(a=Int(1, 40), b=Int(1, 40)).where("a * b <= 60")
    study = played(space, lambda p: -p["a"] * p["b"], CMA(), trials=80)
    assert study.best.value <= -58
    only = Space(**{f"c{i}": Choice(list("abcd")) for i in range(6)})
    study = played(only, lambda p: sum(v != "c" for v in p.values()), CMA(), trials=200)
    assert study.best.value <= 1  # one in 216 has as little by chance


def test_a_record_that_is_none_is_left_aside():
    assert read(None, 1, 3) is None
    assert read({"generation": True, "at": [0.5]}, 1, 3) is None
    assert read({"generation": 1, "at": [0.5, 0.5]}, 1, 3) is None
    assert read({"generation": 1, "at": ["x"]}, 1, 3) is None
    assert read({"generation": 1, "at": [0.5], "ranked": [3]}, 1, 3) is None  # not from before
    done = [Trial(i, {"a": i / 9, "b": 0.5, "c": 0.5}, State.DONE, value=i / 9, origin={}) for i in range(8)]
    odd = {"cma": {"generation": 1, "at": [0.5, 0.5, 0.5], "ranked": [0, 1]}}  # of a study with other ids
    done.append(Trial(8, {"a": 0.5, "b": 0.5, "c": 0.5}, State.DONE, value=0.5, origin=odd))
    said = CMA().propose(Trials([*done, Trial(9)], space=VALLEY), streams.rng(0))
    assert said.origin["cma"]["generation"] == 0
    assert len(json.dumps(said.origin)) < 200


def test_a_trial_that_still_runs_is_none_that_ended():
    """All that ended have failed; one that runs has reported."""
    space = Space(x=Float(0, 1), y=Float(0, 1))
    made, done = CMA(population=4), []
    for i in range(12):
        said = made.propose(Trials([*done, Trial(i)], space=space, steps=3), streams.rng(i))
        assert "cma" not in said.origin
        if i == 3:
            done.append(Trial(i, said.params, State.RUNNING, [Point(1, 0.5)], 0.5, origin=said.origin))
        else:
            done.append(Trial(i, said.params, State.FAILED, origin=said.origin))

"""What searchers make of earlier studies: the first trials, the model, and how fast what misleads is unlearnt."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from whet import Choice, Float, Int, Space, Study
from whet.testing import Play
from whet.tune.search.earlier import best
from whet.tune.search.gp import GP
from whet.tune.search.model.cube import Cube
from whet.tune.search.model.earlier import Earlier
from whet.tune.search.model.features import Features
from whet.tune.search.model.process import Priors, Process, fit, likelihood
from whet.tune.search.model.warp import Warp, bendable
from whet.tune.search.sobol import Sobol
from whet.tune.trial import Curve, Point, State, Trial, Trials

SPACE = Space(a=Float(0, 1), b=Float(0, 1), c=Float(0, 1), d=Float(0, 1))
AT = np.array([0.8, 0.2, 0.6, 0.35])


def bowl(params, at=AT):
    return float(((SPACE.encode(params) - at) ** 2).sum())


def earlier(f, n=40, seed=0, space=SPACE, name="old"):
    rng = np.random.default_rng([7, seed])
    some = [space.sample(rng) for _ in range(n)]
    done = [Trial(i, p, State.DONE, value=float(f(p))) for i, p in enumerate(some)]
    return Trials(done, space=space, name=name)


def search(like, n, seed, made=GP):
    with Study(SPACE, search=made(seed=seed), schedule="full", seed=seed, like=like) as study:
        for _ in range(n):
            trial = study.ask()
            study.tell(trial, bowl(trial.params))
        return np.minimum.accumulate([t.value for t in study.trials])


SEEDS = range(4)


@pytest.mark.parametrize("made", [GP, Sobol])
def test_what_an_earlier_study_found_is_there_from_the_first_trial(made):
    seeds = range(8)
    near = AT + np.array([0.05, -0.05, 0.05, 0.0])
    told = [search([earlier(lambda p: 9 * bowl(p, near) - 3, seed=s)], 1, s, made)[0] for s in seeds]
    alone = [search([], 1, s, made)[0] for s in seeds]
    assert np.mean(told) < 0.2
    assert np.mean(alone) > 0.3


def test_the_model_of_an_earlier_study_leads_to_the_optimum():
    """Not only to what was tried there: five trials are enough to order all places."""
    rows = np.random.default_rng(5).random((300, 4))
    true = np.array([bowl(dict(zip(SPACE, r, strict=True))) for r in rows])
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        done = [Trial(i, p := SPACE.sample(rng), State.DONE, value=bowl(p)) for i in range(5)]
        old = earlier(lambda p: 5 * bowl(p) + 1, seed=seed)
        told, alone = (GP().worth(Trials(done, space=SPACE, like=x)).posterior.predict(rows)[0] for x in ([old], []))
        assert np.corrcoef(told, true)[0, 1] > 0.8
        assert np.corrcoef(told, true)[0, 1] > np.corrcoef(alone, true)[0, 1] + 0.1


@pytest.mark.parametrize("how", ["negated", "elsewhere", "noise"])
def test_what_misleads_is_unlearnt_within_a_few_trials(how):
    """20 trials later it is where it would have been without; the advice had at most three of its first six trials."""
    noise = np.random.default_rng(1)
    lies = {
        "negated": lambda p: -bowl(p),
        "elsewhere": lambda p: bowl(p, 1 - AT),
        "noise": lambda p: noise.standard_normal(),
    }[how]
    found = [search([earlier(lies, seed=s), earlier(lies, seed=s + 50)], 20, s)[-1] for s in SEEDS]
    alone = [search([], 20, s)[-1] for s in SEEDS]
    assert np.mean(found) < np.mean(alone) + 0.01
    assert max(found) < 0.1


def weights(earlier, values, rows):
    """Return mean and standard deviation of the weights of known functions alone, after values at rows."""
    z = earlier(rows)
    noise = 0.3
    precision = np.eye(earlier.known) + z.T @ z / noise
    mean = earlier.lean + np.linalg.solve(precision, z.T @ (values - z @ earlier.lean) / noise)
    return mean * earlier.spread


def test_weights_follow_what_is_measured():
    cube = Cube(SPACE)
    true, false = earlier(bowl, seed=1), earlier(lambda p: -bowl(p), seed=2)
    model = Earlier(cube, (true, false))
    rows = np.random.default_rng(0).random((12, 4))
    values = np.array([bowl(dict(zip(SPACE, r, strict=True))) for r in rows])
    values = (values - values.mean()) / values.std()
    good, bad = weights(model, values, rows)
    assert good > 0.2
    assert bad < 0


def test_known_functions_are_a_part_of_the_kernel():
    """Against the formulas written out (Rasmussen and Williams 2006, eq. 2.25-26 and 5.8-9)."""
    cube = Cube(SPACE)
    model = Earlier(cube, (earlier(bowl, seed=1), earlier(lambda p: p["a"], seed=2)))
    assert model.known == 2
    rng = np.random.default_rng(3)
    theta, plain = rng.normal(0, 0.3, 6), Features(cube)
    theta[-1] = -3.0
    rows, more, values = rng.random((9, 4)), rng.random((5, 4)), rng.standard_normal(9)
    process = Process(Features(cube, beside=model), rows, values, theta)

    def kernel(a, b):
        bare = Process(plain, b, np.zeros(len(b)), theta)
        return bare._cross(plain.of(a) * bare._scale) + model(a) @ model(b).T

    k = kernel(rows, rows) + (np.exp(theta[-1]) + 1e-8) * np.eye(9)
    cross = kernel(more, rows)
    mean, sd = process.predict(more)
    rest = values - model(rows) @ model.lean
    assert mean == pytest.approx(model(more) @ model.lean + cross @ np.linalg.solve(k, rest), abs=1e-8)
    expected = np.diag(kernel(more, more)) - np.einsum("ij,ji->i", cross, np.linalg.solve(k, cross.T))
    assert sd**2 == pytest.approx(expected, abs=1e-8)
    assert process.mean(process.features.of(more)) == pytest.approx(mean)
    grown = Process(Features(cube, beside=model), rows[:4], values[:4], theta).given(rows[4:], values[4:])
    assert grown.predict(more)[0] == pytest.approx(mean, abs=1e-6)

    def log(theta):
        return likelihood(theta, process.features, rows, values)[0]

    value, gradient = likelihood(theta, process.features, rows, values)
    assert value == pytest.approx(process.likelihood())
    assert value == pytest.approx(
        -0.5 * rest @ np.linalg.solve(k, rest) - 0.5 * np.linalg.slogdet(2 * np.pi * k)[1], abs=1e-8
    )
    assert gradient == pytest.approx(approx_fprime(theta, log, 1e-6), abs=1e-4)


def test_known_functions_see_numbers_that_are_not_bent():
    cube = Cube(SPACE)
    model = Earlier(cube, (earlier(bowl, seed=1),))
    warp = Warp(bendable(cube), np.full(2 * len(bendable(cube)), 0.8))
    rows = np.random.default_rng(5).random((6, 4))
    bent, plain = (Features(cube, beside=model, warp=w).of(rows) for w in (warp, None))
    assert bent[:, -1].tolist() == model(rows)[:, 0].tolist()
    assert np.abs(bent - plain)[:, :-1].max() > 0.1


def test_hyperparameters_are_fitted_with_the_known_functions_in_their_place():
    cube = Cube(SPACE)
    features = Features(cube, beside=Earlier(cube, (earlier(bowl, seed=1),)))
    rows = np.random.default_rng(4).random((15, 4))
    values = 2.0 * features.of(rows)[:, -1] + 0.1 * rows[:, 0]
    made = fit(features, rows, values)

    def cost(theta):
        return Priors().cost(theta, features)[0] - Process(features, rows, values, theta).likelihood()

    assert np.abs(approx_fprime(made.theta, cost, 1e-5)).max() < 0.05
    assert made.variance < 0.3  # they explain nearly all of it


def test_what_an_earlier_study_does_not_know_plays_no_part_in_its_model():
    space = Space(a=Float(0, 1), x=Float(0, 1), o=Choice({"p": Space(q=Float(0, 1)), "r": None}), b=Float(0, 1))
    model = Earlier(Cube(space), (earlier(lambda p: p["a"] - p["d"], space=SPACE),))
    rng = np.random.default_rng(0)
    rows = Cube(space).rows(rng.random((30, 5)))
    moved = Cube(space).rows(rng.random((30, 5)))
    moved[:, [0, 4]] = rows[:, [0, 4]]
    assert model(rows) == pytest.approx(model(moved), abs=1e-12)
    assert np.corrcoef(model(rows)[:, 0], rows[:, 0])[0, 1] > 0.9


def test_branches_that_both_have_are_known():
    branch = Choice({"sgd": Space(m=Float(0, 1)), "adam": Space(b=Float(0, 1))})
    old, new = Space(o=branch, z=Int(1, 9)), Space(y=Float(0, 1), o=branch)
    model = Earlier(Cube(new), (earlier(lambda p: p.get("o.m", 2.0), space=old),))
    rows = Cube(new).encode(
        [{"y": 0.5, "o": "sgd", "o.m": m} for m in (0.1, 0.9)] + [{"y": 0.5, "o": "adam", "o.b": 0.5}]
    )
    low, high, other = model(rows)[:, 0]
    assert low < high < other


def test_half_trained_trials_of_an_earlier_study_are_not_taken_for_finished_ones():
    rng = np.random.default_rng(0)
    trials = []
    for i in range(40):
        a = float(rng.random())
        done = i % 2 == 0
        steps = 9 if done else 1
        curve = Curve([Point(s, a - 9.0 / s) for s in range(1, steps + 1)])
        trials.append(
            Trial(
                i, {"a": a, "b": 0.5, "c": 0.5, "d": 0.5}, State.DONE if done else State.STOPPED, curve, curve[-1].value
            )
        )
    old = Trials(trials, space=SPACE, steps=9)
    rows = np.full((2, 4), 0.5)
    rows[:, 0] = 0.1, 0.9
    low, high = Earlier(Cube(SPACE), (old,))(rows)[:, 0]
    assert low < high
    first = next(best(SPACE, (old,)))[1]
    assert first.step == 9
    assert first.params["a"] == min(t.params["a"] for t in trials if t.step == 9)


def test_the_best_of_each_study_in_turn_and_none_near_another():
    there = [earlier(bowl, seed=1), earlier(lambda p: -bowl(p), seed=2)]
    found = list(best(SPACE, tuple(there)))
    assert [x[0] for x in found[:6]] == [0, 1, 0, 1, 0, 1]
    assert found[0][1].value == there[0].best.value
    assert found[1][1].value == there[1].best.value
    places = np.array([x[3] for x in found])
    apart = np.abs(places[:, None] - places[None]).mean(2)
    assert apart[~np.eye(len(places), dtype=bool)].min() >= 0.1
    assert len(found) <= 40  # the better half of each


def test_what_is_not_known_is_filled_in_evenly():
    space = Space(a=Float(0, 1), x=Float(0, 1), y=Int(1, 4)).where("x < 0.5")
    study, made = Play(space, like=(earlier(lambda p: p["a"], space=SPACE),)), Sobol()
    told = []
    for i in range(12):
        id = study.ask()
        said = made.propose(study.trials, np.random.default_rng(i))
        space.check(said.params)
        if "like" in said.origin:
            told.append(said.params)
        study.set(id, params=said.params, origin=said.origin, state=State.RUNNING)
        study.tell(id, said.params["a"])
    old = study.like[0]
    assert len(told) >= 5
    assert told[0]["a"] == min(t.params["a"] for t in old)
    assert {p["a"] for p in told} <= {t.params["a"] for t in old}
    assert len({p["y"] for p in told}) >= 3
    assert len({p["x"] for p in told}) == len(told)


def spread(like, values, guesses=0, workers=1):
    """Return the origins of trials that end with these values, one after another."""
    study, made = Play(SPACE, like=like), Sobol()
    for _ in range(guesses):
        study.set(study.ask({"search": "enqueue"}), params=SPACE.decode([0.5] * 4), state=State.RUNNING)
    while len(study.trials) < len(values) + guesses:
        asked = [(study.ask(), study.trials) for _ in range(workers)]
        ids = [id for id, _ in asked]
        for id, seen in asked:  # each is proposed from what it saw when it was asked for
            said = made.propose(seen, np.random.default_rng(id))
            study.set(id, params=said.params, origin=said.origin, state=State.RUNNING)
        for id in ids:
            value = values[id - guesses]
            if value is None:
                study.set(id, state=State.FAILED, error={"type": "E", "message": "", "traceback": ""})
            else:
                study.tell(id, value)
    assert len({str(t.params) for t in study.trials}) == len(study.trials) - max(0, guesses - 1)
    return [t.origin.get("like", {}).get("trial") is not None for t in study.trials][guesses:]


@pytest.mark.parametrize("guesses", [0, 1, 2])
def test_every_other_of_the_first_trials_is_advised(guesses):
    like = (earlier(bowl),)
    assert spread(like, [1.0] * 16, guesses) == [True, False] * 6 + [False] * 4


def test_advice_that_is_worse_ends():
    like = (earlier(bowl),)
    assert spread(like, [3.0, 1.0, 2.0, 1.5] + [1.0] * 6) == [True, False] * 2 + [False] * 6
    assert spread(like, [None, 1.0, None, 1.5] + [1.0] * 6) == [True, False] * 2 + [False] * 6
    assert spread(like, [None] * 10) == [True, False] * 5
    # and comes again when what was tried instead is worse
    assert spread(like, [3.0, 1.0, 2.0, 1.5, 9.0, 9.0, 9.0, 1.0]) == [True, False] * 2 + [False, False, True, False]


def test_workers_that_ask_at_once_get_different_advice():
    assert spread((earlier(bowl),), [1.0] * 16, workers=4) == [True, False] * 6 + [False] * 4

"""A controller by policy gradient: contracts, gradients against finite differences and the exact one, what it learns, how it is folded."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from whet import Choice, Float, Int, Ordered, Space, Study, StudyError
from whet import seed as streams
from whet.testing import SEARCHER
from whet.tune.search.model.controller import Controller, ranked, read, reward
from whet.tune.search.model.cube import Cube
from whet.tune.search.model.heads import Heads, Params
from whet.tune.search.policy import Policy
from whet.tune.trial import Point, State, Trial, Trials


@pytest.mark.parametrize("clause", SEARCHER, ids=lambda c: c.__name__)
def test_contract(clause):
    clause(Policy)


OTHERS = [c for c in SEARCHER if any(word in c.__name__ for word in ("rebuilt", "repeats", "moment"))]


@pytest.mark.parametrize("clause", OTHERS, ids=lambda c: c.__name__)
def test_contract_with_options(clause):
    clause(lambda: Policy(rate=1, entropy=0, step=0.1, start=2, seed=4))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"rate": 0}, "policy: rate must be a number above 0, at most 1, got 0"),
        ({"rate": True}, "rate must be"),
        ({"entropy": -0.1}, "policy: entropy must be a number from 0 to 1, got -0.1"),
        ({"entropy": math.nan}, "entropy must be"),
        ({"step": 1.5}, "policy: step must be a number above 0, at most 1, got 1.5"),
        ({"start": 0}, "policy: start must be a whole number >= 1, got 0"),
        ({"seed": -1}, "seed must be a whole number"),
    ],
)
def test_options_that_make_no_sense(options, why):
    with pytest.raises(StudyError) as e:
        Policy(**options)
    assert why in str(e.value)
    assert len(str(e.value).splitlines()) == 1


# -- gradients

MIXED = Space(
    lr=Float(1e-5, 1.0, log=True),
    n=Int(1, 40),
    size=Ordered((1, 2, 4)),
    o=Choice(
        {
            "sgd": Space(m=Float(0, 1), nesterov=Choice([True, False])),
            "adam": None,
            "more": Space(k=Choice(list("abc"))),
        }
    ),
)
BRANCHES = Space(
    a=Choice({"x": Space(b=Choice(list("pqr")), e=Ordered((1, 2))), "y": None, "z": Space(c=Choice({"s": Space(d=Choice(list("uv"))), "t": None}))}),
    f=Ordered((1, 2, 3)),
)  # fmt: skip


def some_params(heads, seed):
    rng = np.random.default_rng(seed)
    first = heads.first(0.3)
    logits = first.logits + np.where(np.isfinite(first.logits), rng.standard_normal(first.logits.shape), 0.0)
    n = len(first.mean)
    return Params(logits, rng.random(n), np.log(rng.uniform(0.05, 0.5, n)))


def flat(p):
    return np.concatenate([p.logits[np.isfinite(p.logits)], p.mean, p.log_sd])


def unflat(v, like):
    logits = like.logits.copy()
    there = np.isfinite(logits)
    k, n = int(there.sum()), len(like.mean)
    logits[there] = v[:k]
    return Params(logits, v[k : k + n], v[k + n :])


def of_params(gradient, like):
    """A gradient in the order of `flat`."""
    return np.concatenate([gradient.logits[np.isfinite(like.logits)], gradient.mean, gradient.log_sd])


def differences(f, v, h=1e-6):
    return np.array([(f(v + h * e) - f(v - h * e)) / (2 * h) for e in np.eye(len(v))])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("space", [MIXED, BRANCHES], ids=["mixed", "branches"])
def test_gradients_are_those_of_finite_differences(space, seed):
    """Of the logarithm of the chance of a draw and of its entropy, in all logits, means and deviations, branches not taken included."""
    heads = Heads(Cube(space))
    p, rng = some_params(heads, seed), np.random.default_rng([seed, 1])
    for _ in range(5):
        point, raw = heads.draw(p, rng)
        d = heads.of(heads.cube.rows(point[None])[0], raw)
        v = flat(p)
        expected = differences(lambda w, d=d: heads.logp(unflat(w, p), d), v)
        np.testing.assert_allclose(of_params(heads.gradient(p, d), p), expected, rtol=1e-5, atol=1e-6)
        expected = differences(lambda w, d=d: heads.entropy(unflat(w, p), d), v)
        np.testing.assert_allclose(of_params(heads.entropy_gradient(p, d), p), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("baseline", [0.0, 3.7])
@pytest.mark.parametrize("seed", range(3))
def test_the_expected_step_is_the_gradient_of_the_expected_reward(seed, baseline):
    """Over all configurations of a space with branches within branches: exact, whatever the baseline (Williams 1992, theorem 1)."""
    heads = Heads(Cube(BRANCHES))
    p = some_params(heads, seed)
    every = [heads.of(heads.cube.encode([c])[0]) for c in BRANCHES.points()]
    rewards = np.random.default_rng([seed, 2]).standard_normal(len(every))
    assert sum(math.exp(heads.logp(p, d)) for d in every) == pytest.approx(1.0, abs=1e-12)

    def expected(v):
        q = unflat(v, p)
        return sum(math.exp(heads.logp(q, d)) * r for d, r in zip(every, rewards, strict=True))

    step = sum(
        math.exp(heads.logp(p, d)) * (r - baseline) * of_params(heads.gradient(p, d), p)
        for d, r in zip(every, rewards, strict=True)
    )
    np.testing.assert_allclose(step, differences(expected, flat(p)), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("seed", range(2))
def test_draws_are_as_likely_as_their_chance_says(seed):
    heads = Heads(Cube(BRANCHES))
    p, rng = some_params(heads, seed), np.random.default_rng(seed)
    counts: dict[str, int] = {}
    for _ in range(20000):
        point, _ = heads.draw(p, rng)
        text = str(heads.cube.params(heads.cube.rows(point[None])[0]))
        counts[text] = counts.get(text, 0) + 1
    for c in BRANCHES.points():
        chance = math.exp(heads.logp(p, heads.of(heads.cube.encode([c])[0])))
        got = counts.get(str(BRANCHES.decode(BRANCHES.encode(c))), 0) / 20000
        assert abs(got - chance) < 5 * math.sqrt(chance * (1 - chance) / 20000) + 1e-4


@pytest.mark.parametrize("seed", range(3))
def test_the_reward_of_what_does_not_change_is_one_on_average_whatever_the_scale(seed):
    values = np.random.default_rng(seed).standard_normal(3000)
    found = list(map(reward, *ranked(values)))[20:]
    assert np.mean(found) == pytest.approx(np.mean(np.log(21 / np.arange(1, 22))), abs=0.06)
    assert found == list(map(reward, *ranked(np.exp(values))))[20:]


@pytest.mark.parametrize("seed", range(3))
def test_a_rank_is_the_place_among_the_twenty_before(seed):
    values = np.random.default_rng(seed).integers(0, 9, 60).astype(float)
    values[values == 8] = math.inf
    for n in (0, 1, 2, 20, 21, 60):
        ranks, among = ranked(values[:n])
        for i, value in enumerate(values[:n]):
            before = values[max(0, i - 20) : i]
            place = 1 + (before < value).sum() + 0.5 * (before == value).sum()
            assert (ranks[i], among[i]) == (place if np.isfinite(value) else math.inf, len(before))
            assert reward(ranks[i], among[i]) == (math.log((len(before) + 1) / place) if np.isfinite(value) else 0.0)


# -- the fold


def played(space, value, search, *, trials, seed=0, workers=1):
    """Trials of a function, told in the order they were asked for; NaN fails."""
    study, running = Study(space, goal="min loss", search=search, schedule="full", seed=seed), []
    for i in range(trials + workers - 1):
        if i < trials:
            running.append(study.ask())
        if i >= workers - 1:
            trial = running.pop(0)
            found = value(trial.params)
            study.fail(trial, "failed") if math.isnan(found) else study.tell(trial, found)
    return study


def slope(p):
    worst = {"sgd": 0.0, "adam": 0.4, "more": 0.7}[p["o"]] + {1: 0.5, 2: 0.0, 4: 0.3}[p["size"]]
    return (
        worst
        + (math.log10(p["lr"]) + 2.0) ** 2 / 6
        + (p["n"] - 30) ** 2 / 900
        + ((p["o.m"] - 0.8) ** 2 if p["o"] == "sgd" else 0.0)
    )


def test_what_it_knows_is_the_rule_written_out_and_trials_drawn_from_it_count_in_full():
    """With one worker: every step is rate (reward - baseline) times the gradient, in units of the variance for numbers."""
    trials = played(MIXED, slope, Policy(), trials=60).trials
    made = Controller(0.2, 0.05, 0.25)
    learnt = made.now(made.look(trials))
    heads = Heads(Cube(MIXED))
    p, base = heads.first(0.25), 0.0
    scores = np.array([t.value for t in trials])
    on = 0
    for i, t in enumerate(trials):
        row = heads.cube.encode([t.params])[0]
        said = t.origin.get("policy")
        if said is None:
            d, then = heads.of(row), heads.even(heads.of(row))
        else:
            d, then = heads.of(row, np.array([math.nan if x is None else x for x in said["at"]])), said["logp"]
            if abs(heads.logp(p, d) - then) < 1e-5:  # not drawn again, wider
                on += 1
        r = math.log((min(i, 20) + 1) / (1 + sum(scores[max(0, i - 20) : i] < scores[i])))
        a = 0.2 * (r - base if i else 0.0) * min(1.0, math.exp(heads.logp(p, d) - then))
        g, h = heads.gradient(p, d), heads.entropy_gradient(p, d)
        logits = p.logits + a * g.logits + 0.2 * 0.05 * h.logits
        logits -= logits.max(1, keepdims=True)
        logits = np.where(np.isinf(logits), logits, np.maximum(logits, -6.0))
        mean = np.clip(p.mean + a * np.exp(2 * p.log_sd) * g.mean, 0, 1)
        log_sd = p.log_sd + np.clip(a * g.log_sd, -0.5, 0.5) + 0.2 * 0.05 * h.log_sd
        p = Params(logits, mean, np.clip(log_sd, heads.narrowest, math.log(0.5)))
        base += max(0.1, 1 / (i + 1)) * (r - base)
    assert on >= 50
    np.testing.assert_allclose(learnt.params.logits, p.logits, atol=1e-9)
    np.testing.assert_allclose(learnt.params.mean, p.mean, atol=1e-9)
    np.testing.assert_allclose(learnt.params.log_sd, p.log_sd, atol=1e-9)
    assert learnt.baseline == pytest.approx(base)
    assert learnt.seen == 60


def test_a_branch_that_was_not_taken_learns_nothing():
    heads = Heads(Cube(MIXED))
    p = some_params(heads, 0)
    params = {"lr": 0.1, "n": 3, "size": 2, "o": "adam"}
    d = heads.of(heads.cube.encode([params])[0])
    g, h = heads.gradient(p, d), heads.entropy_gradient(p, d)
    inside = [i for i, j in enumerate(heads.choices) if "." in heads.cube.dims[j].name]
    assert len(inside) == 2
    momentum = [i for i, j in enumerate(heads.numbers) if "." in heads.cube.dims[j].name]
    for found in (g, h):
        assert not found.logits[inside].any()
        assert not found.log_sd[momentum].any()
    assert not g.mean[momentum].any()
    assert g.mean.any()


def test_an_earlier_trial_that_gets_another_value_is_folded_again():
    trials = list(played(MIXED, slope, Policy(), trials=40).trials)
    made = Controller(0.2, 0.05, 0.25)
    before = made.now(made.look(Trials(trials, space=MIXED)))
    trials[12] = Trial(12, trials[12].params, State.DONE, value=-5.0, origin=trials[12].origin)
    again = made.now(made.look(Trials(trials, space=MIXED)))
    other = Controller(0.2, 0.05, 0.25)
    new = other.now(other.look(Trials(trials, space=MIXED)))
    np.testing.assert_array_equal(again.params.mean, new.params.mean)
    assert not np.array_equal(before.params.mean, again.params.mean)


def test_a_persons_trial_teaches_it_and_one_that_runs_does_not():
    done = list(played(MIXED, slope, Policy(), trials=20).trials)
    made = Controller(0.2, 0.05, 0.25)
    before = made.now(made.look(Trials(done, space=MIXED)))
    params = {"lr": 0.01, "n": 30, "size": 2, "o": "sgd", "o.m": 0.8, "o.nesterov": True}
    running = Trial(20, params, State.RUNNING, [Point(1, 0.0)], 0.0, origin={"search": "enqueue"})
    assert made.now(made.look(Trials([*done, running], space=MIXED))).seen == 20
    ended = Trial(20, params, State.DONE, value=0.0, origin={"search": "enqueue"})
    after = made.now(made.look(Trials([*done, ended], space=MIXED)))
    chance = [
        made.heads.chances(x.params)[[made.heads.cube.dims[j].name for j in made.heads.choices].index("o")][0]
        for x in (before, after)
    ]
    assert chance[1] > chance[0]


def test_a_record_that_is_none_is_left_aside():
    assert read(None, 1) is None
    assert read({"at": [0.5, 0.5], "logp": 0.0}, 1) is None
    assert read({"at": ["x"], "logp": 0.0}, 1) is None
    assert read({"at": [0.5], "logp": math.inf}, 1) is None
    assert read({"at": [True], "logp": 0.0}, 1) is None
    odd = [
        Trial(i, {"x": i / 9}, State.DONE, value=i / 9, origin={"policy": {"at": [0.5, 0.5], "logp": "x"}})
        for i in range(9)
    ]
    said = Policy(start=4).propose(Trials([*odd, Trial(9)], space=Space(x=Float(0, 1))), streams.rng(0))
    assert len(json.dumps(said.origin)) < 200


# -- what it finds


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("workers", [1, 5])
def test_choices_branches_numbers_and_orders_are_learnt(seed, workers):
    trials = played(MIXED, slope, Policy(seed=seed), trials=200, seed=seed, workers=workers).trials
    last = trials[150:]
    assert sum(t.params["o"] == "sgd" for t in last) > 35  # of 50; even draws give 17
    assert sum(t.params["size"] == 2 for t in last) > 35
    assert trials.best.value < 0.05


def test_it_is_better_than_chance_where_chance_finds_nothing():
    space = Space(**{f"c{i}": Choice(list("abcdefgh")) for i in range(6)})

    def wrong(p):
        return sum(v != "c" for v in p.values())

    def least(search):
        return np.mean([played(space, wrong, search(s), trials=150, seed=s).best.value for s in range(4)])

    assert least(lambda s: Policy(seed=s)) < 1
    assert least(lambda s: "random") >= 2


@pytest.mark.parametrize("seed", range(3))
def test_it_stays_away_from_what_fails(seed):
    space = Space(a=Float(0, 1), b=Float(0, 1), o=Choice(list("xyz")))

    def value(p):
        return math.nan if p["o"] == "z" or p["a"] + p["b"] > 1.1 else 2 - p["a"] - p["b"] + (p["o"] == "y")

    trials = played(space, value, Policy(seed=seed), trials=150, seed=seed).trials
    assert sum(t.state is State.FAILED for t in trials[100:]) < 0.6 * 50
    assert trials.best.value < 1.0


@pytest.mark.parametrize("seed", range(3))
def test_the_best_at_the_ends_of_ranges_is_found_and_constraints_hold(seed):
    space = Space(a=Float(0, 1), k=Int(1, 64, log=True), w=Int(1, 40), h=Int(1, 40)).where("w * h <= 60")
    best = played(
        space, lambda p: -p["a"] - p["k"] / 64 - p["w"] * p["h"] / 60, Policy(seed=seed), trials=200, seed=seed
    ).best
    assert best.value < -2.6  # of -3; the best of 200 even draws is -2.5 on average
    assert best.params["a"] > 0.9
    assert best.params["k"] >= 56
    assert best.params["w"] * best.params["h"] <= 60

"""A portfolio: contracts, what a proposal is worth, who gets the budget, that nobody is starved, options."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest

from whet import Choice, Float, Int, Space, Study, StudyError
from whet import seed as streams
from whet.errors import UsedUp
from whet.testing import SEARCHER
from whet.tune import search
from whet.tune.schedule import describe as describe_schedule
from whet.tune.search.cma import CMA
from whet.tune.search.gp import GP
from whet.tune.search.model.paying import Account, Paying, worth
from whet.tune.search.portfolio import Portfolio
from whet.tune.search.random import Random
from whet.tune.strategy import Proposal
from whet.tune.trial import Point, State, Trial, Trials

PLANE = Space(x=Float(0, 1), y=Float(0, 1))


@pytest.mark.parametrize("clause", SEARCHER, ids=lambda c: c.__name__)
def test_contract(clause):
    clause(Portfolio)


OTHERS = [
    c for c in SEARCHER if any(word in c.__name__ for word in ("options", "rebuilt", "repeats", "moment", "left"))
]


@pytest.mark.parametrize("clause", OTHERS, ids=lambda c: c.__name__)
def test_contract_with_options(clause):
    members = ["zoom", {"name": "cma", "options": {"population": 4}}, "grid", Random()]
    clause(lambda: Portfolio(members, memory=5, least=0.25, seed=3))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"members": ["gp"]}, "portfolio: members must be two searchers or more, got ['gp']. Use e.g."),
        ({"members": "gp"}, "members must be two searchers or more"),
        ({"members": 3}, "members must be two searchers or more"),
        ({"members": ["gp", "gq"]}, "no strategy 'gq'."),
        ({"members": ["gp", {"name": "gp", "options": {"seed": 1}}]}, "the member 'gp' is named twice"),
        ({"members": ["gp", Portfolio()]}, "the member 'portfolio' is a portfolio itself"),
        ({"members": ["gp", {"name": "tpe", "options": {"start": 0}}]}, "tpe: start must be"),
        ({"members": ["gp", {"nam": "tpe"}]}, 'a member must be a name or {"name", "options"}'),
        ({"members": ["gp", 3]}, "search: must be a name or an object with `propose`"),
        ({"memory": 0}, "portfolio: memory must be a number from 1 to 1e6, got 0"),
        ({"memory": math.nan}, "memory must be"),
        ({"least": 0}, "portfolio: least must be a number above 0, at most 1/3 for 3 members, got 0."),
        ({"least": 0.34}, "least must be"),
        ({"seed": -1}, "seed must be a whole number"),
    ],
)
def test_options_that_make_no_sense(options, why):
    with pytest.raises(StudyError) as e:
        Portfolio(**options)
    assert why in str(e.value)
    assert len(str(e.value).splitlines()) == 1


def test_members_by_name_by_record_and_as_objects_are_recorded():
    made = Portfolio(["random", CMA(population=6), {"name": "gp", "options": {"start": 5}}], seed=7)
    record = json.loads(json.dumps(search.describe(made)))
    assert record["options"]["members"][0] == "random"
    assert record["options"]["members"][1]["options"]["population"] == 6
    assert search.rebuild(record) == made
    assert Portfolio(["gp", "random"], seed=7)._made[0][1] == GP(seed=7)  # a name has the portfolio's seed
    assert search.searcher("portfolio", PLANE, seed=5) == Portfolio(seed=5)


# -- what a proposal is worth


@pytest.mark.parametrize("seed", range(4))
def test_worth_falls_with_the_rank_whatever_the_scale(seed):
    rng = np.random.default_rng(seed)
    before = rng.standard_normal(50)
    some = np.sort(rng.standard_normal(20))
    found = [worth(s, before) for s in some]
    assert found == sorted(found, reverse=True)
    assert found == [worth(math.exp(s), np.exp(before)) for s in some]
    assert worth(before.min() - 1, before) == 1.0
    assert 0.0 < worth(before.max() + 1, before) < 0.02
    assert worth(math.inf, before) == 0.0
    both = np.append(before, math.inf)
    assert worth(0.0, both) > worth(0.0, before)  # better than one that failed
    # twice the rank is the same step down wherever it is
    line = np.arange(1.0, 100.0)
    steps = [worth(k - 0.5, line) - worth(2 * k - 0.5, line) for k in (1, 2, 8, 32)]
    np.testing.assert_allclose(steps, math.log(2) / math.log(101))


def told(by, scores, *, space=PLANE, extra=()):
    """Trials of members, told so; None fails."""
    done = []
    for i, (name, score) in enumerate(zip(by, scores, strict=True)):
        origin = {"search": "portfolio", "with": name} if name else {"search": "enqueue"}
        state = {"state": State.FAILED} if score is None else {"state": State.DONE, "value": score}
        done.append(Trial(i, {"x": i / 99, "y": 0.5}, origin=origin | dict(extra), **state))
    return Trials(done, space=space)


def test_credit_is_the_sum_of_what_faded():
    """Against the formula, written out over all trials."""
    rng = np.random.default_rng(3)
    by = [("a", "b", "", "c")[k] for k in rng.integers(4, size=60)]
    scores = [None if u < 0.15 else float(v) for u, v in zip(rng.random(60), rng.standard_normal(60), strict=True)]
    account = Paying(["a", "b", "c", "d"], 20.0).look(told(by, scores))
    credit, weight = np.zeros(4), np.zeros(4)
    for i, name in enumerate(by):
        if not name:
            continue
        later = sum(n == name for n in by[i + 1 :])
        better = sum(s is not None and scores[i] is not None and s < scores[i] for s in scores[:i])
        value = 0.0 if scores[i] is None else 1 - math.log(1 + better) / math.log(i + 2)
        weight["abc".index(name)] += math.exp(-later / 20)
        credit["abc".index(name)] += math.exp(-later / 20) * value
    np.testing.assert_allclose(account.credit, credit, atol=1e-12)
    np.testing.assert_allclose(account.weight, weight, atol=1e-12)
    n = sum(bool(name) for name in by)
    last = {name: sum(bool(m) for m in by[len(by) - by[::-1].index(name) :]) for name in "abc"}
    assert account.idle.tolist() == [*last.values(), n]


def test_evenly_spread_first_trials_are_nobodys_merit():
    some = told("aabb", [1.0, 2.0, 3.0, 4.0], extra={"start": "sobol"})
    account = Paying("ab", 20.0).look(some)
    assert account.weight.tolist() == [0.0, 0.0]
    assert account.idle.tolist() == [2, 0]  # though its turn it was


def test_the_first_trials_of_auto_are_nobodys_merit_either():
    """It says in its own way that they are evenly spread."""
    made = Portfolio(["auto", "random"], least=0.4, memory=1e6)
    done = played(made, bowl, trials=16)
    by = [t for t in done if t.origin["with"] == "auto"]
    spread = [t for t in by if "index" in t.origin]  # a point of the sequence
    assert 0 < len(spread) < len(by)
    assert [t.origin.get("start") for t in by] == ["sobol" if t in spread else None for t in by]
    weight = made._paying.look(Trials(done, space=PLANE)).weight[0]
    assert weight == pytest.approx(len(by) - len(spread), abs=1e-3)


def test_draws_are_from_the_distribution_of_what_is_believed():
    account = Account(np.array([3.0, 0.5]), np.array([5.0, 9.0]), np.zeros(2))
    rng = np.random.default_rng(0)
    draws = np.array([account.draw(rng) for _ in range(20000)])
    np.testing.assert_allclose(draws.mean(0), account.mean, atol=0.01)
    np.testing.assert_allclose(account.mean, [4 / 7, 1.5 / 11])
    a, b = 1 + account.credit, 1 + account.weight - account.credit
    np.testing.assert_allclose(draws.var(0), a * b / ((a + b) ** 2 * (a + b + 1)), rtol=0.1)


# -- who gets the budget


@dataclass(frozen=True)
class Near:
    """Draws around a place. What is far from 0.5 is bad."""

    at: float = 0.5
    until: int = 10**9  # trials; later around the other end

    def propose(self, trials, rng):
        middle = self.at if len(trials) <= self.until else 1 - self.at
        return Proposal(
            {k: float(np.clip(middle + 0.1 * rng.standard_normal(), 0, 1)) for k in "xy"}, {"search": "near"}
        )


@dataclass(frozen=True)
class Far(Near):
    at: float = 0.95


def played(portfolio, value, *, trials, seed=0, space=PLANE, workers=1):
    done, running = [], []
    for i in range(trials):
        said = portfolio.propose(Trials([*done, Trial(i)], space=space), streams.rng(seed, i))
        done.append(Trial(i, said.params, State.RUNNING, origin=said.origin))
        running.append(i)
        if len(running) == workers:
            t = done[running.pop(0)]
            found = value(t.params)
            state = {"state": State.FAILED} if math.isnan(found) else {"state": State.DONE, "value": found}
            done[t.id] = Trial(t.id, t.params, origin=t.origin, **state)
    return done


def bowl(p):
    return (p["x"] - 0.5) ** 2 + (p["y"] - 0.5) ** 2


def made_by(done):
    return Counter(t.origin["with"].rpartition(":")[2] for t in done)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("workers", [1, 6])
def test_the_budget_goes_to_whom_it_pays(seed, workers):
    done = played(Portfolio([Near(), Far()]), bowl, trials=150, seed=seed, workers=workers)
    assert made_by(done[30:])["Near"] > 0.8 * 120
    assert made_by(done[30:])["Far"] >= 120 / 20 - 1  # and to the other the least


@pytest.mark.parametrize("seed", range(4))
def test_what_fails_does_not_pay(seed):
    done = played(Portfolio([Near(), Far()]), lambda p: math.nan if p["x"] < 0.75 else bowl(p), trials=100, seed=seed)
    assert made_by(done[30:])["Far"] > 0.75 * 70


@pytest.mark.parametrize("seed", range(4))
def test_it_finds_out_that_another_pays_by_now(seed):
    """The two change places after 100 trials."""
    done = played(
        Portfolio([Near(0.55, until=100), Far(0.95, until=100)]), lambda p: p["x"] + p["y"], trials=260, seed=seed
    )
    assert made_by(done[30:100])["Near"] > 0.7 * 70
    assert made_by(done[180:])["Far"] > 0.7 * 80


@pytest.mark.parametrize("least", [0.05, 0.2, 1 / 3])
@pytest.mark.parametrize("seed", range(3))
def test_nobody_is_starved(least, seed):
    """In every 1 / least proposals in a row, and as many more as there are others, each member has one."""
    done = played(Portfolio([Near(), Far(), "random"], least=least, memory=500), bowl, trials=160, seed=seed)
    window = math.ceil(1 / least) + 2
    for i in range(len(done) - window):
        assert len(made_by(done[i : i + window])) == 3
    if least == 0.05:
        assert sum(t.origin["because"] == "drawn by credit" for t in done) > 130


def test_each_member_sees_what_the_others_tried():
    """What a member proposes is what it proposes alone of the same trials and stream."""
    made = Portfolio(["gp", "random"], least=0.05)
    rng = np.random.default_rng(1)
    rows = [PLANE.sample(rng) for _ in range(20)]
    done = [Trial(i, p, State.DONE, value=bowl(p), origin={"search": "random"}) for i, p in enumerate(rows)]
    trials = Trials([*done, Trial(20)], space=PLANE)
    seen = set()
    for i in range(30):
        said = made.propose(trials, streams.rng(i))
        stream = streams.rng(i)
        made._paying.look(trials).draw(stream)
        alone = (GP() if said.origin["with"] == "gp" else Random()).propose(trials, stream)
        assert said.params == alone.params
        assert said.origin.get("fit") == alone.origin.get("fit")
        seen.add(said.origin["with"])
        assert set(said.origin["credit"]) == {"gp", "random"}
    assert seen == {"gp", "random"}


def test_generations_and_passes_go_on_within_a_portfolio():
    """Members that write down where they stand find it again."""
    with Study(PLANE, goal="min loss", search=Portfolio(["cma", "zoom"]), seed=1) as study:
        for _ in range(120):
            trial = study.ask()
            study.tell(trial, bowl(trial.params))
        trials = study.trials
    assert max(t.origin["cma"]["generation"] for t in trials if "cma" in t.origin) >= 4
    assert max(t.origin["zoom"]["pass"] for t in trials if "zoom" in t.origin) >= 2
    assert trials.best.value < 1e-4


def test_a_member_that_has_nothing_left_makes_way():
    space = Space(a=Int(1, 40), b=Choice(["x", "y"]))
    made = Portfolio([{"name": "grid", "options": {"points": 2}}, "random"])
    assert made.size(space) == 80
    done = played(made, lambda p: p["a"], trials=80, space=space)
    assert made_by(done)["grid"] <= 4
    assert len({str(t.params) for t in done}) == 80
    with pytest.raises(UsedUp):
        made.propose(Trials([*done, Trial(80)], space=space), streams.rng(0))
    assert made.left(Trials(done, space=space)) == 0


def test_trials_that_are_not_trained_to_the_end_count_as_forecast():
    """One that was stopped early and far behind is worth little; it is not left out."""
    done = [
        Trial(i, {"x": i / 9, "y": 0.5}, State.DONE, [Point(s, v / s) for s in (1, 2, 3)], v / 3, origin={"search": "portfolio", "with": "a"})
        for i, v in enumerate((3.0, 1.0, 2.0, 4.0))
    ]  # fmt: skip
    late = Trial(
        4, {"x": 0.9, "y": 0.1}, State.STOPPED, [Point(1, 9.0)], 9.0, origin={"search": "portfolio", "with": "b"}
    )
    account = Paying("ab", 1e6).look(Trials([*done, late], space=PLANE, steps=3))
    assert account.weight[1] == 1.0
    assert account.credit[1] < 0.2


def test_a_member_that_goes_by_gradients_is_given_them_and_whole_trials():
    search = Portfolio(["hypergradient", "random"])
    assert search.gradient == "unrolled"
    assert Portfolio(["gp", "random"]).gradient == ""
    space = Space(x=Float(0, 1))
    assert describe_schedule(Study(space, search=search, steps=9).scheduler)["name"] == "full"
    with pytest.raises(StudyError, match="portfolio: search 'hypergradient' does not go with schedule 'asha'"):
        Study(space, search=search, schedule="asha", steps=9)
    study = Study(space, search=search, steps=1)
    study.run(lambda p: {"loss": (p["x"] - 0.3) ** 2, "gradient.x": 2 * (p["x"] - 0.3)}, trials=40)
    steps = [t for t in study.trials if "hypergradient" in t.origin]
    assert steps
    assert all(t.origin["with"] == "hypergradient" for t in steps)
    assert study.best.value < 1e-6

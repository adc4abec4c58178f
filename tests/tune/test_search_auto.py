from __future__ import annotations

import numpy as np
import pytest

from whet import Choice, Float, Space, StudyError
from whet.testing import SEARCHER
from whet.tune.search.auto import Auto
from whet.tune.search.gp import GP
from whet.tune.search.tpe import TPE
from whet.tune.study import Study
from whet.tune.trial import State, Trial, Trials

SPACE = Space(
    lr=Float(1e-4, 1.0, log=True),
    o=Choice({"sgd": Space(m=Float(0, 1)), "adam": Space(b=Float(0, 1)), "none": None}),
)


def loss(p):
    u = (np.log10(p["lr"]) + 4) / 4
    inner = {"sgd": lambda: 0.3 + (p["o.m"] - 0.2) ** 2, "adam": lambda: (p["o.b"] - 0.7) ** 2, "none": lambda: 0.5}
    return float((u - 0.6) ** 2 + inner[p["o"]]())


@pytest.mark.parametrize("clause", SEARCHER, ids=lambda c: c.__name__)
def test_contract(clause):
    clause(Auto)


def test_a_seed_that_makes_no_sense():
    with pytest.raises(StudyError, match=r"auto: seed must be a whole number >= 0, got -1\. Use"):
        Auto(seed=-1)


def test_every_trial_says_what_was_picked_and_why():
    with Study(SPACE, goal="min loss", seed=1) as study:
        for _ in range(20):
            trial = study.ask()
            study.tell(trial, loss(trial.params))
        origins = [t.origin for t in study.trials]
    assert all(o["search"] == "auto" for o in origins)
    assert [o["with"] for o in origins[:4]] == ["sobol"] * 4
    assert {o["with"] for o in origins[-6:]} == {"gp", "tpe"}
    assert origins[0]["because"] == "the first trials are evenly spread"
    assert origins[-1]["because"] == "gp and tpe in turn"


@pytest.mark.parametrize(("n", "made"), [(40, GP), (41, TPE), (301, TPE), (302, TPE), (-40, TPE), (-41, TPE)])
def test_it_proposes_what_it_picks_proposes(n, made):
    n, steps = abs(n), 9 if n < 0 else 1
    rng = np.random.default_rng(0)
    params = [SPACE.sample(rng) for _ in range(n)]
    trials = Trials([Trial(i, p, State.DONE, value=loss(p)) for i, p in enumerate(params)], space=SPACE, steps=steps)
    said, alone = (x.propose(trials, np.random.default_rng(7)) for x in (Auto(seed=3), made(seed=3)))
    assert said.params == alone.params
    assert said.origin["with"] == alone.origin["search"]
    assert said.origin.get("fit") == alone.origin.get("fit")  # the next gp begins from it


@pytest.mark.parametrize(("n", "failed", "made"), [(40, 2, GP), (40, 3, TPE), (80, 3, GP), (80, 4, TPE)])
def test_where_trials_fail_it_asks_tpe_alone(n, failed, made):
    rng = np.random.default_rng(0)
    params = [SPACE.sample(rng) for _ in range(n)]
    ends = [
        {"state": State.FAILED} if i < failed else {"state": State.DONE, "value": loss(p)} for i, p in enumerate(params)
    ]
    trials = Trials([Trial(i, p, **end) for i, (p, end) in enumerate(zip(params, ends, strict=True))], space=SPACE)
    said, alone = (x.propose(trials, np.random.default_rng(7)) for x in (Auto(seed=3), made(seed=3)))
    assert said.params == alone.params
    assert (said.origin["because"] == "trials fail") is (made is TPE)


def test_it_is_better_than_random_search():
    found = {}
    for search in ("auto", "random"):
        ends = []
        for seed in range(4):
            with Study(SPACE, goal="min loss", search=search, seed=seed) as study:
                for _ in range(40):
                    trial = study.ask()
                    study.tell(trial, loss(trial.params))
                ends.append(study.best.value)
        found[search] = np.mean(ends)
    assert found["auto"] < 0.2 * found["random"]
    assert found["auto"] < 0.005

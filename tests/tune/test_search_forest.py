from __future__ import annotations

import numpy as np
import pytest

from whet import Choice, Float, Idle, Int, Ordered, Space, StudyError
from whet import seed as streams
from whet.testing import SEARCHER, SPACES, Play
from whet.tune.search.forest import Forest
from whet.tune.search.random import Random
from whet.tune.study import Study
from whet.tune.trial import Curve, Point, State, Trial, Trials


@pytest.mark.parametrize("clause", SEARCHER, ids=lambda c: c.__name__)
def test_contract(clause):
    clause(Forest)


@pytest.mark.soak
@pytest.mark.parametrize("options", [{"acquisition": "pi", "trees": 7}, {"acquisition": "ei"}, {"acquisition": "ucb"}])
@pytest.mark.parametrize("clause", [c for c in SEARCHER if "rebuilt" in c.__name__ or "allows" in c.__name__])
def test_contract_with_other_options(options, clause):
    clause(lambda: Forest(start=5, **options))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"acquisition": "log_ei"}, "forest: no acquisition 'log_ei'. Did you mean 'log-ei'"),
        ({"start": 0}, "forest: start must be a whole number >= 1, got 0"),
        ({"trees": 2.5}, r"forest: trees must be a whole number >= 1, got 2\.5"),
        ({"seed": -1}, "seed must be a whole number"),
    ],
)
def test_options_that_make_no_sense(options, why):
    with pytest.raises(StudyError, match=why):
        Forest(**options)


BRANCHES = Space(
    kind=Choice({
        "tree": Space(depth=Int(1, 20), shrink=Float(1e-3, 1.0, log=True)),
        "net": Space(width=Ordered((16, 32, 64, 128, 256)), drop=Float(0, 0.9), act=Choice(["relu", "tanh", "gelu"])),
        "line": None,
    }),
    decay=Float(1e-6, 1e-1, log=True),
)  # fmt: skip


def branchy(p):
    """Least, 0, with a net of width 64, dropout 0.2 and gelu, decay 1e-4; the best tree has 0.3."""
    decay = (np.log10(p["decay"]) + 4) ** 2 / 10
    if p["kind"] == "line":
        return 0.8 + decay
    if p["kind"] == "tree":
        return 0.3 + abs(p["kind.depth"] - 6) / 20 + (np.log10(p["kind.shrink"]) + 1) ** 2 / 4 + decay
    off = abs(np.log2(p["kind.width"] / 64)) / 4 + 2 * (p["kind.drop"] - 0.2) ** 2
    return 0.2 * (p["kind.act"] != "gelu") + off + decay


def best_of(search, seed, trials=50):
    with Study(BRANCHES, goal="min loss", search=search, schedule="full", seed=seed) as study:
        for _ in range(trials):
            trial = study.ask()
            study.tell(trial, branchy(trial.params))
        return study.best.value


def test_it_finds_the_minimum_of_a_conditional_and_mixed_function():
    """The second-best branch may hold it, as trees are sure of what they have not seen; seldom enough to be far ahead of random search."""
    ours = [best_of(Forest(seed=seed), seed) for seed in range(6)]
    random = [best_of(Random(), seed) for seed in range(6)]
    assert np.mean(ours) < 0.7 * np.mean(random)
    assert np.median(ours) < 0.1 * np.median(random)


CRASH = Space(a=Float(0, 1), b=Float(0, 1), c=Float(0, 1), k=Choice(["x", "y", "z"]))


@pytest.mark.parametrize("seed", range(2))
def test_failures_teach_it_where_not_to_go(seed):
    """The loss improves towards what crashes, half of the space (random search fails every other time)."""
    failed = []
    with Study(CRASH, goal="min loss", search=Forest(seed=seed), schedule="full", seed=seed) as study:
        for _ in range(60):
            trial = study.ask()
            p = trial.params
            failed.append(p["a"] + p["b"] > 1)
            if failed[-1]:
                study.fail(trial, "out of memory")
            else:
                study.tell(trial, 2 - p["a"] - p["b"] + (p["c"] - 0.3) ** 2 + 0.2 * (p["k"] != "x"))
        fits = [t.origin["fit"] for t in study.trials if "fit" in t.origin]
        assert np.mean(failed) <= 0.25
        assert study.best.value < 1.25  # 1.0 with x, 1.2 with the others, where what crashes begins
        assert all(len(f["sound"]) == 6 for f in fits)
        assert [f["n"] for f in fits if f["n"] > 40] == [44, 49, 54]  # fitted anew each time a tenth more have ended


@pytest.mark.parametrize("told", [10, 60])
def test_workers_that_ask_at_once_get_different_places(told):
    """Running trials are taken to become what is expected of them, so the next one looks elsewhere."""
    study, made = Play(Space(x=Float(0, 1), y=Float(0, 1))), Forest()
    for n in range(told):
        id = study.ask()
        u = streams.rng(n).random(2)
        study.set(id, params={"x": float(u[0]), "y": float(u[1])}, state=State.RUNNING)
        study.tell(id, float(np.sin(9 * u[0]) * np.cos(7 * u[1])))
    places = []
    for _ in range(6):
        id = study.ask()
        said = made.propose(study.trials, streams.rng(5, id))
        study.set(id, params=said.params, origin=said.origin, state=State.RUNNING)
        places.append([said.params["x"], said.params["y"]])
    apart = np.linalg.norm(np.array(places)[:, None] - np.array(places)[None], axis=2)
    assert apart[~np.eye(6, dtype=bool)].min() > 0.01


def test_trials_that_were_stopped_early_are_learnt_from():
    """Values after one step are worse by far, and would look bad if how far a trial was trained played no part."""

    def value(p, step):
        return (p["x"] - 0.7) ** 2 + 5.0 / step

    with Study(Space(x=Float(0, 1), k=Int(1, 3)), goal="min loss", search="forest", schedule="asha", steps=9) as study:
        while not isinstance(trial := study.ask(), Idle) and len(study.trials) < 40:
            for step in range(trial.step + 1, 10):
                if study.report(trial, step, value(trial.params, step)) is not step and step == 9:
                    study.tell(trial, value(trial.params, 9))
                elif study.trials[trial.id].state is not State.RUNNING:
                    break
        late = [t.params["x"] for t in study.trials[20:]]
        assert np.median(np.abs(np.array(late) - 0.7)) < 0.15


@pytest.mark.parametrize("seed", range(3))
def test_how_far_a_trial_was_trained_is_told_from_how_good_it_is(seed):
    """Fully trained ones have the small values, all at the wrong end; after one step the right end is the better one."""
    trials = [
        Trial(i, {"x": x}, State.PAUSED, curve=Curve([Point(1, (x - 0.7) ** 2 + 5)]), value=(x - 0.7) ** 2 + 5)
        for i, x in enumerate(np.linspace(0.02, 0.98, 12))
    ]
    for x in (0.1, 0.2, 0.3):
        points = [Point(s, (x - 0.7) ** 2 + 5 / s) for s in (1, 9)]
        trials.append(Trial(len(trials), {"x": x}, State.DONE, curve=Curve(points), value=points[-1].value))
    shown = Trials(trials, space=Space(x=Float(0, 1)), steps=9)
    assert Forest(seed=seed).propose(shown, streams.rng(seed)).params["x"] > 0.5


RIGHT, WRONG = (Space(x=Float(0, 1, prior=(at, 0.05)), y=Float(0, 1), k=Choice(["a", "b", "c"])) for at in (0.8, 0.1))


def test_a_person_who_is_right_is_believed_at_once():
    with Study(RIGHT, goal="min loss", search="forest", schedule="full") as study:
        for _ in range(16):
            trial = study.ask()
            p = trial.params
            study.tell(trial, 1 - np.exp(-(((p["x"] - 0.8) / 0.1) ** 2)) + (p["y"] - 0.3) ** 2 + 0.1 * (p["k"] != "b"))
        near = [abs(t.params["x"] - 0.8) < 0.15 for t in study.trials]
        assert sum(near) >= 6  # 0.3 of 16 without a prior: 5 or fewer
        assert study.best.value < 0.25


@pytest.mark.parametrize("seed", range(3))
def test_a_person_who_is_wrong_is_unlearnt(seed):
    with Study(WRONG, goal="min loss", search=Forest(seed=seed), schedule="full", seed=seed) as study:
        for _ in range(50):
            trial = study.ask()
            p = trial.params
            study.tell(trial, (p["x"] - 0.8) ** 2 + (p["y"] - 0.3) ** 2 + 0.1 * (p["k"] != "b"))
        assert study.best.value < 0.01
        assert abs(study.best.params["x"] - 0.8) < 0.1


def test_what_it_expects_and_finds_worth_trying_are_values():
    with pytest.raises(StudyError, match="forest: no trial has a value yet"):
        Forest().worth(Trials([], space=SPACES["line"]))
    with Study(BRANCHES, goal="min loss", search="forest", schedule="full") as study:
        for _ in range(30):
            trial = study.ask()
            study.tell(trial, branchy(trial.params))
        worth = Forest().worth(study.trials)
        rows = np.array([study.space.encode(t.params) for t in study.trials])
        mean, sd = worth.posterior.predict(rows)
        told = worth.posterior.scale.to(np.array([t.value for t in study.trials]))
        assert np.abs(mean - told).max() < 0.05  # trees are grown until they know every trial
        others = np.array([study.space.encode(study.space.sample(streams.rng(i))) for i in range(300)])
        assert sd.max() < np.median(worth.posterior.predict(others)[1])
        assert worth(study.space.encode(study.ask().params)[None])[0] > np.quantile(worth(others), 0.99)

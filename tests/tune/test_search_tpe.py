"""The tree-structured Parzen estimator: contracts, optima, failures, parallel proposals, priors, correlation across branches."""

from __future__ import annotations

import numpy as np
import pytest

from whet import Choice, Float, Idle, Int, Space, StudyError
from whet import seed as streams
from whet.testing import SEARCHER, SPACES, Play
from whet.tune.search.tpe import TPE
from whet.tune.study import Study
from whet.tune.trial import Curve, Point, State, Trial, Trials

CRASH = Space(a=Float(0, 1), b=Float(0, 1), c=Float(0, 1), k=Choice(["x", "y", "z"]))


@pytest.mark.parametrize("clause", SEARCHER, ids=lambda c: c.__name__)
def test_contract(clause):
    clause(TPE)


@pytest.mark.parametrize("clause", [c for c in SEARCHER if "rebuilt" in c.__name__ or "repeats" in c.__name__])
def test_contract_with_options(clause):
    clause(lambda: TPE(share=0.5, draws=3, start=2, seed=4))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"share": 0}, "tpe: share must be a number above 0, at most 0.5, got 0"),
        ({"share": 0.6}, "share must be"),
        ({"share": True}, "share must be"),
        ({"draws": 0}, "tpe: draws must be a whole number >= 1, got 0"),
        ({"draws": None}, "draws must be"),
        ({"start": 0}, "tpe: start must be a whole number >= 1, got 0"),
        ({"start": True}, "start must be"),
        ({"seed": -1}, "seed must be a whole number"),
    ],
)
def test_options_that_make_no_sense(options, why):
    with pytest.raises(StudyError, match=why):
        TPE(**options)


def told(space, value, search, *, trials, seed):
    """A study of so many trials of a function."""
    study = Study(space, goal="min loss", search=search, schedule="full", seed=seed)
    for _ in range(trials):
        trial = study.ask()
        study.tell(trial, value(trial.params))
    return study


def bowl(p):
    far = np.log10(p["lr"]) + 2.5
    return far**2 / 4 + (p["n"] - 7) ** 2 / 30 + {"a": 0.0, "b": 0.2, "c": 0.5}[p["k"]] + (p["x"] - 0.2) ** 2


BOWL = Space(lr=Float(1e-5, 1.0, log=True), n=Int(1, 12), k=Choice(["a", "b", "c"]), x=Float(0, 1))


def test_it_finds_the_minimum_of_a_mixed_space():
    """Of 6 seeds; the mean of random search after 60 is 0.17."""
    best = [told(BOWL, bowl, TPE(seed=s), trials=60, seed=s).best.value for s in range(6)]
    assert np.mean(best) < 0.06
    assert max(best) < 0.15


@pytest.mark.parametrize("seed", range(2))
def test_failures_teach_it_where_not_to_go(seed):
    """The loss improves towards what crashes, half of the space (random search fails every other time)."""
    failed = []
    with Study(CRASH, goal="min loss", search=TPE(seed=seed), schedule="full", seed=seed) as study:
        for _ in range(60):
            trial = study.ask()
            p = trial.params
            failed.append(p["a"] + p["b"] > 1)
            if failed[-1]:
                study.fail(trial, "out of memory")
            else:
                study.tell(trial, 2 - p["a"] - p["b"] + (p["c"] - 0.3) ** 2 + 0.2 * (p["k"] != "x"))
        assert np.mean(failed) <= 0.35
        assert study.best.value < 1.1
        fits = [t.origin["fit"]["n"] for t in study.trials if "fit" in t.origin]
        assert fits == sorted(fits)
        assert len([n for n in fits if n > 40]) == len([n for n in fits if n in (44, 45, 49, 50, 54, 55, 60)]) > 0


def test_workers_that_ask_at_once_get_different_places():
    """What runs is bad, so the next one looks elsewhere: with 12 at once the spread is more than with the running ones left out."""
    spread = []
    for blind in (False, True):
        study, made, places = Play(Space(x=Float(0, 1), y=Float(0, 1))), TPE(), []
        for n in range(20):
            id = study.ask()
            u = streams.rng(n).random(2)
            study.set(id, params={"x": float(u[0]), "y": float(u[1])}, state=State.RUNNING)
            study.tell(id, float((u[0] - 0.5) ** 2 + (u[1] - 0.5) ** 2))
        for _ in range(12):
            id = study.ask()
            said = made.propose(study.trials, streams.rng(5, id))
            if not blind:
                study.set(id, params=said.params, origin=said.origin, state=State.RUNNING)
            places.append([said.params["x"], said.params["y"]])
        apart = np.linalg.norm(np.array(places)[:, None] - np.array(places)[None], axis=2)
        assert apart[~np.eye(12, dtype=bool)].min() > 0
        spread.append(apart.mean())
    assert spread[0] > 1.3 * spread[1]


def test_trials_that_were_stopped_early_are_learnt_from():
    """Values after one step are worse by far, and would look bad if how far a trial was trained played no part."""

    def value(p, step):
        return (p["x"] - 0.7) ** 2 + 5.0 / step

    with Study(Space(x=Float(0, 1), k=Int(1, 3)), goal="min loss", search="tpe", schedule="asha", steps=9) as study:
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
    """Two that were trained to the end have the small values, at the wrong end; after one step the right end is the better one."""
    trials = [
        Trial(i, {"x": x}, State.PAUSED, curve=Curve([Point(1, (x - 0.7) ** 2 + 5)]), value=(x - 0.7) ** 2 + 5)
        for i, x in enumerate(np.linspace(0.02, 0.98, 12))
    ]
    for x in (0.1, 0.2):
        points = [Point(1, (x - 0.7) ** 2 + 5), Point(9, (x - 0.7) ** 2 + 0.55)]
        trials.append(Trial(len(trials), {"x": x}, State.DONE, curve=Curve(points), value=points[-1].value))
    shown = Trials(trials, space=Space(x=Float(0, 1)), steps=9)
    assert TPE(seed=seed).propose(shown, streams.rng(seed)).params["x"] > 0.45


RIGHT, WRONG = (Space(x=Float(0, 1, prior=(at, 0.05)), y=Float(0, 1), k=Choice(["a", "b", "c"])) for at in (0.8, 0.1))


def test_a_person_who_is_right_is_believed_at_once():
    def narrow(p):
        return 1 - np.exp(-(((p["x"] - 0.8) / 0.1) ** 2)) + (p["y"] - 0.3) ** 2 + 0.1 * (p["k"] != "b")

    with told(RIGHT, narrow, "tpe", trials=20, seed=0) as study:
        near = [abs(t.params["x"] - 0.8) < 0.15 for t in study.trials[6:]]
        assert np.mean(near) > 0.7  # 0.3 without a prior
        assert study.best.value < 0.25


def test_what_a_person_believes_weighs_on_what_is_drawn():
    """All values are the same, so nothing else tells places apart; of draws a third come from the prior, which alone would not do."""
    done = [Trial(i, {"x": (i + 0.5) / 10, "y": 0.5, "k": "a"}, State.DONE, value=1.0) for i in range(10)]
    shown = Trials(done, space=RIGHT)
    near = [abs(TPE().propose(shown, streams.rng(s)).params["x"] - 0.8) < 0.1 for s in range(40)]
    assert np.mean(near) > 0.95


@pytest.mark.parametrize("seed", range(3))
def test_a_person_who_is_wrong_is_unlearnt(seed):
    def value(p):
        return (p["x"] - 0.8) ** 2 + (p["y"] - 0.3) ** 2 + 0.1 * (p["k"] != "b")

    with told(WRONG, value, TPE(seed=seed), trials=50, seed=seed) as study:
        assert study.best.value < 0.02
        assert abs(study.best.params["x"] - 0.8) < 0.12


def test_it_leaves_an_option_that_looked_good_at_first():
    """The other options cost 0.1 more, which is little beside what the numbers do; with choices of a fixed width (0.2) every other seed stays."""

    def value(p):
        return (p["x"] - 0.8) ** 2 + (p["y"] - 0.3) ** 2 + 0.1 * (p["k"] != "b")

    best = [told(WRONG, value, TPE(seed=s), trials=50, seed=s).best for s in range(10)]
    assert [t.params["k"] for t in best] == ["b"] * 10


#: The best rate depends on the branch, and with sgd on its own momentum too.
BRANCHES = Space(
    o=Choice({"sgd": Space(m=Float(0, 1)), "adam": Space(b=Float(0, 1)), "plain": None}), lr=Float(0, 1), wd=Float(0, 1)
)


def branches(p):
    if p["o"] == "sgd":
        return 8 * (p["lr"] - 0.9 + 0.4 * p["o.m"]) ** 2 + (p["o.m"] - 0.7) ** 2 + (p["wd"] - 0.3) ** 2
    if p["o"] == "adam":
        return 0.02 + 8 * (p["lr"] - 0.2) ** 2 + (p["o.b"] - 0.3) ** 2 + (p["wd"] - 0.6) ** 2
    return 0.1 + 4 * (p["lr"] - 0.4) ** 2


class Apart(TPE):
    """The same with every column by itself: what a model of independent columns knows."""

    def _density(self, kernels, rows, weights):
        whole = super()._density(kernels, rows, weights)
        return Columns(whole, [self._one(kernels, rows, weights, j) for j in range(rows.shape[1])])

    def _one(self, kernels, rows, weights, j):
        alone = np.full_like(rows, np.nan)
        alone[:, j] = rows[:, j]
        return super()._density(kernels, alone, weights)


class Columns:
    def __init__(self, whole, columns):
        self.whole, self.columns = whole, columns

    def log(self, rows, value=None):
        return sum(c.log(rows) for c in self.columns)

    def draw(self, n, rng):
        return np.column_stack([c.draw(n, rng)[:, j] for j, c in enumerate(self.columns)])


def test_correlation_across_a_branch_point_is_used():
    """Joint kernels find more than columns by themselves do, mean of 12 seeds."""
    joint, apart = (
        np.array([told(BRANCHES, branches, kind(seed=s), trials=60, seed=s).best.value for s in range(12)])
        for kind in (TPE, Apart)
    )
    assert joint.mean() < 0.8 * apart.mean(), (joint.mean(), apart.mean())


def test_a_constraint_holds_when_the_best_lies_beyond_it():
    space = Space(a=Float(0, 1), b=Float(0, 1)).where("a + b <= 1")
    with told(space, lambda p: -p["a"] - p["b"] + (p["a"] - p["b"]) ** 2, "tpe", trials=50, seed=1) as study:
        assert all(t.params["a"] + t.params["b"] <= 1 for t in study.trials)
        assert study.best.value < -0.9


def test_a_large_study_is_looked_at_from_its_better_part():
    """Thousands of trials cost no more kernels, and the proposal is where the best of them are."""
    study, rng = Play(SPACES["mixed"]), streams.rng(0)
    for _ in range(1500):
        id, p = study.ask(), study.space.sample(rng)
        study.set(id, params=p, state=State.RUNNING)
        study.tell(id, abs(np.log10(p["lr"]) + 3) + abs(np.log2(p["width"]) - 6))
    made, near = TPE(), []
    for _ in range(10):
        said = made.propose(study.trials, streams.rng(study.ask()))
        assert said.origin["good"] == 50
        near.append(abs(np.log10(said.params["lr"]) + 3) + abs(np.log2(said.params["width"]) - 6))
    assert np.median(near) < 0.6

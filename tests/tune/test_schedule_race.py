"""A race over folds: the test against SciPy and a simulation, and that only who is beaten on the same folds is out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from whet.errors import StudyError
from whet.testing import SCHEDULER, SPACES, Play
from whet.tune.attempt import Attempt
from whet.tune.schedule.race import Race, beaten, folds
from whet.tune.space import Float, Space
from whet.tune.study import Study
from whet.tune.trial import Curve, Goal, Point, State, Verdict

GO, STOP = Verdict.GO, Verdict.STOP


@pytest.mark.parametrize("clause", SCHEDULER, ids=lambda c: c.__name__)
@pytest.mark.parametrize("options", [{}, {"alpha": 0.2, "least": 2}], ids=str)
def test_contract(clause, options):
    clause(lambda: Race(**options))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("k", [3, 5, 9])
def test_the_test_is_scipys_with_the_variance_of_overlapping_trainings(seed, k):
    draw = np.random.default_rng(seed)
    worse, best = draw.normal(0.6, 1, k), draw.normal(0, 1, k)
    steps = 10
    t, _ = stats.ttest_rel(worse, best)
    p = stats.t.sf(
        t * np.sqrt((1 / k) / (1 / k + 1 / (steps - 1))), k - 1
    )  # Nadeau and Bengio: the factor on the standard error
    for alpha in (0.01, 0.05, 0.2):
        assert beaten(worse - best, steps, alpha) == (p < alpha)


def test_who_is_equal_on_every_fold_is_not_beaten_and_who_is_worse_by_the_same_on_each_is():
    assert not beaten(np.zeros(5), 10, 0.05)
    assert beaten(np.full(5, 0.01), 10, 0.05)
    assert not beaten(np.full(5, -0.01), 10, 0.05)


@pytest.mark.parametrize("seed", range(2))
def test_who_is_as_good_is_seldom_stopped(seed):
    """As good as the leader, with independent folds: at most alpha at one look, and below twice that over all looks together."""
    draw, n = np.random.default_rng(seed), 2000
    looks = np.array([[beaten(d[:k], 10, 0.05) for k in range(3, 10)] for d in draw.normal(size=(n, 10))])
    assert (looks.mean(0) < 0.05).all()
    assert looks.any(1).mean() < 0.10


def test_folds_come_back_from_their_means():
    draw = np.random.default_rng(0)
    each = draw.random(8)
    curve = Curve(tuple(Point(k, float(each[:k].mean())) for k in range(1, 9)))
    assert folds(curve, Goal("loss", "min")) == pytest.approx(each)
    assert folds(curve, Goal("gain", "max")) == pytest.approx(-each)
    assert folds(Curve((Point(2, 0.5), Point(3, 0.4))), Goal("loss", "min")) is None


def race(each, goal="min loss", steps=6):
    """Play trials fold by fold, the first to its end; return how far each got, and its state."""
    study = Play(SPACES["line"], steps, goal)
    made, found = Race(), []
    for scores in each:
        id = study.ask()
        study.set(id, params={"x": 0.0}, state=State.RUNNING)
        verdict = GO
        for k in range(1, steps + 1):
            value = float(np.mean(scores[:k]))
            verdict = made.judge(*study.ahead(id, k, value))
            study.report(id, k, value)
            if verdict is not GO:
                break
        study.set(id, state=State.DONE if verdict is GO else State.STOPPED)
        found.append((study.trials[id].step, study.trials[id].state))
    return found


@pytest.mark.parametrize("goal", ["min loss", "max gain"])
def test_a_beaten_trial_is_out_at_the_first_look_and_a_close_one_is_not(goal):
    sign = 1 if goal.startswith("min") else -1
    hard = np.array([0.0, 3.0, -2.0, 5.0, 1.0, -4.0])  # folds differ far more than trials do: only pairs tell
    lead, bad, close = (
        hard,
        hard + np.array([1.0, 1.2, 0.9, 1.1, 1.0, 1.0]),
        hard + np.array([0.3, -0.4, 0.2, -0.1, 0.3, -0.2]),
    )
    got = race([sign * lead, sign * bad, sign * close], goal)
    assert got == [(6, State.DONE), (3, State.STOPPED), (6, State.DONE)]


def test_before_anyone_saw_all_folds_nobody_is_stopped():
    study = Play(SPACES["line"], 6, "min loss")
    for worse in (0.0, 9.0):
        id = study.ask()
        study.set(id, params={"x": 0.0}, state=State.RUNNING)
        for k in (1, 2, 3, 4):
            study.report(id, k, worse + 0.01 * k)
    assert Race().judge(*study.ahead(1, 5, 9.0)) is GO


@pytest.mark.parametrize("seed", range(2))
def test_a_cross_validated_study_saves_folds_and_finds_the_same(seed):
    """The same study raced and in full: the best is as good within the noise of a mean of ten folds, for half of them."""
    space = Space(x=Float(0, 1))
    hard = np.random.default_rng(seed).normal(0, 1, 10)

    def objective(params: dict, run: Attempt) -> None:
        scores = run.load() or []
        noise = np.random.default_rng(int(params["x"] * 1e9))
        for fold in run:
            scores.append(float((params["x"] - 0.3) ** 2 * 3 + hard[fold - 1] + noise.normal(0, 0.05)))
            run.report(float(np.mean(scores)), scores)

    spent = {}
    for schedule in ("race", "full"):
        with Study(space, goal="min loss", search="random", schedule=schedule, steps=10, seed=seed) as study:
            study.run(objective, trials=40)
            spent[schedule] = study.spent.steps, study.best.value
    assert spent["race"][1] == pytest.approx(spent["full"][1], abs=2 * 0.05 / np.sqrt(10))
    assert spent["race"][0] < 0.6 * spent["full"][0]


@pytest.mark.parametrize(
    ("options", "what"),
    [({"alpha": 0.7}, "alpha"), ({"alpha": 1}, "alpha"), ({"least": 1}, "least"), ({"least": True}, "least")],
)
def test_options_are_checked(options, what):
    with pytest.raises(StudyError, match=f"race: {what} must be"):
        Race(**options)

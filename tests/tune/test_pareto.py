"""The front of a study: which trials are on it, with bounds, early stopping and missing metrics, and how far it reaches over trials."""

from __future__ import annotations

import numpy as np
import pytest

from whet import Float, Space, Study, StudyError
from whet import seed as streams
from whet.journal.store import Store
from whet.tune.exchange.read import read
from whet.tune.goal import parse_goals
from whet.tune.hypervolume import hypervolume
from whet.tune.pareto import advance, front, in_view_of, reported
from whet.tune.trial import Point, State, Trial, Trials

TWO = ["min loss", "min ms"]


def made(*said, goals=TWO, steps=1):
    """Trials of (loss, ms) or (loss, metrics), at the last step unless a trial is given."""
    done = []
    for i, found in enumerate(said):
        if isinstance(found, Trial):
            done.append(found)
            continue
        loss, ms = found
        metrics = ms if isinstance(ms, dict) else {} if ms is None else {"ms": ms}
        done.append(Trial(i, {}, State.DONE, (Point(steps, loss, metrics=metrics),), loss))
    return Trials(done, space=Space(), goals=parse_goals(goals), steps=steps)


def ids(trials):
    return [t.id for t in trials]


def test_the_front_is_what_no_other_beats_in_every_goal():
    trials = made((0.1, 9.0), (0.3, 2.0), (0.2, 4.0), (0.3, 5.0), (0.2, 4.0))
    found = front(trials)
    assert ids(found) == [0, 2, 4, 1]
    assert found.get(4) is trials[4]
    with pytest.raises(StudyError, match="trial 3: no such trial"):
        found.get(3)
    assert (found.goals, found.space, found.steps) == (trials.goals, trials.space, trials.steps)
    assert ids(front(made((0.1, 9.0), (0.3, 2.0), (0.2, 4.0), goals=["min loss", "max ms"]))) == [0]


@pytest.mark.parametrize("seed", range(3))
def test_the_front_is_complete_and_holds_the_best(seed):
    """No trial on it dominates another on it, each that is not on it is dominated by one that is, and the best leads it."""
    said = streams.rng(seed).random((60, 2))
    trials = made(*map(tuple, said))
    on = set(ids(front(trials)))

    def beats(a, b):
        return (said[a] <= said[b]).all() and (said[a] < said[b]).any()

    assert not any(beats(a, b) for a in on for b in on)
    assert all(any(beats(a, b) for a in on) for b in set(range(60)) - on)
    assert front(trials)[0] is trials.best


def test_with_one_goal_it_is_the_best_and_those_as_good():
    assert ids(front(made((0.2, None), (0.1, None), (0.1, None), goals="min loss"))) == [1, 2]
    assert ids(front(made((0.2, None), (0.1, None), goals="max loss"))) == [0]
    assert ids(front(made())) == []


def test_bounds_come_first():
    goals = [*TWO, "mb <= 10"]
    trials = made((0.1, {"ms": 1.0, "mb": 20}), (0.3, {"ms": 2.0, "mb": 9}), (0.2, {"ms": 4.0, "mb": 10}), goals=goals)
    assert ids(front(trials)) == [2, 1]
    # a goal may have a bound of its own
    assert ids(front(made((0.1, 9.0), (0.3, 2.0), (0.2, 4.0), goals=[*TWO, "ms <= 5"]))) == [2, 1]
    # so may the reported value
    assert ids(front(made((0.1, 9.0), (0.3, 2.0), (0.2, 4.0), goals=[*TWO, "loss <= 0.25"]))) == [0, 2]
    # when none keeps them: who breaks them least, and of equals those that no other beats
    over = [
        (0.1, {"ms": 1.0, "mb": 20}),
        (0.3, {"ms": 2.0, "mb": 12}),
        (0.2, {"ms": 4.0, "mb": 12}),
        (0.0, {"ms": 0.5}),
    ]
    assert ids(front(made(*over, goals=goals))) == [2, 1]


def test_only_trials_that_say_something_of_every_goal_count():
    trials = made((0.1, None), (0.3, 2.0), (0.4, float("inf")))
    assert ids(front(trials)) == [1]
    assert [reported(trials, t) for t in trials] == [(0.1, None), (0.3, 2.0), (0.4, None)]
    assert ids(front(made((0.1, None)))) == []


def test_trials_that_failed_or_were_stopped_early_are_not_on_it():
    """As with the best: a value of one epoch is none to set beside one of nine."""
    metrics = {"ms": 1.0}
    early = Trial(1, {}, State.STOPPED, (Point(1, 0.01, metrics=metrics),), 0.01)
    failed = Trial(2, {}, State.FAILED, (Point(9, 0.01, metrics=metrics),), 0.01)
    waiting, running = Trial(3), Trial(4, {}, State.RUNNING, (Point(9, 0.2, metrics={"ms": 2.0}),), 0.2)
    assert ids(front(made((0.1, 9.0), early, failed, waiting, running, steps=9))) == [0, 4]
    # a bound that all at the top break is kept by one further down
    assert ids(front(made((0.1, 9.0), early, goals=[*TWO, "ms <= 5"], steps=9))) == [1]


def test_a_study_has_a_front():
    space = Space(x=Float(0, 1))
    with Study(space, goal=TWO, search="random", schedule="full", seed=1) as study:
        assert len(study.front) == 0
        for _ in range(30):
            trial = study.ask()
            x = trial.params["x"]
            study.tell(trial, x**2, ms=(x - 1) ** 2)
        assert len(study.front) == 30  # every x of [0, 1] is a trade-off
        assert study.front[0].id == study.best.id
        values = [t.value for t in study.front]
        assert values == sorted(values)


def test_the_volume_over_trials_grows_to_that_of_the_front():
    said = streams.rng(4).random((40, 2))
    trials = made(*map(tuple, said))
    found = advance(trials, {"loss": 1.0, "ms": 1.0})
    volumes = [v for _, v in found.volumes]
    assert ids(trials) == [i for i, _ in found.volumes]
    assert volumes == sorted(volumes)
    for k in (1, 7, 40):
        part = made(*map(tuple, said[:k]))
        assert advance(part, found.reference).volumes[-1][1] == pytest.approx(volumes[k - 1])
        assert advance(made(*((t.value, t.curve[-1].metrics["ms"]) for t in front(part))), found.reference).volumes[-1][
            1
        ] == pytest.approx(volumes[k - 1])


def test_the_reference_is_in_the_units_of_the_goals():
    trials = made((0.6, 3.0), (0.9, 5.0), goals=["max loss", "min ms"])
    found = advance(trials)
    assert found.reference == pytest.approx({"loss": 0.57, "ms": 5.2})
    assert found.volumes[-1][1] == pytest.approx(0.03 * 2.2 + 0.3 * 0.2)
    assert advance(trials, {"loss": 0.0, "ms": 6.0}).volumes[-1][1] == pytest.approx(0.6 * 3 + 0.3 * 1)
    # a goal of which all say the same has a width all the same
    assert advance(made((0.5, 0.0))).volumes[0][1] > 0
    for wrong in ({"loss": 1.0}, {"loss": 1.0, "ms": 1.0, "mb": 1.0}):
        with pytest.raises(StudyError, match="reference: must have a value for loss and ms, got"):
            advance(trials, wrong)
    for endless in (float("nan"), float("inf"), float("-inf")):
        with pytest.raises(StudyError, match="reference: must be finite numbers, got"):
            advance(trials, {"loss": 0.0, "ms": endless})


@pytest.mark.parametrize("goals", [3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_what_each_trial_adds_is_the_volume_that_there_is(goals, seed):
    """Measured anew after every trial, in coarse numbers that make ties."""
    said = streams.rng(seed).integers(0, 8, (40, goals)) / 8
    names = [f"g{k}" for k in range(goals)]
    trials = made(*((row[0], dict(zip(names[1:], row[1:], strict=True))) for row in said.tolist()), goals=["min loss", *(f"min {n}" for n in names[1:])])  # fmt: skip
    found = advance(trials, {"loss": 0.9, **dict.fromkeys(names[1:], 0.9)})
    for k, (_, volume) in enumerate(found.volumes):
        assert volume == pytest.approx(hypervolume(said[: k + 1], np.full(goals, 0.9)), abs=1e-12)


def test_who_breaks_a_bound_adds_no_volume():
    trials = made((0.1, {"ms": 1.0, "mb": 20}), (0.3, {"ms": 2.0, "mb": 9}), goals=[*TWO, "mb <= 10"])
    assert advance(trials, {"loss": 1.0, "ms": 3.0}).volumes == [(1, pytest.approx(0.7))]
    assert advance(made((0.1, {"ms": 1.0, "mb": 20}), goals=[*TWO, "mb <= 10"])).volumes == []


def test_the_front_of_an_imported_study_is_what_optuna_calls_its_best_trials(tmp_path):
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    url = f"sqlite:///{tmp_path / 'theirs.db'}"
    theirs = optuna.create_study(
        study_name="two",
        storage=url,
        directions=["minimize", "maximize"],
        sampler=optuna.samplers.RandomSampler(seed=1),
    )
    theirs.optimize(lambda t: (t.suggest_float("x", 0, 1), t.suggest_float("y", 0, 1)), n_trials=40)
    with read(url).study(Store(f"sqlite:///{tmp_path / 'ours.db'}"), "two") as study:
        assert sorted(ids(study.front)) == sorted(t.number for t in theirs.best_trials)
        assert len(study.front) > 3


def test_another_goal_in_view():
    """Values and curves are what trials said of it; who said nothing has no value; bounds and the other goals stay."""
    goals = parse_goals(["min loss", "max gain", "loss <= 0.6", "min ms"])
    points = [Point(1, 0.9, metrics={"gain": 0.1, "ms": 3.0}), Point(2, 0.5, metrics={"ms": 2.0})]
    said = [
        Trial(0, {"x": 0.1}, State.DONE, [*points, Point(3, 0.4, metrics={"gain": 0.7, "ms": 1.0})], 0.4),
        Trial(1, {"x": 0.2}, State.DONE, [Point(3, 0.7, metrics={"gain": 0.9})], 0.7),
        Trial(2, {"x": 0.3}, State.FAILED),
        Trial(3, {"x": 0.4}, State.PAUSED, points, 0.5),
    ]
    trials = Trials(said, space=Space(x=Float(0, 1)), goals=goals, steps=3)
    found = in_view_of(trials, "gain")
    assert [str(g) for g in found.goals] == ["max gain", "min loss", "loss <= 0.6", "min ms"]
    assert [t.value for t in found] == [0.7, 0.9, None, None]
    assert [(p.step, p.value) for p in found[0].curve] == [(1, 0.1), (3, 0.7)]
    assert found.best is not None
    assert found.best.id == 0  # the other breaks the bound, here as there
    assert ids(front(found)) == ids(front(trials)) == [0]
    assert in_view_of(trials, "loss") is trials
    with pytest.raises(StudyError, match=r"goal gian: is none of this study\. Did you mean 'gain'"):
        in_view_of(trials, "gian")


def test_a_bound_is_read_again_as_it_was_written(tmp_path):
    goals = ["min loss", "ms <= 1234567.5", "gain >= 0.12345678"]
    assert [str(g) for g in parse_goals([str(g) for g in parse_goals(goals)])] == goals
    for _ in range(2):  # opening it again finds the same goals
        with Study(Space(x=Float(0, 1)), goal=goals, store=tmp_path / "whet.db", name="exact") as study:
            assert [str(g) for g in study.goals] == goals

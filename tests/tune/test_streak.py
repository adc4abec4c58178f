"""Giving a search up when nothing works any more, and not for configurations that fail."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from whet import Choice, Float, Int, Space, State, Study, StudyError
from whet.execute import resolve
from whet.report.maker import by_hand, maker
from whet.tune.budget import Budget
from whet.tune.guess import CONTROL
from whet.tune.search.grid import Grid
from whet.tune.streak import Streak

SPACE = Space(x=Float(0, 1), k=Int(1, 50))
WORK = Path(__file__).with_name("crew_work.py")


def breaks(study, after):
    """Return an objective for which something breaks after so many trials, until `mended` holds something."""
    mended = []

    def objective(params):
        if len(study.trials) > after and not mended:
            raise FileNotFoundError(2, "No such file or directory", "data.npy")
        return params["x"]

    return objective, mended


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("search", "schedule"), [("random", "full"), ("tpe", "full"), (Grid(points=15), "full"), ("sobol", "asha")]
)
def test_a_search_in_which_all_fails_from_some_trial_on_is_given_up_and_goes_on_when_mended(search, schedule, seed):
    study = Study(SPACE, search=search, schedule=schedule, seed=seed)
    objective, mended = breaks(study, after=30)
    with pytest.raises(StudyError, match="13 trials failed in a row") as e:
        study.run(objective, trials=200)
    said = str(e.value)
    assert len(said.splitlines()) == 1
    assert "FileNotFoundError: [Errno 2] No such file or directory: 'data.npy'). Mend what broke" in said
    assert "goes on from here" in said
    assert len(study.trials) == 30 + 13
    last = study.trials[42]
    assert last.params == study.trials[29].params
    assert last.tags == (CONTROL,)
    assert "trial 29 again" in last.note
    assert maker(last) == "a check"
    assert not by_hand(last)
    with pytest.raises(StudyError, match="13 trials failed in a row"):
        study.run(objective, trials=200)  # not mended yet: as many again, and no more
    assert len(study.trials) == 30 + 2 * 13
    mended.append(True)
    study.run(objective, trials=100)
    assert len(study.trials) == 100
    assert all(t.state is State.DONE for t in study.trials[56:])


def test_a_study_that_was_given_up_before_it_had_a_value_goes_on_when_mended():
    study = Study(SPACE, search="random")
    objective, mended = breaks(study, after=0)
    with pytest.raises(StudyError, match="all 12 trials failed"):
        study.run(objective, trials=100)
    with pytest.raises(StudyError, match="all 24 trials failed"):
        study.run(objective, trials=100)
    mended.append(True)
    assert len(study.run(objective, trials=100).trials) == 100


@pytest.mark.parametrize("seed", range(3))
def test_failures_of_the_configuration_alone_never_end_a_search(seed):
    space = Space(a=Choice([0, 1]), b=Float(0, 1), c=Float(0, 1))

    def objective(params):  # by rows, the last 300 of 400 trials of a grid fail; of random ones half do
        if params["a"] == 1 or params["b"] + params["c"] > 1.2:
            raise MemoryError
        return params["b"]

    grid = Study(space, search=Grid(points=15), seed=seed).run(objective)
    assert len(grid.trials) >= 450
    again = [t for t in grid.trials if CONTROL in t.tags]
    assert 1 <= len(again) <= 15
    assert all(t.state is State.DONE for t in again)
    drawn = Study(space, search="random", seed=seed).run(objective, trials=300)
    assert len(drawn.trials) == 300
    assert sum(CONTROL in t.tags for t in drawn.trials) <= 1


@pytest.mark.parametrize(
    "search", ["random", "tpe", "cma", "evolution", "policy", "portfolio", "zoom", "sobol", "grid"]
)
def test_no_searcher_is_given_up_where_half_the_space_fails_towards_its_best(search):
    def objective(params):  # as benchmarks/search_crash.py has it
        w, b, d = (params[name] for name in "wbd")
        if w + b + d > 1.5:
            raise MemoryError
        return 2 - w - 0.7 * d - 0.4 * b + 0.15 * (math.log10(params["lr"]) + 3) ** 2

    space = Space(w=Float(0, 1), b=Float(0, 1), d=Float(0, 1), lr=Float(1e-5, 1e-1, log=True))
    study = Study(space, search=search, seed=1).run(objective, trials=120)
    assert len(study.trials) == 120
    assert sum(CONTROL in t.tags for t in study.trials) <= 2


def test_a_trial_that_ends_well_ends_the_streak_and_those_that_found_no_configuration_are_none():
    study = Study(SPACE, search="random", schedule="full").run(lambda p: p["x"], trials=30)
    streak, slow = Streak(study, Budget()), study.ask()
    for _ in range(11):
        study.fail(study.ask(), "x")
    study.tell(slow, 1.0)
    for _ in range(11):
        study.fail(study.ask(), "x")
        assert not streak.over()
    assert not any(t.tags for t in study.trials)
    study.fail(study.ask(), "x", transient=True)
    assert not streak.over()
    study.fail(study.ask(), "x")
    assert not streak.over()
    assert study.trials[len(study.trials) - 1].tags == (CONTROL,)


def test_no_control_is_run_beyond_the_budget():
    study = Study(SPACE, search="random")
    objective, _ = breaks(study, after=30)
    study.run(objective, trials=42)
    assert len(study.trials) == 42
    assert not any(t.tags or t.state is State.WAITING for t in study.trials)


def test_workers_are_given_up_too(tmp_path, monkeypatch):
    monkeypatch.setenv("WHET_TEST_FLAG", str(tmp_path))
    store, work = f"sqlite:///{tmp_path}/s.db", resolve(f"{WORK}:wants_a_file")
    data = tmp_path / "data"
    data.write_text("1")
    with Study(SPACE, search="random", store=store) as study:
        study.run(work, trials=30, workers=2)
        data.unlink()
        with pytest.raises(StudyError, match=r"trials failed in a row.*FileNotFoundError.*goes on from here"):
            study.run(work, trials=2000, workers=2)
        assert len(study.trials) < 200
        data.write_text("1")
        n = len(study.trials) + 20
        study.run(work, trials=n, workers=2)
        assert len(study.trials) == n
        assert sum(t.state is State.DONE for t in study.trials) >= 50

"""A budget of epochs holds to within one rung, whatever the scheduler."""

from __future__ import annotations

import pytest

from whet import Float, Space, State, Study
from whet.tune.schedule import NAMES
from whet.tune.schedule.rungs import levels

LINE = Space(x=Float(0, 1, live=True))  # live: what a population may change
STEPS = 20
RUNGS = levels(1, 3, STEPS)
ONE_RUNG = max(b - a for a, b in zip((0, *RUNGS), RUNGS, strict=False))  # 11 epochs, from 9 to 20


def new(schedule, **more):
    return Study(LINE, search="random", schedule=schedule, steps=STEPS, seed=1, **more)


def own(trials):
    """The epochs the trials trained themselves: one that goes on from another's weights begins where that stood."""
    return sum(t.step - (t.parent[1] if t.parent else 0) for t in trials)


def by_epoch(params, run):
    state = run.load() or 0
    for step in run:
        state += 1
        run.report((params["x"] - 0.3) ** 2 + 1 / step, state)


def at_the_end(params):
    return (params["x"] - 0.3) ** 2


@pytest.mark.parametrize("epochs", [1, 20, 107])
@pytest.mark.parametrize("schedule", NAMES.known)
def test_what_reports_every_epoch_ends_with_the_budget(schedule, epochs):
    study = new(schedule).run(by_epoch, budget=f"{epochs}epochs")
    assert study.spent.steps == epochs  # to the epoch, so within one rung
    assert own(study.trials) == epochs
    assert all(t.step <= STEPS for t in study.trials)
    study.run(by_epoch, budget=f"{epochs}epochs")
    assert study.spent.steps == epochs  # spent is spent
    study.run(by_epoch, budget=f"{epochs + 25}epochs")
    assert study.spent.steps == epochs + 25


@pytest.mark.filterwarnings("ignore:a paused trial trains its first steps again")
@pytest.mark.filterwarnings("ignore:a trial that was to go on from another's weights trains from step 1")
@pytest.mark.parametrize("schedule", NAMES.known)
def test_epochs_that_are_trained_again_are_paid_for(schedule):
    trained = []

    def counted(params, run):
        for step in run:
            trained.append(step)
            run.report((params["x"] - 0.3) ** 2 + 1 / step)

    study = new(schedule).run(counted, budget="150epochs")
    assert len(trained) == study.spent.steps == 150


@pytest.mark.parametrize("schedule", NAMES.known)
def test_what_reports_only_its_end_ends_within_a_trial(schedule):
    study = new(schedule).run(at_the_end, budget="50epochs")
    assert study.spent.steps == 60  # whole trials, which no rung divides


@pytest.mark.filterwarnings("ignore:a trial that was to go on from another's weights trains from step 1")
@pytest.mark.parametrize("schedule", NAMES.known)
def test_reports_in_strides_end_within_a_stride(schedule):
    trained = []

    def strides(params, run):
        state = run.load() or 0
        for step in run:
            trained.append(step)
            state += 1
            if step % 4 == 0:
                run.report((params["x"] - 0.3) ** 2 + 1 / step, state)

    study = new(schedule).run(strides, budget="50epochs")
    assert len(trained) == study.spent.steps
    assert 50 <= study.spent.steps < 50 + 4 <= 50 + ONE_RUNG


def test_full_trains_no_trial_beyond_the_budget_and_none_half_but_the_last():
    study = new("full").run(by_epoch, budget="70epochs")
    assert [(t.step, t.state) for t in study.trials] == [(20, State.DONE)] * 3 + [(10, State.RUNNING)]


@pytest.mark.parametrize(
    "schedule",
    [n if n in ("full", "hyperband") else pytest.param(n, marks=pytest.mark.soak) for n in NAMES.known],
)
def test_several_workers_keep_to_it_too(schedule, tmp_path):
    with new(schedule, store=f"sqlite:///{tmp_path}/s.db", name="s") as study:
        study.run(by_epoch, budget="120epochs", workers=3)
        spent, trained = study.spent.steps, own(study.trials)
        assert 120 - 2 <= spent <= 120 + 1 <= 120 + ONE_RUNG  # two that wait for each other; two that ask at once
        assert trained == spent


@pytest.mark.parametrize("schedule", NAMES.known)
def test_the_step_that_another_worker_is_in_the_middle_of_is_counted(schedule, tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    with new(schedule, store=url, name="s") as study, Study.open(url, "s") as other:
        busy = other.ask()
        study.run(by_epoch, budget="30epochs")
        assert study.spent.steps == 29
        other.report(busy, 1, 0.5)
        assert study.spent.steps == 30

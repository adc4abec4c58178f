"""Trials of a task that end early: what remains of them, in this process."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from whet import Data, Float, Space, Study, Task
from whet.recipe.winner import outputs_of
from whet.stop.gain import NOISE
from whet.train.predict import predict
from whet.tune import ending
from whet.tune.schedule.asha import Asha
from whet.tune.trial import State
from whet.tune.worker import rebuild, train_task


class Tiny(Task):
    space = Space(lr=Float(1e-3, 1e-1, log=True), decay=Float(0, 1))
    goal = "max accuracy"

    def data(self, params):
        x = torch.randn(120, 4, generator=torch.Generator().manual_seed(5))
        noise = torch.randn(120, generator=torch.Generator().manual_seed(6))
        return Data.from_arrays(x, (x[:, 0] + x[:, 1] + noise > 0).long(), seed=self.seed)

    def model(self, params):
        return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))


def run(stop, *, trials=4, steps=12, schedule="full", **options):
    task = Tiny()
    study = Study(Tiny.space, goal="max accuracy", steps=steps, schedule=schedule, search="random", seed=1)
    return task, study.run(lambda params, run: train_task(task, params, run, stop=stop, **options), trials=trials)


@pytest.mark.parametrize("schedule", ["full", "median"])
def test_a_trial_that_ends_early_is_its_best_epoch(schedule):
    task, study = run("patience 2", trials=6, schedule=schedule)
    data = task.data({})
    early = {r["trial"]: r["step"] for r in study.records("ended")}
    assert early
    for trial in (study.trials[i] for i in early):
        state, outputs = outputs_of(study, trial.id)
        raw = [p.value for p in trial.curve if p.step <= early[trial.id]]
        assert trial.state is State.DONE
        assert study.trials.reach(trial) == 12
        assert trial.value == max(raw)
        assert state["step"] == 1 + int(np.argmax(raw)) < early[trial.id]
        model, kept = rebuild(task, trial, state, study.steps)
        assert np.allclose(predict(model, data.valid), outputs, atol=1e-5)
        assert np.array_equal(kept, outputs)
        assert np.mean(outputs.argmax(1) == data.valid.targets.numpy()) == pytest.approx(trial.value)
    assert study.spent.steps == sum(early.get(t.id, t.step) for t in study.trials)


def test_a_trial_paused_in_the_step_that_ended_it_is_closed_when_it_is_resumed():
    # every trial ends at its third step, which is a rung: the report pauses it, and being resumed closes it
    _, study = run("steps 3", trials=9, steps=9, schedule=Asha(first=3))
    done = [t for t in study.trials if t.state is State.DONE]
    assert any(e.kind == "resumed" for e in study.journal.read())
    assert done
    assert not any(t.state is State.FAILED for t in study.trials)
    for trial in done:
        raw = [p.value for p in trial.curve if p.step <= 3]
        assert trial.value == max(raw)
        assert outputs_of(study, trial.id)[0]["step"] == 1 + int(np.argmax(raw))
    assert {p.step for t in study.trials for p in t.curve} <= {1, 2, 3, 9}
    assert study.spent.steps == sum(min(3, t.step) for t in study.trials)


def test_a_diverged_trial_fails_with_the_reason():
    _, study = run("diverged 1.001 of train_loss | patience 11", trials=9)
    failed = [t for t in study.trials if t.state is State.FAILED]
    assert failed
    assert {t.error["type"] for t in failed} == {"DivergedError"}
    assert all("times the best" in t.error["message"] for t in failed)
    assert not ending.ended(study)


def test_nothing_of_it_is_kept_without_a_criterion():
    _, study = run("", trials=1, steps=2)
    assert "early" not in outputs_of(study, 0)[0]
    assert NOISE not in study.trials[0].curve[-1].metrics


def test_the_standard_error_is_reported_where_it_is_asked_for():
    _, study = run("patience 2", trials=3, noise=True)
    for trial in study.trials:
        last = trial.curve[-1]
        n = len(Tiny().data({}).valid)
        assert last.metrics[NOISE] == pytest.approx((last.value * (1 - last.value) / n) ** 0.5, rel=0.1)

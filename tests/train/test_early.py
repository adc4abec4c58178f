"""A run that ends by a criterion and goes back to its best point."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from whet.data.split import Data, Split
from whet.errors import UsageError
from whet.stop import Cost, Steps
from whet.task import Task
from whet.train.checkpoint import pack, unpack
from whet.train.early import Early
from whet.train.run import Run

PARAMS = {"lr": 0.05, "batch": 8}


class Noisy(Task):
    """Few examples of noise: the validation error rises after a while."""

    steps = 60

    def data(self, params):
        x = torch.randn(96, 6, generator=torch.Generator().manual_seed(1))
        y = x[:, 0] + 2 * torch.randn(96, generator=torch.Generator().manual_seed(2))
        return Data(Split(x[:48], y[:48]), Split(x[48:], y[48:]), kind="regression")

    def model(self, params):
        return nn.Sequential(
            nn.Linear(6, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 1), nn.Flatten(0)
        )


def fresh(**options):
    return Run(Noisy(), PARAMS, seed=3, device="cpu", **options)


def test_the_best_points_model_is_what_remains():
    plain = {p.step: (p.value, None) for p in fresh()}
    early = Early(fresh(), "patience 4")
    points = list(early)
    assert points[-1].step == early.best.step + 4 < 60
    assert [p.value for p in points] == [plain[p.step][0] for p in points], "the training itself is no other"
    assert early.best.value == min(p.value for p in points) < points[-1].value
    assert early.run.step == early.best.step
    assert early.run.evaluate()["rmse"] == early.best.value
    assert "no improvement" in early.why
    assert not early.failed
    untouched = Run(Noisy(), PARAMS, steps=early.best.step, seed=3, device="cpu")
    list(untouched)
    for (name, a), b in zip(early.run.model.state_dict().items(), untouched.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert np.array_equal(early.run.outputs, untouched.outputs)
    assert list(early) == [], "over is over"


@pytest.mark.parametrize("cut", [1, "best", "after"])
def test_a_resume_at_any_point_stops_at_the_same_one_with_the_same_model(cut):
    whole = Early(fresh(), "patience 4")
    list(whole)
    # at the best point the run's state is the best one, and is kept once
    cut = {"best": whole.best.step, "after": whole.best.step + 2}.get(cut, cut)
    first = Early(fresh(), "patience 4")
    for point in first:
        if point.step == cut:
            break
    saved = unpack(pack({"run": first.run.state(), "early": first.state()}))
    again = Early(fresh(resume=saved["run"]), "patience 4", resume=saved["early"])
    list(again)
    assert again.why == whole.why
    assert again.points == whole.points
    assert again.run.step == whole.run.step
    for a, b in zip(again.run.model.state_dict().values(), whole.run.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert np.array_equal(again.run.outputs, whole.run.outputs)


def test_a_run_that_was_stopped_stays_so():
    early = Early(fresh(), "patience 2")
    list(early)
    saved = unpack(pack({"run": early.run.state(), "early": early.state()}))
    assert saved["early"]["best"] is None, "the run's own state is the best one: it is not kept twice"
    again = Early(fresh(resume=saved["run"]), "patience 2", resume=saved["early"])
    assert list(again) == []
    assert again.why == early.why


def test_without_a_criterion_nothing_is_kept():
    early = Early(Run(Noisy(), PARAMS, steps=3, seed=3, device="cpu"), None)
    assert [p.step for p in early] == [1, 2, 3]
    assert (early.why, early.state(), early._best) == ("", None, None)


def test_a_run_that_is_not_stopped_keeps_its_last_model():
    early = Early(Run(Noisy(), PARAMS, steps=3, seed=3, device="cpu"), "patience 3 | target 0")
    list(early)
    assert early.why == ""
    assert early.run.step == 3


def test_divergence_fails_and_restores_nothing():
    run = Run(Noisy(), {"lr": 0.1, "batch": 8, "optimizer": "sgd"}, steps=9, seed=3, device="cpu")
    early = Early(run, "diverged 1.05 | patience 1")
    points = list(early)
    assert early.failed
    assert "more than 1.05 times the best" in early.why
    assert run.step == points[-1].step > early.best.step, "nothing is restored"


def test_limits_on_steps_cost_and_time():
    assert len(list(Early(fresh(), Steps(3)))) == 3
    assert len(list(Early(fresh(), Cost(2.0)))) == 2, "a point without a cost counts as one"
    early = Early(fresh(), "time 5s")
    early._seconds = 4.999999  # as after a resume
    assert len(list(early)) <= 2
    assert "5 s are over" in early.why


def test_words_that_cannot_be_read():
    with pytest.raises(UsageError, match="Did you mean 'patience'"):
        Early(fresh(), "patiense 3")

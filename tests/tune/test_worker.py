"""Training a task in a study: a trial that is broken off after any epoch ends with the very bits of one that is not."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from whet import Const, Data, Float, Space, Split, Study, StudyError, Task
from whet.tune.codec import unpack
from whet.tune.search.hypergradient import Hypergradient
from whet.tune.worker import train_task

STEPS = 4


class Noisy(nn.Module):
    """It draws from every generator a person may use."""

    def forward(self, x):
        if self.training:
            x = x + torch.randn_like(x) + float(np.random.rand()) + random.random()
        return x


class Two(Task):
    steps = STEPS

    def data(self, params):
        g = torch.Generator().manual_seed(3)
        y = torch.arange(40) % 2
        x = torch.randn(40, 3, generator=g) + y[:, None]
        return Data(Split(x[:30], y[:30]), Split(x[30:], y[30:]), classes=("a", "b"))

    def model(self, params):
        return nn.Sequential(Noisy(), nn.Linear(3, 8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 2))

    def optimizer(self, params, model):
        kind = params["kind"]
        more = {"lr": 0.01} | ({"momentum": 0.9} if kind == "SGD" else {})
        return getattr(torch.optim, kind)(model.parameters(), **more)


def final(folder, kind, *, stretches):
    """Return the state at the end of a trial that was trained in this many stretches, each by another opening."""
    task = Two()
    space = Space(kind=Const(kind), batch=Const(8), rate=Const("cosine"), lr=Const(0.01))
    for k in range(1, stretches + 1):
        for disturb in (np.random.seed, random.seed, torch.manual_seed):  # whatever its owner does in between
            disturb(10 * stretches + k)
        with Study(space, schedule="full", search="random", steps=STEPS, store=f"{folder}/{stretches}/s.db") as study:
            study.run(lambda p, run: train_task(task, p, run), budget=f"{STEPS * k // stretches}epochs")
            state = unpack(study.keeping.load(study.checkpoints(0)[-1][1]))
            curve = study.trials[0].curve
    assert [p.step for p in curve] == list(range(1, STEPS + 1))
    return state, [(p.value, tuple(p.metrics.items())) for p in curve]


def flat(node):
    if isinstance(node, dict):
        return [x for k, v in node.items() for x in [k, *flat(v)]]
    if isinstance(node, (list, tuple)):
        return [x for v in node for x in flat(v)]
    if isinstance(node, (torch.Tensor, np.ndarray)):
        return [np.asarray(node).tobytes()]
    return [repr(node)]


@pytest.mark.parametrize("kind", ["SGD", "Adam", "NAdam", "RAdam", "Adadelta", "Rprop", "ASGD", "Adafactor"])
def test_broken_off_after_every_epoch_it_ends_with_the_same_bits(kind, tmp_path):
    calm, curve = final(tmp_path, kind, stretches=1)
    again, curve_again = final(tmp_path, kind, stretches=STEPS)
    assert curve == curve_again
    assert flat(calm) == flat(again)


class Sloping(Two):
    """The same with a rate and a decay to search."""

    space = Space(lr=Float(1e-3, 1.0, log=True), weight_decay=Float(1e-6, 1e-1, log=True), batch=Const(8))

    def optimizer(self, params, model):
        return Task.optimizer(self, {**params, "optimizer": "sgd"}, model)


def sloped(folder, stretches, *, method="unrolled", stop="", goal="max accuracy"):
    task = Sloping()
    task.goal = goal
    for k in range(1, stretches + 1):
        with Study(
            task.space, goal=goal, search=Hypergradient(method=method), steps=STEPS, store=f"{folder}/{stretches}/s.db"
        ) as study:
            if stop and not study.trials:
                study.enqueue({"lr": 1.0, "weight_decay": 1e-6})  # too large: the loss rises now and then
            study.run(
                lambda p, run: train_task(task, p, run, stop=stop),
                budget=f"{STEPS * k // stretches}epochs",
            )
            return_value = study.trials[0], study.spent
    return return_value


@pytest.mark.parametrize("method", ["unrolled", "implicit"])
def test_a_trial_reports_the_gradient_of_what_it_ends_with(method, tmp_path):
    """However often it is broken off, with its last value alone, and what it cost is counted."""
    calm, spent = sloped(tmp_path, 1, method=method)
    again, more = sloped(tmp_path, STEPS, method=method)
    names = ["gradient(loss).weight_decay"] + ["gradient(loss).lr"] * (method == "unrolled")
    assert [k for k in sorted(calm.curve[-1].metrics) if k.startswith("gradient")] == sorted(names)
    assert not any(k.startswith("gradient") for p in calm.curve[:-1] for k in p.metrics)
    assert calm.curve[-1].metrics == again.curve[-1].metrics
    assert calm.curve[-1].metrics["loss"] > 0
    assert [p.cost for p in calm.curve[:-1]] == [1.0] * (STEPS - 1)
    assert spent.cost == STEPS + (5.0 * STEPS if method == "unrolled" else 6.0)
    assert more.cost == spent.cost + STEPS  # of a trial that was broken off, trained once more
    assert spent.steps == more.steps == STEPS


def test_a_trial_that_ends_early_reports_the_gradient_of_its_best_point(tmp_path):
    from whet.train.hypergradient.found import hypergradient
    from whet.tune.worker import training_seed

    trial, _ = sloped(tmp_path, 1, stop="patience 1", goal="min loss")
    best = next(p.step for p in trial.curve if p.value == trial.value)
    assert 1 < best < STEPS
    exact = hypergradient(Sloping(), trial.params, steps=best, seed=training_seed(Sloping().seed, 0))
    found = {k.removeprefix("gradient."): v for k, v in trial.curve[-1].metrics.items() if k.startswith("gradient.")}
    assert found == pytest.approx(dict(exact.gradient), rel=1e-4)


def test_what_the_gradient_of_a_trial_that_ends_early_costs_is_of_the_budget(tmp_path):
    """As of one that is trained to its end: an epoch costs 1, the gradient of the best point 5 of each up to there."""
    trial, spent = sloped(tmp_path, 1, stop="patience 1", goal="min loss")
    best = next(p.step for p in trial.curve if p.value == trial.value)
    epochs = best + 1  # the next was no better
    assert trial.cost == spent.cost == epochs + 5.0 * best
    assert spent.steps == epochs


def test_a_training_on_several_workers_has_no_gradient():
    space = Space(lr=Float(1e-3, 1.0), rule=Const("async"), workers=Const(2), batch=Const(8))
    with pytest.raises(StudyError, match=r"a trial that several workers train .* has no gradient"):
        Study(space, goal="max accuracy", search="hypergradient", steps=STEPS)


def test_a_gradient_that_is_not_finite_is_reported_as_it_is(tmp_path, monkeypatch):
    """Else a study whose first trial had none would be told that it reports none."""
    from whet.train.hypergradient import found
    from whet.tune import worker

    made = found.Hypergradient({"lr": float("nan"), "weight_decay": float("inf")}, "loss", 0.5, 4, 20.0)
    monkeypatch.setattr(worker, "hypergradient", lambda *_, **__: made)
    trial, _ = sloped(tmp_path, 1)
    assert trial.curve[-1].metrics["gradient(loss).weight_decay"] == float("inf")
    with Study.open(f"{tmp_path}/1/s.db", "study") as study:
        assert study.searcher.misses(study.trials) == ""
        assert study.ask().origin["start"] == "sobol"

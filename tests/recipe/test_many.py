"""The time of a training on several workers begins with its first step; what it took until then stands on its own."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest
import torch

from whet.recipe import many
from whet.recipe.block import Block, Progress
from whet.recipe.job import Job
from whet.recipe.many import Team, train_many
from whet.recipe.trained import trained
from whet.tasks import resolve
from whet.train.run import Run
from whet.tune.trial import Point


class Slow:
    """A channel on a clock of its own: no worker is there for `startup` seconds, then an epoch takes 5."""

    clock = 0.0

    def __init__(self, task, params, *, workers, steps, seed, startup, **_):
        self.run, self.workers, self.startup = Run(task, params, steps=steps, seed=seed, device="cpu"), workers, startup
        self.status, self.lost, self.deaths, self.models, self.halting = {}, 0, Counter(), (), False
        self.first = None

    def events(self, seconds=1.0):
        points = iter(self.run)
        for waited in range(self.startup):
            Slow.clock += 1
            there = {"0": {"updates": 0, "rate": 0.0, "waits": True, "ahead": 0}} if waited > 2 else {}
            self.status = {"seconds": 0.0, "version": 0, "epochs": float(self.run.step), "workers": there}
            yield None
        self.first = Slow.clock
        for point in points:
            Slow.clock += 5
            past = Slow.clock - self.first
            self.status = {**self.status, "seconds": past, "epochs": float(point.step), "version": point.step}
            yield Point(point.step, point.value, cost=past, metrics=point.metrics)
            if self.halting:
                return

    def look(self):
        return self.status

    def halt(self):
        self.halting = True

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture
def train(monkeypatch, tmp_path):
    """Train diabetes for some epochs on such a channel; return what was shown and what came of it."""
    monkeypatch.setattr(Slow, "clock", 100.0)
    monkeypatch.setattr(many, "time", SimpleNamespace(monotonic=lambda: Slow.clock))

    def call(startup, *, stop_after=None, resume=False):
        monkeypatch.setattr(many, "channel", lambda *_, **__: lambda *a, **k: Slow(*a, startup=startup, **k))
        job = Job(resolve("diabetes"), runs=tmp_path, steps=4, stop="never")
        shown = []

        def stopping():
            return stop_after is not None and any(p.told for p in shown) and shown[-1].left == str(stop_after)

        for event in train_many(job, {"lr": 0.01, "net": "linear"}, Team(2), resume=resume, stopping=stopping):
            if isinstance(event, Progress):
                shown.append(SimpleNamespace(told=event.told, left=event.spent, speeds=event.rates, said=event.best))
            elif isinstance(event, Block):
                return shown, event
        raise AssertionError("no block")

    return call


def test_waiting_for_workers_is_no_training(train):
    shown, block = train(30)
    team = block.data["distributed"]
    assert (team["startup"], team["seconds"]) == (30.0, 20.0)
    assert [p["seconds"] for p in block.data["curve"]] == [5.0, 10.0, 15.0, 20.0]
    whole = " ".join(block.lines)
    assert "4 updates in 20 s" in whole
    assert "start-up 30 s before that" in whole
    assert all(
        p.said == "starting 2 workers" and not p.speeds for p in shown if not p.told
    )  # also when the first is there
    assert [p.speeds["epochs"] for p in shown if p.told] == pytest.approx([0.2] * 4)


def test_what_starting_took_adds_up_over_resumes(train):
    _, first = train(30, stop_after=1)
    assert first.data["distributed"]["startup"] == 30.0
    done = first.data["step"]
    shown, block = train(7, resume=True)
    team = block.data["distributed"]
    assert (team["startup"], team["seconds"]) == (37.0, 5.0 * 4)
    assert block.data["step"] == 4 > done
    assert [p.speeds["epochs"] for p in shown if p.told] == pytest.approx([0.2] * (4 - done))


def test_members_outlive_a_resume_that_ends_before_it_has_trained(tmp_path):
    """The file is written anew when that ends: what it says of the members and what it holds of them stay together."""
    task = resolve("digits")
    job, params = Job(task, runs=tmp_path, steps=30), {"lr": 0.05, "net": "linear", "optimizer": "sgd", "batch": 64}

    def train(*, resume, stop_after):
        told = 0

        def stopping():
            return told >= stop_after

        for event in train_many(job, params, Team(2, "ec(every=4)"), resume=resume, stopping=stopping):
            told += isinstance(event, Progress) and event.told
            if isinstance(event, Block):
                return event
        raise AssertionError("no block")

    train(resume=False, stop_after=2)
    before, made = trained(task, job.folder / "train", members=True)
    assert len(made) == 2
    train(resume=True, stop_after=0)
    after, _ = trained(task, job.folder / "train", members=True)
    for a, b in zip(before.parameters(), after.parameters(), strict=True):
        assert torch.equal(a, b)

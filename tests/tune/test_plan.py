"""The schedule of a population's winner, followed in one training, is the winner to the bit."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from whet import Choice, Data, Float, Int, Space, Split, Study, Task, UsageError
from whet.models import Mlp
from whet.train.run import Run
from whet.tune.codec import unpack
from whet.tune.plan import Plan, ancestry, lived
from whet.tune.schedule.population import Population
from whet.tune.worker import train_task, training_seed


class Blobs(Task):
    goal = "min loss"
    steps = 8
    space = Space(
        optimizer=Choice(
            {
                "sgd": Space(lr=Float(1e-3, 0.5, log=True, live=True), momentum=Float(0.0, 0.95, live=True)),
                "adamw": Space(lr=Float(1e-4, 0.1, log=True, live=True)),
            }
        ),
        weight_decay=Float(1e-5, 1.0, log=True, live=True),
        dropout=Float(0.0, 0.6, live=True),
        share=Float(0.0, 0.2, live=True),
        batch=Int(8, 24, live=True),
        width=Int(4, 12),
    )

    def data(self, params):
        g = torch.Generator().manual_seed(self.seed)
        y = torch.arange(120) % 3
        x = torch.randn(120, 4, generator=g) + 2 * nn.functional.one_hot(y, 4)
        return Data(Split(x[:80], y[:80]), Split(x[80:], y[80:]), classes=("a", "b", "c"))

    def model(self, params):
        return Mlp(4, 3, width=params["width"], dropout=params["dropout"], norm="batch")

    def loss(self, params):
        return lambda out, y: nn.functional.cross_entropy(out, y) + params["share"] * out.square().mean()


@pytest.mark.parametrize("seed", range(3))
def test_replay_of_a_lineage_gives_the_winners_curve_to_the_bit(seed, tmp_path):
    task = Blobs()
    task.seed = seed
    with Study(
        task.space, goal="min loss", search="random", schedule=Population(5, 1, 0.4, resample=0.3), steps=8, seed=seed,
        store=f"sqlite:///{tmp_path}/s.db",
    ) as study:  # fmt: skip
        study.run(lambda p, run: train_task(task, p, run), budget="40epochs")
        trials = study.trials
        done = [t for t in trials if t.step == 8]
        longest = max(done, key=lambda t: len(ancestry(trials, t.id)))
        for trial in dict.fromkeys([study.best.id, longest.id]):
            stretches = ancestry(trials, trial)
            root = stretches[0].trial
            plan = Plan.from_json(json.loads(json.dumps(Plan(stretches, 8, training_seed(seed, root)).json())))
            run = Run(task, {}, steps=8, seed=plan.seed, plan=plan)
            points, told = list(run), lived(trials, stretches)
            assert [(p.step, p.value, dict(p.metrics)) for p in points] == [
                (p.step, p.value, dict(p.metrics)) for p in told
            ]
            state = unpack(study.keeping.load(study.checkpoints(trial)[-1][1]))
            for name, value in run.model.state_dict().items():
                assert torch.equal(value, state["model"][name]), name
            assert np.array_equal(run.outputs, state["outputs"])
        assert len(ancestry(trials, longest.id)) > 2
        changed = Plan(ancestry(trials, longest.id), 8).changed()
        assert {"weight_decay", "dropout", "share"} & set(changed)
        assert not {"width", "optimizer"} & set(changed)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "is not one"),
        ([], "is not one"),
        ({"schedule": 2}, "of format 2, this version of whet reads 1"),
        ({"schedule": 1, "steps": 3, "stretches": []}, "has no stretches"),
        ({"schedule": 1, "steps": 3, "stretches": [{"first": 1}]}, "is not one"),
        ({"schedule": 1, "steps": 0, "stretches": []}, "is not one"),
        ({"schedule": 1, "steps": 3, "stretches": [{"first": 1, "last": 2, "params": 3}]}, "is not one"),
    ],
)
def test_what_is_no_schedule_is_refused_in_one_line(data, said, tmp_path):
    (tmp_path / "f.json").write_text(json.dumps(data))
    with pytest.raises(UsageError, match=said) as e:
        Plan.read(tmp_path / "f.json")
    assert len(str(e.value).splitlines()) == 1
    assert str(e.value).startswith(f"--schedule {tmp_path / 'f.json'}: ")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        Plan.read(tmp_path / "none.json")
    (tmp_path / "f.json").write_text("{no")
    with pytest.raises(UsageError, match="is no JSON"):
        Plan.read(tmp_path / "f.json")
    (tmp_path / "g.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is no JSON"):
        Plan.read(tmp_path / "g.json")

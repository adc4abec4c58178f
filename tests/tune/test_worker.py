"""Training a task in a study: a trial that is broken off after any epoch ends with the very bits of one that is not."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from whet import Const, Data, Space, Split, Study, Task
from whet.tune.codec import unpack
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

"""A schedule of hyperparameters in one training: each value counts from its step on, and nothing that was learnt is lost."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from whet.data.split import Data, Split
from whet.errors import CheckpointError, TaskError, UsageError
from whet.models import Mlp
from whet.seed import key
from whet.task import Task
from whet.train.callback import Callback
from whet.train.checkpoint import pack, unpack
from whet.train.early import Early
from whet.train.run import Run
from whet.tune.plan import Plan, Stretch


class Blobs(Task):
    """Three classes of points; a loss of two parts whose weight is a hyperparameter."""

    def data(self, params):
        g = torch.Generator().manual_seed(self.seed)
        y = torch.arange(90) % 3
        x = torch.randn(90, 4, generator=g) + 2 * nn.functional.one_hot(y, 4)
        x = x * params.get("scale", 1.0)
        return Data(Split(x[:61], y[:61]), Split(x[61:], y[61:]), classes=("a", "b", "c"))

    def model(self, params):
        return Mlp(4, 3, width=params.get("width", 8), dropout=params.get("dropout", 0.0), norm="batch")

    def loss(self, params):
        if "share" not in params:
            return super().loss(params)
        return lambda out, y: nn.functional.cross_entropy(out, y) + params["share"] * out.square().mean()

    def augment(self, params):
        if not params.get("noise"):
            return None
        return lambda inputs, y, g: ((inputs[0] + params["noise"] * torch.randn(inputs[0].shape, generator=g),), y)


def bits(run):
    return [v.clone() for v in run.model.state_dict().values()]


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def two(a, b, *, first=2, steps=4):
    return Plan((Stretch(1, first, a), Stretch(first + 1, steps, b)), steps=steps)


LIVE = [
    ({"lr": 0.05}, {"lr": 0.01}),
    ({"lr": 0.05, "rate": "cosine"}, {"lr": 0.01, "rate": "cosine"}),
    ({"weight_decay": 0.0, "optimizer": "adamw"}, {"weight_decay": 10.0, "optimizer": "adamw"}),
    ({"optimizer": "sgd", "optimizer.momentum": 0.9}, {"optimizer": "sgd", "optimizer.momentum": 0.3}),
    ({"optimizer": "sgd", "optimizer.momentum": 0.0}, {"optimizer": "sgd", "optimizer.momentum": 0.9}),
    ({"optimizer": "nesterov", "optimizer.lr": 0.1}, {"optimizer": "nesterov", "optimizer.lr": 0.2}),
    ({"optimizer": "adam", "optimizer.beta1": 0.9}, {"optimizer": "adam", "optimizer.beta1": 0.5}),
    ({"optimizer": "rmsprop", "optimizer.alpha": 0.9}, {"optimizer": "rmsprop", "optimizer.alpha": 0.5}),
    ({"dropout": 0.0}, {"dropout": 0.6}),
    ({"label_smoothing": 0.0}, {"label_smoothing": 0.2}),
    ({"share": 0.0}, {"share": 1.0}),
    ({"noise": 0.0}, {"noise": 1.0}),
    ({"batch": 8}, {"batch": 16}),
    ({"scale": 1.0}, {"scale": 0.5}),
]


@pytest.mark.parametrize(("a", "b"), LIVE, ids=lambda p: "-".join(map(str, p.values())))
def test_each_value_counts_from_its_step_on(a, b):
    task = Blobs()
    constant, other = (list(Run(task, p, steps=4, seed=3)) for p in (a, b))
    run = Run(task, {}, steps=4, seed=3, plan=two(a, b))
    points = list(run)
    assert points[:2] == constant[:2]
    assert points[2:] != constant[2:]
    assert points[2:] != other[2:]  # what was learnt before counts
    # the same as a population's child, which goes on from a file
    early = Run(task, a, steps=4, seed=3)
    begun = list(itertools.islice(early, 2))
    child = Run(task, b, steps=4, seed=3, resume=unpack(pack(early.state())))
    assert begun + list(child) == points
    assert equal(bits(run), bits(child))
    assert np.array_equal(run.outputs, child.outputs)


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_equals_a_loop_by_hand_whose_optimizer_runs_on(kind):
    class Bare(Blobs):
        def model(self, params):
            return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(params["dropout"]), nn.Linear(8, 3))

        def optimizer(self, params, model):
            more = {"momentum": 0.9} if kind == "SGD" else {"betas": (params["beta"], 0.99)}
            return getattr(torch.optim, kind)(model.parameters(), lr=params["lr"], weight_decay=params["decay"], **more)

    a = {"lr": 0.1, "decay": 0.0, "beta": 0.9, "dropout": 0.0, "batch": 16, "share": 0.0}
    b = {**a, "lr": 0.02, "decay": 0.3, "beta": 0.5, "share": 0.7}
    task = Bare()
    run = Run(task, {}, steps=4, seed=5, plan=two(a, b))
    list(run)
    torch.manual_seed(key(5, "init"))
    data, model = task.data({}), task.model(a)
    optimizer = task.optimizer(a, model)
    for epoch in range(4):
        now = a if epoch < 2 else b
        for group in optimizer.param_groups:  # in the optimizer as it runs
            group["lr"], group["weight_decay"] = now["lr"], now["decay"]
            if kind == "Adam":
                group["betas"] = (now["beta"], 0.99)
        model.train()
        order = torch.randperm(61, generator=torch.Generator().manual_seed(key(5, "order", epoch)))
        for i in range(0, 61, 16):
            at = order[i : i + 16]
            optimizer.zero_grad()
            out, y = model(data.train.inputs[at]), data.train.targets[at]
            (nn.functional.cross_entropy(out, y) + now["share"] * out.square().mean()).backward()
            optimizer.step()
    assert equal(bits(run), list(model.state_dict().values()))


@pytest.mark.parametrize("at", [1, 2, 3])
def test_broken_off_and_resumed_anywhere_it_is_the_same(at):
    plan = two({"lr": 0.05, "dropout": 0.2}, {"lr": 0.01, "dropout": 0.5})
    whole = Run(Blobs(), {}, steps=4, seed=0, plan=plan)
    points = list(whole)
    first = Run(Blobs(), {}, steps=4, seed=0, plan=plan)
    early = list(itertools.islice(first, at))
    second = Run(Blobs(), {}, steps=4, seed=0, plan=plan, resume=unpack(pack(first.state())))
    assert early + list(second) == points
    assert equal(bits(whole), bits(second))


def test_the_best_point_is_gone_back_to_across_a_change():
    plan = two({"lr": 0.02}, {"lr": 30.0, "optimizer": "adam"})
    early = Early(Run(Blobs(), {}, steps=4, seed=0, plan=plan), "patience 1")
    points = list(early)
    assert early.why
    assert early.run.evaluate()[early.run.goal.name] == min((p.value for p in points), key=early.run.goal.score)


def test_what_cannot_change_is_refused():
    with pytest.raises(CheckpointError, match=r"resume: the state does not fit Mlp under .*'width': 4"):
        list(Run(Blobs(), {}, steps=4, seed=0, plan=two({"width": 8}, {"width": 4})))

    class Counts(Callback):
        pass

    with pytest.raises(TaskError, match="change: the callback Counts may hold the model that is replaced"):
        list(Run(Blobs(), {}, steps=4, seed=0, plan=two({"lr": 0.1}, {"lr": 0.2}), callbacks=[Counts()]))
    list(Run(Blobs(), {}, steps=2, seed=0, plan=two({"lr": 0.1}, {"lr": 0.2}), callbacks=[Counts()]))  # never changes


@pytest.mark.parametrize(
    ("stretches", "said"),
    [
        ((), "has no stretches"),
        ((Stretch(2, 3, {}),), "must begin with step 1, begins with 2"),
        ((Stretch(1, 3, {}), Stretch(5, 6, {})), "steps 1 to 3 are followed by 5 to 6"),
        ((Stretch(1, 3, {}), Stretch(3, 6, {})), "steps 1 to 3 are followed by 3 to 6"),
    ],
)
def test_plans_with_gaps_are_refused(stretches, said):
    with pytest.raises(UsageError, match=said) as e:
        Plan(stretches, steps=6)
    assert len(str(e.value).splitlines()) == 1

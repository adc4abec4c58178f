from __future__ import annotations

import pytest
import torch
from torch import nn

from whet.data.split import Data, Split
from whet.task import Task
from whet.train.loss import Loss
from whet.train.optim import OPTIMIZERS, optimizer
from whet.train.rate import Cosine, Step, rate
from whet.tune.space import Choice, Const, Float, Int, Ordered, Space


class Rich(Task):
    space = Space(
        lr=Float(1e-4, 1e-1, log=True),
        weight_decay=Float(1e-6, 1e-1, log=True),
        dropout=Float(0.0, 0.5),
        label_smoothing=Ordered([0.0, 0.1]),
        augment=Choice({"strong": Space(degrees=Float(1, 20)), "none": Space()}),
        mixup=Choice([True, False]),
        noise=Const(0.5),
        net=Choice({"mlp": Space(dropout=Ordered([0.1, 0.2]), width=Int(1, 9)), "linear": Space()}),
        optimizer=Choice({"sgd": Space(momentum=Float(0, 0.9)), "adam": None}),
    )


FULL = {
    "lr": 0.01, "weight_decay": 0.01, "dropout": 0.3, "label_smoothing": 0.1, "augment": "strong", "augment.degrees": 5.0,
    "mixup": True, "noise": 0.5, "net": "mlp", "net.dropout": 0.1, "net.width": 3, "optimizer": "sgd",
    "optimizer.momentum": 0.5,
}  # fmt: skip


def test_plain_switches_off_what_regularises_and_nothing_else():
    Rich.space.check(FULL)
    before = dict(FULL)
    plain = Rich().plain(FULL)
    assert before == FULL
    assert plain == {
        "lr": 0.01, "weight_decay": 0.0, "dropout": 0.0, "label_smoothing": 0.0, "augment": "none", "mixup": False,
        "noise": 0.5, "net": "mlp", "net.dropout": 0.0, "net.width": 3, "optimizer": "sgd", "optimizer.momentum": 0.5,
    }  # fmt: skip
    Rich.space.check({**plain, "weight_decay": 1e-6, "net.dropout": 0.1})
    assert Rich().plain(plain) == plain


def test_plain_keeps_a_named_option_that_has_no_off():
    class T(Task):
        space = Space(augment=Choice(["flip", "crop"]))

    assert T().plain({"augment": "flip"}) == {"augment": "flip"}
    assert Task().plain({"augment": "flip", "dropout": 2, "mixup": None}) == {
        "augment": "none",
        "dropout": 0,
        "mixup": None,
    }


def data(kind):
    return Data(Split(torch.zeros(2, 1), torch.zeros(2)), Split(torch.zeros(2, 1), torch.zeros(2)), kind=kind)


def test_goals_and_metrics_go_by_the_kind_of_data():
    class Own(Task):
        goal = ("min loss", "latency <= 5")
        metrics = ("f1",)

    assert [str(g) for g in Task().goals(data("classification"))] == ["max accuracy"]
    assert [str(g) for g in Task().goals(data("regression"))] == ["min rmse"]
    assert [str(g) for g in Own().goals(data("regression"))] == ["min loss", "latency <= 5"]
    assert Task().measured(data("regression")) == ("rmse", "mae", "r2")
    assert Own().measured(data("classification")) == ("f1",)


def test_names_and_defaults():
    class MyTask(Task):
        pass

    class Named(Task):
        name = "given"

    assert (MyTask.name, Named.name) == ("mytask", "given")
    task = Task()
    assert task.batch({}) == 32
    assert task.batch({"batch": 64}) == 64
    assert task.rate({}) is None
    assert task.rate({"rate": "cosine"}) == Cosine(27)
    assert task.augment({}) is None
    assert task.loss({}) == Loss()
    group = task.optimizer({}, nn.Linear(2, 1)).param_groups[0]
    assert (group["lr"], group["weight_decay"], group["betas"]) == (3e-4, 0, (0.9, 0.999))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_is_for_matrices_only(name):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Embedding(2, 2))
    made = optimizer({"optimizer": name, "weight_decay": 0.1}, model)
    decays = {id(p): g["weight_decay"] for g in made.param_groups for p in g["params"]}
    assert all(decays[id(p)] == (0.1 if p.ndim > 1 else 0.0) for p in model.parameters())
    assert len(decays) == len(list(model.parameters()))
    before = [p.clone() for p in model.parameters()]
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    made.step()
    assert not any(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_branch_options_reach_the_optimizer():
    made = optimizer(
        {"optimizer": "nesterov", "optimizer.momentum": 0.8, "lr": 0.1, "optimizer.lr": 0.2}, nn.Linear(1, 1)
    )
    assert [made.param_groups[0][k] for k in ("momentum", "nesterov", "lr")] == [0.8, True, 0.2]
    made = optimizer({"optimizer": "sgd", "optimizer.momentum": 0.0, "optimizer.nesterov": True}, nn.Linear(1, 1))
    assert not made.param_groups[0]["nesterov"]
    made = optimizer({"optimizer": "adamw", "optimizer.beta2": 0.95}, nn.Linear(1, 1))
    assert made.param_groups[0]["betas"] == (0.9, 0.95)
    frozen = nn.Linear(1, 1)
    frozen.weight.requires_grad_(False)
    assert [len(g["params"]) for g in optimizer({"weight_decay": 0.1}, frozen).param_groups] == [1]


@pytest.mark.parametrize(
    ("params", "epochs", "factor"),
    [
        ({"rate": "cosine"}, 9, 0.0),
        ({"rate": "cosine", "rate.floor": 0.1}, 20, 0.1),
        ({"rate": "cosine", "rate.warmup": 3}, 1.5, 0.5),
        ({"rate": "cosine", "rate.warmup": 3}, 6, 0.5),
        ({"rate": "step"}, 3, 0.1),
        ({"rate": "step", "rate.every": 2, "rate.factor": 0.5}, 7, 0.125),
        ({"rate.warmup": 4}, 1, 0.25),
    ],
)
def test_rates(params, epochs, factor):
    assert rate(params, 9)(epochs) == pytest.approx(factor)
    assert isinstance(rate({"rate": "step"}, 9), Step)


def test_losses_equal_their_definitions():
    torch.manual_seed(0)
    p, y = torch.randn(6, 1), torch.randn(6) * 4
    error = p[:, 0] - y
    assert Loss("mse")(p, y).item() == pytest.approx(error.square().mean().item())
    assert Loss("mse", scale=4.0)(p, y).item() == pytest.approx(error.square().mean().item() / 16)
    assert Loss("mae", scale=4.0)(p, y).item() == pytest.approx(error.abs().mean().item() / 4)
    e = error.abs() / 4
    assert Loss("huber", scale=4.0)(p, y).item() == pytest.approx(torch.where(e < 1, e * e / 2, e - 0.5).mean().item())
    z, c = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    margins = (1 + z - z[range(6), c][:, None]).clamp(min=0)
    margins[range(6), c] = 0
    assert Loss("hinge")(z, c).item() == pytest.approx((margins.sum(1) / 3).mean().item())
    soft = torch.full((6, 3), 0.1 / 3) + 0.9 * nn.functional.one_hot(c, 3)
    assert Loss("cross_entropy", smoothing=0.1)(z, c).item() == pytest.approx(Loss("cross_entropy")(z, soft).item())
    with pytest.raises(ValueError, match="do not fit"):
        Loss("mse")(torch.zeros(4, 2), torch.zeros(4))

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
import torch
from torch import nn

from whet.data.split import Data, Split
from whet.errors import CheckpointError, TaskError, UsageError
from whet.journal.checkpoint import Files
from whet.metric import metric
from whet.models import Convnet, Mlp, Standardize, prior
from whet.seed import key
from whet.task import Task
from whet.train.callback import Callback
from whet.train.checkpoint import pack, unpack
from whet.train.latency import latency
from whet.train.predict import predict
from whet.train.run import Run


class Blobs(Task):
    """Three classes of points; dropout, batch normalisation and augmentation when the configuration asks."""

    def data(self, params):
        g = torch.Generator().manual_seed(self.seed)
        y = torch.arange(90) % 3
        x = torch.randn(90, 4, generator=g) + 2 * torch.nn.functional.one_hot(y, 4)
        return Data(Split(x[:61], y[:61]), Split(x[61:], y[61:]), classes=("a", "b", "c"))

    def model(self, params):
        return Mlp(4, 3, width=8, dropout=params.get("dropout", 0.0), norm=params.get("norm", "none"))

    def augment(self, params):
        if not params.get("augment"):
            return None
        return lambda inputs, targets, g: ((inputs[0] + torch.randn(inputs[0].shape, generator=g),), targets)


class Pictures(Blobs):
    """The same as 8x8 pictures under a convolutional net, whose weights lie channels last."""

    def data(self, params):
        g = torch.Generator().manual_seed(self.seed)
        y = torch.arange(40) % 2
        x = torch.randint(0, 100, (40, 1, 8, 8), generator=g, dtype=torch.uint8)
        x[:, :, :4] += (100 * y).to(torch.uint8)[:, None, None, None]
        return Data(Split(x[:30], y[:30]), Split(x[30:], y[30:]), classes=("a", "b"))

    def model(self, params):
        train = self.data(params).train
        return Convnet(
            (1, 8, 8), 2, width=8, dropout=0.2, standardize=Standardize.fit(train.inputs), prior=prior(train.targets)
        )


class Line(Task):
    def data(self, params):
        x = torch.linspace(-1, 1, 40)[:, None]
        y = 3 * x[:, 0] + 1
        return Data(Split(x[::2], y[::2]), Split(x[1::2], y[1::2]), kind="regression")

    def model(self, params):
        return nn.Linear(1, 1)


def weights(run):
    return [t.clone() for t in run.model.state_dict().values()]


def equal(a, b):
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


OPTIMIZERS = [
    {"optimizer": "sgd", "lr": 0.05},
    {"optimizer": "sgd", "optimizer.momentum": 0.9, "optimizer.nesterov": True, "lr": 0.05},
    {"optimizer": "adam", "lr": 0.01, "weight_decay": 1e-3, "rate": "cosine"},
    {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.1},
    {"optimizer": "rmsprop", "optimizer.momentum": 0.5, "lr": 0.01},
    {"optimizer": "adagrad", "lr": 0.05, "rate": "step"},
]


@pytest.mark.parametrize("params", OPTIMIZERS, ids=lambda p: f"{p['optimizer']}-{len(p)}")
@pytest.mark.parametrize("task", [Blobs(), Pictures()], ids=["mlp", "convnet"])
@pytest.mark.parametrize("seed", [0, 1])
def test_two_halves_equal_a_whole_bit_for_bit(task, params, seed):
    params = {**params, "dropout": 0.3, "norm": "batch", "augment": "noise" if type(task) is Blobs else "", "batch": 8}
    whole = Run(task, params, steps=4, seed=seed)
    points = list(whole)
    first = Run(task, params, steps=4, seed=seed)
    early = list(itertools.islice(first, 2))
    files = Files(None)
    name = files.write(0, 2, pack(first.state()))
    torch.rand(7)  # whatever its owner does in between
    second = Run(task, params, steps=4, seed=seed, resume=unpack(files.read(name)))
    assert second.step == 2
    assert early + list(second) == points
    assert equal(weights(whole), weights(second))
    assert np.array_equal(whole.outputs, second.outputs)
    assert not equal(weights(whole), weights(first)), "two more epochs must have changed something"


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_fused_kernels_do_what_the_plain_ones_do(name):
    params = {"optimizer": name, "lr": 0.01, "weight_decay": 1e-2}

    class Plain(Pictures):
        def optimizer(self, params, model):
            made = super().optimizer(params, model)
            for group in made.param_groups:
                group["fused"], group["foreach"] = False, False
            return made

    fused, plain = Run(Pictures(), params, steps=3, seed=0), Run(Plain(), params, steps=3, seed=0)
    assert fused.optimizer.param_groups[0]["fused"]
    list(fused), list(plain)
    for a, b in zip(weights(fused), weights(plain), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_equals_a_loop_by_hand():
    task, params = Blobs(), {"lr": 0.01, "batch": 16}
    run = Run(task, params, steps=3, seed=5)
    points = list(run)
    torch.manual_seed(key(5, "init"))
    data, model = task.data({}), None
    model = task.model(params)
    optimizer = torch.optim.Adam(model.parameters(), 0.01, fused=True)
    for epoch in range(3):
        model.train()
        order = torch.randperm(61, generator=torch.Generator().manual_seed(key(5, "order", epoch)))
        for i in range(0, 61, 16):
            index = order[i : i + 16]
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(data.train.inputs[index]), data.train.targets[index]).backward()
            optimizer.step()
    assert equal(weights(run), list(model.state_dict().values()))
    outputs = model.eval()(data.valid.inputs).detach()
    assert points[-1].value == pytest.approx((outputs.argmax(1) == data.valid.targets).float().mean().item())
    expected = torch.nn.functional.cross_entropy(outputs, data.valid.targets).item()
    assert points[-1].metrics["loss"] == pytest.approx(expected)


def test_seed_decides_everything():
    def after(seed):
        run = Run(Blobs(), {"dropout": 0.3}, steps=2, seed=seed)
        list(run)
        return weights(run)

    assert equal(after(0), after(0))
    assert not equal(after(0), after(1))


def test_leaves_the_generators_of_its_owner_alone():
    class Greedy(Blobs):
        def data(self, params):
            torch.rand(3), np.random.rand(3), random.random()
            return super().data(params)

    class Draws(Callback):
        def start(self, run):
            torch.rand(1)

        def step(self, run):
            np.random.rand(), random.random(), torch.rand(1)

    def drawn(train):
        torch.manual_seed(1), np.random.seed(2), random.seed(3)
        if train:
            run = Run(Greedy(), {"dropout": 0.5}, steps=2, seed=0, callbacks=[Draws()])
            for _ in run:
                pass
            run.evaluate()
        return torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()

    assert drawn(True) == drawn(False)


def test_owner_cannot_disturb_it():
    def after(disturb):
        run = Run(Blobs(), {"dropout": 0.5}, steps=3, seed=0)
        for _ in run:
            if disturb:
                torch.manual_seed(99)
        return weights(run)

    assert equal(after(True), after(False))


def test_breaking_off_and_iterating_again_goes_on():
    run = Run(Blobs(), {}, steps=4, seed=0)
    for _ in run:
        break
    assert [p.step for p in run] == [2, 3, 4]
    assert list(run) == []


def test_outputs_are_those_of_the_last_point():
    run = Run(Blobs(), {}, steps=2, seed=0)
    assert run.outputs is None
    points = list(run)
    assert run.outputs.shape == (29, 3)
    assert run.outputs.dtype == np.float32
    assert points[-1].value == metric("accuracy").compute(run.outputs, run.data.valid.targets.numpy())
    assert np.array_equal(run.outputs, predict(run.model, run.data.valid))
    assert set(points[-1].metrics) == {"loss", "train_loss"}


def test_the_other_goals_are_reported():
    """A metric by name, and how many parameters the model has; what whet does not know is left to a callback."""
    run = Run(changed(goal=["max accuracy", "min parameters", "ece <= 0.5", "ms <= 5"]), {}, steps=1, seed=0)
    (point,) = list(run)
    assert set(point.metrics) == {"loss", "train_loss", "ece", "parameters"}
    assert point.metrics["parameters"] == sum(p.numel() for p in run.model.parameters())
    (point,) = list(Run(changed(metrics=("parameters", "error")), {}, steps=1, seed=0))
    assert set(point.metrics) == {"error", "train_loss", "parameters"}


def test_latency_is_measured_once_and_outlives_a_pause():
    """A wider model takes longer; every point says the same, and so does a run that goes on elsewhere; nothing else changes."""
    task = changed(goal=["max accuracy", "latency <= 5"])
    run = Run(task, {}, steps=4, seed=0)
    points = [next(iter(run)), next(iter(run))]
    state = unpack(pack(run.state()))
    rest = list(Run(task, {}, steps=4, seed=0, resume=state))
    assert len({p.metrics["latency"] for p in (*points, *rest)}) == 1
    assert points[0].metrics["latency"] > 0
    plain = list(Run(changed(goal="max accuracy"), {}, steps=4, seed=0))
    assert [p.value for p in plain] == [p.value for p in (*points, *rest)]
    assert "latency" not in plain[0].metrics
    assert "latency" not in Run(changed(goal="max accuracy"), {}, steps=4, seed=0).state()


@pytest.mark.parametrize("training", [True, False])
def test_latency_leaves_the_model_as_it_was(training):
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.5))
    model.train(training)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    split = Split(torch.randn(3, 4), torch.zeros(3))
    state = torch.random.get_rng_state()
    assert latency(model, split) > 0
    assert model.training is training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_regression_reports_real_units():
    run = Run(Line(), {"lr": 0.1, "batch": 4}, steps=15, seed=0)
    points = list(run)
    error = run.outputs[:, 0] - run.data.valid.targets.numpy()
    assert points[-1].value == pytest.approx(float(np.sqrt((error.astype(float) ** 2).mean())), rel=1e-6)
    assert points[-1].value < 0.3 < points[0].value
    assert set(points[-1].metrics) == {"mae", "r2", "train_loss"}


def test_train_loss_is_the_mean_over_examples():
    seen = []

    class Watch(Callback):
        def batch(self, run, inputs, targets):
            seen.append(len(targets))

        def loss(self, run, loss):
            seen.append(loss.item())

    point = next(iter(Run(Blobs(), {"batch": 25}, steps=1, seed=0, callbacks=[Watch()])))
    sizes, losses = seen[::2], seen[1::2]
    assert sizes == [25, 25, 11]
    assert point.metrics["train_loss"] == pytest.approx(np.average(losses, weights=sizes))


@pytest.mark.parametrize(
    ("norm", "sizes"), [("batch", [20, 20, 21]), ("none", [20, 20, 20, 1]), ("layer", [20, 20, 20, 1])]
)
def test_a_last_batch_of_one_is_merged_only_for_batch_normalisation(norm, sizes):
    seen = []

    class Watch(Callback):
        def batch(self, run, inputs, targets):
            seen.append(len(targets))

    list(Run(Blobs(), {"batch": 20, "norm": norm}, steps=1, seed=0, callbacks=[Watch()]))
    assert seen == sizes


def test_every_example_is_seen_once_an_epoch_in_another_order():
    seen = []

    class Watch(Callback):
        def batch(self, run, inputs, targets):
            seen.append(inputs[0].clone())

    run = Run(Blobs(), {"batch": 7}, steps=2, seed=0, callbacks=[Watch()])
    list(run)
    first, second = torch.cat(seen[:9]), torch.cat(seen[9:])
    assert not torch.equal(first, second)
    for epoch in (first, second):
        assert torch.equal(epoch.sort(0).values, run.data.train.inputs.sort(0).values)


def test_data_are_not_changed_by_steps_that_write_in_place():
    class Spoil(Callback):
        def batch(self, run, inputs, targets):
            inputs[0].zero_()
            targets.zero_()

    task = Blobs()
    data = task.data({})
    task.data = lambda params: data
    list(Run(task, {}, steps=1, seed=0, callbacks=[Spoil()]))
    assert torch.equal(data.train.inputs, Blobs().data({}).train.inputs)
    assert torch.equal(data.train.targets, Blobs().data({}).train.targets)


def test_augmentation_touches_training_batches_only_and_changes_each_epoch():
    seen = []

    class Watch(Callback):
        def batch(self, run, inputs, targets):
            seen.append(inputs[0].clone())

    run = Run(Blobs(), {"augment": "noise", "batch": 61}, steps=2, seed=0, callbacks=[Watch()])
    list(run)
    plain = run.data.train.inputs.sum()
    assert seen[0].sum() != plain
    assert seen[0].sum() != seen[1].sum()
    assert np.array_equal(predict(run.model, run.data.valid), run.outputs)


def test_callbacks_run_in_order_and_may_change_what_they_are_given():
    calls = []

    class Note(Callback):
        def __init__(self, name):
            self.name = name

    def noting(what):
        def method(self, run, *args):
            calls.append((self.name, what))

        return method

    for what in ("start", "batch", "loss", "grad", "step", "point", "end"):
        setattr(Note, what, noting(what))
    run = Run(Blobs(), {"batch": 61}, steps=1, seed=0, callbacks=[Note("a"), Note("b")])
    list(run)
    order = ("start", "batch", "loss", "grad", "step", "point", "end")
    assert calls == [(name, what) for what in order for name in ("a", "b")]

    class Twice(Callback):
        def loss(self, run, loss):
            return loss * 0

        def point(self, run, point):
            return type(point)(point.step, 42.0, metrics={"extra": 1.0})

    run = Run(Blobs(), {"optimizer": "sgd"}, steps=1, seed=0, callbacks=[Twice()])
    before = weights(run)
    assert next(iter(run)).value == 42.0
    assert equal(before, weights(run)), "a loss of zero moves nothing"


def test_end_is_called_when_the_owner_breaks_off():
    calls = []

    class End(Callback):
        def end(self, run):
            calls.append(run.step)

    for _ in Run(Blobs(), {}, steps=3, seed=0, callbacks=[End()]):
        break
    assert calls == [1]


def test_a_callback_with_memory_is_resumed():
    class Count(Callback):
        n = 0

        def step(self, run):
            self.n += 1

        def state(self):
            return {"n": self.n}

        def load(self, state):
            self.n = state["n"]

    first = Run(Blobs(), {"batch": 61}, steps=4, seed=0, callbacks=[Count()])
    next(iter(first))
    again = Run(Blobs(), {"batch": 61}, steps=4, seed=0, callbacks=[count := Count()], resume=first.state())
    list(again)
    assert count.n == 4


@pytest.mark.parametrize("batch", [61, 1])
def test_a_loss_that_is_not_finite_ends_the_run(batch):
    class Break(Callback):
        steps = 0

        def loss(self, run, loss):
            self.steps += 1
            return loss * float("nan")

    run = Run(Blobs(), {"batch": batch}, steps=5, seed=0, callbacks=[Break()])
    points = list(run)
    assert [p.step for p in points] == [1]
    assert np.isnan(points[0].value)
    assert run.over
    assert list(run) == []
    again = Run(Blobs(), {"batch": batch}, steps=5, seed=0, callbacks=[Break()], resume=unpack(pack(run.state())))
    assert list(again) == []


def test_diverging_training_ends_it_too():
    points = list(Run(Line(), {"optimizer": "sgd", "lr": 1e12, "batch": 2}, steps=9, seed=0))
    assert np.isnan(points[-1].value)
    assert len(points) < 9


def test_the_state_is_a_copy_and_is_not_written_to():
    run = Run(Blobs(), {"lr": 0.1}, steps=3, seed=0)
    next(iter(run))
    state = run.state()
    before = pack(state)
    list(run)
    list(Run(Blobs(), {"lr": 0.1}, steps=3, seed=0, resume=state))
    assert pack(state) == before


def test_a_changed_setting_takes_the_new_value_on_resume():
    params = {"lr": 0.1, "weight_decay": 0.0}
    run = Run(Blobs(), params, steps=2, seed=0)
    next(iter(run))
    again = Run(Blobs(), {"lr": 0.2, "weight_decay": 0.5}, steps=2, seed=0, resume=run.state())
    assert [(g["lr"], g["weight_decay"]) for g in again.optimizer.param_groups] == [(0.2, 0.5), (0.2, 0.0)]


def test_a_rate_follows_its_curve_inside_an_epoch():
    rates = []

    class Watch(Callback):
        def step(self, run):
            rates.append(run.optimizer.param_groups[0]["lr"])

    class Short(Blobs):
        steps = 2

    list(
        Run(
            Short(),
            {"rate": "cosine", "lr": 1.0, "optimizer": "sgd", "batch": 31},
            steps=2,
            seed=0,
            callbacks=[Watch()],
        )
    )
    assert rates == pytest.approx([1.0, 0.5 * (1 + 2**-0.5), 0.5, 0.5 * (1 - 2**-0.5)])


def test_resume_into_another_structure_is_refused():
    run = Run(Blobs(), {}, steps=2, seed=0)
    state = run.state()
    with pytest.raises(CheckpointError, match="resume: the state does not fit"):
        Run(Pictures(), {}, steps=2, seed=0, resume=state)
    with pytest.raises(CheckpointError, match="KeyError"):
        Run(Blobs(), {}, steps=2, seed=0, resume={"model": state["model"]})


def test_label_smoothing_is_in_the_training_loss_only():
    a, b = (next(iter(Run(Blobs(), {"label_smoothing": s, "lr": 0.0}, steps=1, seed=0))) for s in (0.0, 0.5))
    assert a.metrics["loss"] == b.metrics["loss"]
    assert a.metrics["train_loss"] != b.metrics["train_loss"]


def changed(**methods):
    made = type("Changed", (Blobs,), methods)
    return made()


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (changed(model=lambda s, p: nn.Linear), ["Changed.model", "class Linear", "nn.Module"]),
        (changed(model=lambda s, p: "net"), ["Changed.model", "'str'"]),
        (changed(model=lambda s, p: nn.Linear(4, 2)), ["(2, 2)", "(2,)", "3 classes", "nn.Linear(..., 3)"]),
        (changed(model=lambda s, p: nn.Linear(4, 5)), ["(2, 5)", "3 classes", "2 outputs too many"]),
        (changed(model=lambda s, p: nn.Linear(4, 1)), ["(2, 1)", "(2,)", "3 classes"]),
        (changed(model=lambda s, p: nn.Linear(9, 3)), ["Linear fails on inputs (2, 4)"]),
        (changed(model=lambda s, p: nn.Sequential(nn.Linear(4, 3), nn.Flatten(0))), ["(6,)", "one row"]),
        (changed(model=lambda s, p: nn.LSTM(4, 3)), ["LSTM", "Tensor", "tuple"]),
        (changed(model=lambda s, p: nn.Flatten()), ["(2, 4)", "1 outputs too many"]),
        (changed(model=lambda s, p: nn.Sequential(nn.Flatten(), Cut())), ["no parameters to train"]),
        (changed(loss=lambda s, p: nn.MSELoss()), ["Changed.loss", "(2, 3)", "(2,)"]),
        (changed(loss=lambda s, p: nn.CrossEntropyLoss(reduction="none")), ["one number a batch", "(2,)", "mean()"]),
        (changed(loss=lambda s, p: lambda o, t: 1.0), ["scalar Tensor", "float"]),
        (changed(optimizer=lambda s, p, m: None), ["Changed.optimizer", "got None", "torch.optim.Adam"]),
        (changed(optimizer=lambda s, p, m: torch.optim.SGD), ["Changed.optimizer", "class SGD, not an object"]),
        (
            changed(optimizer=lambda s, p, m: torch.optim.LBFGS(m.parameters())),
            ["Changed.optimizer: LBFGS calls the loss again", "closure"],
        ),
        (changed(batch=lambda s, p: 0), ["Changed.batch", ">= 1", "0"]),
        (changed(data=lambda s, p: None), ["Changed.data", "NoneType"]),
        (changed(goal="max acuracy"), ["acuracy", "accuracy"]),
        (changed(goal="min rmse"), ["rmse is for regression"]),
        (changed(goal=["max accuracy", "min rmse"]), ["Changed.goal", "rmse is for regression"]),
        (changed(metrics=("mae",)), ["mae is for regression"]),
        (Task(), ["data(params) is missing"]),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(task, words):
    with pytest.raises(TaskError) as caught:
        Run(task, {}, steps=1, seed=0)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    for word in words:
        assert word in text, text


class Cut(nn.Module):
    def forward(self, x):
        return x[:, :3]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"optimizer": "adm"}, ["'adm'", "adamw", "Did you mean 'adam'"]),
        ({"optimizer": "sgd", "optimizer.beta1": 0.9}, ["optimizer.beta1", "momentum"]),
        ({"lr": -1.0}, ["adam refuses", "-1"]),
        ({"rate": "cosin"}, ["'cosin'", "'cosine'"]),
        ({"rate": "cosine", "rate.every": 2}, ["rate.every", "floor"]),
        ({"loss": "mse"}, ["for numbers", "classes"]),
        ({"loss": "crossentropy"}, ["'crossentropy'", "'cross_entropy'"]),
    ],
)
def test_wrong_names_say_what_is_allowed(params, words):
    with pytest.raises(TaskError) as caught:
        Run(Blobs(), params, steps=1, seed=0)
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_targets_outside_the_outputs_are_found():
    def data(self, params):
        x = torch.zeros(4, 4)
        return Data(
            Split(x, torch.tensor([0, 1, 2, 3])), Split(x, torch.tensor([0, 1, 2, -1])), classes=("a", "b", "c")
        )

    with pytest.raises(TaskError, match="from -1 to 3"):
        Run(changed(data=data), {}, steps=1, seed=0)


def test_a_column_of_predictions_under_a_plain_mse_is_refused():
    class Plain(Line):
        def loss(self, params):
            return nn.MSELoss()

    with pytest.raises(TaskError, match=r"\(2, 1\).*\(2,\)"):
        Run(Plain(), {}, steps=1, seed=0)


def test_unknown_metric_of_predict_is_a_usage_error():
    with pytest.raises(UsageError, match="accuracy"):
        metric("acc")

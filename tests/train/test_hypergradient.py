"""Hypergradients against finite differences in double precision, of whole trainings; and what they cost and refuse."""

from __future__ import annotations

import math
import random
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from whet import Choice, Data, Float, Int, Space, Task, TaskError, UsageError
from whet.data.split import Split
from whet.tasks.augment import RandomAffine
from whet.train.hypergradient.found import Tape, hypergradient
from whet.train.hypergradient.implicit import solved
from whet.train.hypergradient.unrolled import Recorder
from whet.train.hypergradient.update import KINDS, kind_of, updated
from whet.train.loss import smoothed
from whet.train.run import Run

H = 1e-6


class Noisy(nn.Module):
    """It draws from every generator a person may use."""

    def __init__(self, dropout):
        super().__init__()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        return self.dropout(x) * (1 + np.random.rand() + random.random()) if self.training else x


class Small(Task):
    """Three classes of points in the plane; everything in double precision and smooth."""

    name = "small"
    goal = "min loss"
    steps = 3
    norm = "batch"
    space = Space(
        optimizer=Choice({
            "sgd": Space(momentum=Float(0.1, 0.99)), "nesterov": Space(momentum=Float(0.1, 0.99)), "adam": Space(beta1=Float(0.1, 0.99), beta2=Float(0.1, 0.9999)),
            "adamw": Space(), "rmsprop": Space(), "adagrad": Space(),
        }),
        lr=Float(1e-4, 1.0, log=True), weight_decay=Float(1e-6, 1.0, log=True), label_smoothing=Float(0.0, 0.5),
        strength=Float(0.0, 1.0), weight=Float(0.0, 1.0), dropout=Float(0.0, 0.9), depth=Int(1, 3),
    )  # fmt: skip

    def data(self, params):
        g = torch.Generator().manual_seed(self.seed)
        x = torch.randn(60, 4, generator=g, dtype=torch.float64)
        y = (x @ torch.randn(4, 3, generator=g, dtype=torch.float64)).argmax(1)
        return Data(Split(x[:35], y[:35]), Split(x[35:], y[35:]), kind="classification", classes=tuple("abc"))

    def model(self, params):
        norm = nn.BatchNorm1d(6, momentum=0.3) if self.norm == "batch" else nn.Identity()
        drop = Noisy(params["dropout"]) if "dropout" in params else nn.Identity()
        # a bias before batch normalisation has no gradient but rounding, of which Adam makes steps
        return nn.Sequential(
            nn.Linear(4, 6, bias=self.norm != "batch"), norm, nn.Tanh(), drop, nn.Linear(6, 3)
        ).double()

    def loss(self, params):
        plain, weight = super().loss(params), params.get("weight", 0.0)
        return lambda o, t: plain(o, t) + weight * (o**2).mean() if weight else plain(o, t)

    def augment(self, params):
        strength = params.get("strength", 0.0)
        if not strength:
            return None

        def jitter(inputs, targets, generator):
            noise = torch.randn(inputs[0].shape, generator=generator, dtype=torch.float64)
            return (inputs[0] + strength * noise,), targets

        return jitter


class Judged(Small):
    """The same, judged without the weight in its loss, which is for training alone."""

    metrics = ("accuracy",)


def ended(task, params, *, steps, seed):
    """What a training ends with, in double precision."""
    run = Run(task, params, steps=steps, seed=seed, device="cpu")
    *_, _ = run
    model, loss = run.model.eval(), run.loss
    with torch.no_grad():
        outputs = model(*run.valid.parts)
        if task.goal == "min rmse":
            return float(((outputs.squeeze(-1) - run.valid.targets) ** 2).mean().sqrt())
        plain = loss.plain() if hasattr(loss, "plain") else loss
        return float(plain(outputs, run.valid.targets))


def differences(task, params, names, *, steps, seed, h=H):
    found = {}
    for n in names:
        high, low = (ended(task, {**params, n: params[n] + s * h}, steps=steps, seed=seed) for s in (1, -1))
        found[n] = (high - low) / (2 * h)
    return found


BASE = {"lr": 0.05, "weight_decay": 0.03, "batch": 8}
CASES = {
    "sgd": {**BASE, "optimizer": "sgd", "optimizer.momentum": 0.7},
    "nesterov, cosine": {**BASE, "optimizer": "nesterov", "optimizer.momentum": 0.8, "rate": "cosine"},
    "adam": {**BASE, "lr": 0.02, "optimizer": "adam", "optimizer.beta1": 0.8, "optimizer.beta2": 0.95},
    "adam, one beta": {**BASE, "lr": 0.02, "optimizer": "adam", "optimizer.beta1": 0.8},
    "adamw": {**BASE, "lr": 0.02, "optimizer": "adamw"},
    "rmsprop": {**BASE, "lr": 0.02, "optimizer": "rmsprop"},
    "adagrad": {**BASE, "optimizer": "adagrad"},
    "weight of a loss": {**BASE, "optimizer": "sgd", "weight": 0.2},
    "smoothing": {**BASE, "optimizer": "adamw", "lr": 0.02, "label_smoothing": 0.1},
    "augmentation": {**BASE, "optimizer": "sgd", "optimizer.momentum": 0.5, "strength": 0.4},
    "dropout": {**BASE, "optimizer": "adamw", "lr": 0.02, "strength": 0.4, "dropout": 0.3},
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", CASES)
def test_unrolled_is_the_derivative_of_a_whole_training(case, seed):
    """Through batch normalisation and its running averages, the last batch being smaller; every real number but dropout has one."""
    task, params = Small(), CASES[case]
    task.seed = seed
    names = [n for n in params if n in task.space.names and isinstance(params[n], float) and n != "dropout"]
    found = hypergradient(task, params, steps=3, seed=seed, device="cpu")
    assert found.of == "loss"
    assert found.epochs == 3
    assert set(found.gradient) == set(names)
    assert found.value == pytest.approx(ended(task, params, steps=3, seed=seed), rel=1e-12)
    exact = differences(task, params, names, steps=3, seed=seed)
    for n in names:
        assert found.gradient[n] == pytest.approx(exact[n], rel=1e-6, abs=1e-9), n


@pytest.mark.parametrize("seed", range(3))
def test_numbers_to_predict_are_measured_by_their_own_metric(seed):
    class Line(Small):
        goal = "min rmse"
        norm = "none"

        def data(self, params):
            g = torch.Generator().manual_seed(self.seed)
            x = torch.randn(60, 4, generator=g, dtype=torch.float64)
            y = x @ torch.randn(4, generator=g, dtype=torch.float64)
            return Data(Split(x[:35], y[:35]), Split(x[35:], y[35:]), kind="regression")

        def model(self, params):
            return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1)).double()

    task, params = Line(), {**BASE, "optimizer": "sgd", "optimizer.momentum": 0.7}
    task.seed = seed
    found = hypergradient(task, params, steps=2, seed=seed, device="cpu")
    names = ["lr", "weight_decay", "optimizer.momentum"]
    exact = differences(task, params, names, steps=2, seed=seed)
    assert found.of == "rmse"
    assert set(found.metrics("rmse")) == {f"gradient.{n}" for n in names}
    assert {n: found.gradient[n] for n in names} == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_the_strength_of_moved_pictures_has_a_gradient(seed):
    """RandomAffine works in single precision, and bends where a pixel passes another: a rougher comparison."""

    class Pictures(Small):
        norm = "none"

        def data(self, params):
            g = torch.Generator().manual_seed(self.seed)
            x = functional.avg_pool2d(torch.rand(40, 1, 12, 12, generator=g), 3, 1, 1)
            y = torch.randint(3, (40,), generator=g)
            return Data(Split(x[:24], y[:24]), Split(x[24:], y[24:]), kind="classification", classes=tuple("abc"))

        def model(self, params):
            return Doubled()

        def augment(self, params):
            return RandomAffine(params["strength"])

    class Doubled(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Flatten(), nn.Linear(144, 3)).double()

        def forward(self, x):
            return self.net(x.double())

    task, params = Pictures(), {"optimizer": "sgd", "lr": 0.3, "batch": 8, "strength": 0.5}
    task.seed = seed
    found = hypergradient(task, params, steps=2, seed=seed, device="cpu")
    exact = differences(task, params, ["strength"], steps=2, seed=seed, h=1e-4)
    assert found.gradient["strength"] == pytest.approx(exact["strength"], rel=0.02, abs=5e-4)


# -- where it has converged


class Converged(Small):
    """A linear model, trained to its end with all examples in a batch."""

    norm = "none"

    def model(self, params):
        return nn.Linear(4, 3).double()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "params",
    [
        {"optimizer": "sgd", "optimizer.momentum": 0.9, "weight_decay": 0.1},
        {"optimizer": "sgd", "optimizer.momentum": 0.9, "weight_decay": 0.1, "weight": 0.3},
        {"optimizer": "sgd", "optimizer.momentum": 0.9, "weight_decay": 0.1, "label_smoothing": 0.2},
        {"optimizer": "sgd", "optimizer.momentum": 0.9, "weight_decay": 0.1, "strength": 0.5},
    ],
    ids=["weight decay", "weight of a loss", "smoothing", "augmentation"],
)
def test_implicit_is_the_derivative_of_a_training_that_converged(params, seed):
    class Once(Converged):
        def augment(self, params):
            made = super().augment(params)  # the same jitter in every epoch: else there is nothing to converge to
            return made and (lambda x, y, _: made(x, y, torch.Generator().manual_seed(7)))

        def data(self, params):
            data = super().data(params)
            return Data(Split(data.train.inputs, data.train.targets), data.valid, kind=data.kind, classes=data.classes)

        def optimizer(self, params, model):
            made = super().optimizer(params, model)
            for group in made.param_groups:  # biases decay too: the minimum is one point
                group["weight_decay"] = params["weight_decay"]
            return made

    if "strength" in params:  # what jitters by place in the batch must meet every example in the same place
        Once.loss = lambda self, p: Small.loss(self, p)
        Once.augment = lambda self, p: lambda x, y, _: ((x[0] * (1 + p["strength"] * torch.sin(9 * x[0])),), y)
    task, full = Once(), {**params, "lr": 0.3, "batch": 35}
    task.seed = seed
    found = hypergradient(task, full, steps=300, seed=seed, device="cpu", method="implicit")
    names = [n for n in params if n in ("weight_decay", "weight", "label_smoothing", "strength")]
    assert set(found.gradient) == set(names)  # a rate has no effect on where it ends
    exact = differences(task, full, names, steps=300, seed=seed, h=1e-4)
    for n in names:
        assert found.gradient[n] == pytest.approx(exact[n], rel=1e-3, abs=1e-6), n


@pytest.mark.parametrize("seed", range(3))
def test_implicit_goes_by_where_adamw_stands_still(seed):
    """Where a decoupled decay balances the preconditioned gradient: the derivative of that equation's solution, the preconditioner held, by SciPy's root."""
    from scipy import optimize

    task, params = Converged(), {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.5, "batch": 35}
    task.seed = seed
    run = Run(task, params, steps=1200, seed=seed, device="cpu", callbacks=[Recorder()])
    tape = Tape()
    tape.take(run.state())
    for _ in run:
        pass
    tape.take(run.state())
    tape.full = True
    found = hypergradient(task, params, steps=1200, seed=seed, device="cpu", method="implicit", tape=tape)
    w = run.model.weight
    state = run.optimizer.state[w]
    d = ((state["exp_avg_sq"] / (1 - 0.999 ** float(state["step"]))).sqrt() + 1e-8).detach()
    x, y = run.train.parts[0], run.train.targets

    def still(decay):
        def slope(flat):
            flat = torch.tensor(flat, requires_grad=True)
            weight, bias = flat[:12].reshape(3, 4), flat[12:]
            loss = functional.cross_entropy(x @ weight.T + bias, y) + decay / 2 * (d * weight**2).sum()
            return torch.autograd.grad(loss, flat)[0].numpy()

        begin = torch.cat([w.detach().flatten(), run.model.bias.detach()]).numpy()
        flat = torch.tensor(optimize.root(slope, begin, tol=1e-12, method="lm").x)
        x_v, y_v = run.valid.parts[0], run.valid.targets
        return float(functional.cross_entropy(x_v @ flat[:12].reshape(3, 4).T + flat[12:], y_v))

    exact = (still(0.5 + 1e-4) - still(0.5 - 1e-4)) / 2e-4
    assert found.gradient["weight_decay"] == pytest.approx(exact, rel=0.05)


def test_conjugate_gradients_stop_where_it_curves_down():
    down = torch.tensor([1.0, -1.0])
    right = [torch.tensor([1.0, 0.5])]
    q = solved(lambda v: [down * v[0]], right)
    assert torch.isfinite(q[0]).all()
    zero = solved(lambda v: [v[0]], [torch.zeros(2)])
    assert zero[0].tolist() == [0.0, 0.0]


# -- steps and losses as functions of values


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1),
    "momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, dampening=0.2, weight_decay=0.1),
    "nesterov": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, maximize=True),
    "adam": lambda p: torch.optim.Adam(p, 0.1, weight_decay=0.1),
    "amsgrad": lambda p: torch.optim.Adam(p, 0.1, betas=(0.5, 0.6), amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.5, centered=True, weight_decay=0.1),
    "plain rmsprop": lambda p: torch.optim.RMSprop(p, 0.01),
    "adagrad": lambda p: torch.optim.Adagrad(p, 0.1, lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.3),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_is_that_of_pytorch(name, seed):
    torch.manual_seed(seed)
    w = torch.nn.Parameter(torch.randn(5, dtype=torch.float64))
    optimizer = OPTIMIZERS[name]([w])
    mine, state = w.detach().clone(), {k: v.clone() for k, v in optimizer.state[w].items()}
    for i in range(6):
        w.grad = torch.randn(5, dtype=torch.float64) * (0.0 if i == 0 else 1.0)
        mine, state = updated(kind_of(optimizer), optimizer.param_groups[0], mine, w.grad, state=state)
        optimizer.step()
        assert torch.allclose(mine, w.detach(), rtol=1e-12, atol=1e-12)
    assert set(KINDS[kind_of(optimizer)]) & set(state) <= set(optimizer.state[w])


def test_a_weight_that_never_had_a_gradient_gives_no_nan():
    """Dead units: the root of a mean square of 0 has no slope."""
    w, lr = torch.ones(3, requires_grad=True), torch.tensor(0.1, requires_grad=True)
    group = {"lr": lr, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
    g = w * torch.tensor([0.0, 1.0, 2.0])
    new, _ = updated(torch.optim.Adam, group, w, g, state={})
    found = torch.autograd.grad(new.sum(), [w, lr])
    assert all(torch.isfinite(x).all() for x in found)


@pytest.mark.parametrize("seed", range(3))
def test_smoothing_as_a_tensor_is_pytorchs(seed):
    g = torch.Generator().manual_seed(seed)
    outputs = torch.randn(6, 4, 3, generator=g, dtype=torch.float64)
    classes = torch.randint(4, (6, 3), generator=g)
    classes[0, 1] = -100
    chances = torch.rand(6, 4, 3, generator=g, dtype=torch.float64).softmax(1)
    for targets in (classes, chances):
        exact = functional.cross_entropy(outputs, targets, label_smoothing=0.25)
        assert smoothed(outputs, targets, torch.tensor(0.25)).item() == pytest.approx(exact.item(), rel=1e-12)


# -- what it goes back through, costs, and refuses


def test_a_tape_of_the_training_saves_training_again_and_changes_nothing(monkeypatch):
    task, params = Small(), CASES["adamw"]
    run = Run(task, params, steps=3, seed=1, device="cpu")
    tape = Tape()
    tape.take(run.state())
    for _ in run:
        tape.take(run.state())
    anew = hypergradient(task, params, steps=3, seed=1, device="cpu")
    epochs = []
    before = Run._epoch
    monkeypatch.setattr(Run, "_epoch", lambda self: epochs.append(1) or before(self))
    with_tape = hypergradient(task, params, steps=3, seed=1, device="cpu", tape=tape)
    assert anew.cost == with_tape.cost + 3
    assert with_tape == replace(anew, cost=with_tape.cost)
    assert len(epochs) == 3  # each epoch once more, backwards
    part = Tape()
    for state in list(tape.states)[1:]:
        part.take(state)
    assert hypergradient(task, params, steps=3, seed=1, device="cpu", tape=part) == anew  # of a trial that was resumed


def test_a_tape_that_is_full_goes_back_less_far_and_says_so():
    task, params = Small(), CASES["sgd"]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = hypergradient(task, params, steps=6, seed=0, device="cpu", tape=Tape(memory=6000))
    assert 0 < found.epochs < 6
    assert found.cost >= 5 * found.epochs + 6
    assert f"the last {found.epochs} of 6 epochs" in str(said[0].message)
    assert all(math.isfinite(g) for g in found.gradient.values())


@pytest.mark.parametrize("case", ["dropout", "adamw"])
def test_an_epoch_that_does_not_fit_is_gone_through_in_parts(case):
    """Four of its five steps, then the first: the same gradient, and the epoch trained twice."""
    task, params = Small(), CASES[case]
    whole = hypergradient(task, params, steps=1, seed=0, device="cpu")
    part = hypergradient(task, params, steps=1, seed=0, device="cpu", tape=Tape(memory=8_000))
    tight = hypergradient(task, params, steps=1, seed=0, device="cpu", tape=Tape(memory=1))
    assert (whole.cost, part.cost, tight.cost) == (6.0, 7.0, 10.0)
    assert dict(part.gradient) == dict(whole.gradient) == dict(tight.gradient)


def test_the_owners_generators_are_left_alone():
    before = torch.get_rng_state()
    hypergradient(Small(), CASES["dropout"], steps=1, seed=0, device="cpu")
    assert torch.equal(before, torch.get_rng_state())


def test_a_goal_without_a_gradient_is_followed_through_the_loss():
    task = Judged()
    task.goal = "max accuracy"
    found = hypergradient(task, CASES["sgd"], steps=1, seed=0, device="cpu")
    assert found.of == "loss"
    said = found.metrics("accuracy")
    assert set(said) == {"loss", *(f"gradient(loss).{n}" for n in ("lr", "weight_decay", "optimizer.momentum"))}


class Own(torch.optim.SGD):
    """An optimizer of somebody's own."""


def test_what_makes_no_sense_is_refused_in_one_line():
    task = Small()
    task.optimizer = lambda params, model: Own(model.parameters(), lr=params["lr"])
    with pytest.raises(
        TaskError, match=r"steps of Own cannot be differentiated\. Allowed: Adagrad, Adam, AdamW, RMSprop, SGD"
    ) as e:
        hypergradient(task, CASES["sgd"], steps=1)
    assert len(str(e.value).splitlines()) == 1
    with pytest.raises(UsageError, match="no method 'forward'"):
        hypergradient(Small(), CASES["sgd"], steps=1, method="forward")
    with pytest.raises(TaskError, match="a training on several workers has no gradient"):
        hypergradient(Small(), {**CASES["sgd"], "rule": "async", "workers": 2}, steps=1)


def test_a_number_that_the_task_makes_plain_has_no_gradient():
    class Plain(Small):
        def loss(self, params):
            weight = float(params["weight"])
            return lambda o, t: functional.cross_entropy(o, t) + weight * (o**2).mean()

    found = hypergradient(Plain(), {**CASES["sgd"], "weight": 0.3}, steps=1, seed=0, device="cpu")
    assert set(found.gradient) == {"lr", "weight_decay", "optimizer.momentum"}

"""Programs outside plain supervised learning: no alarm when they are healthy, and what is wrong is still named."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beyond_zoo import BEYOND, Adversarial, Labelled, complex_values, critic, force_field, physics, relu_net
from whet.checks import Subject, check, examine, resolve
from whet.checks.doubt import astray
from whet.checks.inside import _losses, read
from whet.finding import Health, Severity
from whet.report.entering import entering


def looked(name: str, seed: int) -> Health:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model, loss, batch, more = BEYOND[name]()
    given: dict[str, Any] = dict(more)
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = given.pop("optimizer", torch.optim.AdamW(trainable, 1e-3) if seed % 2 else None)
    return check(model, loss, batch, optimizer, **given)


def alarms(health: Health) -> list[str]:
    return [str(f) for f in health.findings if f.severity is not Severity.INFO]


# each takes seconds, and `make soak` looks at them over twenty seeds
SLOW = ("variational, always drawing", "physics-informed, in the model", "time first, flat targets")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.soak) if n in SLOW else n for n in BEYOND])
def test_no_alarm_and_everything_was_looked_at(name: str) -> None:
    health = looked(name, sum(map(ord, name)) % 7)
    assert alarms(health) == []
    assert {"RUN", "LOSS", "GRAD", "STRAY", "PC"} <= set(health.facts), health
    plain = (
        "the model runs on a batch of "  # a graph's edges number its nodes: said in words, with the error beside them
    )
    assert [str(n) for n in health.not_run if "Error: " in n.why and not n.why.startswith(plain)] == []


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", BEYOND)
def test_no_alarm_over_twenty_seeds(name: str, seed: int) -> None:
    assert alarms(looked(name, seed)) == []


def one(code: str, model: nn.Module, loss: Callable[..., Any], inputs: Any, targets: Any, **more: Any) -> Health:
    torch.set_num_threads(1)
    return examine(Subject(model, loss, inputs, targets, **more), resolve([code]))


class Fresh(nn.Module):
    """Makes a layer in every pass."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(nn.Linear(6, 6)(x)))


class Sloped(nn.Module):
    """Uses a plain tensor with a gradient, and takes a gradient with respect to its inputs too."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1))
        self.scale = torch.ones(3, requires_grad=True)

    def forward(self, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(self.net(x * self.scale).sum(), x, create_graph=True)[0]


OUTSIDE = torch.ones(3, requires_grad=True)  # of a module, in nobody's hands


def test_what_should_learn_and_cannot_is_named_beside_gradients_of_inputs() -> None:
    torch.manual_seed(0)
    x = torch.randn(32, 3)
    health = one("STRAY", Sloped(), nn.MSELoss(), (x,), x)
    assert [f.evidence["strays"] for f in health.findings] == [["scale (3,)"]]
    health = one("STRAY", nn.Linear(3, 3), lambda o, t: F.mse_loss(o * OUTSIDE, t), (x,), x)
    assert [f.evidence["strays"] for f in health.findings] == [["a tensor (3,)"]]
    health = one("STRAY", Fresh(), nn.CrossEntropyLoss(), (torch.randn(32, 6),), torch.arange(32) % 3)
    assert [f.evidence["strays"] for f in health.findings] == [["a tensor (6, 6)", "a tensor (6,)"]]


@pytest.mark.parametrize("make", [physics, critic, force_field])
def test_what_a_gradient_is_taken_for_is_no_stray(make: Callable[[], Any]) -> None:
    torch.manual_seed(0)
    model, loss, (x, y), _ = make()
    health = one("STRAY", model, loss, (x,), y)
    assert health.findings == ()
    assert health.facts["STRAY"]["strays"] == []


def test_a_loss_that_starts_from_a_zero_of_its_own_has_no_stray() -> None:
    x = torch.randn(32, 3)
    loss = lambda o, t: torch.zeros((), requires_grad=True) + F.mse_loss(o, t)  # noqa: E731
    assert one("STRAY", nn.Linear(3, 3), loss, (x,), x).findings == ()


def test_a_loss_that_asks_the_model_itself_is_not_called_constant() -> None:
    torch.manual_seed(0)
    model, loss, (x, y), _ = physics()
    assert one("LOSS", model, loss, (x,), y).findings == ()
    (skipped,) = one("OF", model, loss, (x,), y).not_run
    assert (
        skipped.why == "the loss does not use the outputs, it asks the model itself: how far it can fall is not known"
    )
    clamped = one("LOSS", nn.Linear(1, 1), lambda o, t: o.square().mean().clamp(max=-1) + 0 * o.sum(), (x,), y)
    assert [f.code for f in clamped.findings] == ["LOSS"]


def test_the_bias_that_drops_out_of_a_derivative_is_not_cut_and_an_unused_layer_is() -> None:
    torch.manual_seed(0)

    class Forces(Sloped):
        def __init__(self, more: bool) -> None:
            super().__init__()
            self.scale.requires_grad_(False)
            self.more = nn.Linear(3, 3) if more else None

    x = torch.randn(32, 3)
    assert one("PC", Forces(False), nn.MSELoss(), (x,), x).findings == ()
    (found,) = one("PC", Forces(True), nn.MSELoss(), (x,), x).findings
    assert found.evidence["cut"] == ["more.weight", "more.bias"]


def test_a_model_that_needs_a_gradient_where_none_is_wanted_is_looked_at() -> None:
    """Without enable_grad of its own, in checks that want no gradient."""
    torch.manual_seed(0)
    x = torch.randn(32, 3)
    model = Sloped()
    model.scale.requires_grad_(False)
    health = check(model, nn.MSELoss(), (x, x), allow=("OF",))
    assert alarms(health) == []
    assert {"RUN", "LOSS", "INIT", "MODE", "SEP", "DEP", "PC"} <= set(health.facts), health


def test_complex_numbers_are_looked_at_as_pairs() -> None:
    torch.manual_seed(0)
    model, loss, (z, y), _ = complex_values()
    health = check(model, loss, (z, y))
    assert alarms(health) == []
    assert {"INP", "LOSS", "GRAD", "MODE", "SEP", "DEP", "PC", "OF"} <= set(health.facts), health
    assert health.facts["DEP"]["own_gradient"] > 0
    mixing = check(model, lambda o, t: (o - t.mean(0)).abs().square().mean(), (z, y), allow=("OF",))
    assert [f.code for f in mixing.findings if f.severity is not Severity.INFO] == ["SEP"]


class Mixes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6, dtype=torch.complex64)

    def forward(self, z: Tensor) -> Tensor:
        return self.layer(z - z.mean(0))


def test_complex_examples_that_mix_are_named() -> None:
    torch.manual_seed(0)
    z = torch.randn(32, 6, dtype=torch.complex64)
    health = one("DEP", Mixes(), lambda o, t: (o - t).abs().mean(), (z,), z)
    assert [f.code for f in health.findings] == ["DEP"]


def test_complex_inputs_are_shown_without_a_warning() -> None:
    z = torch.randn(4, 3, dtype=torch.complex64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        section = entering({"inputs": (z,), "targets": z[:, 0], "classes": None})
    assert section is not None
    rows = section.blocks[0].rows
    assert np.isclose(rows[1][1], float(z[1, 0].real))
    assert "real" in section.blocks[0].note


class Kept(nn.Module):
    """Its hidden state goes on from call to call, and has the size of one batch."""

    def __init__(self, draws: bool = False) -> None:
        super().__init__()
        self.rnn, self.head, self.draws = nn.GRU(6, 16, batch_first=True), nn.Linear(16, 3), draws
        self.h = torch.zeros(1, 32, 16)

    def forward(self, x: Tensor) -> Tensor:
        states, h = self.rnn(F.dropout(x, 0.5) if self.draws else x, self.h)
        self.h = h.detach()
        return self.head(states[:, -1])


def test_a_state_that_is_kept_is_named_as_the_cause() -> None:
    torch.manual_seed(0)
    health = check(Kept(), nn.CrossEntropyLoss(), (torch.randn(32, 5, 6), torch.arange(32) % 3))
    (found,) = [f for f in health.findings if f.code == "MODE"]
    assert found.fix.startswith("a pass changes h, and the next one begins with it: reset it where a sequence begins")
    why = {n.code: n.why for n in health.not_run}
    for code in ("DEP", "OF"):
        assert why[code].startswith("the model runs on a batch of 32 and not on "), why[code]
        assert "its state h is of that size" in why[code]


def test_chance_is_not_taken_for_a_state() -> None:
    torch.manual_seed(0)
    health = one("MODE", Kept(draws=True), nn.CrossEntropyLoss(), (torch.randn(32, 5, 6),), torch.arange(32) % 3)
    assert [f.fix for f in health.findings] == ["F.dropout(x, p, training=self.training); draw nothing in eval mode"]


def test_a_reversed_gradient_is_told_from_that_of_the_loss() -> None:
    torch.manual_seed(0)
    x, kind, domain = torch.randn(64, 10), torch.randint(0, 3, (64,)), torch.arange(64) % 2
    both = lambda o, t: F.cross_entropy(o[0], t[0]) + F.cross_entropy(o[1], t[1])  # noqa: E731
    found = astray(Subject(Adversarial(), both, (x,), (kind, domain)))
    assert found is not None
    assert found.meant
    assert "reversed on purpose" in found.why
    cut = nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 3))
    for model in (cut, relu_net(10, 3)):
        for loss in (nn.CrossEntropyLoss(), nn.CrossEntropyLoss(label_smoothing=0.1)):
            assert astray(Subject(model, loss, (x,), kind)) is None


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return -2 * x * gradient  # the sign is wrong


class Wrong(nn.Module):
    """A backward of its own, of the wrong sign."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(10, 64), nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(Square.apply(self.body(x)))


class Cut(nn.Module):
    """A recurrent net that forgets to learn through time, where that is all there is to learn."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.RNNCell(3, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), 8)
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h.detach())
        return self.head(h)


@pytest.mark.parametrize("seed", range(3))
def test_a_wrong_backward_is_not_excused(seed: int) -> None:
    torch.manual_seed(seed)
    x, y = torch.randn(64, 10), torch.randint(0, 3, (64,))
    health = one("OF", Wrong(), nn.CrossEntropyLoss(), (x,), y)
    assert [f.severity.value for f in health.findings] in (
        ["WARN"],
        [],
    )  # the head alone may learn few examples by heart
    found = astray(Subject(Wrong(), nn.CrossEntropyLoss(), (x,), y))
    assert found is not None
    assert not found.meant
    found = astray(Subject(Cut(), nn.CrossEntropyLoss(), (torch.randn(64, 6, 3),), y))
    assert found is not None
    assert not found.meant


def test_what_cannot_be_doubted_stands() -> None:
    """A reentrant checkpoint takes no torch.autograd.grad, and a tanh after the last layer is what is wrong."""

    class Kept(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(10, 32), nn.Linear(32, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = x.requires_grad_() if x.is_leaf and torch.is_grad_enabled() else x
            h = torch.utils.checkpoint.checkpoint(lambda z: torch.relu(self.body(z)), x, use_reentrant=True)
            return torch.tanh(self.head(h)).squeeze(1)

    torch.manual_seed(0)
    health = one("OF", Kept(), nn.MSELoss(), (torch.randn(64, 10),), 5 + torch.randn(64))
    assert [f.code for f in health.findings] == ["OF"], health


def test_labels_out_of_range_are_never_tried() -> None:
    scores, labels = torch.randn(12, 3), torch.arange(12) % 3
    assert [str(r) for r in _losses(scores, labels)]
    labels[::7] = -1  # cross_entropy raises; on a GPU the program would be over
    assert list(_losses(scores, labels)) == []
    labels[::7] = -100
    assert len(list(_losses(scores, labels))) == 1


@pytest.mark.parametrize("needed", [False, True])
def test_a_loss_inside_the_model_is_read(needed: bool) -> None:
    torch.manual_seed(0)

    class Strict(Labelled):
        def forward(self, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
            return super().forward(inputs, labels)

    x, y = torch.randn(64, 10), torch.randint(0, 4, (64,))
    health = check(Strict() if needed else Labelled(), lambda o, t: o["loss"], ({"inputs": x, "labels": y}, None))
    assert alarms(health) == []
    assert {"OUT", "LOSS", "INIT", "SEP", "DEP", "OF"} <= set(health.facts), health
    assert health.facts["OF"]["left"] <= 0.01


def test_a_softmax_before_the_loss_inside_is_named() -> None:
    torch.manual_seed(0)

    class Soft(Labelled):
        def forward(self, inputs: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
            scores = self.body(inputs).softmax(1)
            return {"logits": scores} if labels is None else {"loss": F.cross_entropy(scores, labels), "logits": scores}

    x, y = torch.randn(64, 10), torch.randint(0, 4, (64,))
    health = check(Soft(), lambda o, t: o["loss"], ({"inputs": x, "labels": y}, None))
    assert [(f.code, f.severity.value) for f in health.findings if f.severity is not Severity.INFO] == [("OUT", "FAIL")]


def test_a_loss_inside_that_is_none_of_the_usual_says_so() -> None:
    torch.manual_seed(0)

    class Odd(Labelled):
        def forward(self, inputs: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
            scores = self.body(inputs)
            return {"loss": F.cross_entropy(scores, labels) * 3 + scores.abs().mean(), "logits": scores}

    x, y = torch.randn(64, 10), torch.randint(0, 4, (64,))
    health = check(Odd(), lambda o, t: o["loss"], ({"inputs": x, "labels": y}, None))
    assert alarms(health) == []
    assert {n.code: n.why for n in health.not_run}["OF"] == (
        "the model computes the loss itself, in a way that cannot be read: how far it can fall is not known"
    )


@pytest.mark.parametrize("shifts", [False, True])
def test_the_loss_of_a_language_model_is_read(shifts: bool) -> None:
    torch.manual_seed(0)

    class Language(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.rnn, self.head = nn.Embedding(20, 16), nn.GRU(16, 16, batch_first=True), nn.Linear(16, 20)

        def forward(self, input_ids: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
            logits = self.head(self.rnn(self.embed(input_ids))[0])
            if labels is None:
                return {"logits": logits}
            a, b = (logits[:, :-1], labels[:, 1:]) if shifts else (logits, labels)
            return {"loss": F.cross_entropy(a.flatten(0, 1), b.flatten()), "logits": logits}

    tokens = torch.randint(0, 20, (16, 9))
    inputs = {"input_ids": tokens, "labels": tokens if shifts else tokens.flip(1)}
    with torch.random.fork_rng():
        found = read(Subject(Language(), lambda o, t: o["loss"], inputs, None))
    assert found is not None
    assert (found.loss.shift, list(found.inputs), found.pick) == (shifts, ["input_ids"], "logits")


def test_lbfgs_has_no_usual_size_of_a_step() -> None:
    torch.manual_seed(0)
    net = nn.Linear(3, 1).double()
    nn.init.normal_(net.weight, std=1e-3)
    x = torch.randn(64, 3).double()
    y = x.sum(1, keepdim=True)
    health = one("PC", net, nn.MSELoss(), (x,), y, optimizer=torch.optim.LBFGS(net.parameters(), lr=1e-12))
    assert health.findings == ()
    health = one("PC", net, nn.MSELoss(), (x,), y, optimizer=torch.optim.SGD(net.parameters(), 1e-10))
    assert [f.severity.value for f in health.findings] == ["INFO"]


@pytest.mark.parametrize("n", [12, 16])
def test_time_first_with_flat_targets_takes_examples_not_steps(n: int) -> None:
    torch.manual_seed(0)
    tokens = torch.randint(0, 30, (13, n))
    subject = Subject(nn.Identity(), nn.CrossEntropyLoss(), (tokens[:-1],), tokens[1:].reshape(-1), many=n, steps=12)
    part = subject.take(torch.tensor([3, 1]))
    assert part.n == 2
    assert torch.equal(part.inputs[0], tokens[:-1, [3, 1]])
    assert torch.equal(part.targets.reshape(12, 2), tokens[1:, [3, 1]])


def test_weights_of_a_loss_that_no_optimizer_holds_are_told() -> None:
    class Criterion:
        def __init__(self) -> None:
            self.head = nn.Linear(8, 3)

        def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
            return F.cross_entropy(self.head(outputs), targets)

    torch.manual_seed(0)
    model, loss = nn.Linear(10, 8), Criterion()
    data = (torch.randn(64, 10), torch.arange(64) % 3)
    found = examine(Subject(model, loss, data[:1], data[1], torch.optim.Adam(model.parameters())), resolve(["STRAY"]))
    assert [(f.code, f.severity.value) for f in found.findings] == [("STRAY", "INFO")]
    assert "weights of its own (Linear)" in found.findings[0].message
    both = torch.optim.Adam([*model.parameters(), *loss.head.parameters()])
    assert examine(Subject(model, loss, data[:1], data[1], both), resolve(["STRAY"])).findings == ()

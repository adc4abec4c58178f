"""Programs and batches as strangers have them: looked at like any other, or refused in one line that says what to give."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from whet.checks import check, loader, resolve
from whet.checks.live import Live
from whet.errors import UsageError
from whet.finding import Health, Severity
from whet.testing import assert_healthy

X = torch.randn(24, 6, generator=torch.Generator().manual_seed(1))
Y = torch.arange(24) % 3
CE = nn.CrossEntropyLoss
QUICK = ("OF",)  # takes most of the time, and has tests of its own


def net(inputs: int = 6, outputs: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, outputs))


class Wrapped(nn.Module):
    """A network whose forward method is any function of itself and the inputs."""

    def __init__(self, forward: Callable[..., Any]) -> None:
        super().__init__()
        self.net, self.does = net(), forward

    def forward(self, *args: Any, **named: Any) -> Any:
        return self.does(self, *args, **named)


class Output(dict[str, Any]):
    """What the models of a well-known library return: a dict with attributes, of a class of its own."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


@dataclass
class Answered:
    scores: Tensor
    hidden: Tensor


@dataclass
class Pair:
    x: Tensor
    y: Tensor


def with_labels(self: Wrapped, input_ids: Tensor, labels: Tensor) -> Output:
    scores = self.net(input_ids)
    return Output(loss=F.cross_entropy(scores, labels), logits=scores)


def compiled() -> nn.Module:
    return torch.compile(net(), backend="eager")  # type: ignore[return-value]


def compiled_in_place() -> nn.Module:
    model = net()
    model.compile(backend="eager")
    return model


def lookup() -> nn.Module:
    return nn.Sequential(nn.Embedding(20, 8, sparse=True), nn.Flatten(), nn.Linear(48, 3))


def parametrised(how: Callable[[nn.Module], Any]) -> nn.Module:
    model = net()
    how(model[0])
    return model


def chatty(self: Wrapped, x: Tensor) -> Tensor:
    print("a line of the program's own")
    return self.net(x)


class Once(torch.autograd.Function):
    """A ReLU that has no second derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * (x > 0)


def read_only() -> Tensor:
    return torch.from_numpy(X.numpy().copy()).requires_grad_()


HANDLED: dict[str, tuple[Callable[[], nn.Module], Any, Any]] = {
    "a model that returns a dict": (lambda: Wrapped(lambda s, x: {"logits": s.net(x)}), CE(), (X, Y)),
    "a dict by other names": (lambda: Wrapped(lambda s, x: {"scores": s.net(x), "h": x}), CE(), (X, Y)),
    "a loss of the dict": (lambda: Wrapped(lambda s, x: {"a": s.net(x)}), lambda o, t: F.cross_entropy(o["a"], t), (X, Y)),
    "a model that returns a tuple": (lambda: Wrapped(lambda s, x: (s.net(x), x)), CE(), (X, Y)),
    "a model that returns a dataclass": (
        lambda: Wrapped(lambda s, x: Answered(s.net(x), x)), lambda o, t: F.cross_entropy(o.scores, t), (X, Y)
    ),
    "a model with the loss inside": (lambda: Wrapped(with_labels), lambda o, t: o.loss, ({"input_ids": X, "labels": Y}, Y)),
    "a loss that returns a tuple": (net, lambda o, t: (F.cross_entropy(o, t), {"accuracy": 1.0}), (X, Y)),
    "a loss that returns a dict": (net, lambda o, t: {"loss": F.cross_entropy(o, t), "accuracy": 1.0}, (X, Y)),
    "a loss with class weights": (net, CE(weight=torch.tensor([1.0, 2.0, 3.0])), (X, Y)),
    "a loss of one element": (net, lambda o, t: F.cross_entropy(o, t)[None], (X, Y)),
    "no targets": (lambda: Wrapped(lambda s, x: (s.net(x), x)), lambda o, t: (o[0].mean(1) - o[1].mean(1)).square().mean(), (X, None)),
    "a triplet": (
        lambda: Wrapped(lambda s, a, p, n: (s.net(a), s.net(p), s.net(n))), lambda o, t: F.triplet_margin_loss(*o), ((X, X + 0.1, -X), None)
    ),
    "several targets": (
        lambda: Wrapped(lambda s, x: (s.net(x), s.net(x).sum(1))),
        lambda o, t: F.cross_entropy(o[0], t[0]) + F.mse_loss(o[1], t[1]), (X, (Y, X[:, 0])),
    ),
    "NumPy arrays": (net, CE(), (X.numpy(), Y.numpy())),
    "a list of class numbers": (net, CE(), (X, Y.tolist())),
    "a list for a pair": (net, CE(), [X, Y]),
    "inputs by name": (net, CE(), ({"input": X}, Y)),
    "integers that the model casts": (lambda: Wrapped(lambda s, x: s.net(x.float())), CE(), ((X > 0).to(torch.uint8), Y)),
    "a model of half precision": (lambda: net().half(), CE(), (X.half(), Y)),
    "a model of bfloat16": (lambda: net().bfloat16(), CE(), (X.bfloat16(), Y)),
    "a model of double precision": (lambda: net().double(), CE(), (X.double(), Y)),
    "half of it frozen": (lambda: (m := net(), m[0].requires_grad_(False))[0], CE(), (X, Y)),
    "a compiled model": (compiled, CE(), (X, Y)),
    "a model compiled in place": (compiled_in_place, CE(), (X, Y)),
    "a model for several devices": (lambda: nn.DataParallel(net()), CE(), (X, Y)),
    "a traced graph": (lambda: torch.fx.symbolic_trace(net()), CE(), (X, Y)),
    "sparse gradients": (lookup, CE(), (torch.arange(24 * 6).reshape(24, 6) % 20, Y)),
    "weight norm": (lambda: parametrised(nn.utils.parametrizations.weight_norm), CE(), (X, Y)),
    "spectral norm": (lambda: parametrised(nn.utils.parametrizations.spectral_norm), CE(), (X, Y)),
    "no second derivative": (lambda: Wrapped(lambda s, x: s.net[2](Once.apply(s.net[0](x)))), CE(), (X, Y)),
    "inputs that want a gradient": (net, CE(), (read_only(), Y)),
    "complex inputs": (lambda: Wrapped(lambda s, x: s.net(x.real)), CE(), (torch.complex(X, X), Y)),
    "ten thousand classes": (lambda: net(6, 10_000), CE(), (X, torch.arange(24) * 400)),
    "one example": (net, CE(), (X[:1], Y[:1])),
    "one class": (net, CE(), (X, torch.zeros(24, dtype=torch.int64))),
}  # fmt: skip


@pytest.mark.parametrize("name", HANDLED)
def test_handled_without_an_alarm_and_without_a_crash(name: str) -> None:
    make, loss, batch = HANDLED[name]
    torch.manual_seed(3)
    model = make()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    health = check(model, loss, batch, allow=QUICK)
    assert not [str(f) for f in health.findings if f.severity is not Severity.INFO]
    assert {"RUN", "LOSS", "STRAY", "PC"} <= set(health.facts)  # it was looked at
    for skipped in health.not_run:
        assert "Error: " not in skipped.why, skipped  # a reason, not something that a check met
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_a_loss_that_returns_a_vector_is_said_once() -> None:
    health = check(net(), CE(reduction="none"), (X, Y), allow=QUICK)
    assert [(f.severity.value, f.code) for f in health.findings] == [("INFO", "RUN")]
    assert health.findings[0].message == "the loss returns (24,) float32 values; the checks take their mean"


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a tensor": ({"batch": X}, "got Tensor. Give (x, y), or (x, None) where there are no targets."),
    "one of a pair": ({"batch": (X,)}, "got tuple of 1. Give (x, y), or (x, None) where there are no targets."),
    "three": ({"batch": (X, X, Y)}, "got tuple of 3. Give ((x1, x2), y): what the model is called with, then what the loss compares with."),
    "a dict with labels": (
        {"batch": {"input_ids": X, "labels": Y}},
        "got dict. Give ({k: v for k, v in batch.items() if k != 'labels'}, batch['labels']).",
    ),
    "a dict without": ({"batch": {"x": X}}, "got dict. Give (inputs, targets), where inputs may be a dict of the model's arguments."),
    "a loader": ({"batch": DataLoader(TensorDataset(X, Y), 8)}, "got DataLoader. Give next(iter(loader))."),
    "a generator": ({"batch": ((X, Y) for _ in range(2))}, "got generator. Give next(batch)."),
    "a data set": (
        {"batch": TensorDataset(X, Y)},
        "got TensorDataset. Give next(iter(DataLoader(dataset, batch_size=64, shuffle=True))).",
    ),
    "a list of examples": (
        {"batch": list(zip(X, Y, strict=True))}, "got list of 24. Give torch.utils.data.default_collate(batch)."
    ),
    "an object": ({"batch": Pair(X, Y)}, "got Pair. Give (batch.x, batch.y)."),
    "nothing": ({"batch": None}, "got NoneType. Give (x, y)."),
    "the class of a loss": ({"loss": CE}, "loss is the class CrossEntropyLoss, not a loss. Give CrossEntropyLoss()."),
    "the class of a model": ({"model": nn.Linear}, "model is the class Linear, not a model. Give Linear(...)."),
    "no model": ({"model": None}, "model must be a torch.nn.Module, got NoneType."),
    "the class of an optimizer": (
        {"optimizer": torch.optim.Adam}, "got the class Adam. Give Adam(model.parameters(), lr=...)."
    ),
    "a schedule": (
        {"optimizer": torch.optim.lr_scheduler.StepLR(torch.optim.Adam(net().parameters()), 1)}, "got StepLR. Give its .optimizer."
    ),
    "two optimizers": ({"optimizer": [torch.optim.Adam(net().parameters())]}, "got list. Give one at a time."),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line(name: str) -> None:
    change, said = REFUSED[name]
    given: dict[str, Any] = {"model": net(), "loss": CE(), "batch": (X, Y), "optimizer": None, **change}
    with pytest.raises(UsageError) as error:
        check(given["model"], given["loss"], given["batch"], given["optimizer"])
    assert str(error.value).startswith("check: ")
    assert str(error.value).endswith(said)
    assert "\n" not in str(error.value)


def jagged() -> Any:
    return torch.nested.nested_tensor([X[: i % 3 + 1] for i in range(24)], layout=torch.jagged)


IMPOSSIBLE: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any], str]] = {
    "empty": (net, lambda: X[:0], "the batch is empty"),
    "text": (net, lambda: ["one", "two"], "the batch's inputs hold no tensor, only str: give tensors, or a tuple or dict of them"),
    "an object": (net, object, "the batch's inputs hold no tensor, only object: give tensors, or a tuple or dict of them"),
    "a number": (net, lambda: torch.tensor(1.0), "the batch's inputs are single numbers, with no dimension that counts examples"),
    "sparse": (net, lambda: X.to_sparse(), "the inputs are a sparse tensor, which cannot be taken apart into examples: give x.to_dense()"),
    "ragged": (
        net, jagged, "the inputs are a nested tensor, which cannot be taken apart into examples: give a padded tensor and its lengths"
    ),
    "packed": (
        net, lambda: nn.utils.rnn.pack_sequence([X[:3], X[:2]]),
        "a PackedSequence cannot be taken apart into examples: give the padded tensor and its lengths, and pack in the model",
    ),
    "inputs without values": (net, lambda: X.to("meta"), "the batch's inputs are on the meta device: they have no values"),
    "weights without values": (lambda: net().to("meta"), lambda: X, "the model's weights are on the meta device: they have no values"),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(3)), lambda: X, "0.weight has no shape yet: call the model once on a batch first"),
    "exported": (
        lambda: torch.export.export(net(), (X,)).module(), lambda: X,
        "the model cannot change between training and evaluation (NotImplementedError: Calling eval() is not supported yet.): "
        "give the one it was made from",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_cannot_be_looked_at_at_all_says_why_once(name: str) -> None:
    make, inputs, why = IMPOSSIBLE[name]
    health = check(make(), CE(), (inputs(), Y))
    assert health.findings == ()
    assert {n.why for n in health.not_run} == {why}
    assert len(health.not_run) == len(resolve())
    with pytest.raises(AssertionError) as error:  # nothing looked at is not healthy
        assert_healthy(health)
    assert str(error.value) == f"nothing was checked: {why}"


def raises(error: BaseException) -> Callable[[], nn.Module]:
    def forward(self: Wrapped, x: Tensor) -> Tensor:
        raise error

    return lambda: Wrapped(forward)


def spoiled(t: Tensor) -> Tensor:
    return t.clone().index_put_((torch.tensor(3),), torch.tensor(float("nan")))


def hooked() -> nn.Module:
    model = net()
    model[2].register_full_backward_hook(lambda *_: 1 / 0)  # type: ignore[arg-type, return-value]
    return model


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))


CAST = "give it inputs of the dtype of its weights: inputs.float()"
FAILED: dict[str, tuple[Callable[[], nn.Module], Any, Any, str, str]] = {
    "whole numbers": (net, CE(), (X.long(), Y), "the model raises on inputs (24, 6) int64: RuntimeError: ", CAST),
    "truth values": (net, CE(), (X > 0, Y), "the model raises on inputs (24, 6) bool: RuntimeError: ", CAST),
    "double precision": (net, CE(), (X.double(), Y), "the model raises on inputs (24, 6) float64: RuntimeError: ", CAST),
    "tokens past the table": (
        lookup, CE(), (torch.arange(24 * 6).reshape(24, 6) % 30, Y), "the model raises on inputs (24, 6) int64: IndexError: ",
        "the inputs hold numbers from 0 to 29: nn.Embedding(30, ...) holds them",
    ),
    "int32 targets": (net, CE(), (X, Y.int()), "the loss raises on outputs (24, 3) float32 and targets (24,) int32: ", "give it targets.long()"),
    "float targets": (net, CE(), (X, Y.float()), "the loss raises on ", "give it targets.long()"),
    "a column of targets": (net, CE(), (X, Y[:, None]), "the loss raises on ", "give it targets.squeeze(1)"),
    "whole numbers for probabilities": (
        lambda: net(6, 1), nn.BCEWithLogitsLoss(), (X, (Y > 0).long()[:, None]), "the loss raises on ", "give it targets.float()"
    ),
    "a class too many": (net, CE(), (X, Y + 1), "the loss raises on ", "give the model 4 outputs"),
    "a class below 0": (
        net, CE(), (X, Y - 1), "the loss raises on ", "count classes from 0; leave -1 out of the loss with ignore_index=-1"
    ),
    "missing values": (net, CE(), (spoiled(X), Y), "the loss on the first batch is nan: 6 of 144 values of the inputs are not finite", "look for"),
    "missing targets": (net, nn.MSELoss(), (X, spoiled(X[:, :3])), "the loss on the first batch is nan: 3 of 72 values of the targets", "look for"),
    "one example for BatchNorm": (normed, CE(), (X[:1], Y[:1]), "the model raises on ", "give two examples or more, and drop a last batch of one"),
    "no parameters": (nn.Flatten, nn.MSELoss(), (X, X), "the model has no parameters, so there is nothing to train", "give it a layer"),
    "dropout alone": (lambda: nn.Dropout(0.5), nn.MSELoss(), (X, X), "the model has no parameters", "give it a layer"),
    "all of it frozen": (lambda: net().requires_grad_(False), CE(), (X, Y), "all 4 parameters of the model are frozen", "set requires_grad=True"),
    "a loss that is a float": (net, lambda o, t: float(F.cross_entropy(o, t)), (X, Y), "the loss returns float, not a tensor", "return the loss itself"),
    "a loss that is nothing": (net, lambda o, t: None, (X, Y), "the loss returns NoneType, not a tensor", "return the loss itself"),
    "a complex loss": (net, lambda o, t: F.cross_entropy(o, t) * 1j, (X, Y), "the loss is () complex64, and only a real number", "take .abs()"),
    "a count of errors": (net, lambda o, t: (o.argmax(1) != t).sum(), (X, Y), "the loss has no gradient", "remove no_grad"),
    "a model that returns nothing": (lambda: Wrapped(lambda s, x: None), CE(), (X, Y), "the model returns NoneType", "return a tensor"),
    "a model that ends the program": (raises(SystemExit(3)), CE(), (X, Y), "the model raises on inputs (24, 6) float32: SystemExit: 3", "loss("),
    "two lines": (raises(RuntimeError("one\ntwo")), CE(), (X, Y), "the model raises on inputs (24, 6) float32: RuntimeError: one two", "loss("),
    "a hook that raises": (hooked, CE(), (X, Y), "the backward pass raises ZeroDivisionError: division by zero", "do not write in place"),
    "lengths that differ": (net, CE(), (X, Y[:20]), "the loss raises on outputs (24, 3) float32 and targets (20,) int64", "make both fit"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILED)
def test_a_program_that_does_not_run_is_one_finding(name: str) -> None:
    make, loss, batch, message, fix = FAILED[name]
    torch.manual_seed(3)
    health = check(make(), loss, batch)
    assert [(f.severity.value, f.code) for f in health.findings] == [("FAIL", "RUN")]
    assert health.findings[0].message.startswith(message), health.findings[0].message
    assert health.findings[0].fix.startswith(fix), health.findings[0].fix
    assert "\n" not in str(health.findings[0])
    assert {n.why for n in health.not_run} == {"RUN failed before it"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what is missing where there is no GPU")
def test_a_model_that_cannot_run_on_the_cpu() -> None:
    health = check(Wrapped(lambda s, x: s.net(x.cuda())), CE(), (X, Y))
    assert health.findings[0].fix.startswith("this machine has no GPU: run the check where the model can run")


@pytest.mark.parametrize("seed", [0, 1])
def test_chance_of_its_own_is_no_dependence(seed: int) -> None:
    draw = np.random.default_rng(seed)
    model = Wrapped(lambda s, x: s.net(x + torch.from_numpy(draw.normal(size=x.shape)).float()))
    health = check(model, CE(), (X, Y), allow=QUICK)
    assert [(f.severity.value, f.code) for f in health.findings if f.severity is not Severity.INFO] == [
        ("WARN", "MODE")
    ]
    assert "the same inputs twice give outputs that differ" in {n.code: n.why for n in health.not_run}["DEP"]


def test_what_a_program_prints_is_seen_once(capsys: pytest.CaptureFixture[str]) -> None:
    check(Wrapped(chatty), CE(), (X, Y), allow=QUICK)
    assert 1 <= capsys.readouterr().out.count("a line of the program's own") <= 4


@pytest.mark.parametrize("calls", [1, 2, 9, 20])
def test_an_interruption_leaves_the_program_as_it_was(calls: int) -> None:
    seen = [0]

    def forward(self: Wrapped, x: Tensor) -> Tensor:
        seen[0] += 1
        if seen[0] == calls:
            raise KeyboardInterrupt
        return self.net(x)

    torch.manual_seed(3)
    model = Wrapped(forward).eval()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    before, chance = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    printed = sys.stdout
    with pytest.raises(KeyboardInterrupt):
        check(model, CE(), (X, Y), optimizer)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not model.training
    assert not optimizer.state
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(chance, torch.get_rng_state())
    assert sys.stdout is printed


def test_a_check_that_meets_an_error_now_and_then_does_not_crash_the_report() -> None:
    seen = [0]

    def forward(self: Wrapped, x: Tensor) -> Tensor:
        seen[0] += 1
        if seen[0] % 7 == 6:
            raise RuntimeError("now and\nthen")
        return self.net(x)

    health: Health = check(Wrapped(forward), CE(), (X, Y))
    assert "RuntimeError: now and then" in {n.why for n in health.not_run}
    assert not health.failed


def trained(
    loss_of: Callable[[Tensor, Tensor], Any], noted: Callable[[Any], Any], model: nn.Module | None = None
) -> Health:
    """Return what is found while a network is trained for 60 steps."""
    torch.manual_seed(3)
    model = model or net()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    live = Live(model, optimizer, every=5, share=None)
    for _ in range(60):
        optimizer.zero_grad()
        loss = loss_of(model(X), Y)
        (loss.mean() if loss.ndim else loss).backward()
        optimizer.step()
        live.step(noted(loss))
    return live.health


@pytest.mark.parametrize("noted", [lambda v: v, lambda v: v.mean().item(), lambda v: v.detach().mean().numpy()[()]])
def test_live_takes_a_vector_and_a_number(noted: Callable[[Any], Any]) -> None:
    health = trained(CE(reduction="none"), noted)
    assert not health.findings
    assert health.facts["TREND"]["n"] == 60


def test_live_refuses_what_is_no_loss_or_no_model_in_one_line() -> None:
    with pytest.raises(UsageError, match=r"^Live: step wants the loss, a tensor or a number, got dict\."):
        trained(CE(), lambda v: {"loss": v})
    with pytest.raises(UsageError, match=r"^Live: model must be a torch.nn.Module, got function\."):
        Live(net, torch.optim.Adam(net().parameters()))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"^Live: optimizer must be a torch.optim.Optimizer, got type\."):
        Live(net(), torch.optim.Adam)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"^Live: there is no model to look at\."):
        Live().step(1.0)


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        while True:
            yield X[0], Y[0]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (DataLoader(TensorDataset(X[:0], Y[:0]), 4), {"ORDER": "0 labels of 1 kind(s) in one epoch are too few to have an order"}),
        (DataLoader(TensorDataset(X[:1], Y[:1]), 4), {"ORDER": "1 labels of 1 kind(s) in one epoch are too few to have an order"}),
        (DataLoader(Endless(), 8), {"RNG": "an iterable dataset, or a loader without batches, gives no example twice at will"}),
        (DataLoader(TensorDataset(X), 4), {"ORDER": "the batches do not end in one label an example"}),
        (DataLoader(TensorDataset(X, Y), 4, collate_fn=list), {"ORDER": "the batches do not end in one label an example"}),
    ],
)  # fmt: skip
def test_loaders_of_any_kind_say_what_could_not_be_looked_at(data: Any, why: dict[str, str]) -> None:
    health = loader(data)
    reasons = {n.code: n.why for n in health.not_run}
    assert {k: reasons.get(k) for k in why} == why
    assert not health.failed
    assert not any("Error" in r for r in reasons.values()), reasons


class Vae(nn.Module):
    """Outputs that no free choice of each can bring to their common floor, and chance in every pass."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(12, 8), nn.Linear(4, 12)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encode(x).chunk(2, 1)
        return self.decode(mean + torch.randn_like(mean) * (log_variance / 2).exp()), mean, log_variance


def evidence(outputs: tuple[Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
    made, mean, log_variance = outputs
    divergence = -(1 + log_variance - mean**2 - log_variance.exp()).sum(1).mean() / 2
    return (made - x).square().sum(1).mean() + divergence


@pytest.mark.parametrize("seed", range(2))
def test_a_variational_autoencoder_is_no_failure_to_overfit(seed: int) -> None:
    torch.manual_seed(seed)
    x = torch.randn(32, 12)
    assert [
        str(f) for f in check(Vae(), evidence, (x, x), allow=("MODE",)).findings if f.severity.value != "INFO"
    ] == []


@pytest.mark.parametrize("seed", range(3))
def test_a_convolution_with_fewer_weights_than_outputs_is_no_failure_to_overfit(seed: int) -> None:
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.InstanceNorm2d(8), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1), nn.Tanh()
    )
    x = torch.rand(8, 3, 12, 12)
    assert [str(f) for f in check(net, nn.L1Loss(), (x, x)).findings if f.severity.value == "FAIL"] == []


@pytest.mark.parametrize("seed", range(4))
def test_actions_and_what_they_were_worth_have_the_right_sign(seed: int) -> None:
    torch.manual_seed(seed)
    policy = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 4))
    actions, worth = torch.randint(0, 4, (64,)), torch.randn(64)

    def loss(scores: Tensor, targets: tuple[Tensor, Tensor]) -> Tensor:
        chosen = scores.log_softmax(1).gather(1, targets[0][:, None])[:, 0]
        return -(chosen * targets[1]).mean()

    found = check(policy, loss, (torch.randn(64, 6), (actions, worth))).findings
    assert [str(f) for f in found if f.code == "LOSS"] == []


def test_what_the_loss_reaches_and_the_targets_stay_as_they_were() -> None:
    torch.manual_seed(0)
    judge = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.LeakyReLU(), nn.Linear(4, 1))
    maker, z = nn.Linear(2, 3), torch.randn(32, 2)
    t = torch.zeros(32, 1)
    before = [p.clone() for p in (*judge.parameters(), *judge.buffers())]

    def fooled(fake: Tensor, targets: Tensor) -> Tensor:
        targets.sub_(1e-3)
        return nn.functional.softplus(-judge(fake)).mean()

    check(maker, fooled, (z, t))
    assert all(torch.equal(a, b) for a, b in zip(before, (*judge.parameters(), *judge.buffers()), strict=True))
    assert all(p.grad is None for p in judge.parameters())
    assert torch.equal(t, torch.zeros(32, 1))


def test_targets_of_a_teacher_keep_their_graph_and_the_teacher_gets_no_gradient() -> None:
    torch.manual_seed(0)
    teacher, student, x = nn.Linear(4, 2), nn.Linear(4, 2), torch.randn(32, 4)
    y = teacher(x)
    health = check(student, nn.MSELoss(), (x, y))
    assert not [n for n in health.not_run if "backward through the graph" in n.why]
    assert teacher.weight.grad is None
    y.sum().backward()


def test_the_bias_that_init_advises_leaves_out_what_the_loss_does() -> None:
    torch.manual_seed(0)
    y = torch.where(torch.rand(400) < 0.5, -100, (torch.rand(400) < 0.9).long())
    net = nn.Linear(3, 2)
    nn.init.zeros_(net.weight)
    nn.init.zeros_(net.bias)
    (found,) = [f for f in check(net, nn.CrossEntropyLoss(), (torch.randn(400, 3), y)).findings if f.code == "INIT"]
    share = float((y == 0).sum() / (y >= 0).sum())
    assert f"[{math.log(share):.2f}, {math.log(1 - share):.2f}]" in found.fix

"""TIME, PAD and RAND: sequences. Numbers are those of the bug list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bugs.ahead import (
    SICK,
    Convolution,
    Language,
    Program,
    Recurrent,
    Single,
    T,
    by_token,
    copied,
    ignores_zero,
    padded,
    shifted,
    shifts,
    tokens,
    translated,
    waves,
    with_mask,
)
from whet.checks import Subject, check, check_task, examine, resolve
from whet.checks.sequence import order, padding
from whet.data.split import Data, Split
from whet.finding import Finding, Health, Severity
from whet.task import Task


def smoothed(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs.flatten(0, -2), targets.flatten(), label_smoothing=0.1)


def shorter(outputs: Tensor, targets: Tensor) -> Tensor:
    return by_token(outputs[:, :-1], targets)


def weighed(outputs: Tensor, targets: Tensor) -> Tensor:
    losses = F.cross_entropy(outputs.transpose(1, 2), targets, reduction="none")
    return (losses * (targets > 0)).sum() / (targets > 0).sum()


def time_first() -> Program:
    d = tokens(16, T + 1).T.contiguous()
    return Recurrent(time_first=True), by_token, (d[:-1], d[1:])


HEALTHY: dict[str, Callable[[], Program]] = {
    "-inf": lambda: shifted(Language()),
    "-1e4": lambda: shifted(Language("-1e4")),
    "-1e9, tied": lambda: shifted(Language("-1e9", tied=True)),
    "class, time": lambda: shifted(Language(form="class, time"), nn.CrossEntropyLoss()),
    "flat": lambda: shifted(Language(form="flat")),
    "flat targets": lambda: (shifted(Language())[0], by_token, (lambda d: (d[:, :-1], d[:, 1:].flatten()))(tokens(16, T + 1))),
    "dropout": lambda: shifted(Language(dropout=0.3)),
    "label smoothing": lambda: shifted(Language(), smoothed),
    "loss shifts": lambda: (lambda d: (Language(), shifts, (d, d)))(tokens()),
    "targets one shorter": lambda: (lambda d: (Language(), shorter, (d, d[:, 1:])))(tokens()),
    "gru": lambda: shifted(Recurrent()),
    "gru, time first": time_first,
    "causal convolution": lambda: shifted(Convolution()),
    "with batch norm": lambda: shifted(Convolution(norm=True)),
    "by Fourier transform": lambda: shifted(Convolution(fourier=True)),
    "one token": lambda: shifted(Single()),
    "last layer of zeros": lambda: shifted(Single(zero=True)),
    "two examples": lambda: shifted(Language(), n=2),
    "translation": translated,
    "padded, -100": lambda: padded(Language(), by_token, -100),
    "padded, ignored index": lambda: padded(Language(), ignores_zero),
    "padded, weighed": lambda: padded(Language(), weighed),
    "attention mask": lambda: with_mask(by_token, -100),
    "waves": lambda: waves(Convolution(channels=3)),
    "waves, Fourier": lambda: waves(Convolution(channels=3, fourier=True)),
}  # fmt: skip


def health(program: Program, *codes: str, **more: Any) -> Health:
    torch.set_num_threads(1)
    model, loss, (x, y) = program
    inputs = x if isinstance(x, (tuple, dict)) else (x,)
    return examine(Subject(model, loss, inputs, y, **more), resolve(codes or ("TIME", "PAD")))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_sequence_model_raises_no_alarm(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    found = health(HEALTHY[name]())
    assert found.findings == ()
    assert found.facts["TIME"]["leak"] <= (1e-6 if "Fourier" in name else 0)
    assert ("PAD" in found.facts) == ("pad" in name or "mask" in name), found.not_run


@pytest.mark.parametrize(
    "name", ["-inf", "label smoothing", "loss shifts", "gru, time first", "translation", "padded, ignored index"]
)
def test_random_tokens_cannot_be_learned(name: str) -> None:
    torch.manual_seed(sum(map(ord, name)) % 5)
    found = health(HEALTHY[name](), "RAND")
    assert found.findings == ()
    assert found.facts["RAND"]["loss"] > 0.97 * found.facts["RAND"]["best"], found


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", HEALTHY)
def test_no_alarm_over_twenty_seeds(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    assert health(HEALTHY[name](), "TIME", "PAD", "RAND").findings == ()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SICK)
def test_a_sick_sequence_model_is_named(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    severity, code, words, (low, high), make = SICK[name]
    found = health(make()).findings
    assert [(f.code, f.severity.value) for f in found] == [(code, severity)], found
    assert words in found[0].message
    assert low <= found[0].evidence.get("leak", 0) <= high


@pytest.mark.parametrize(
    "name",
    [
        "20 a causal mask off by one",
        "21 a mask multiplied onto the scores",
        "22 targets not shifted",
        "a GRU in both directions",
    ],
)
def test_what_sees_ahead_learns_random_tokens(name: str) -> None:
    """Bugs 20, 21 and 22 once more, by training on noise."""
    torch.manual_seed(0)
    found = health(SICK[name][4](), "RAND").findings
    assert [(f.code, f.severity) for f in found] == [("RAND", Severity.FAIL)]
    assert found[0].evidence["loss"] < 0.95 * found[0].evidence["best"]


@pytest.mark.parametrize("name", ["20 a causal mask off by one", "22 targets not shifted"])
def test_the_whole_check_names_one_cause(name: str) -> None:
    torch.manual_seed(0)
    severity, code, _, _, make = SICK[name]
    model, loss, batch = make()
    found = check(model, loss, batch).findings
    named = [f for f in found if f.severity is not Severity.INFO]
    assert [(f.code, f.severity.value) for f in named] == [(code, severity)]


@pytest.mark.parametrize("name", ["loss shifts", "gru, time first"])
def test_the_whole_check_finds_nothing_in_healthy_ones(name: str) -> None:
    torch.manual_seed(1)
    found = check(*HEALTHY[name]())
    assert [str(f) for f in found.findings if f.severity is not Severity.INFO] == []
    assert {"TIME", "RAND"} <= set(found.facts)


class FlatLate(nn.Module):
    """A GRU over (time, examples) that gives its scores as (time, examples, class) or flat; or mixes the examples."""

    def __init__(self, flat: bool, mixes: bool = False) -> None:
        super().__init__()
        self.body, self.flat, self.mixes = Recurrent(time_first=not mixes), flat, mixes

    def forward(self, tokens: Tensor) -> Tensor:
        y = self.body(tokens)
        return y.flatten(0, 1) if self.flat else y


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mixes", [False, True])
@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("n", [16, T])
def test_time_first_with_flat_targets(n: int, flat: bool, mixes: bool, seed: int) -> None:
    """Steps of one sequence depend on each other; examples must not, also where there are as many of both."""
    torch.manual_seed(seed)
    d = tokens(n, T + 1).T.contiguous()
    found = health((FlatLate(flat, mixes), by_token, (d[:-1], d[1:].flatten())), "DEP")
    assert [f.code for f in found.findings] == ["DEP"] * mixes, found
    assert found.facts["DEP"]["n"] == 7


def test_the_least_loss_of_random_tokens_is_the_log_of_their_number() -> None:
    torch.manual_seed(0)
    fact = health(shifted(Single()), "RAND").facts["RAND"]
    assert fact["best"] == pytest.approx(torch.tensor(float(fact["tokens"])).log().item(), abs=0.03)


def test_the_leak_is_what_a_gradient_says() -> None:
    """Against autograd: a convolution that sees one step ahead, and one that does not."""
    for left, sees in ((2, False), (1, True)):
        torch.manual_seed(0)
        model, loss, (x, y) = waves(Convolution(left=left, channels=3))
        free = x.clone().requires_grad_()
        out = model(free)
        gradient = torch.autograd.grad((out[:, 4] * torch.randn_like(out[:, 4])).sum(), free)[0]
        assert bool(gradient[:, 5:].any()) == sees
        assert (health((model, loss, (x, y)), "TIME").facts["TIME"]["leak"] > 0) == sees


def steps_of(model: nn.Module) -> Program:
    """Targets of their own for each step, of which the batch does not say that they are causal."""
    return model, nn.MSELoss(), (torch.randn(16, T, 3), torch.randn(16, T, 3))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("left", "sick"), [(2, False), (1, True)])
def test_the_caller_may_say_that_time_runs_forward(left: int, sick: bool, seed: int) -> None:
    torch.manual_seed(seed)
    program = steps_of(Convolution(left=left, channels=3))
    assert "say causal=True" in health(program, "TIME").not_run[0].why
    found = health(program, "TIME", causal=True)
    assert [f.code for f in found.findings] == ["TIME"] * sick
    assert "TIME" in found.facts
    if sick:  # a FAIL, so that the dear checks do not run
        assert [f.code for f in check(*program, causal=True).findings if f.code == "TIME"] == ["TIME"]


class Smooth(Task):
    """Targets of their own for each step."""

    left = 2

    def data(self, params: Any) -> Data:
        draw = torch.Generator().manual_seed(0)
        x, y = (torch.randn(120, T, 3, generator=draw) for _ in range(2))
        return Data(Split(x[:80], y[:80]), Split(x[80:], y[80:]), kind="regression")

    def model(self, params: Any) -> nn.Module:
        return Convolution(left=self.left, channels=3)


class Forward(Smooth):
    causal = True


class Leaky(Forward):
    left = 1


def test_a_task_may_say_that_time_runs_forward() -> None:
    def codes(task: Task, **words: Any) -> tuple[list[str], list[str]]:
        found = check_task(task, {}, checks=["TIME"], **words)
        return [f.code for f in found.findings], list(found.facts)

    assert codes(Smooth()) == ([], [])
    assert codes(Forward()) == ([], ["TIME"])
    assert codes(Leaky()) == (["TIME"], ["TIME"])
    assert codes(Leaky(), causal=False) == ([], [])
    leaky = Smooth()
    leaky.left = 1
    assert codes(leaky, causal=True) == (["TIME"], ["TIME"])


@pytest.mark.parametrize(
    "make",
    [
        lambda: (Recurrent(both=True), by_token, (tokens(), tokens())),  # tags
        lambda: copied(Language("")),  # an autoencoder
        lambda: (nn.Linear(8, 4), nn.CrossEntropyLoss(), (torch.randn(16, 8), torch.arange(16) % 4)),
        lambda: (nn.Linear(8, 8), nn.MSELoss(), (lambda x: (x, x))(torch.randn(16, 8))),
        lambda: (Single(), by_token, (torch.ones(8, T, dtype=torch.int64), torch.ones(8, T, dtype=torch.int64))),
    ],
    ids=["tags", "autoencoder", "vectors", "autoencoder of vectors", "constant"],
)
def test_other_programs_have_no_order_of_time(make: Callable[[], Program]) -> None:
    torch.manual_seed(0)
    found = health(make(), "TIME", "PAD", "RAND")
    assert found.findings == ()
    assert [n.code for n in found.not_run] == ["TIME", "PAD", "RAND"]


def test_the_order_is_read_from_the_batch() -> None:
    d = tokens()
    model = Language()

    def lag(x: Tensor, y: Tensor) -> int | None:
        found = order(Subject(model, by_token, (x,), y))
        return None if found is None else found.lag

    assert lag(d[:, :-1], d[:, 1:]) == 1
    assert lag(d, d[:, 1:]) == 1
    assert lag(d, d) == 0
    assert lag(d[:, 1:], d[:, :-1]) is None
    assert lag(d, tokens()) is None
    time = order(Subject(model, by_token, (d.T[:-1],), d.T[1:]))
    assert time is not None
    assert time.flip
    again = time.put(Subject(model, by_token, (d.T[:-1],), d.T[1:]))
    assert torch.equal(again.targets, d.T[1:])
    assert torch.equal(again.inputs[0], d.T[:-1])


def test_padding_is_known_by_its_look() -> None:
    rows = torch.tensor([[5, 2, 7, 3, 1], [3, 4, 0, 0, 0], [6, 1, 8, 2, 0]])
    assert padding(rows) is not None
    assert padding(rows.flip(1)) is not None  # on the left
    assert padding(torch.tensor([[5, 2, 7, 0, 0], [3, 4, 1, 0, 0], [6, 1, 8, 0, 0]])) is None  # equal lengths
    assert padding(torch.tensor([[5, 0, 7, 3, 1], [3, 4, 0, 0, 0], [6, 1, 8, 2, 0]])) is None  # 0 stands elsewhere too
    frames = torch.randn(3, 5, 2)
    frames[1, 2:], frames[2, 4:] = 0, 0
    found = padding(frames)
    assert found is not None
    assert found.sum() == 4
    for seed in range(200):
        draw = torch.Generator().manual_seed(seed)
        assert padding(torch.randint(0, 30, (16, 9), generator=draw)) is None
        assert padding(torch.randint(0, 500, (4, 5), generator=draw)) is None


def test_padded_frames_in_the_loss() -> None:
    """Bug 49 for numbers: rows of zeros at the end."""
    torch.manual_seed(0)
    x = torch.randn(16, T, 3)
    x[torch.arange(T) >= torch.randint(4, T, (16, 1))] = 0
    y = torch.randn(16, T, 3)

    def masked(outputs: Tensor, targets: Tensor) -> Tensor:
        keep = (x != 0).any(2, keepdim=True)
        return ((outputs - targets) ** 2 * keep).sum() / keep.sum()

    assert [f.code for f in health((Convolution(channels=3), nn.MSELoss(), (x, y)), "PAD").findings] == ["PAD"]
    found: tuple[Finding, ...] = health((Convolution(channels=3), masked, (x, y)), "PAD").findings
    assert found == ()

"""TIME, PAD and RAND: sequences. Numbers are those of the bug list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from whet.checks import Subject, check, check_task, examine, resolve
from whet.checks.sequence import order, padding
from whet.data.split import Data, Split
from whet.finding import Finding, Health, Severity
from whet.task import Task

V, T = 24, 11
Program = tuple[nn.Module, Callable[..., Any], tuple[Any, Any]]


class Language(nn.Module):
    """A small transformer of tokens, with one of several masks."""

    def __init__(self, mask: str = "-inf", form: str = "time, class", dropout: float = 0.0, tied: bool = False) -> None:
        super().__init__()
        self.mask, self.form = mask, form
        self.embed, self.place, self.qkv, self.out = (
            nn.Embedding(V, 24),
            nn.Embedding(32, 24),
            nn.Linear(24, 72),
            nn.Linear(24, 24),
        )
        self.norms = nn.ModuleList(nn.LayerNorm(24) for _ in range(3))
        self.wide = nn.Sequential(nn.Linear(24, 48), nn.GELU(), nn.Dropout(dropout), nn.Linear(48, 24))
        self.head = nn.Linear(24, V, bias=False)
        for table in (self.embed, self.place):
            nn.init.normal_(table.weight, std=0.02)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens) + self.place(torch.arange(tokens.shape[1]))
        q, k, v = self.qkv(self.norms[0](x)).chunk(3, -1)
        a = q @ k.transpose(1, 2) / 24**0.5
        ahead = torch.ones(a.shape[1:], dtype=torch.bool)
        if self.mask == "-inf":
            a = a.masked_fill(ahead.triu(1), -torch.inf)
        elif self.mask == "off by one":
            a = a.masked_fill(ahead.triu(2), -torch.inf)
        elif self.mask == "multiplied":
            a = a * ahead.tril()
        elif self.mask:
            a = a + float(self.mask) * ahead.triu(1)
        x = x + self.out(a.softmax(-1) @ v)
        y = self.head(self.norms[2](x + self.wide(self.norms[1](x))))
        return {"time, class": y, "class, time": y.transpose(1, 2), "flat": y.flatten(0, 1)}[self.form]


class Recurrent(nn.Module):
    def __init__(self, time_first: bool = False, both: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(V, 12)
        self.gru = nn.GRU(12, 16, batch_first=not time_first, bidirectional=both)
        self.head = nn.Linear(32 if both else 16, V)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.gru(self.embed(tokens))[0])


class Convolution(nn.Module):
    """Causal when padded on the left alone; by Fourier transform, or with a batch norm."""

    def __init__(self, left: int = 2, norm: bool = False, fourier: bool = False, channels: int = V) -> None:
        super().__init__()
        self.left, self.fourier = left, fourier
        self.embed = nn.Embedding(V, 12) if channels == V else nn.Linear(channels, 12)
        self.conv, self.norm = nn.Conv1d(12, 12, 3), nn.BatchNorm1d(12) if norm else nn.Identity()
        self.kernel, self.head = nn.Parameter(torch.randn(12, 64) / 8), nn.Linear(12, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens).transpose(1, 2)
        if self.fourier:
            n = 2 * x.shape[2]
            spectrum = torch.fft.rfft(x, n) * torch.fft.rfft(self.kernel[:, : x.shape[2]], n)
            x = torch.fft.irfft(spectrum, n)[..., : x.shape[2]]
        else:
            x = self.conv(F.pad(x, (self.left, 2 - self.left)))
        return self.head(torch.relu(self.norm(x)).transpose(1, 2))


class Single(nn.Module):
    """Sees one token at a time."""

    def __init__(self, zero: bool = False) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(V, 16), nn.Linear(16, V)
        if zero:
            nn.init.zeros_(self.head.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.embed(tokens))


class Translation(nn.Module):
    """Reads a source in both directions, writes with a causal mask."""

    def __init__(self, causal: bool = True) -> None:
        super().__init__()
        self.embed, self.head, self.causal = nn.Embedding(V, 16), nn.Linear(16, V), causal
        self.body = nn.Transformer(16, 2, 1, 1, 32, dropout=0.0, batch_first=True)

    def forward(self, source: Tensor, written: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(written.shape[1]) if self.causal else None
        return self.head(self.body(self.embed(source), self.embed(written), tgt_mask=mask))


class Masked(nn.Module):
    """Takes tokens with an attention mask, as dicts come."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Language()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.body(input_ids) * attention_mask[..., None]


def tokens(n: int = 16, length: int = T, low: int = 0) -> Tensor:
    return torch.randint(low, V, (n, length))


def by_token(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs.flatten(0, -2), targets.flatten())


def smoothed(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs.flatten(0, -2), targets.flatten(), label_smoothing=0.1)


def shifts(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs[:, :-1].flatten(0, 1), targets[:, 1:].flatten())


def shorter(outputs: Tensor, targets: Tensor) -> Tensor:
    return by_token(outputs[:, :-1], targets)


def ignores_zero(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), ignore_index=0)


def weighed(outputs: Tensor, targets: Tensor) -> Tensor:
    losses = F.cross_entropy(outputs.transpose(1, 2), targets, reduction="none")
    return (losses * (targets > 0)).sum() / (targets > 0).sum()


def shifted(model: nn.Module, loss: Any = by_token, n: int = 16) -> Program:
    d = tokens(n, T + 1)
    return model, loss, (d[:, :-1], d[:, 1:])


def padded(model: nn.Module, loss: Any, fill: int = 0) -> Program:
    """Rows of unequal length, filled up with 0 (the targets with `fill`)."""
    d = tokens(16, T + 1, low=1)
    d[torch.arange(T + 1) >= torch.randint(5, T + 2, (16, 1))] = 0
    d[0, 5:], d[1] = 0, d[1].clamp(min=1)
    y = d[:, 1:].clone()
    y[(d[:, :-1] == 0)] = fill
    return model, loss, (d[:, :-1], y)


def translated(causal: bool = True) -> Program:
    d = tokens(12, T + 1)
    return Translation(causal), by_token, ((tokens(12, 7), d[:, :-1]), d[:, 1:])


def waves(model: nn.Module) -> Program:
    """Forecast the next values of three waves."""
    x = torch.sin(torch.arange(T + 1.0)[:, None] * torch.rand(16, 1, 3) * 2 + torch.rand(16, 1, 3))
    return model, nn.MSELoss(), (x[:, :-1], x[:, 1:])


def with_mask(loss: Any, fill: int) -> Program:
    model, _, (x, y) = padded(Masked(), loss, fill)
    return model, loss, ({"input_ids": x, "attention_mask": (x != 0).long()}, y)


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


def copied(model: nn.Module, loss: Any = by_token) -> Program:
    d = tokens()
    return model, loss, (d, d)


# bug: (severity, code, words of the message, least and greatest leak, program)
SICK: dict[str, tuple[str, str, str, tuple[float, float], Callable[[], Program]]] = {
    "20 mask off by one": ("FAIL", "TIME", "reacts to the step", (1e-3, 10), lambda: shifted(Language("off by one"))),
    "20 in the loss that shifts": ("FAIL", "TIME", "reacts to the step", (1e-3, 10), lambda: copied(Language("off by one"), shifts)),
    "21 mask multiplied": ("FAIL", "TIME", "reacts to the step", (1e-3, 10), lambda: shifted(Language("multiplied"))),
    "21 mask of -10": ("FAIL", "TIME", "reacts to the step", (1e-5, 1e-2), lambda: shifted(Language("-10"))),
    "no mask": ("FAIL", "TIME", "reacts to the step", (1e-3, 10), lambda: shifted(Language(""))),
    "no mask, translation": ("FAIL", "TIME", "reacts to the step", (1e-3, 10), lambda: translated(causal=False)),
    "no mask, padded": ("FAIL", "TIME", "reacts to the step", (1e-3, 10), lambda: padded(Language(""), ignores_zero)),
    "both directions": ("FAIL", "TIME", "reacts to the step", (1e-3, 10), lambda: shifted(Recurrent(both=True))),
    "convolution padded on both sides": ("FAIL", "TIME", "reacts to the step", (1e-3, 10), lambda: shifted(Convolution(left=1))),
    "the same, of waves": ("FAIL", "TIME", "reacts to the step", (1e-3, 10), lambda: waves(Convolution(left=1, channels=3))),
    "22 targets not shifted": ("FAIL", "TIME", "need only copy", (1e-3, 10), lambda: copied(Language())),
    "22 of a gru": ("FAIL", "TIME", "need only copy", (1e-3, 10), lambda: copied(Recurrent())),
    "22 of single tokens": ("FAIL", "TIME", "need only copy", (1e-3, 10), lambda: copied(Single())),
    "49 padding in the loss": ("WARN", "PAD", "are padding", (0, 0), lambda: padded(Language(), by_token)),
    "49 with an attention mask": ("WARN", "PAD", "are padding", (0, 0), lambda: with_mask(by_token, 0)),
    "49 of a gru": ("WARN", "PAD", "are padding", (0, 0), lambda: padded(Recurrent(), by_token)),
}  # fmt: skip


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
    "name", ["20 mask off by one", "21 mask multiplied", "22 targets not shifted", "both directions"]
)
def test_what_sees_ahead_learns_random_tokens(name: str) -> None:
    """Bugs 20, 21 and 22 once more, by training on noise."""
    torch.manual_seed(0)
    found = health(SICK[name][4](), "RAND").findings
    assert [(f.code, f.severity) for f in found] == [("RAND", Severity.FAIL)]
    assert found[0].evidence["loss"] < 0.95 * found[0].evidence["best"]


@pytest.mark.parametrize("name", ["20 mask off by one", "22 targets not shifted"])
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

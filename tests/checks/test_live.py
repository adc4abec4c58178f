"""The watch on a running training: what it must name, what it must leave alone, and that it changes nothing."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bugs.living import (
    CE,
    SICK,
    Loop,
    adam,
    clusters,
    kill,
    mlp,
    order,
    sgd,
    shuffled,
    train,
    values,
    with_adam,
    with_sgd,
)
from whet.checks.live import Live
from whet.checks.motion import Motion, movement
from whet.checks.pulse import Gauge
from whet.data.split import Data, Split
from whet.errors import DivergedError, UsageError
from whet.finding import Health, Severity
from whet.task import Task
from whet.train.callback import Callback
from whet.train.checkpoint import pack, unpack
from whet.train.run import Run


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def codes(live: Live, least: str = "WARN") -> set[tuple[str, str]]:
    wanted = ("FAIL", "WARN", "INFO")[: ("FAIL", "WARN", "INFO").index(least) + 1]
    return {(f.severity.value, f.code) for f in live.health.findings if f.severity.value in wanted}


class Residual(nn.Module):
    """Branches that end in zeros, BatchNorm, a frozen first layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(20, 32).requires_grad_(False), nn.Linear(32, 10)
        self.branch = nn.Sequential(nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32))
        nn.init.zeros_(self.branch[3].weight)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.first(x))
        return self.head(hidden + self.branch(hidden))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SICK)
def test_it_is_named(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    severity, code, words, make, steps, harm = SICK[name]
    prior = math.log(10) if "does not fall" in words else None
    live = train(make(), steps, at=harm, prior=prior, batch=64 if harm is kill else 16)
    found = [
        f
        for f in live.health.findings
        if f.severity.value == severity and words in f.message and f.code in code.split()
    ]
    assert found, (str(live.health), live.health.facts)
    assert {"n", "threshold"} <= set(found[0].evidence) or {"n", "low"} <= set(found[0].evidence)
    assert found[0].fix
    assert (live.hopeless is not None) == (severity == "FAIL" or found[0].code == "TREND" or name.startswith("a step"))


HEALTHY: dict[str, Callable[[], Loop]] = {
    "mlp": lambda: with_adam(1e-3),
    "mlp, fast": lambda: with_adam(1e-2),
    "sgd": lambda: with_sgd(0.1),
    "slow": lambda: with_sgd(1e-3),
    "dropout": lambda: with_adam(3e-3, mlp(nn.Dropout(0.5))),
    "batchnorm": lambda: with_sgd(0.1, mlp(nn.BatchNorm1d(32))),
    "residual of zeros, frozen": lambda: with_adam(3e-3, Residual()),
    "label smoothing": lambda: with_adam(3e-3, loss=nn.CrossEntropyLoss(label_smoothing=0.1)),
    "learned by heart": lambda: with_adam(1e-2, mlp(width=128), data=clusters(32)),
    "99 to 1": lambda: with_adam(3e-3, mlp(outputs=2), data=(torch.randn(400, 20), (torch.arange(400) % 100 == 0).long())),
    "regression": lambda: values(0.05),
    "raw inputs": lambda: values(0.0005, 10.0),
}  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_trainings_raise_no_alarm(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    live = train(HEALTHY[name](), 560, every=20)
    assert live.hopeless is None
    assert codes(live) == set(), str(live.health)
    assert {"TREND", "GRAD", "PC", "JITTER"} <= set(live.health.facts)
    assert live.health.not_run == ()


def run_bare(watched: bool) -> tuple[dict[str, Tensor], Tensor]:
    torch.manual_seed(5)
    model = mlp(nn.BatchNorm1d(32), nn.Dropout(0.3))
    loop = model, adam(model, 1e-2), CE, clusters()
    if watched:
        train(loop, 60, every=1)
    else:
        model.train()
        x, y = loop[3]
        for index in itertools.islice(order(len(x), 16), 60):
            loop[1].zero_grad()
            loop[2](model(x[index]), y[index]).backward()
            loop[1].step()
    return model.state_dict(), torch.rand(3)


def test_the_same_training_comes_out_bit_for_bit() -> None:
    (bare, drawn), (watched, also) = run_bare(False), run_bare(True)
    assert all(torch.equal(v, watched[k]) for k, v in bare.items())
    assert torch.equal(drawn, also)


def test_no_hook_is_left() -> None:
    torch.manual_seed(0)
    model, optimizer, _, (x, y) = with_sgd(0.1)
    live = Live(model, optimizer, every=3, share=None)
    between = 0
    for _ in range(40):
        optimizer.zero_grad()
        loss = CE(model(x), y)
        loss.backward()
        optimizer.step()
        live.step(loss)
        between += not (model._forward_hooks or optimizer._optimizer_step_post_hooks)
    assert between > 10  # most steps are not looked at
    assert 5 < live.health.facts["TREND"]["looks"] < 14


def test_one_bad_look_is_no_alarm() -> None:
    """An update of all weights by their own size, once, then a healthy training."""
    torch.manual_seed(0)

    def once(i: int, model: nn.Module) -> None:
        for group in optimizer.param_groups:
            group["lr"] = 20.0 if i == 101 else 0.05

    loop = with_sgd(0.05)
    optimizer = loop[1]
    live = train(loop, 160, at=once)
    assert not [f for f in live.health.findings if f.code in ("PC", "JITTER")]


def test_looks_keep_to_their_share() -> None:
    """Of a loop of fixed length on a clock of its own: the number of looks follows from what they cost."""
    torch.manual_seed(0)
    few, many = (train(with_sgd(0.05), 300, every=1, share=s) for s in (0.001, None))
    assert few.health.facts["TREND"]["looks"] <= 5 < 50 < many.health.facts["TREND"]["looks"]
    assert 0 < few.seconds < many.seconds


def test_allow_silences_a_code_and_what_would_end_a_run() -> None:
    torch.manual_seed(0)
    live = train(with_sgd(0.02, loss=shuffled), 800, allow=("TREND",))
    assert live.hopeless is None
    assert not [f for f in live.health.findings if f.code == "TREND"]


def test_a_loop_of_ones_own_is_ended_by_an_error_when_asked() -> None:
    torch.manual_seed(0)
    with pytest.raises(DivergedError, match="the loss is"):
        train(values(10.0), 300, stop=True)


def test_a_known_prior_is_what_must_be_beaten() -> None:
    torch.manual_seed(0)
    live = train(with_sgd(0.02, loss=shuffled), 1500, prior=math.log(10))
    assert live.hopeless is not None
    assert live.hopeless.evidence["below"] == pytest.approx(math.log(10))
    assert "best constant" in live.hopeless.message


def test_before_any_look_it_says_so_and_losses_may_be_numbers() -> None:
    model = mlp()
    live = Live(model, sgd(model, 0.1))
    live.step(2.5)
    health = live.health
    assert {n.code for n in health.not_run} == {"ACT", "GRAD", "PC", "JITTER"}
    assert health.facts["TREND"]["n"] == 1
    live.step(float("nan"))
    assert live.hopeless is not None
    assert live.hopeless.evidence["loss"] == "nan"


def test_an_optimizer_that_never_steps_is_46() -> None:
    model, live_loss = mlp(), torch.tensor(2.3)
    live = Live(model, sgd(model, 0.1))
    for _ in range(250):
        live.step(live_loss)
    assert ("WARN", "PC") in codes(live)
    assert "no step of the optimizer" in live.health.findings[0].message


def test_an_odd_model_is_no_error() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp()

        def forward(self, x: Tensor, hint: Tensor | None = None) -> Any:
            if not self.training:
                raise ValueError("no eval\nhere")
            return {"loss": self.body(x).square().mean()}

    model = Odd()
    optimizer = sgd(model, 0.01)
    live = Live(model, optimizer, every=1, share=None)
    for _ in range(12):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 20), hint=None)["loss"]
        loss.backward()
        optimizer.step()
        live.step(loss)
    assert [(n.code, n.why) for n in live.health.not_run] in (
        [("JITTER", "ValueError: no eval here")],
        [("JITTER", "the batch is too large to keep; give Live(batch=inputs)")],
    )
    assert "GRAD" in live.health.facts


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Live(mlp()), "give it both"),
        (lambda: Live(mlp(), "adam"), "must be a torch.optim.Optimizer, got str"),  # type: ignore[arg-type]
        (lambda: Live(every=0), "every must be >= 1"),
        (lambda: Live(share=2.0), "share in"),
    ],
)
def test_wrong_arguments_are_refused(make: Callable[[], Live], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()


def test_the_gauge_measures_what_autograd_and_the_optimizer_did() -> None:
    torch.manual_seed(0)
    model = mlp()
    optimizer = sgd(model, 0.5)
    gauge = Gauge(model, optimizer)
    CE(model(torch.randn(8, 20)), torch.arange(8)).backward()
    grads = {k: p.grad.clone() for k, p in model.named_parameters() if p.grad is not None}
    gauge.before()
    optimizer.step()
    gauge.after()
    assert gauge.grads == pytest.approx({k: float(g.norm()) for k, g in grads.items()}, rel=1e-5)
    weight = model[0].weight.detach()
    assert gauge.updates["0.weight"] == pytest.approx(float(0.5 * grads["0.weight"].norm() / weight.norm()), rel=1e-4)
    assert gauge.still == ()


@pytest.mark.parametrize("rate", [0.3, 1.0, 1.7])
def test_the_turn_of_gradient_descent_on_a_parabola_is_known(rate: float) -> None:
    """x <- (1 - r) x: the next change is (1 - r) times this one, so its cosine is the sign of 1 - r; move is r."""
    x = torch.tensor([[1.0], [-1.0]]).double()
    seen = movement(x, (1 - rate) * x, (1 - rate) ** 2 * x)
    if rate != 1.0:
        assert seen["turn"] == pytest.approx(math.copysign(1.0, 1 - rate))
        assert seen["move"] == pytest.approx(rate / abs(1 - rate))


def test_noisy_steps_turn_by_half_their_rate_times_the_curvature() -> None:
    """The claim in `movement`: an expected cosine of -r h / 2 about an optimum (here h = 1)."""
    chance = torch.Generator().manual_seed(0)
    for rate in (0.2, 1.0, 1.6):
        x = torch.zeros(20000, 1).double()
        track = []
        for _ in range(60):
            x = x - rate * (x + torch.randn(x.shape, generator=chance).double())
            track.append(x)
        assert movement(*track[-3:])["turn"] == pytest.approx(-rate / 2, abs=0.03)


def test_motion_leaves_modes_and_random_numbers_alone() -> None:
    model = mlp(nn.Dropout(0.5))
    model.train()
    model[0].eval()  # frozen by its owner
    state = torch.get_rng_state()
    motion = Motion(model, (torch.ones(4, 20),))
    motion.ask()
    assert [m.training for m in model] == [False, True, True, True]
    assert torch.equal(state, torch.get_rng_state())
    assert motion.read() == {}


class Groups(Task):
    steps = 3

    def data(self, params: Any) -> Data:
        x, y = clusters(400)
        return Data(Split(x[:320], y[:320]), Split(x[320:], y[320:]), classes=tuple("0123456789"))

    def model(self, params: Any) -> nn.Module:
        return mlp()


class Clamped(Callback):
    def loss(self, run: Run, loss: Tensor) -> Tensor:
        return loss.clamp(max=0.01)


def test_in_a_run_nothing_changes_and_the_prior_is_that_of_the_targets() -> None:
    bare = Run(Groups(), {}, steps=4, seed=0, device="cpu")
    live = Live(every=3, share=None)
    watched = Run(Groups(), {}, steps=4, seed=0, device="cpu", callbacks=[live])
    assert [p.value for p in bare] == [p.value for p in watched]
    assert all(torch.equal(v, watched.model.state_dict()[k]) for k, v in bare.model.state_dict().items())
    health = live.health
    assert codes(live) == set()
    assert health.facts["TREND"]["n"] == 40
    assert health.facts["JITTER"]["n"] > 3
    shares = torch.bincount(bare.data.train.targets, minlength=10) / 320
    assert live._prior == pytest.approx(float(-(shares * shares.log()).sum()), rel=1e-3)
    assert not watched.model._forward_hooks


@pytest.mark.parametrize("stop", [False, True])
def test_a_hopeless_run_is_ended_when_asked(stop: bool) -> None:
    live = Live(every=10, share=None, stop=stop)
    run = Run(Groups(), {"optimizer": "sgd"}, steps=12, seed=0, device="cpu", callbacks=[Clamped(), live])
    points = list(run)
    assert live.hopeless is not None
    assert (live.hopeless.code, live.hopeless.severity) == ("PC", Severity.FAIL)
    assert (len(points) < 12) is stop
    assert math.isnan(points[-1].value) is stop
    assert run.over is stop


def test_a_resumed_watch_goes_on_counting() -> None:
    first = Live(every=5, share=None)
    run = Run(Groups(), {}, steps=4, seed=0, device="cpu", callbacks=[first])
    for point in run:
        if point.step == 2:
            break
    second = Live(every=5, share=None)
    list(Run(Groups(), {}, steps=4, seed=0, device="cpu", callbacks=[second], resume=run.state()))
    assert second.health.facts["TREND"]["n"] == 40
    assert second.health.facts["TREND"]["start"] == first.health.facts["TREND"]["start"]


@pytest.mark.parametrize("seed", range(2))
def test_predictions_on_the_fixed_batch_are_recorded_over_the_looks(seed: int) -> None:
    torch.manual_seed(seed)
    live = train(with_adam(1e-3), 60, every=5)
    record = live.health.facts["JITTER"]["dynamics"]
    assert record["kind"] == "outputs"  # nobody said what the targets of the fixed batch are
    assert len(record["steps"]) == len(record["values"]) >= 5
    assert record["steps"] == sorted(set(record["steps"]))
    assert all(len(row) == len(record["targets"]) == 12 for row in record["values"])
    curve = live.health.facts["TREND"]["curve"]
    assert curve["steps"][-1] <= 60
    assert len(curve["steps"]) == len(curve["losses"])


def test_a_grace_lets_a_short_training_be_seen() -> None:
    looks = []
    for grace in (0.0, 60.0):
        torch.manual_seed(0)
        live = train(with_adam(1e-3), 200, every=10, share=1e-6, grace=grace)
        looks.append(live.health.facts["TREND"]["looks"])
    assert looks[0] <= 2
    assert looks[1] >= 15


class Stateful(nn.Module):
    """Keeps a state on itself, and draws from Python's and NumPy's generators."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.held = nn.Linear(4, 4), torch.zeros(4)

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer(x + self.held) * (1 + 0.1 * random.random() + 0.1 * float(np.random.random()))
        self.held = 0.5 * self.held + out.detach().mean(0)
        return out


def test_a_model_that_keeps_a_state_or_draws_elsewhere_trains_the_same_watched_or_not() -> None:
    ends = []
    for watched in (False, True):
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        model, x = Stateful(), torch.randn(200, 16, 4)
        optimizer = torch.optim.SGD(model.parameters(), 0.05)
        live = Live(model, optimizer, every=5, share=None) if watched else None
        for batch in x:
            optimizer.zero_grad()
            loss = (model(batch) - 1).square().mean()
            loss.backward()
            optimizer.step()
            if live is not None:
                live.step(loss)
        ends.append([p.detach().clone() for p in model.parameters()])
    assert live is not None
    assert live.health.facts
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_a_healthy_pair_of_adversaries_is_not_ended(seed: int) -> None:
    """A GAN that learns a ring: its losses stay where they are or rise, and mean nothing by it."""
    torch.manual_seed(seed)
    bce = F.binary_cross_entropy_with_logits
    maker = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
    judge = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    pairs = [(m, torch.optim.Adam(m.parameters(), 1e-3, betas=(0.5, 0.9))) for m in (maker, judge)]
    watches = [Live(m, o, every=5, share=None, stop=True) for m, o in pairs]
    quiet = Live(*pairs[0], every=5, share=None, stop=True, allow=("TREND",))
    one, zero = torch.ones(64, 1), torch.zeros(64, 1)
    for _ in range(900):
        angle = 2 * math.pi * torch.rand(64)
        made = maker(torch.randn(64, 8))
        real = torch.stack([angle.cos(), angle.sin()], 1)
        losses = bce(judge(real), one) + bce(judge(made.detach()), zero), bce(judge(made), one)
        for (_, optimizer), live, loss in zip(pairs[::-1], watches[::-1], losses, strict=True):
            optimizer.zero_grad()
            loss = bce(judge(made), one) if live is watches[0] else loss
            loss.backward()
            optimizer.step()
            live.step(loss)
        quiet.step(losses[1])
    assert all(live.hopeless is None for live in (*watches, quiet))
    assert "TREND" in {f.code for live in watches for f in live.health.findings}
    assert "TREND" not in {f.code for f in quiet.health.findings}


def test_a_flat_loss_is_hopeless_only_where_its_chance_level_is_known_and_it_lies_there() -> None:
    for prior, ends in ((None, False), (math.log(10), True), (0.5, False)):
        torch.manual_seed(0)
        live = train(with_sgd(0.02, loss=shuffled), 1500, prior=prior)
        assert ("WARN", "TREND") in codes(live)
        assert (live.hopeless is not None) is ends


def test_a_loss_that_is_not_finite_is_reported_whatever_is_allowed() -> None:
    torch.manual_seed(0)
    with pytest.raises(DivergedError, match="the loss is"):
        train(values(10.0), 300, stop=True, allow=("TREND",))


def test_what_a_watch_found_survives_a_pause_and_is_not_found_twice() -> None:
    run = Run(Groups(), {"optimizer": "sgd"}, steps=6, seed=0, device="cpu",
              callbacks=[Clamped(), first := Live(every=5, share=None)])  # fmt: skip
    for point in run:
        if point.step == 4:
            break
    assert {f.code for f in first.health.findings} >= {"PC"}
    state = unpack(pack(run.state()))  # as a checkpoint on disk has it
    second = Live(every=5, share=None)
    again = Run(
        Groups(), {"optimizer": "sgd"}, steps=6, seed=0, device="cpu", callbacks=[Clamped(), second], resume=state
    )
    assert second.health.findings == first.health.findings
    assert second.hopeless == first.hopeless
    list(again)
    assert len(second.health.findings) == len({(f.code, f.message.split("(")[0]) for f in second.health.findings})
    assert {f.code for f in second.health.findings} == {f.code for f in first.health.findings}
    silent = Live(every=5, share=None, allow=("PC",))
    silent.load(state["callbacks"][1])
    assert silent.hopeless is None
    assert "PC" not in {f.code for f in silent.health.findings}


def in_a_worker(seed: int) -> Health:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    return train(with_sgd(10.0 if seed else 0.1), 100, every=5, allow=()).health


def test_a_worker_process_can_watch_and_hand_its_health_back() -> None:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        healths = list(pool.map(in_a_worker, [0, 1]))
    assert not healths[0].findings
    assert healths[0].facts["TREND"]["n"] == 100
    assert str(healths[1]) == str(in_a_worker(1))

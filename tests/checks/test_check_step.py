"""LOOP, FG and ACC: the user's own training step. Numbers are those of the bug list."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bugs.steps import (
    CE,
    CODES,
    SICK,
    Program,
    Step,
    clipped,
    every,
    looked_up,
    mean_of_means,
    no_clear,
    norms,
    plain,
    pretrained,
    scaled,
    split,
    with_scheduler,
)
from whet.checks import check
from whet.errors import UsageError
from whet.finding import Severity


def by_examples(n: int) -> Callable[[Any, Any, int], Any]:
    return lambda loss, y, k: loss * len(y) / n


def with_closure(p: Program) -> Step:
    p.optimizer = torch.optim.LBFGS(p.net.parameters(), max_iter=3)

    def step(batch: Any) -> None:
        def closure() -> Any:
            p.optimizer.zero_grad()
            loss = p.loss(p.net(batch[0]), batch[1])
            loss.backward()
            return loss

        p.optimizer.step(closure)

    return step


class Trainer:
    """A step that is a method, with a counter, a warm-up, an average of the weights and randomness of its own."""

    def __init__(self, p: Program) -> None:
        self.p, self.calls, self.losses = p, 0, []
        self.average = torch.optim.swa_utils.AveragedModel(p.net)
        self.draw = torch.Generator().manual_seed(3)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(p.optimizer, lambda i: min(1.0, i / 10))

    def step(self, batch: Any) -> float:
        self.calls += 1
        x = batch[0] + 0.1 * torch.randn(batch[0].shape, generator=self.draw)
        self.p.optimizer.zero_grad(set_to_none=False)
        loss = self.p.loss(self.p.net(x), batch[1]) + 1e-3 * sum((w**2).sum() for w in self.p.net.parameters())
        loss.backward()
        self.p.optimizer.step()
        self.schedule.step()
        self.average.update_parameters(self.p.net)
        self.losses.append(float(loss))
        print("loss", float(loss))
        return self.losses[-1]


def several_steps(p: Program) -> Step:
    def step(batch: Any) -> None:
        for _ in range(3):
            plain(p)(batch)

    return step


def with_validation(p: Program) -> Step:
    def step(batch: Any) -> None:
        plain(p)(batch)
        p.net.eval()
        with torch.no_grad():
            p.net(batch[0])

    return step


def manual_rate(p: Program) -> Step:
    def step(batch: Any) -> None:
        for group in p.optimizer.param_groups:
            group["lr"] *= 0.99
        plain(p)(batch)

    return step


def frozen(p: Program) -> Step:
    p.net[0].requires_grad_(False)
    return plain(p)


def warmed_up(p: Program) -> Step:
    kinds = torch.optim.lr_scheduler
    schedule = kinds.SequentialLR(
        p.optimizer, [kinds.LinearLR(p.optimizer, 0.1), kinds.ConstantLR(p.optimizer, 1.0)], [5]
    )

    def step(batch: Any) -> None:
        plain(p)(batch)
        schedule.step()

    return step


def twice(p: Program) -> Step:
    """Sharpness-aware: a second gradient, at weights that were moved by the first."""

    def step(batch: Any) -> None:
        p.optimizer.zero_grad()
        p.loss(p.net(batch[0]), batch[1]).backward()
        old = [w.detach().clone() for w in p.net.parameters()]
        with torch.no_grad():
            for w in p.net.parameters():
                w.add_(w.grad, alpha=0.05)
        p.optimizer.zero_grad()
        p.loss(p.net(batch[0]), batch[1]).backward()
        with torch.no_grad():
            for w, before in zip(p.net.parameters(), old, strict=True):
                w.copy_(before)
        p.optimizer.step()

    return step


HEALTHY: dict[str, Callable[[int], tuple[Program, Step]]] = {
    "plain": lambda s: (p := Program(s), plain(p)),
    "sgd": lambda s: (p := Program(s, kind="sgd"), plain(p)),
    "batch norm, dropout": lambda s: (p := Program(s, norms()), plain(p)),
    "scheduler": lambda s: (p := Program(s), with_scheduler(p)),
    "clipped": lambda s: (p := Program(s), clipped(p, "before")),
    "clipped tight": lambda s: (p := Program(s), clipped(p, "before", 1e-3)),
    "clipped, cleared last": lambda s: (p := Program(s), clipped(p, "before", clear="last")),
    "values clipped": lambda s: (p := Program(s), clipped(p, "value", 1e-3)),
    "scaler": lambda s: (p := Program(s), scaled(p, unscale=True)),
    "scaler, no clipping": lambda s: (p := Program(s), scaled(p, unscale=False, clip=False)),
    "every 4 calls": lambda s: (p := Program(s), every(p, 4)),
    "every 4 calls, batch norm": lambda s: (p := Program(s, norms()), every(p, 4)),
    "micro-batches by examples": lambda s: (p := Program(s, n=48), split(p, [30, 10, 6, 2], by_examples(48))),
    "equal micro-batches": lambda s: (p := Program(s, norms()), split(p, 8, mean_of_means)),
    "closure": lambda s: (p := Program(s), with_closure(p)),
    "trainer": lambda s: (p := Program(s), Trainer(p).step),
    "trainer, batch norm": lambda s: (p := Program(s, norms(), "sgd"), Trainer(p).step),
    "three steps on a batch": lambda s: (p := Program(s), several_steps(p)),
    "validation inside": lambda s: (p := Program(s, norms()), with_validation(p)),
    "rate set by hand": lambda s: (p := Program(s), manual_rate(p)),
    "frozen": lambda s: (p := Program(s), frozen(p)),
    "held batch norm": lambda s: (p := Program(s, norms()), pretrained(p)),
    "warm-up in two parts": lambda s: (p := Program(s), warmed_up(p)),
    "sharpness-aware": lambda s: (p := Program(s, norms()), twice(p)),
    "every 4 calls, sparse": lambda s: (p := looked_up(s), every(p, 4)),
    "two examples": lambda s: (p := Program(s, n=2), plain(p)),
}  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_step_raises_no_alarm(name: str, seed: int) -> None:
    p, step = HEALTHY[name](seed)
    health = p.health(step)
    assert [str(f) for f in health.findings if f.severity is not Severity.INFO] == []
    assert "LOOP" in health.facts
    assert "FG" in health.facts, health
    if any(word in name for word in ("every", "micro")):
        assert "ACC" in health.facts, health


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SICK)
def test_a_sick_step_is_named(name: str, seed: int) -> None:
    severity, code, words, make = SICK[name]
    p, step = make(seed)
    found = p.found(step)
    named = [f for f in found if f.code == code and words in f.message and f.severity.value == severity]
    assert named, [str(f) for f in found]
    assert named[0].fix
    assert "steps.py" in named[0].where
    others = [f for f in found if f not in named and f.severity is not Severity.INFO]
    assert others == [], "one cause, one finding"


def test_the_left_over_gradient_has_the_size_of_the_notes() -> None:
    p = Program(0, kind="sgd")
    evidence = p.found(no_clear(p), "FG")[0].evidence
    assert 0.3 < evidence["off"] < 2
    assert evidence["threshold"] == 1e-3
    p = Program(0)
    assert p.health(plain(p), "FG").facts["FG"]["off"] == 0


def test_the_accumulated_gradient_is_compared_with_autograd() -> None:
    p = Program(0, n=48)
    p.optimizer = torch.optim.SGD(p.net.parameters(), 1e-12)
    x, y = p.batch
    weights = list(p.net.parameters())
    whole = torch.cat([g.flatten() for g in torch.autograd.grad(CE(p.net(x), y), weights)])
    parts = [
        torch.autograd.grad(CE(p.net(a), b), weights)
        for a, b in zip(x.split([30, 10, 6, 2]), y.split([30, 10, 6, 2]), strict=True)
    ]
    mean = sum(torch.cat([g.flatten() for g in grads]) for grads in parts) / 4
    off = p.found(split(p, [30, 10, 6, 2], mean_of_means), "ACC")[0].evidence["off"]
    assert off == pytest.approx(float((mean - whole).norm() / whole.norm()), rel=1e-3)


def tokens(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs.transpose(1, 2), targets, ignore_index=-100)


@pytest.mark.parametrize("seed", range(3))
def test_padded_targets_make_equal_micro_batches_unequal(seed: int) -> None:
    """Bug 32 as it comes with sequences: the micro-batches hold unequal numbers of tokens that count."""
    p = Program(seed, nn.Sequential(nn.Embedding(20, 16), nn.Linear(16, 20)))
    x, y = torch.randint(0, 20, (16, 12)), torch.randint(0, 20, (16, 12))
    y[8:, 3:] = -100
    p.loss, p.batch = tokens, (x, y)
    assert [(f.code, f.severity.value) for f in p.found(split(p, 4, mean_of_means))] == [("ACC", "WARN")]
    total = int((y >= 0).sum())
    assert p.found(split(p, 4, lambda loss, part, k: loss * int((part >= 0).sum()) / total)) == []


def contrast(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs @ outputs.T, torch.arange(len(outputs)))


def test_a_loss_that_compares_examples_is_not_held_to_it() -> None:
    p = Program(0)
    p.loss = contrast
    health = p.health(split(p, 8, mean_of_means), "ACC")
    assert health.findings == ()
    assert health.not_run[0].code == "ACC"


def test_a_step_with_a_loss_of_its_own_is_not_held_to_another() -> None:
    p = Program(0)

    def step(batch: Any) -> None:
        p.optimizer.zero_grad()
        for x, y in zip(batch[0].split(8), batch[1].split(8), strict=True):
            (CE(p.net(x), y) / 4 + 0.1 * p.net(x).abs().mean()).backward()
        p.optimizer.step()

    assert "ACC" not in p.health(step).facts


def test_without_a_step_they_did_not_run_and_say_why() -> None:
    p = Program(0)
    health = check(p.net, CE, p.batch, p.optimizer)
    why = {n.code: n.why for n in health.not_run}
    assert all("no step function was given" in why[code] for code in CODES)


def test_a_step_needs_its_optimizer() -> None:
    p = Program(0)
    with pytest.raises(UsageError, match="step needs the optimizer it uses"):
        check(p.net, CE, p.batch, step=plain(p))
    with pytest.raises(UsageError, match=r"callable as step\(\(inputs, targets\)\), got int"):
        check(p.net, CE, p.batch, p.optimizer, step=3)  # type: ignore[arg-type]


def test_the_other_optimizer_is_no_fault_of_the_step() -> None:
    p = Program(0)
    step = plain(p)
    p.health(step)
    other = Program(0)
    other.net = p.net
    other.optimizer = torch.optim.SGD(p.net.parameters(), 0.1)
    health = other.health(step, "LOOP")
    assert health.findings == ()
    assert "not by the optimizer that check was given" in health.not_run[0].why


@pytest.mark.parametrize("make", [lambda p: Trainer(p), None])
def test_nothing_is_left_behind(make: Any, capsys: pytest.CaptureFixture[str]) -> None:
    p = Program(0, norms())
    trainer = Trainer(p)
    step = trainer.step if make else every(p, 4)
    for _ in range(3):
        step(p.batch)
    capsys.readouterr()

    def state() -> Any:
        return copy.deepcopy((
            p.net.state_dict(), p.optimizer.state_dict(), [w.grad for w in p.net.parameters()], trainer.calls, trainer.losses,
            trainer.average.state_dict(), trainer.draw.get_state(), trainer.schedule.state_dict(), torch.get_rng_state(), p.batch,
            p.net.training,
        ))  # fmt: skip

    before = state()
    health = check(p.net, CE, p.batch, p.optimizer, step=step)
    assert {"LOOP", "FG"} <= set(health.facts)
    torch.testing.assert_close(state(), before, rtol=0, atol=0)
    assert capsys.readouterr().out == ""
    after = [step(p.batch) for _ in range(2)]  # a counter in a closure goes on where it was
    assert len(after) == 2
    if not make:
        assert step.__closure__ is not None
        assert any(cell.cell_contents == 5 for cell in step.__closure__ if isinstance(cell.cell_contents, int))
    assert not p.net._forward_pre_hooks
    assert not p.optimizer._optimizer_step_pre_hooks


def test_the_same_check_gives_the_same_health() -> None:
    p = Program(0, norms())
    step = plain(p)
    assert check(p.net, CE, p.batch, p.optimizer, step=step) == check(p.net, CE, p.batch, p.optimizer, step=step)

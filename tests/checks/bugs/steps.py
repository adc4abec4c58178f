"""Bugs in a person's own training step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from bugs.case import Bug, numbered
from whet.checks import Subject, examine, resolve
from whet.finding import Finding, Health

CE = nn.CrossEntropyLoss()


Step = Callable[[Any], Any]


CODES = ("LOOP", "FG", "ACC")


class Program:
    """A model, its optimizer and a batch; a step is made of it."""

    def __init__(self, seed: int, model: nn.Module | None = None, kind: str = "adam", n: int = 32) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        self.net = model or nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 4))
        parameters = list(self.net.parameters())
        makes = {
            "sgd": lambda: torch.optim.SGD(parameters, 0.05, momentum=0.9),
            "adam": lambda: torch.optim.Adam(parameters, 1e-3),
        }
        self.optimizer: torch.optim.Optimizer = makes[kind]()
        self.loss: Any = CE
        self.batch: Any = (torch.randn(n, 6), torch.randint(0, 4, (n,)))

    def health(self, step: Step, *codes: str) -> Health:
        inputs = self.batch[0] if isinstance(self.batch[0], tuple) else (self.batch[0],)
        subject = Subject(self.net, self.loss, inputs, self.batch[1], self.optimizer, step=step, given=self.batch)
        return examine(subject, resolve(codes or CODES))

    def found(self, step: Step, *codes: str) -> list[Finding]:
        return list(self.health(step, *codes).findings)


def plain(p: Program) -> Step:
    def step(batch: Any) -> None:
        p.net.train()
        p.optimizer.zero_grad()
        p.loss(p.net(batch[0]), batch[1]).backward()
        p.optimizer.step()

    return step


def with_scheduler(p: Program, first: bool = False) -> Step:
    schedule = torch.optim.lr_scheduler.StepLR(p.optimizer, 1, 0.5)

    def step(batch: Any) -> None:
        p.optimizer.zero_grad()
        p.loss(p.net(batch[0]), batch[1]).backward()
        if first:
            schedule.step()
        p.optimizer.step()
        if not first:
            schedule.step()

    return step


def clipped(p: Program, when: str, norm: float = 1.0, clear: str = "first") -> Step:
    def step(batch: Any) -> None:
        if clear == "first":
            p.optimizer.zero_grad()
        p.loss(p.net(batch[0]), batch[1]).backward()
        if when == "before":
            clip_grad_norm_(p.net.parameters(), norm)
        if when == "value":
            clip_grad_value_(p.net.parameters(), norm)
        p.optimizer.step()
        if when == "after":
            clip_grad_norm_(p.net.parameters(), norm)
        if clear == "last":
            p.optimizer.zero_grad()

    return step


def scaled(p: Program, unscale: bool, clip: bool = True) -> Step:
    scaler = torch.amp.GradScaler("cpu")

    def step(batch: Any) -> None:
        p.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = p.loss(p.net(batch[0]), batch[1])
        scaler.scale(loss).backward()
        if unscale:
            scaler.unscale_(p.optimizer)
        if clip:
            clip_grad_norm_(p.net.parameters(), 1.0)
        scaler.step(p.optimizer)
        scaler.update()

    return step


def every(p: Program, k: int, divide: bool = True) -> Step:
    """Step the optimizer every k calls."""
    calls = 0

    def step(batch: Any) -> None:
        nonlocal calls
        loss = p.loss(p.net(batch[0]), batch[1])
        (loss / k if divide else loss).backward()
        calls += 1
        if calls % k == 0:
            p.optimizer.step()
            p.optimizer.zero_grad()

    return step


def split(p: Program, sizes: int | list[int], weigh: Callable[[Any, Any, int], Any]) -> Step:
    """Call the model on parts of the batch; weigh(loss, targets, parts) is what goes backward."""

    def step(batch: Any) -> None:
        p.optimizer.zero_grad()
        parts = list(zip(batch[0].split(sizes), batch[1].split(sizes), strict=True))
        for x, y in parts:
            weigh(p.loss(p.net(x), y), y, len(parts)).backward()
        p.optimizer.step()

    return step


def mean_of_means(loss: Any, y: Any, k: int) -> Any:
    return loss / k


def norms() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.3), nn.Linear(24, 4))


def pretrained(p: Program) -> Step:
    """Frozen body in eval mode, on purpose: the head trains."""

    def step(batch: Any) -> None:
        p.net.train()
        p.net[1].eval()
        p.optimizer.zero_grad()
        p.loss(p.net(batch[0]), batch[1]).backward()
        p.optimizer.step()

    return step


def looked_up(seed: int) -> Program:
    p = Program(seed, nn.Sequential(nn.EmbeddingBag(20, 8, sparse=True), nn.Linear(8, 4)), "sgd")
    p.optimizer = torch.optim.SGD(p.net.parameters(), 0.1)
    p.batch = (torch.randint(0, 20, (32, 5)), p.batch[1])
    return p


def no_clear(p: Program, clip: bool = False) -> Step:
    def step(batch: Any) -> None:
        p.loss(p.net(batch[0]), batch[1]).backward()
        if clip:
            clip_grad_norm_(p.net.parameters(), 0.1)
        p.optimizer.step()

    return step


def never_cleared(p: Program) -> Step:
    """Accumulates over two calls, and never clears."""
    calls = 0

    def step(batch: Any) -> None:
        nonlocal calls
        (p.loss(p.net(batch[0]), batch[1]) / 2).backward()
        calls += 1
        if calls % 2 == 0:
            p.optimizer.step()

    return step


def in_eval(p: Program) -> Step:
    def step(batch: Any) -> None:
        p.net.eval()
        p.optimizer.zero_grad()
        p.loss(p.net(batch[0]), batch[1]).backward()
        p.optimizer.step()

    return step


def left_in_eval(p: Program) -> Step:
    p.net.eval()

    def step(batch: Any) -> None:
        p.optimizer.zero_grad()
        p.loss(p.net(batch[0]), batch[1]).backward()
        p.optimizer.step()

    return step


def pieces(*order: str) -> Callable[[Program], Step]:
    """Make a step of the parts named, in that order."""

    def make(p: Program) -> Step:
        def step(batch: Any) -> None:
            parts = {
                "clear": p.optimizer.zero_grad,
                "step": p.optimizer.step,
                "backward": lambda: p.loss(p.net(batch[0]), batch[1]).backward(),
            }
            for part in order:
                parts[part]()

        return step

    return make


def without_grad(p: Program) -> Step:
    def step(batch: Any) -> None:
        p.optimizer.zero_grad()
        with torch.no_grad():
            loss = p.loss(p.net(batch[0]), batch[1])
        loss.requires_grad_().backward()
        p.optimizer.step()

    return step


def raising_without_grad(p: Program) -> Step:
    def step(batch: Any) -> None:
        with torch.inference_mode():
            outputs = p.net(batch[0])
        p.loss(outputs, batch[1]).backward()

    return step


def edits(p: Program) -> Step:
    def step(batch: Any) -> None:
        batch[0].mul_(2)
        plain(p)(batch)

    return step


def raises(p: Program) -> Step:
    def step(batch: Any) -> None:
        plain(p)((batch["x"], batch["y"]))

    return step


# bug: (severity, code, words of the message, program)
SICK: dict[str, tuple[str, str, str, Callable[[int], tuple[Program, Step]]]] = {
    "6 no zero_grad": ("FAIL", "FG", "step before", lambda s: (p := Program(s), no_clear(p))),
    "6 no zero_grad, SGD": ("FAIL", "FG", "step before", lambda s: (p := Program(s, kind="sgd"), no_clear(p))),
    "6 no zero_grad, gradient clipped": ("FAIL", "FG", "step before", lambda s: (p := Program(s), no_clear(p, clip=True))),
    "6 no zero_grad, batch norm": ("FAIL", "FG", "step before", lambda s: (p := Program(s, norms()), no_clear(p))),
    "6 no zero_grad, sparse gradients": ("FAIL", "FG", "step before", lambda s: (p := looked_up(s), no_clear(p))),
    "6 no zero_grad between accumulations": ("FAIL", "FG", "step before", lambda s: (p := Program(s), never_cleared(p))),
    "7 trains in eval mode": ("WARN", "LOOP", "eval mode", lambda s: (p := Program(s, norms()), in_eval(p))),
    "7 left in eval mode": ("WARN", "LOOP", "eval mode", lambda s: (p := Program(s, norms()), left_in_eval(p))),
    "31 accumulated over four calls, not divided": ("WARN", "ACC", "4 times", lambda s: (p := Program(s), every(p, 4, divide=False))),
    "31 accumulated with batch norm, not divided": ("WARN", "ACC", "4 times", lambda s: (p := Program(s, norms()), every(p, 4, divide=False))),
    "31 accumulated in parts, not divided": ("WARN", "ACC", "4 times", lambda s: (p := Program(s), split(p, 8, lambda loss, y, k: loss))),
    "31 accumulated in parts, divided twice": ("WARN", "ACC", "1/4 of", lambda s: (p := Program(s), split(p, 8, lambda loss, y, k: loss / k / k))),
    "32 mean of means over unequal micro-batches": ("WARN", "ACC", "30, 10, 6, 2", lambda s: (p := Program(s, n=48), split(p, [30, 10, 6, 2], mean_of_means))),
    "32 equal weights for calls: wrong once they are uneven": ("INFO", "ACC", "weighs the same", lambda s: (p := Program(s), every(p, 4))),
    "32 equal weights for parts: wrong once the rest is smaller": ("INFO", "ACC", "weighs the same", lambda s: (p := Program(s), split(p, 8, mean_of_means))),
    "33 clipped after optimizer.step()": ("FAIL", "LOOP", "clipped after", lambda s: (p := Program(s), clipped(p, "after", 1e3))),
    "33 clipped before unscale_": ("FAIL", "LOOP", "loss scale", lambda s: (p := Program(s), scaled(p, unscale=False))),
    "40 the batch is edited in place": ("WARN", "LOOP", "in place", lambda s: (p := Program(s), edits(p))),
    "46 optimizer.step() left out": ("FAIL", "LOOP", "never called optimizer.step()", lambda s: (p := Program(s), pieces("clear", "backward")(p))),
    "46 scheduler.step() before optimizer.step()": ("WARN", "LOOP", "StepLR.step() comes before", lambda s: (p := Program(s), with_scheduler(p, first=True))),
    "46 zero_grad between backward and step": ("FAIL", "LOOP", "cleared before", lambda s: (p := Program(s), pieces("backward", "clear", "step")(p))),
    "46 step before backward": ("WARN", "LOOP", "one batch later", lambda s: (p := Program(s), pieces("step", "clear", "backward")(p))),
    "46 backward left out": ("FAIL", "LOOP", "no gradient arrived", lambda s: (p := Program(s), pieces("clear", "step")(p))),
    "47 no_grad around the forward pass": ("FAIL", "LOOP", "without gradients", lambda s: (p := Program(s), without_grad(p))),
    "47 inference_mode around the forward pass": ("FAIL", "LOOP", "without gradients", lambda s: (p := Program(s), raising_without_grad(p))),
    "48 batch norm held in eval mode": ("INFO", "LOOP", "1 batch norms", lambda s: (p := Program(s, norms()), pretrained(p))),
    "it takes another form of batch": ("FAIL", "LOOP", "raises on the batch: TypeError", lambda s: (p := Program(s), raises(p))),
}  # fmt: skip


def looked_at(make: Callable[[int], tuple[Program, Step]]) -> dict[str, Any]:
    """Return what `whet.check` is given."""
    p, step = make(torch.initial_seed() % 1000)
    return {"model": p.net, "loss": p.loss, "batch": p.batch, "optimizer": p.optimizer, "step": step}


BUGS = [
    Bug(
        "training step",
        name,
        SICK[title][1],
        SICK[title][0],
        SICK[title][2],
        partial(looked_at, SICK[title][3]),
        number,
        "step",
    )
    for title, number, name in numbered(SICK)
]

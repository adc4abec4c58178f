"""Watches the user's own training step at work: forward passes, gradients, and the optimizer's step."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from whet.checks.reach import reached
from whet.checks.runner import LIMIT
from whet.checks.sandbox import sandbox
from whet.checks.subject import Subject, tensors
from whet.finding import INAPPLICABLE, NotRun

__all__ = ["Cycle", "Forward", "between", "cycle", "flat", "trial", "unwatched"]

_CALLS = 256  # of the step, to wait for one of the optimizer: more micro-batches than that are rare


@dataclass(frozen=True)
class Forward:
    """One forward pass of the whole model: its mode, whether gradients were on, lower precision, and its inputs."""

    training: bool
    grad: bool
    autocast: bool
    frozen: tuple[str, ...]
    inputs: list[Tensor]


@dataclass
class Cycle:
    """What happened from one step of the optimizer to the next: one call of the user's step, several when it accumulates.

    events: "forward", "backward" and "step" in order; grads: by parameter as the optimizer met them; after: as they
    were when the call returned; live: a gradient other than 0 arrived; early: schedulers that moved before the optimizer.
    """

    calls: int = 0
    stepped: bool = False
    live: bool = False
    edited: bool = False
    late: bool = False
    forwards: list[Forward] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    grads: dict[str, Tensor] = field(default_factory=dict)
    after: dict[str, Tensor] = field(default_factory=dict)
    early: tuple[str, ...] = ()
    error: Exception | None = None


def unwatched(subject: Subject, code: str) -> NotRun | None:
    """Return why there is no step to watch; None when there is one."""
    if subject.step is not None and hasattr(subject.optimizer, "register_step_pre_hook"):
        return None
    if subject.step is not None:
        return NotRun(code, f"{type(subject.optimizer).__name__} cannot be watched: it is no torch.optim.Optimizer")
    if subject.make is not None:
        return NotRun(code, INAPPLICABLE + "the step is whet's own")
    return NotRun(code, "no step function was given: check(model, loss, batch, optimizer, step=step)")


@contextlib.contextmanager
def trial(subject: Subject, *parts: int | str) -> Iterator[list[Any]]:
    """Open a sandbox around all that the user's step can change, in its own precision; yield the things it holds."""
    assert subject.step is not None
    things = [subject.model, subject.loss, subject.optimizer, *reached(subject.step)]
    with sandbox(*things, seed=(subject.seed, "check", *parts), float32=False):
        yield things


def between(things: list[Any], seed: int) -> contextlib.AbstractContextManager[None]:
    """Return a sandbox inside a trial: what happens in it is undone, and gradients start at none."""
    return sandbox(*things, seed=(seed, "check", "between"), float32=False)


def flat(grads: dict[str, Tensor]) -> Tensor:
    """Return gradients as one vector in double precision.

    >>> flat({"w": torch.ones(2, 1), "b": torch.zeros(1)}).tolist()
    [1.0, 1.0, 0.0]
    """
    return torch.cat([g.detach().double().cpu().flatten() for g in grads.values()] or [torch.zeros(0).double()])


def cycle(subject: Subject, batch: Callable[[int], Any], things: list[Any], *, scale: float = 1.0) -> Cycle:
    """Call the step until the optimizer has stepped once; batch(i) is what call i is given, and it gets a copy.

    scale: a factor on every gradient as it arrives, so large that clipping acts, or so small that it does not.
    """
    found, ends = Cycle(), time.monotonic() + LIMIT / 2
    mine = [t for t in things if isinstance(t, LRScheduler) and getattr(t, "optimizer", None) is subject.optimizer]
    with _hooks(subject, found, scale, mine):
        while not found.stepped and found.error is None and found.calls < _CALLS and not found.late:
            given = batch(found.calls)
            lent = subject.copies(given)
            found.calls += 1
            try:
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                    subject.step(lent)  # type: ignore[misc]
            except Exception as error:
                found.error = error
            pairs = zip(tensors(lent), tensors(given), strict=False)
            found.edited |= any(a.shape == b.shape and a.dtype == b.dtype and not _same(a, b) for a, b in pairs)
            found.late = time.monotonic() > ends
    found.after = _grads(subject)
    return found


@contextlib.contextmanager
def _hooks(subject: Subject, found: Cycle, scale: float, schedulers: list[LRScheduler]) -> Iterator[None]:
    """Note what happens in `found` while the body runs."""
    model, optimizer = subject.model, subject.optimizer
    counts = [getattr(s, "last_epoch", 0) for s in schedulers]

    def note(event: str) -> None:
        if not found.events or found.events[-1] != event:
            found.events.append(event)

    def forward(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if found.stepped:  # what a step does after the optimizer's is not training
            return
        inputs = [t.detach() for t in tensors((args, kwargs))]
        cast = torch.is_autocast_enabled(inputs[0].device.type if inputs else "cpu")
        norms = tuple(
            k for k, m in module.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and not m.training
        )
        found.forwards.append(Forward(module.training, torch.is_grad_enabled(), cast, norms, inputs))
        note("forward")

    def arrived(grad: Tensor) -> Tensor | None:
        note("backward")
        found.live = found.live or bool((grad.coalesce().values() if grad.is_sparse else grad).any())
        return grad * scale if scale != 1 else None

    def step(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not found.stepped:
            moved = [s for s, count in zip(schedulers, counts, strict=True) if getattr(s, "last_epoch", 0) > count]
            found.early = tuple(type(s).__name__ for s in moved)
            found.stepped, found.grads = True, _grads(subject)
            note("step")

    def closed(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if args or kwargs.get("closure") is not None:  # the gradients that count came inside the step
            found.grads, found.events = _grads(subject), [e for e in found.events if e != "step"] + ["step"]

    handles = [
        model.register_forward_pre_hook(forward, with_kwargs=True),
        optimizer.register_step_pre_hook(step),  # type: ignore[union-attr]
        optimizer.register_step_post_hook(closed),  # type: ignore[union-attr]
        *(p.register_hook(arrived) for p in model.parameters() if p.requires_grad),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _grads(subject: Subject) -> dict[str, Tensor]:
    """Return copies of the gradients there are, by parameter."""
    found = ((k, p.grad) for k, p in subject.model.named_parameters())
    return {k: (g.to_dense() if g.is_sparse else g).detach().clone() for k, g in found if g is not None}


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal, not-a-number included."""
    return bool(((a == b) | ((a != a) & (b != b))).all())

"""One look at a training: hooks into one forward pass and two steps of the optimizer, and takes them away again."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from whet.checks.activations import Activations
from whet.checks.motion import Motion
from whet.checks.pulse import Gauge, Pulse
from whet.checks.subject import examples, mapped, tensors
from whet.errors import one_line

__all__ = ["Watch"]

_ROOM = 4_000_000  # elements of a batch that may be kept to predict on


class Watch:
    """Looks at the next forward pass and the next two steps of the optimizer after each `arm`.

    state: "idle"; "armed", until the optimizer takes a step; "between", until the one after it; "done". inputs: what to
    predict on, or None for the first batch that is seen; skipped: what cannot be looked at, by code, and why; broken:
    ("gradient" or "weight", the parameter) that is not finite, or None; seconds: spent here.

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> optimizer = torch.optim.SGD(model.parameters(), 0.1)
    >>> watch = Watch(model, optimizer)
    >>> watch.arm()
    >>> for _ in range(2):
    ...     model(torch.ones(4, 2)).sum().backward()
    ...     optimizer.step()
    >>> watch.state, watch.read(2, 0.5).sites[0].layer
    ('done', '1 (ReLU)')
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Any = None) -> None:
        self.model, self.optimizer = model, optimizer
        self.inner = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
        self.state = "idle"
        self.skipped: dict[str, str] = {}
        self.seconds = 0.0
        self._gauge = Gauge(self.inner, optimizer)
        self._motion = None if inputs is None else self._follow(inputs)
        self._seen: Activations | None = None
        self._entered = False
        self._handles: list[Any] = []
        if hasattr(model, "_orig_mod") or isinstance(model, torch.jit.ScriptModule):  # a hook would compile it anew
            self.skipped["ACT"] = "the model is compiled"

    @property
    def examples(self) -> int:
        """How many examples are predicted on."""
        return examples(self._motion.inputs) if self._motion is not None else 0

    @property
    def broken(self) -> tuple[str, str] | None:
        """What is not finite."""
        return self._gauge.broken

    def arm(self) -> None:
        """Hook into what comes next."""
        self.state = "armed"
        if "ACT" not in self.skipped:
            self._seen = Activations(self.inner, moments=False)
            self._handles += [self.model.register_forward_pre_hook(self._enter, with_kwargs=True),
                              self.model.register_forward_hook(self._leave, always_call=True)]  # fmt: skip
        self._handles += [self.optimizer.register_step_pre_hook(self._before),
                          self.optimizer.register_step_post_hook(self._after)]  # fmt: skip

    def disarm(self) -> None:
        """Take every hook away."""
        for handle in self._handles:
            handle.remove()
        self._handles, self.state = [], "idle"

    def read(self, step: int, loss: float) -> Pulse:
        """Return what was measured."""
        gauge = self._gauge
        sites = tuple(self._seen.sites.values()) if self._seen is not None else ()
        motion = self._motion.read() if self._motion is not None else {}
        return Pulse(step, loss, gauge.grads, gauge.weights, gauge.updates, gauge.still, gauge.held, sites, motion,
                     self._motion.shown if self._motion is not None else None)  # fmt: skip

    def _enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Watch the forward pass that begins; keep its inputs when there are none yet to predict on."""
        if self.state != "armed" or not module.training or self._entered or self._seen is None:
            return
        if self._motion is None and "JITTER" not in self.skipped:
            began = time.perf_counter()
            if sum(t.numel() for t in tensors((args, kwargs))) <= _ROOM and not (args and kwargs):
                copied = mapped(lambda t: t.detach().clone() if isinstance(t, Tensor) else t, kwargs or args)
                self._motion = self._follow(copied)
            else:
                self.skipped["JITTER"] = "the batch is too large to keep; give Live(batch=inputs)"
            self.seconds += time.perf_counter() - began
        self._entered = True
        self._seen.__enter__()

    def _leave(self, module: nn.Module, args: Any, outputs: Any) -> None:
        """End the watch of a forward pass."""
        if self._entered and self._seen is not None:
            self._entered = False
            self._seen.__exit__(None, None, None)
            self.seconds += self._seen.seconds
            self._seen.seconds = 0.0

    def _before(self, *_: Any) -> None:
        """Measure what there is before a step."""
        if self.state == "armed":
            began = time.perf_counter()
            with suppress(RuntimeError, TypeError, NotImplementedError), torch.no_grad():  # odd gradients
                self._gauge.before()
            self._ask()
            self.seconds += time.perf_counter() - began

    def _after(self, *_: Any) -> None:
        """Measure what a step did; after the second one the look is complete."""
        if self.state not in ("armed", "between"):
            return
        began = time.perf_counter()
        if self.state == "armed":
            with suppress(RuntimeError, TypeError, NotImplementedError), torch.no_grad():
                self._gauge.after()
        self._ask()
        self.state = "between" if self.state == "armed" and self._motion is not None else "done"
        self.seconds += time.perf_counter() - began

    def _ask(self) -> None:
        """Predict on the fixed batch."""
        if self._motion is not None:
            try:
                self._motion.ask()
            except Exception as error:  # a model may want something else in eval mode
                self._motion, self.skipped["JITTER"] = None, one_line(f"{type(error).__name__}: {error}")[:300]

    def _follow(self, inputs: Any) -> Motion:
        """Return what predicts on these inputs."""
        return Motion(self.inner, inputs if isinstance(inputs, (tuple, dict)) else (inputs,))

"""One look at a training: hooks into one forward pass and two steps of the optimizer, and takes them away again."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from contextlib import nullcontext, suppress
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


def _nothing(*_: Any) -> None:
    """What a hook becomes in a copy of its model."""


class _Hook:
    """A hook that only the model it was put into has: in a copy and in a pickle it does nothing, nor while a model is traced.

    It does not keep alive what it calls.
    """

    def __init__(self, method: Callable[..., None]) -> None:
        self._method = weakref.WeakMethod(method)

    def __call__(self, *args: Any) -> None:
        if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
            return
        method = self._method()
        if method is not None:
            method(*args)

    def __deepcopy__(self, memo: Any) -> Callable[..., None]:
        return _nothing

    def __reduce__(self) -> Any:
        return _inert, ()


def _inert() -> Callable[..., None]:
    """Return what a pickle holds in place of a hook."""
    return _nothing


def _drop(handles: list[Any]) -> None:
    """Take hooks away."""
    for handle in handles:
        handle.remove()
    handles.clear()


def _inner(model: nn.Module) -> nn.Module:
    """Return the model as it was written, without what compiles it or trains it in several processes."""
    while isinstance(model, nn.parallel.DistributedDataParallel) or hasattr(model, "_orig_mod"):
        model = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model._orig_mod  # type: ignore[assignment]
    return model


def _compiled(model: nn.Module) -> bool:
    """Whether any part of a model is compiled or scripted."""
    return any(
        hasattr(m, "_orig_mod") or m._compiled_call_impl is not None or isinstance(m, torch.jit.ScriptModule)
        for m in model.modules()
    )


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
        self.inner = _inner(model)
        self.state = "idle"
        self.skipped: dict[str, str] = {}
        self.seconds = 0.0
        self._gauge = Gauge(self.inner, optimizer)
        self._motion = None if inputs is None else self._follow(inputs)
        self._seen: Activations | None = None
        self._entered = False
        self._stepped = False
        self._passes: list[Any] = []  # hooks of the forward pass
        self._handles: list[Any] = []  # and of the optimizer's step
        self._first = [optimizer.register_step_post_hook(_Hook(self._begin))]
        for handles in (self._passes, self._handles, self._first):
            weakref.finalize(self, _drop, handles)

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
        if _compiled(self.model):  # a hook would have it compiled anew, now and again at the end of the look
            self.skipped["ACT"], self._seen = "the model is compiled", None
            if self._motion is None:
                self.skipped.setdefault("JITTER", "the model is compiled; give Live(batch=inputs)")
        else:
            self._seen = Activations(self.inner, moments=False)
            self._passes += [self.model.register_forward_pre_hook(_Hook(self._enter), with_kwargs=True),
                             self.model.register_forward_hook(_Hook(self._leave), always_call=True)]  # fmt: skip
        self._handles += [self.optimizer.register_step_pre_hook(_Hook(self._before)),
                          self.optimizer.register_step_post_hook(_Hook(self._after))]  # fmt: skip

    def disarm(self) -> None:
        """Take the hooks of a look away."""
        _drop(self._passes)
        _drop(self._handles)
        self.state = "idle"

    def close(self) -> None:
        """Take every hook away, and give up a look that has begun."""
        self.disarm()
        if self._first:  # whether it steps from here on will not be seen, so it is taken to
            self._stepped = True
        _drop(self._first)

    def read(self, step: int, loss: float) -> Pulse:
        """Return what was measured."""
        gauge = self._gauge
        sites = tuple(self._seen.sites.values()) if self._seen is not None else ()
        motion = self._motion.read() if self._motion is not None else {}
        return Pulse(step, loss, gauge.grads, gauge.weights, gauge.updates, gauge.still, gauge.held, sites, motion,
                     self._motion.shown if self._motion is not None else None)  # fmt: skip

    def begun(self) -> bool:
        """Return whether the optimizer has been seen to take a step; the hook that waits for it goes then."""
        if self._stepped and self._first:  # the hook cannot do so itself: the optimizer is going through its hooks
            _drop(self._first)
        return self._stepped

    def _begin(self, *_: Any) -> None:
        """Note that the optimizer takes steps."""
        self._stepped = True

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
        if self.state == "armed" and not self._void():
            began = time.perf_counter()
            with suppress(RuntimeError, TypeError, NotImplementedError), torch.no_grad():  # odd gradients
                self._gauge.before()
            self._ask()
            self.seconds += time.perf_counter() - began

    def _after(self, *_: Any) -> None:
        """Measure what a step did; after the second one the look is complete."""
        if self.state not in ("armed", "between") or self._void():
            return
        began = time.perf_counter()
        if self.state == "armed":
            if not self._entered:
                _drop(self._passes)
            with suppress(RuntimeError, TypeError, NotImplementedError), torch.no_grad():
                self._gauge.after()
        self._ask()
        self.state = "between" if self.state == "armed" and self._motion is not None else "done"
        self.seconds += time.perf_counter() - began

    def _void(self) -> bool:
        """Return whether this step changes nothing: a gradient scaler has told a fused optimizer that it overflowed."""
        found = getattr(self.optimizer, "found_inf", None)
        return found is not None and float(found) != 0

    def _ask(self) -> None:
        """Predict on the fixed batch."""
        if self._motion is not None:
            try:
                with torch.compiler.set_stance("force_eager") if "ACT" in self.skipped else nullcontext():
                    self._motion.ask()
            except Exception as error:  # a model may want something else in eval mode
                self._motion, self.skipped["JITTER"] = None, one_line(f"{type(error).__name__}: {error}")[:300]

    def _follow(self, inputs: Any) -> Motion:
        """Return what predicts on these inputs."""
        return Motion(self.inner, inputs if isinstance(inputs, (tuple, dict)) else (inputs,))

"""MODE: eval mode reaches every module and computes the same thing twice; training mode keeps the input and moves statistics."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from whet.checks.registry import Fact, Stage
from whet.checks.sandbox import untouched
from whet.checks.state import changed, state
from whet.checks.subject import Subject, tensors
from whet.finding import Finding, NotRun, Severity

__all__ = ["Modes"]

_DROPS = nn.modules.dropout._DropoutNd


class Modes:
    """FAIL when model.eval() leaves a module in training mode; WARN when two passes in eval mode differ in a bit,
    or when a pass in eval mode changes a buffer. WARN when dropout drops over 90 % in training mode, or when three passes in it leave the
    running statistics of a batch norm as they were: what eval mode then uses was never measured.

    Models that draw by design (variational ones) are declared with allow=("MODE",).

    >>> class Drops(torch.nn.Module):
    ...     def forward(self, x):
    ...         return torch.nn.functional.dropout(x)
    >>> s = Subject(Drops(), torch.nn.MSELoss(), (torch.ones(8, 3),), torch.ones(8, 3))
    >>> [i.severity.value for i in Modes().look(s) if isinstance(i, Finding)]
    ['WARN']
    """

    code, stage, passes = "MODE", Stage.START, 5
    most = 0.9  # of dropout

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Do two passes in eval mode and compare them."""
        model, where = subject.model, subject.at("model")
        with subject.look(self.code), torch.no_grad():
            model.train()
            model.eval()
            still = [k or type(m).__name__ for k, m in model.named_modules() if m.training]
            buffers = {k: b.clone() for k, b in model.named_buffers()}
            first, second = (_parts(subject.forward()) for _ in range(2))
            moved = [k for k, b in model.named_buffers() if k not in buffers or not _same(b, buffers[k])]
            apart, stuck = 0.0, self._stuck(subject)
            drops = {
                k or type(m).__name__: m.p
                for k, m in model.named_modules()
                if isinstance(m, _DROPS) and m.p > self.most
            }
            for a, b in zip(first, second, strict=True):
                if a.shape != b.shape:
                    apart = float("inf")
                elif a.numel() and not _same(a, b):
                    apart = max(apart, float((a.double() - b.double()).abs().max()))
            # other kernels than the CPU's may sum in another order each time
            allowed = (
                0.0 if all(t.device.type == "cpu" for t in first) else 1e-4 * max(float(t.abs().max()) for t in first)
            )
            carried = self._carried(subject) if apart > allowed else []
        numbers = {
            "apart": apart,
            "allowed": allowed,
            "n": subject.n,
            "training": still[:8],
            "moved": moved[:8],
            "stuck": stuck[:8],
            "carried": carried[:8],
        }
        yield Fact("eval repeats itself" if apart <= allowed else f"eval differs by {apart:.2g}", numbers)
        if still:
            yield Finding(self.code, Severity.FAIL, where, numbers, f"model.eval() leaves {', '.join(still[:3])} in training mode",
                          "call super().train(mode) in an overridden train(), and keep layers as registered modules")  # fmt: skip
        elif apart > allowed:
            yield Finding(self.code, Severity.WARN, where, numbers, f"two passes in eval mode differ by {apart:.2g} (allowed {allowed:g})",
                          _reset(carried[0]) if carried else "F.dropout(x, p, training=self.training); draw nothing in eval mode")  # fmt: skip
        elif moved:
            yield Finding(self.code, Severity.WARN, where, numbers, f"a pass in eval mode changes {', '.join(moved[:3])}",
                          "update statistics only `if self.training`")  # fmt: skip
        if drops:
            name, rate = next(iter(drops.items()))
            yield Finding(self.code, Severity.WARN, where, {**numbers, "dropout": drops, "most": self.most},
                          f"{name} drops {rate:.0%} of its inputs in training mode, so next to nothing is learned through it",
                          "p is the share that is dropped, not kept: nn.Dropout(0.1)")  # fmt: skip
        if stuck:
            yield Finding(self.code, Severity.WARN, where, numbers,
                          f"three passes in training mode leave the running statistics of {', '.join(stuck[:3])} as they were",
                          "use momentum=0.1, and leave batch norm in training mode; if it is frozen on purpose, call its eval() "
                          "in train()")  # fmt: skip

    def _carried(self, subject: Subject) -> list[str]:
        """Return what a pass leaves for the next one, where that alone makes them differ: no chance is drawn."""
        model, passes = subject.model, []
        model.eval()
        for _ in range(2):  # both from the same state, with other random numbers
            for draw in (torch.rand, np.random.rand):
                draw(1)
            random.random()
            before = state(model)
            with untouched(model):
                passes.append(_parts(subject.forward()))
                moved = changed(before, state(model))
        same = all(a.shape == b.shape and _same(a, b) for a, b in zip(*passes, strict=True))
        return moved if same else []

    def _stuck(self, subject: Subject) -> list[str]:
        """Return the batch norms that are in training mode and whose statistics three passes do not move."""
        model = subject.model
        model.train()
        norms = {
            k or type(m).__name__: m
            for k, m in model.named_modules()
            if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training and m.running_mean is not None
        }
        used: set[int] = set()
        hooks = [m.register_forward_hook(lambda m, *_: used.add(id(m))) for m in norms.values()]
        before = {k: (_copy(m.running_mean), _copy(m.running_var)) for k, m in norms.items()}
        try:
            for _ in range(3 if norms else 0):
                subject.forward()
        finally:
            for hook in hooks:
                hook.remove()
        now = {k: (m.running_mean, m.running_var) for k, m in norms.items()}
        return [
            k for k, m in norms.items() if id(m) in used and all(_same(a, b) for a, b in zip(before[k], now[k], strict=True) if b is not None)
        ]  # fmt: skip


def _reset(name: str) -> str:
    """Return what to do about a state that a pass leaves for the next one."""
    return f"a pass changes {name}, and the next one begins with it: reset it where a sequence begins; allow=('MODE',) if it is meant"


def _parts(outputs: Any) -> list[torch.Tensor]:
    """Return the tensors of the outputs, complex ones as pairs of numbers."""
    return [torch.view_as_real(t.resolve_conj()) if t.is_complex() else t for t in tensors(outputs)]


def _copy(tensor: torch.Tensor | None) -> torch.Tensor:
    """Return a copy; nothing for None."""
    return torch.empty(0) if tensor is None else tensor.clone()


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors are equal, not-a-number included."""
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())

"""MODE: eval mode reaches every module, and computes the same thing twice."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from whet.checks.registry import Fact, Stage
from whet.checks.subject import Subject, tensors
from whet.finding import Finding, NotRun, Severity

__all__ = ["Modes"]


class Modes:
    """FAIL when model.eval() leaves a module in training mode; WARN when two passes in eval mode differ in a bit,
    or when a pass in eval mode changes a buffer.

    Models that draw by design (variational ones) are declared with allow=("MODE",).

    >>> class Drops(torch.nn.Module):
    ...     def forward(self, x):
    ...         return torch.nn.functional.dropout(x)
    >>> s = Subject(Drops(), torch.nn.MSELoss(), (torch.ones(8, 3),), torch.ones(8, 3))
    >>> [i.severity.value for i in Modes().look(s) if isinstance(i, Finding)]
    ['WARN']
    """

    code, stage, passes = "MODE", Stage.START, 2

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Do two passes in eval mode and compare them."""
        model, where = subject.model, subject.at("model")
        with subject.look(self.code), torch.no_grad():
            model.train()
            model.eval()
            still = [k or type(m).__name__ for k, m in model.named_modules() if m.training]
            buffers = {k: b.clone() for k, b in model.named_buffers()}
            first, second = (tensors(subject.forward()) for _ in range(2))
            moved = [k for k, b in model.named_buffers() if k not in buffers or not _same(b, buffers[k])]
            apart = 0.0
            for a, b in zip(first, second, strict=True):
                if a.shape != b.shape:
                    apart = float("inf")
                elif a.numel() and not _same(a, b):
                    apart = max(apart, float((a.double() - b.double()).abs().max()))
        # other kernels than the CPU's may sum in another order each time
        allowed = 0.0 if all(t.device.type == "cpu" for t in first) else 1e-4 * max(float(t.abs().max()) for t in first)
        numbers = {"apart": apart, "allowed": allowed, "n": subject.n, "training": still[:8], "moved": moved[:8]}
        yield Fact("eval repeats itself" if apart <= allowed else f"eval differs by {apart:.2g}", numbers)
        if still:
            yield Finding(self.code, Severity.FAIL, where, numbers, f"model.eval() leaves {', '.join(still[:3])} in training mode",
                          "call super().train(mode) in an overridden train(), and keep layers as registered modules")  # fmt: skip
        elif apart > allowed:
            yield Finding(self.code, Severity.WARN, where, numbers, f"two passes in eval mode differ by {apart:.2g} (allowed {allowed:g})",
                          "F.dropout(x, p, training=self.training); draw nothing in eval mode")  # fmt: skip
        elif moved:
            yield Finding(self.code, Severity.WARN, where, numbers, f"a pass in eval mode changes {', '.join(moved[:3])}",
                          "update statistics only `if self.training`")  # fmt: skip


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors are equal, not-a-number included."""
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())

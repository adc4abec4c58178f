"""SEP: the target of one example steers the outputs of that example alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from whet.checks.registry import Fact, Stage
from whet.checks.runs import shapes
from whet.checks.subject import Subject, answer, examples, mapped, reals, rows, tensors
from whet.finding import Finding, NotRun, Severity

__all__ = ["Separation"]


class Separation:
    """Exchange one target; the gradient of the loss with respect to the other outputs must stay as it was.

    Outputs and targets may be several tensors, as of a model with two heads. Up to a factor common to all examples: class weights and ignored targets change the mean's divisor. FAIL when
    outputs (n, 1) meet targets (n,), which broadcast to (n, n); else WARN, for ranking and contrastive losses mix
    by design (declare them: allow=("SEP",)).

    >>> import warnings
    >>> s = Subject(torch.nn.Linear(2, 1), lambda o, t: ((o - t) ** 2).mean(), (torch.randn(6, 2),), torch.arange(6.0))
    >>> [i.severity.value for i in Separation().look(s) if isinstance(i, Finding)]
    ['FAIL']
    """

    code, stage, passes = "SEP", Stage.WIRING, 3
    most, threshold = 8, 1e-5

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Compare gradients before and after the exchange, for up to 8 examples."""
        if not _alike(subject.targets, subject.n) or subject.n < 2:
            yield NotRun(self.code, "needs targets with a row for each example, and two examples or more")
            return
        with subject.look(self.code):
            subject.model.eval()
            part = subject.take(torch.arange(min(subject.n, 64)))
            with torch.no_grad():
                outputs = part.forward()
            n = examples(part.targets)
            if not _alike(reals(outputs), n):
                yield NotRun(self.code, f"outputs {shapes(outputs)} are not one row per target ({n})")
                return
            crossed, tried = self._cross(part, outputs, n)
        if not tried:
            yield NotRun(self.code, "all targets are alike, so no two can be exchanged")
            return
        numbers = {"cross": crossed, "threshold": self.threshold, "n": n, "tried": tried}
        yield Fact(f"targets separate (leak {crossed:.1g})", numbers)
        if crossed > self.threshold:
            single = isinstance(outputs, Tensor) and isinstance(part.targets, Tensor)
            flat = single and outputs.shape != part.targets.shape and answer(outputs, part.targets) is not None
            spread = flat and outputs.numel() == n and 1 in (outputs.ndim, part.targets.ndim)
            both = f"outputs {shapes(outputs)} and targets {shapes(part.targets)}"
            yield Finding(
                self.code, Severity.FAIL if spread else Severity.WARN, subject.at("loss"), numbers,
                f"the target of one example changes the gradient of others by {crossed:.2g}"
                + (f": {both} broadcast to ({n}, {n})" if spread else f" ({both})"),
                "give both one shape: outputs.squeeze(1), or targets.unsqueeze(1)" if spread
                else "reduce over each example by itself; declare a loss that compares examples with allow=('SEP',)",
            )  # fmt: skip

    def _cross(self, part: Subject, outputs: Any, n: int) -> tuple[float, int]:
        """Return the largest relative change of a foreign gradient, and how many exchanges were tried."""
        before, worst, tried = self._gradient(part, outputs, part.targets), 0.0, 0
        parts = (torch.view_as_real(t.resolve_conj()) if t.is_complex() else t for t in tensors(part.targets))
        flat = torch.cat([t.reshape(n, -1).double() for t in parts], 1)
        for j in range(n):
            if tried == self.most:
                break
            others = torch.nonzero((flat != flat[j]).any(1)).flatten()
            if not len(others):
                continue
            index = torch.arange(n)
            index[j] = others[0]
            after = self._gradient(part, outputs, rows(part.targets, index, n))
            mask = torch.arange(n) != j
            for x, y in zip(before, after, strict=True):
                a, b = y[mask].flatten().double(), x[mask].flatten().double()
                size = float(b @ b)
                factor = float(a @ b) / size if size else 1.0
                scale = float(x.abs().max()) or 1.0
                worst = max(worst, float((a - factor * b).abs().max()) / scale)
            tried += 1
        return worst, tried

    def _gradient(self, part: Subject, outputs: Any, targets: Any) -> list[Tensor]:
        """Return the gradients of the loss with respect to the outputs, each of the shape of its output."""
        free = mapped(
            lambda t: t.detach().clone().requires_grad_() if t.is_floating_point() or t.is_complex() else t,
            outputs,
        )
        leaves = [t for t in tensors(free) if t.requires_grad]
        with torch.random.fork_rng(devices=[]):
            found = torch.autograd.grad(part.cost(free, targets), leaves, allow_unused=True)
        return reals([torch.zeros_like(t) if g is None else g for t, g in zip(leaves, found, strict=True)])


def _alike(tree: Any, n: int) -> bool:
    """Whether a tree holds tensors, each with a row for every one of n examples."""
    found = tensors(tree)
    return bool(found) and all(t.ndim and len(t) == n for t in found)

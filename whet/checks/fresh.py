"""FG: the gradient that the optimizer uses is of its own batch; nothing of the step before is left in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from whet.checks.registry import Fact, Stage
from whet.checks.sandbox import randomness
from whet.checks.subject import Subject, rows
from whet.checks.watch import Cycle, between, cycle, flat, trial, unwatched
from whet.finding import Finding, NotRun, Severity

__all__ = ["Fresh"]


class Fresh:
    """FAIL when the gradient at the optimizer's second step is more than 1e-3 away from a fresh one, relative to it.

    The fresh one is what the user's own step computes from the same weights, batch and random numbers when no
    gradients are there yet. So clipping, accumulation, loss scaling and penalties in the step are in both. The first
    step has the first half of the batch and the second the other, for clipping would hide what is left of equal ones.

    >>> net = torch.nn.Linear(2, 1)
    >>> optimizer = torch.optim.SGD(net.parameters(), 0.1)
    >>> def step(batch):
    ...     torch.nn.functional.mse_loss(net(batch[0]), batch[1]).backward()
    ...     optimizer.step()
    >>> batch = torch.randn(8, 2), torch.randn(8, 1)
    >>> s = Subject(net, torch.nn.MSELoss(), batch[:1], batch[1], optimizer, step=step, given=batch)
    >>> [i.code for i in Fresh().look(s) if isinstance(i, Finding)]
    ['FG']
    """

    code, stage, passes = "FG", Stage.STEPS, 6
    threshold, repeats = 1e-3, 1e-4

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Run the step twice, the second time also without what the first left behind."""
        reason = unwatched(subject, self.code)
        if reason is not None:
            yield reason
            return
        half = subject.n // 2
        found = self._compare(subject, half) if half >= 2 else "few"
        if isinstance(found, str):  # a step made for one size of batch
            found = self._compare(subject, 0)
        if isinstance(found, str):
            yield NotRun(self.code, found)
            return
        yield Fact(f"gradients are fresh (off by {found['off']:.1g})" if found["off"] <= self.threshold else
                   f"gradients are off by {found['off']:.2g}", found)  # fmt: skip
        if found["off"] > self.threshold:
            yield Finding(
                self.code, Severity.FAIL, subject.at("step"), found,
                f"the gradient at the second step is {found['off']:.2g} of its size away from a fresh one (allowed "
                f"{self.threshold:g}): that of the step before is still in it",
                "optimizer.zero_grad() before loss.backward()",
            )  # fmt: skip

    def _compare(self, subject: Subject, half: int) -> dict[str, Any] | str:
        """Return how far the used gradient is from the fresh one, or why that is not known."""
        n = subject.n
        first = rows(subject.given, torch.arange(half), n) if half else subject.given
        second = rows(subject.given, torch.arange(half, n), n) if half else subject.given
        with trial(subject, self.code) as things:
            opening = cycle(subject, lambda _: first, things)
            why = _unusable(opening)
            if why:
                return why
            cycles = []
            for _ in range(2):
                with between(things, subject.seed):
                    cycles.append(cycle(subject, lambda _: second, things))
            with randomness(subject.seed, "check", "between"):
                cycles.append(cycle(subject, lambda _: second, things))
        for seen in cycles:
            why = _unusable(seen)
            if why:
                return why
        fresh, again, used = (flat(c.grads) for c in cycles)
        size = float(fresh.norm())
        if fresh.shape != again.shape or not torch.isfinite(fresh).all() or size == 0:
            return "the step's gradient is 0, not finite, or of changing parameters"
        apart = float((fresh - again).norm()) / size
        if apart > self.repeats:
            return f"the step computes another gradient each time from the same state ({apart:.1g} apart)"
        off = float((used - fresh).norm()) / size if used.shape == fresh.shape else float("inf")
        return {"off": off, "threshold": self.threshold, "n": n - half, "calls": cycles[2].calls,
                "fresh": size, "used": float(used.norm()), "repeats": apart}  # fmt: skip


def _unusable(seen: Cycle) -> str:
    """Return why a cycle says nothing about gradients, or ""."""
    if seen.error is not None:
        return f"the step raises: {type(seen.error).__name__}: {seen.error}"[:300]
    if not seen.stepped:
        return f"the optimizer did not step in {seen.calls} calls of the step"
    return "" if seen.grads else "the optimizer steps without any gradient"

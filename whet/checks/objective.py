"""LOSS: the loss by itself, fed with outputs made up for it: its direction, its floor, its gradient, its repeatability."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from whet.checks.floor import far, floor, linked, softmax_floor
from whet.checks.heads import turned
from whet.checks.registry import Fact, Stage
from whet.checks.subject import Answer, Subject, answer, mapped, tensors
from whet.finding import Finding, NotRun, Severity

__all__ = ["Objective"]


class Objective:
    """FAIL when the loss contradicts learning, whatever the model.

    It changes from call to call on the same numbers; its gradient with respect to the outputs is 0 everywhere
    (clamped); right answers cost more than wrong ones (a sign); a softmax is hidden in it, so that it cannot fall
    below log(1 + (C-1)/e); or it takes log-probabilities and is given scores. WARN when it falls as one of several
    outputs goes wrong.

    >>> class Wrong(torch.nn.Module):
    ...     def forward(self, scores, targets):
    ...         return -torch.nn.functional.cross_entropy(scores, targets)
    >>> sick = Subject(torch.nn.Linear(4, 3), Wrong(), (torch.randn(8, 4),), torch.arange(8) % 3)
    >>> [i.message[:30] for i in Objective().look(sick) if isinstance(i, Finding)]
    ['right answers cost more than w']
    """

    code, stage, passes = "LOSS", Stage.PARTS, 2

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Probe the loss with the model's outputs, with right and with wrong answers."""
        with subject.look(self.code):
            subject.model.eval()
            with torch.no_grad():
                outputs = subject.forward()
                misfit = self._misfit(subject, outputs, answer(outputs, subject.targets))
                subject, outputs, kind = linked(subject, outputs, subject.targets)
            start = float(subject.cost(outputs))
            least = floor(subject.cost, outputs, subject.targets, kind)
            numbers: dict[str, Any] = {
                "loss": start,
                "floor": least,
                "n": subject.n,
                "answer": kind.kind if kind else "other",
            }
            text = "" if least is None or not math.isfinite(least) else f"the loss can fall to {least + 0.0:.2g}"
            yield Fact(text, numbers)
            found = self._judge(subject, outputs, kind, numbers) if misfit is None else misfit
            if found is None and kind is None and (part := turned(subject, outputs, subject.targets)) is not None:
                name, right, wrong = part
                yield Finding(self.code, Severity.WARN, subject.at("loss"), {**numbers, "right": right, "wrong": wrong},
                              f"right answers of {name} cost more than wrong ones ({right:.3g} against {wrong:.3g}): its part has the wrong sign",
                              "add its loss, do not subtract it; allow=('LOSS',) for an adversary")  # fmt: skip
            if found is not None:
                message, fix = found
                yield Finding(self.code, Severity.FAIL, subject.at("loss"), numbers, message, fix)

    def _judge(
        self, subject: Subject, outputs: Any, kind: Answer | None, numbers: dict[str, Any]
    ) -> tuple[str, str] | None:
        """Return the first thing that is wrong: its message and its fix."""
        again = [float(subject.cost(outputs)) for _ in range(3)]
        spread = max(again) - min(again)
        if spread > 1e-5 * (1 + abs(again[0])):
            numbers["repeats"] = again
            return (f"the loss changes by {spread:.3g} when called again with the same outputs and targets",
                    "do not shuffle targets, drop or draw anything inside the loss")  # fmt: skip
        gradient = self._gradient(subject, outputs)
        if gradient == 0.0 and self._gradient(subject, _noisy(outputs)) == 0.0:
            return ("the gradient of the loss is 0 for every output: it is constant here",
                    "remove the clamp (or max, round, argmax, sign) from the loss")  # fmt: skip
        if kind is None:
            return None
        if kind.kind == "classes":
            return self._classes(subject, outputs, kind, numbers)
        scale = 1e3 * (1 + float(outputs.abs().max()) + float(subject.targets.double().abs().max()))
        wild = [float(subject.cost(torch.randn_like(outputs) * scale)) for _ in range(3)]
        if max(wild) < -10 * (abs(numbers["loss"]) + 1):
            numbers["wild"] = wild
            return (
                "wild guesses cost less than the model's outputs: the loss has the wrong sign",
                "return loss, not -loss",
            )
        return None

    def _misfit(self, subject: Subject, outputs: Any, kind: Answer | None) -> tuple[str, str] | None:
        """Return what is wrong when the loss only negates the target's output (NLL) and that is no log-probability."""
        if kind is None or kind.kind != "classes":
            return None
        flat = torch.zeros_like(outputs)
        level, moved = float(subject.cost(flat)), float(subject.cost(flat + 3))
        if abs(level) > 1e-3 or abs(moved - level + 3) > 1e-3:
            return None
        mass = outputs.exp().sum(kind.axis)
        if bool(((mass - 1).abs() < 1e-3).all()):
            return None
        return ("the loss takes log-probabilities (it has no floor) but the outputs are not: exp of a row sums to "
                f"{float(mass.flatten()[0]):.3g}", "use CrossEntropyLoss on raw scores, or end the model in LogSoftmax(dim=1)")  # fmt: skip

    def _gradient(self, subject: Subject, outputs: Any) -> float | None:
        """Return the largest gradient of the loss at these outputs; None when there is none to take."""
        leaves = [t.requires_grad_() for t in tensors(outputs) if t.is_floating_point() or t.is_complex()]
        cost = subject.cost(outputs)
        if not leaves or not cost.requires_grad:
            return None
        grads = torch.autograd.grad(cost, leaves, allow_unused=True)
        for leaf in leaves:
            leaf.requires_grad_(False)
        if all(g is None for g in grads):  # it asks the model itself, as the residual of an equation does
            return None
        return max((float(g.abs().max()) for g in grads if g is not None and g.numel()), default=0.0)

    def _classes(
        self, subject: Subject, outputs: Tensor, kind: Answer, numbers: dict[str, Any]
    ) -> tuple[str, str] | None:
        """Judge a loss of class scores: right against wrong, hidden softmax, log-probabilities."""
        flat, up = torch.zeros_like(outputs), far(outputs, subject.targets, kind, 30.0)
        level, right, wrong = (float(subject.cost(o)) for o in (flat, up, -up))
        numbers |= {"level": level, "right": right, "wrong": wrong, "classes": kind.count}
        if right > level + 1e-3 and wrong < level - 1e-3:
            return (
                f"right answers cost more than wrong ones ({right:.3g} against {wrong:.3g})",
                "return loss, not -loss",
            )
        least, hidden = numbers["floor"], softmax_floor(kind.count)
        same = right - wrong  # a softmax or sigmoid in the loss bounds it on both sides
        if least is not None and kind.count > 2 and abs(least - hidden) < 2e-3 and abs(same) < 2:
            return (f"the loss cannot fall below {least:.4f} = log(1 + (C-1)/e) for C={kind.count}: it applies softmax or "
                    "sigmoid to the outputs and cross-entropy another one", "give cross_entropy the raw scores (logits)")  # fmt: skip
        return None


def _noisy(outputs: Any) -> Any:
    """Return outputs with noise of unit size, to rule out that a gradient is 0 by chance."""
    return mapped(lambda t: t + torch.randn_like(t) if t.is_floating_point() or t.is_complex() else t, outputs)

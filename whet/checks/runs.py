"""RUN: the program computes a finite loss with a gradient, and leaves its inputs alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from whet.checks.registry import Fact, Stage
from whet.checks.remedy import for_loss, for_model, not_finite
from whet.checks.subject import Subject, tensors
from whet.checks.traced import few
from whet.errors import TaskError, one_line
from whet.finding import Finding, NotRun, Severity

__all__ = ["Runs", "shapes"]


def shapes(tree: Any) -> str:
    """Return the shapes and dtypes in a tree, as a person writes them.

    >>> shapes((torch.zeros(4, 2), torch.ones(4, dtype=torch.int64)))
    '(4, 2) float32, (4,) int64'
    """
    found = [f"{tuple(t.shape)} {str(t.dtype).removeprefix('torch.')}" for t in tensors(tree)]
    return ", ".join(found) or type(tree).__name__


class Runs:
    """FAIL when model, loss or backward pass raises, the loss is no tensor, is not finite, or has no gradient; WARN when inputs are
    edited in place; INFO when the loss is a vector.

    >>> [type(i).__name__ for i in Runs().look(Subject(torch.nn.Linear(2, 1), torch.nn.MSELoss(),
    ...  (torch.ones(4, 2),), torch.ones(4, 1)))]
    ['Fact']
    """

    code, stage, passes = "RUN", Stage.RUNS, 1

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Do one forward and backward pass in training mode."""
        with subject.look(self.code):
            yield from self._pass(subject)

    def _pass(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Yield what one pass shows."""
        model, inputs, targets = subject.model, subject.inputs, subject.targets

        def bad(part: Any, message: str, fix: str, **evidence: Any) -> Finding:
            return Finding(self.code, Severity.FAIL, subject.at(part), evidence, one_line(message).rstrip("."), fix)

        model.train()
        given = subject.copies()
        before = [t.clone() for t in tensors(given)]  # to see whether the model writes into its inputs
        began = time.perf_counter()
        try:
            entered = few(subject, given, targets)  # before the model: it may write into what it is given
            outputs = subject.forward(given, copy=False)
        except (Exception, SystemExit) as error:
            got = f"{type(error).__name__}: {error}"
            yield bad("model", f"the model raises on inputs {shapes(inputs)}: {got}"[:400], for_model(subject, error),
                      error=one_line(got)[:300])  # fmt: skip
            return
        changed = not _equal(given, before)
        if not tensors(outputs):
            yield bad("model", f"the model returns {type(outputs).__name__} with no tensor in it", "return a tensor")
            return
        both = f"outputs {shapes(outputs)} and targets {shapes(targets)}"
        try:
            vector = subject.loss(outputs, targets)
            loss = subject.cost(outputs)
        except TaskError as error:
            yield bad(
                "loss", str(error), "return the loss itself, with its gradient: without .item(), float() or .numpy()"
            )
            return
        except (Exception, SystemExit) as error:
            got = f"{type(error).__name__}: {error}"
            more, fix = for_loss(subject, outputs, error)
            yield bad("loss", f"the loss raises on {both}{more}: {got}"[:400], fix, error=one_line(got)[:300])
            return
        if loss.is_complex():
            yield bad(
                "loss",
                f"the loss is {shapes(loss)}, and only a real number can be made smaller",
                "take .abs() or .real of it",
            )
            return
        if not bool(torch.isfinite(loss)):
            part = "loss" if all(bool(torch.isfinite(t).all()) for t in tensors(outputs)) else "model"
            held = not_finite(subject, outputs)
            yield bad(part, f"the loss on the first batch is {float(loss)}" + (f": {held} are not finite" if held else ""),
                      "look for log(0), division by 0, overflow or missing values in the inputs: "
                      "torch.isfinite(inputs).all()", loss=float(loss), n=subject.n)  # fmt: skip
            return
        if not loss.requires_grad:
            yield bad(*self._cut(subject, outputs))
            return
        try:
            loss.backward()
        except (Exception, SystemExit) as error:
            got = one_line(f"{type(error).__name__}: {error}")
            yield bad("model", f"the backward pass raises {got}"[:400], "do not write in place (+=, relu_, inplace=True) into what a "
                      "layer still needs, nor use a tensor of an earlier step without detach(); "
                      "torch.autograd.set_detect_anomaly(True) names the operation", error=got[:300])  # fmt: skip
            return
        grads = [
            p.grad.coalesce().values() if p.grad.is_sparse else p.grad for p in model.parameters() if p.grad is not None
        ]
        if not all(bool(torch.isfinite(g).all()) for g in grads):
            yield bad("model", "the loss is finite but its gradient is not", "look for sqrt, log, norm or division at 0; "
                      "torch.autograd.detect_anomaly() names the operation", loss=float(loss.detach()))  # fmt: skip
            return
        numbers = {"loss": float(loss.detach()), "n": subject.n, "outputs": shapes(outputs), "targets": shapes(targets)}
        taken = time.perf_counter() - began
        for _ in range(2 if 0.02 < taken < 2 else 0):  # the first pass also sets things up
            began = time.perf_counter()
            subject.cost(subject.forward()).backward()
            taken = min(taken, time.perf_counter() - began)
        yield Fact(f"runs on {subject.n} example{'' if subject.n == 1 else 's'}", numbers, taken, drawn=entered)
        if isinstance(vector, Tensor) and vector.numel() > 1:
            yield Finding(self.code, Severity.INFO, subject.at("loss"), {"shape": list(vector.shape)},
                          f"the loss returns {shapes(vector)} values; the checks take their mean", "loss(...).mean()")  # fmt: skip
        if changed:
            yield Finding(self.code, Severity.WARN, subject.at("model"), {"n": subject.n},
                          "the model changes its inputs in place, and with them the data they are a view of",
                          "use x = x + 1 in place of x += 1, and no inplace=True on the first layer")  # fmt: skip

    def _cut(self, subject: Subject, outputs: Any) -> tuple[str, str, str]:
        """Return where, why and what to do when the loss has no gradient."""
        held = list(subject.model.parameters())
        free = "set requires_grad=True on what should learn"
        if not held:
            return "model", "the model has no parameters, so there is nothing to train", "give it a layer that has some"
        if not any(p.requires_grad for p in held):
            return "model", f"all {len(held)} parameters of the model are frozen, so there is nothing to train", free
        part = "loss" if any(t.requires_grad for t in tensors(outputs)) else "model"
        return part, "the loss has no gradient: the path to the weights is cut", (
            f"remove no_grad, detach, .item(), argmax and .data between the weights and the loss; {free}"
        )  # fmt: skip


def edited(subject: Subject) -> bool:
    """Whether the model writes into the tensors it is given."""
    given = subject.copies()
    before = [t.clone() for t in tensors(given)]
    with torch.no_grad():
        subject.forward(given, copy=False)
    return not _equal(given, before)


def _equal(given: Any, before: list[Tensor]) -> bool:
    """Whether a tree still holds what it held before, not-a-number included."""
    return all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(tensors(given), before, strict=True))

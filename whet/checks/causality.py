"""TIME: an output that is to predict a step of a sequence does not see that step, nor what comes after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from whet.checks.foresight import exactly, foresight
from whet.checks.registry import Fact, Stage
from whet.checks.sequence import UNORDERED, Order, order, sequential
from whet.checks.subject import Subject
from whet.finding import INAPPLICABLE, Finding, NotRun, Severity

__all__ = ["Causality"]


class Causality:
    """FAIL when the outputs whose target is step u of the inputs react to step u or a later one.

    For batches whose targets are their own inputs one step later (language models, forecasts), found by comparison, or
    equal to them with a loss that shifts by itself; and where the caller says causal=True. Which outputs belong to a
    target is found by changing that target: the gradient of the loss moves there and nowhere else. Steps from u on, then
    those before u, are exchanged for others in eval mode: the leak is the first reaction over the second, and more than
    1e-6 of it is a fault (a mask of -10 leaves 2e-5, one of -1e4 or -inf exactly 0). What is left of a leak in double
    precision decides, for a causal convolution by Fourier transform rounds. FAIL too when targets equal the inputs,
    unshifted, and the model is causal: it need only copy.

    >>> class Mean(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.embed, self.head = torch.nn.Embedding(9, 8), torch.nn.Linear(8, 9)
    ...     def forward(self, tokens):
    ...         return self.head(self.embed(tokens).mean(1, keepdim=True) + self.embed(tokens)).transpose(1, 2)
    >>> x = torch.randint(0, 9, (4, 7))
    >>> s = Subject(Mean(), torch.nn.CrossEntropyLoss(), (x[:, :-1],), x[:, 1:])
    >>> [i.code for i in Causality().look(s) if isinstance(i, Finding)]
    ['TIME']
    """

    code, stage, passes = "TIME", Stage.WIRING, 24
    threshold, few = 1e-6, 4

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Exchange steps of the inputs and see what the outputs do."""
        found = order(subject)
        if found is None:
            shifted = (
                "the targets are not the inputs shifted by a step; say causal=True where later inputs must not matter"
            )
            yield NotRun(self.code, "targets and inputs have no common axis of time" if subject.causal else
                         INAPPLICABLE + (shifted if sequential(subject) else UNORDERED))  # fmt: skip
            return
        with subject.look(self.code):
            part, at = self._part(subject, found)
            part.model.eval()
            measured = foresight(part, at)
            if isinstance(measured, dict) and measured["own"] == 0:
                with torch.no_grad():  # a last layer of zeros hides the wiring
                    for p in part.model.parameters():
                        if p.is_floating_point():
                            p.add_(torch.randn_like(p), alpha=0.1)
                measured = foresight(part, at)
            if isinstance(measured, dict) and self.threshold < measured["leak"] < 1e-2:
                measured = exactly(part, at) or measured
        if isinstance(measured, str):
            yield NotRun(self.code, measured)
            return
        leak, where = measured["leak"], subject.at("model")
        numbers = {**measured, "threshold": self.threshold}
        if measured["own"] == 0:
            yield NotRun(self.code, "the outputs do not react to earlier steps either")
            return
        yield Fact(
            f"time runs forward (leak {leak:.1g})"
            if leak <= self.threshold
            else f"outputs see ahead (leak {leak:.2g})",
            numbers,
        )
        if leak <= self.threshold:
            return
        if measured["copies"]:
            yield Finding(self.code, Severity.FAIL, subject.at("loss"), numbers,
                          "the targets equal the inputs, unshifted, and the model sees no later step: it need only copy",
                          "predict the next token: inputs, targets = tokens[:, :-1], tokens[:, 1:]")  # fmt: skip
            return
        what = "later inputs" if found.declared else "the step it is to predict, or later ones"
        yield Finding(
            self.code, Severity.FAIL, where, numbers,
            f"an output reacts to {what} ({leak:.2g} of its reaction to earlier ones, allowed {self.threshold:g})",
            "mask = torch.ones(T, T, dtype=torch.bool).triu(1); scores.masked_fill(mask, -torch.inf) before the softmax; "
            "no bidirectional layers, and pad convolutions on the left only",
        )  # fmt: skip

    def _part(self, subject: Subject, found: Order) -> tuple[Subject, Order]:
        """Return a few examples, their number unlike that of the steps; the whole batch where it has time first."""
        if found.flip or subject.n != len(found.inputs):
            return subject, found
        size = next((k for k in (self.few, 3, 5, 2) if k != found.inputs.shape[1] and k <= subject.n), 1)
        best = found.known.sum(1).argsort(descending=True)[:size].cpu()
        part = subject.take(best)
        shape = part.targets.shape
        at = best.to(found.inputs.device)
        return part, replace(
            found, inputs=found.inputs[at], targets=found.targets[at], known=found.known[at], shape=shape
        )

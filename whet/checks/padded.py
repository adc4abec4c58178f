"""PAD: steps that only fill up a sequence have no part in the loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from whet.checks.registry import Fact, Stage
from whet.checks.runs import shapes
from whet.checks.sequence import UNORDERED, filled, scores, sequential
from whet.checks.subject import Subject
from whet.finding import INAPPLICABLE, Finding, NotRun, Severity

__all__ = ["Padding"]


class Padding:
    """WARN when the loss has a gradient at outputs whose input is padding (more than 1e-6 of the whole).

    Padding is known by its look: one token, or rows of zeros, or the zeros of a mask, that fill sequences up from one end
    to unequal lengths and stand nowhere else. A loss that ignores it, by index or by a mask, has no gradient there.

    >>> x = torch.tensor([[5, 2, 7, 0, 0], [3, 4, 0, 0, 0], [8, 1, 6, 2, 4]])
    >>> net = torch.nn.Embedding(9, 9)
    >>> s = Subject(net, lambda o, t: torch.nn.functional.cross_entropy(o.transpose(1, 2), t), (x,), x.roll(-1, 1))
    >>> [i.severity.value for i in Padding().look(s) if isinstance(i, Finding)]
    ['WARN']
    """

    code, stage, passes = "PAD", Stage.WIRING, 2
    threshold = 1e-6

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Take the gradient of the loss with respect to the outputs, step by step."""
        found = filled(subject)
        if found is None:
            yield NotRun(self.code, INAPPLICABLE + ("no padding in the batch" if sequential(subject) else UNORDERED))
            return
        pad, flip = found
        with subject.look(self.code):
            subject.model.eval()
            with torch.no_grad():
                outputs = subject.forward()
            lay = scores(outputs, (pad.shape[0], pad.shape[1]), flip)
            targets = subject.targets
            if lay is None or not isinstance(targets, Tensor) or targets.numel() < pad.numel() - len(pad):
                yield NotRun(
                    self.code, f"outputs {shapes(outputs)} or targets {shapes(targets)} are not one for each step"
                )
                return
            free = outputs.detach().clone().requires_grad_()
            gradient = lay(torch.autograd.grad(subject.cost(free), free)[0]).double().abs().sum(2)
        whole = float(gradient.sum())
        share = float(gradient[pad].sum()) / whole if whole else 0.0
        used = (gradient > 0) & pad
        numbers: dict[str, Any] = {
            "share": share, "threshold": self.threshold, "padded": int(pad.sum()), "used": int(used.sum()), "n": pad.numel(),
        }  # fmt: skip
        yield Fact(
            "padding has no part in the loss"
            if share <= self.threshold
            else f"{share:.0%} of the gradient is of padding",
            numbers,
        )
        if share > self.threshold:
            yield Finding(
                self.code, Severity.WARN, subject.at("loss"), numbers,
                f"{int(used.sum())} of {pad.numel()} steps in the loss are padding, with {share:.2g} of its gradient (allowed {self.threshold:g})",
                "nn.CrossEntropyLoss(ignore_index=PAD), or (losses * mask).sum() / mask.sum()",
            )  # fmt: skip

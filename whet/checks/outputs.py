"""OUT: the outputs can take the values that the loss expects of them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from whet.checks.floor import far, linked, softmax_floor
from whet.checks.registry import Fact, Stage
from whet.checks.subject import Answer, Subject, answer
from whet.finding import Finding, NotRun, Severity

__all__ = ["Outputs"]


class Outputs:
    """FAIL when outputs are squeezed into a range that the loss cannot work with.

    Softmax, sigmoid or ReLU before a cross-entropy that takes logits itself; sigmoid before BCEWithLogits; a last
    layer whose range cannot reach the targets of a regression. Rows that sum to 1 are seen at once; a range is
    proven by drawing the weights anew, five times over and far larger: a linear last layer leaves any range.

    >>> from torch import nn
    >>> net = nn.Sequential(nn.Linear(4, 3), nn.Softmax(1))
    >>> sick = Subject(net, nn.CrossEntropyLoss(), (torch.randn(8, 4),), torch.arange(8) % 3)
    >>> [i.severity.value for i in Outputs().look(sick) if isinstance(i, Finding)]
    ['FAIL']
    """

    code, stage, passes = "OUT", Stage.PARTS, 6
    draws = 5

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Compare the range of the outputs with what the loss does to them."""
        with subject.look(self.code):
            subject.model.eval()
            with torch.no_grad():
                outputs = subject.forward()
                kind = answer(outputs, subject.targets)
                if kind is None:
                    yield NotRun(
                        self.code, "outputs and targets are not class scores and class numbers, nor values and values"
                    )
                    return
                low, high = self._range(subject, outputs)
                now = float(outputs.min()), float(outputs.max())
                numbers = {"low": low, "high": high, "n": len(outputs), "draws": self.draws, "now": list(now)}
                yield Fact(f"outputs {now[0]:.2g} to {now[1]:.2g}", numbers)
                if linked(subject, outputs, subject.targets)[0] is not subject:
                    return  # the loss wants probabilities, and gets them
                if kind.kind == "classes":
                    yield from self._classes(subject, outputs, kind, low, high)
                else:
                    yield from self._values(subject, outputs, low, high)

    def _range(self, subject: Subject, outputs: Tensor) -> tuple[float, float]:
        """Return the least and greatest output over the model as it is and with other, larger weights."""
        low, high = float(outputs.min()), float(outputs.max())
        for _ in range(self.draws):
            for p in subject.model.parameters():
                if p.is_floating_point():
                    p.copy_(torch.randn_like(p))
            drawn = subject.forward()
            drawn = drawn[torch.isfinite(drawn)]
            if drawn.numel():
                low, high = min(low, float(drawn.min())), max(high, float(drawn.max()))
        return low, high

    def _classes(self, subject: Subject, outputs: Tensor, kind: Answer, low: float, high: float) -> Iterator[Finding]:
        """Judge class scores, when the loss takes logits: adding a number to all scores changes nothing."""
        scores = torch.randn_like(outputs)
        here, moved = subject.cost(scores), subject.cost(scores + 3)
        if abs(float(moved - here)) > 1e-3 * (1 + abs(float(here))):
            return  # a loss of probabilities or log-probabilities: its own business
        sums, severity = outputs.sum(kind.axis), Severity.FAIL
        evidence = {"low": low, "high": high, "n": len(outputs), "classes": kind.count, "draws": self.draws,
                    "floor": softmax_floor(kind.count)}  # fmt: skip
        if bool(((outputs.exp().sum(kind.axis) - 1).abs() < 1e-4).all()):
            severity = Severity.INFO  # it changes nothing: log-probabilities are scores whose log-softmax they are
            message = "outputs are log-probabilities (a log-softmax) before a loss that applies its own: harmless, and done twice"
            fix = "remove the LogSoftmax from the model, or use NLLLoss"
        elif low >= -1e-6 and bool(((sums - 1).abs() < 1e-4).all()):
            what, least = "probabilities (rows >= 0 that sum to 1): a softmax", softmax_floor(kind.count)
            message = f"outputs are {what} before a loss that applies its own; it cannot fall below {least:.3f}"
            fix = "remove the Softmax from the model; the loss wants raw scores (logits)"
        elif low >= -1e-6 and bool(((outputs.sum(0) - 1).abs() < 1e-4).all()):
            message = "outputs are a softmax over the examples of the batch (columns sum to 1), before a loss that applies its own"
            fix = "remove the Softmax(dim=0) from the model; the loss wants raw scores (logits)"
        elif low >= -1e-6 and high <= 1 + 1e-6:
            message = (f"outputs stay in [0, 1] whatever the weights: a sigmoid before a loss that applies its own softmax; "
                       f"it cannot fall below {softmax_floor(kind.count):.3f}")  # fmt: skip
            fix = "remove the Sigmoid from the model, or use BCEWithLogitsLoss on one-hot targets without it"
        elif low >= -1e-6:
            message = "class scores are never negative, whatever the weights: a ReLU after the last layer"
            fix = "remove the ReLU after the last layer; the loss wants raw scores (logits)"
        elif low >= -1 - 1e-6 and high <= 1 + 1e-6:
            message = "class scores stay in [-1, 1] whatever the weights: a tanh after the last layer"
            fix = "remove the Tanh after the last layer, or divide the scores by a temperature"
            if self._scaled(subject, outputs, kind):
                return
            severity = Severity.WARN  # with few classes it learns nearly as well
        else:
            return
        yield Finding(self.code, severity, subject.at("model"), evidence, message, fix)

    def _scaled(self, subject: Subject, outputs: Tensor, kind: Answer) -> bool:
        """Whether the loss itself scales bounded scores up, as for cosine classifiers: right scores of +-1 cost little."""
        return float(subject.cost(2 * far(outputs, subject.targets, kind, 1.0) - 1)) < 0.1

    def _values(self, subject: Subject, outputs: Tensor, low: float, high: float) -> Iterator[Finding]:
        """Judge values: twice a sigmoid, or targets beyond the range."""
        targets = subject.targets.reshape(outputs.shape)
        evidence = {"low": low, "high": high, "n": len(outputs), "target_low": float(targets.min()),
                    "target_high": float(targets.max()), "draws": self.draws}  # fmt: skip
        where = subject.at("model")
        binary = bool(((targets == 0) | (targets == 1)).all())
        bounded = low >= -1e-6 and high <= 1 + 1e-6
        if binary and bounded:
            scores = torch.randn_like(outputs)
            theirs = float(subject.cost(scores))
            ours = float(F.binary_cross_entropy_with_logits(scores, targets.to(scores.dtype)))
            if abs(theirs - ours) < 1e-4 * (1 + abs(ours)):
                yield Finding(self.code, Severity.FAIL, where, evidence,
                              "outputs stay in [0, 1] whatever the weights: a sigmoid before BCEWithLogits, which applies its own",
                              "remove the Sigmoid from the model")  # fmt: skip
            return
        span = high - low
        beyond = ((targets < low - 0.01 * span) | (targets > high + 0.01 * span)).double().mean()
        compared = float(subject.cost(targets.clone())) <= 1e-3 * abs(float(subject.cost(outputs)))
        if float(beyond) > 0 and targets.is_floating_point() and _bounded(low, high) and compared:
            evidence["beyond"] = float(beyond)
            yield Finding(
                self.code, Severity.FAIL if float(beyond) > 0.05 else Severity.WARN, where, evidence,
                f"{float(beyond):.0%} of the targets lie beyond what the last layer can give ({low:.3g} to {high:.3g} "
                f"whatever the weights; targets {float(targets.min()):.3g} to {float(targets.max()):.3g})",
                "remove the activation after the last layer, or scale the targets into its range",
            )  # fmt: skip


def _bounded(low: float, high: float) -> bool:
    """Whether a range is that of an activation that ends somewhere: ReLU, sigmoid, tanh."""
    return abs(low) < 1e-6 or (abs(low + 1) < 1e-3 and abs(high - 1) < 1e-3)

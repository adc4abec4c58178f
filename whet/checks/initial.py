"""INIT: at initialisation the loss is that of a model that knows the shares of the targets and nothing else."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from whet.checks.floor import best_constant, linked
from whet.checks.registry import Fact, Stage
from whet.checks.subject import Answer, Subject
from whet.finding import INAPPLICABLE, Finding, NotRun, Severity

__all__ = ["Initial", "quiet"]

NORMAL = statistics.NormalDist()
_DROPS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_RATES = ("dropout", "drop_prob", "drop_rate", "p_drop")


def quiet(model: nn.Module) -> None:
    """Put a model in training mode with every dropout off, so that only its weights speak.

    Dropout modules, the dropout options of recurrent and attention layers, and plain rates by the names dropout,
    drop_prob, drop_rate; one that a forward method draws by itself stays on.

    >>> net = nn.Sequential(nn.Dropout(0.5), nn.LSTM(1, 1, 2, dropout=0.3))
    >>> quiet(net); net.training, net[0].training, net[1].dropout
    (True, False, 0.0)
    """
    model.train()
    for module in model.modules():
        if isinstance(module, _DROPS):
            module.eval()
        for rate in _RATES:
            if isinstance(vars(module).get(rate), float):
                setattr(module, rate, 0.0)


class Initial:
    """Compare the loss at initialisation with that of the best constant output, example by example.

    d_i = loss_i + log p(y_i) for cross-entropy; in general loss_i minus the loss of the best constant output (entropy
    of the class shares; variance; mean absolute deviation). Pairing cancels the noise of drawing labels.
    WARN if mean d > 4 sd(d)/sqrt(n) + 5 % of the expected loss, both as it is and averaged with the mirrored outputs
    (twice the constant minus the output): random weights are as likely as their opposite, so a chance agreement or
    disagreement with the targets, which is large when inputs are few and telling, cancels and their size remains.
    FAIL if class scores cost 50 % and 2 nats too much either way and uniform shares do not explain it (with few classes
    50 % alone is little: unscaled inputs and default weights reach it). A loss less than
    half the expected one is WARN for a fresh model of a task, INFO else. WARN when the loss sums over the batch.

    >>> hot = nn.Linear(4, 3); hot.weight.data *= 100
    >>> s = Subject(hot, nn.CrossEntropyLoss(), (torch.randn(90, 4),), torch.arange(90) % 3)
    >>> [i.severity.value for i in Initial().look(s) if isinstance(i, Finding)]
    ['FAIL']
    """

    code, stage, passes = "INIT", Stage.START, 2
    share, fail, nats, most = 0.05, 0.5, 2.0, 512

    def look(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Compute the loss of every example by itself, before any step."""
        if subject.optimizer is not None and len(subject.optimizer.state):
            yield NotRun(
                self.code, INAPPLICABLE + "the optimizer has taken steps already: the model is not at initialisation"
            )
            return
        with subject.look(self.code):
            yield from self._compare(subject)

    def _compare(self, subject: Subject) -> Iterator[Finding | Fact | NotRun]:
        """Yield the comparison."""
        inputs, targets = subject.sample or (subject.inputs, subject.targets)
        quiet(subject.model)
        with torch.no_grad():
            outputs = subject.forward(inputs)
            subject, outputs, kind = linked(subject, outputs, targets)
            if kind is None:
                yield NotRun(self.code, "no expected loss is known for this pair of outputs and targets")
                return
            outputs, targets = outputs[: self.most], targets[: self.most]
            whole = float(subject.cost(outputs, targets))
        room = max(len(targets), min(20_000, 20_000_000 // max(1, outputs[0].numel())))
        known = subject.data.train.targets[:room] if subject.data is not None else targets
        blind = self._blind(subject, outputs, known, kind)
        losses = subject.each(outputs, targets)
        base = subject.each(blind.expand_as(outputs).contiguous(), targets)
        keep = torch.isfinite(losses) & torch.isfinite(base)  # examples whose only target is ignored give nan
        losses, base = losses[keep], base[keep]
        n = len(losses)
        expected = float(base.mean()) if n else 0.0
        if n < 2 or abs(expected) < 1e-3 * abs(float(losses.mean())) or abs(expected) < 1e-8:
            yield NotRun(self.code, "the targets are all alike, so nothing can be expected of the loss")
            return
        loss, d = float(losses.mean()), losses - base
        tolerance = 4 * float(d.std()) / math.sqrt(n) + self.share * abs(expected)
        if bool((blind != 0).any()):  # fitted on these targets, the constant flatters itself by about this much
            tolerance += (
                kind.count / known.numel() if kind.kind == "classes" else blind.numel() / len(known) * abs(expected)
            )
        numbers: dict[str, Any] = {"loss": loss, "expected": expected, "tolerance": tolerance, "n": n,
                                   "excess": float(d.mean()), "sd": float(d.std()), "answer": kind.kind}  # fmt: skip
        error = float(d.std()) / math.sqrt(n)
        beyond = abs(float(d.mean())) - self.share * abs(expected)
        numbers["p"] = NORMAL.cdf(-beyond / error) if error else float(beyond <= 0)
        yield Fact(f"loss at init {_short(loss, tolerance)} (expected {_short(expected, tolerance)} +- "
                   f"{_short(tolerance, tolerance)})", numbers)  # fmt: skip
        if n >= 4 and abs(whole / loss / len(targets) - 1) < 0.02 and abs(whole) > 1e-6:
            exact = {k: v for k, v in numbers.items() if k != "p"} | {"whole": whole}
            yield Finding(self.code, Severity.WARN, subject.at("loss"), exact,
                          f"the loss of a batch is {n} times that of an example: it is summed, so steps grow with the batch",
                          "use reduction='mean', or divide by the number of examples")  # fmt: skip
        mirrored = subject.each(2 * blind - outputs, targets)[keep]
        numbers["mirrored"] = float(((losses + mirrored) / 2 - base).mean())
        uniform = kind.kind == "classes" and self._uniform(
            subject, outputs, targets, losses, keep, expected + tolerance
        )
        high = loss - expected > tolerance and (uniform or numbers["mirrored"] > tolerance)
        if high or expected - loss > max(tolerance, self.fail * abs(expected)):
            yield self._finding(subject, outputs, numbers, kind, known, uniform)

    def _blind(self, subject: Subject, outputs: Tensor, known: Tensor, kind: Answer) -> Tensor:
        """Return the best constant output; the uniform one when there are too few targets to know the classes' shares."""
        if kind.kind == "classes" and known.numel() < 5 * kind.count:
            return torch.zeros_like(outputs[:1])
        like = torch.zeros(1, *outputs.shape[1:], dtype=outputs.dtype, device=outputs.device)
        return best_constant(subject.cost, like.expand(len(known), *outputs.shape[1:]), known.to(outputs.device), kind)

    def _uniform(
        self, subject: Subject, outputs: Tensor, targets: Tensor, losses: Tensor, keep: Tensor, above: float
    ) -> bool:
        """Whether the loss is what equal scores for all classes give, up to 10 %, and that is itself too much."""
        even = subject.each(torch.zeros_like(outputs), targets)[keep]
        gap = losses - even
        if float(even.mean()) <= above:
            return False
        return abs(float(gap.mean())) <= 4 * float(gap.std()) / math.sqrt(len(gap)) + 0.1 * abs(float(even.mean()))

    def _finding(
        self, subject: Subject, outputs: Tensor, numbers: dict[str, Any], kind: Answer, known: Tensor, uniform: bool
    ) -> Finding:
        """Say what the gap looks like."""
        loss, expected, where = numbers["loss"], numbers["expected"], subject.at("model")
        numbers["uniform"] = uniform
        gap = f"loss at init is {loss:.3g}, expected {expected:.3g} +- {numbers['tolerance']:.2g}"
        if loss < expected:
            severity = Severity.WARN if subject.make is not None else Severity.INFO
            return Finding(self.code, severity, where, numbers, f"{gap}: the model knows something of the targets already",
                           "fine if its weights are pretrained; else look for the target among the inputs")  # fmt: skip
        if kind.kind == "values":
            return Finding(self.code, Severity.WARN, where, numbers, f"{gap} (the best constant): outputs start far from the targets",
                           "scale the targets, or start the last bias at their mean: model.head.bias.data[:] = "
                           f"{float(known.double().mean()):.4g}")  # fmt: skip
        if uniform:
            flat = known.flatten().long()
            flat = flat[(flat >= 0) & (flat < kind.count)]  # others are left out of the loss: padding, borders
            counts = torch.bincount(flat, minlength=kind.count).double().clamp(min=1)
            bias = ", ".join(f"{v:.2f}" for v in (counts / counts.sum()).log()[:8].tolist())
            more = ", ..." if kind.count > 8 else ""
            return Finding(self.code, Severity.WARN, where, numbers, f"{gap}: the last bias ignores how common the classes are",
                           f"model.head.bias.data[:] = torch.tensor([{bias}{more}])  # log of the shares")  # fmt: skip
        spread = float(outputs.double().std(kind.axis).mean())
        numbers["score_sd"] = spread
        excess = min(loss - expected, numbers["mirrored"])
        severity = Severity.FAIL if excess > max(self.nats, self.fail * expected) else Severity.WARN
        return Finding(self.code, severity, where, numbers, f"{gap}: scores are spread by {spread:.3g} before any training",
                       f"scale the last layer down (weight *= {0.1 / max(spread, 1e-9):.2g}, bias = 0); check the input scale")  # fmt: skip


def _short(value: float, tolerance: float) -> str:
    """Return a number with the digits its tolerance warrants, at least two decimals below 100."""
    if abs(value) >= 1e5:
        return f"{value:.3g}"
    return f"{value:.{max(0, min(4, 2 if tolerance >= 0.01 else 3))}f}" if abs(value) < 100 else f"{value:.0f}"

"""What a model's outputs mean: how those of several are averaged, compared with what one is taught, and with the targets."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from whet.errors import TaskError, UsageError
from whet.metric.align import IGNORED, classes_axis
from whet.train.loss import CLASSES, Loss
from whet.train.run import Run
from whet.train.stream import stream

__all__ = ["Meaning"]

_TRIED = 2  # examples
_NUMBERS = nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss
_LABELS = nn.BCEWithLogitsLoss, nn.MultiLabelSoftMarginLoss
_CROSS = nn.CrossEntropyLoss, nn.NLLLoss


@dataclass(frozen=True)
class Meaning:
    """How outputs (n, ...) are read.

    kind: "classes", logits whose softmax along `axis` is one distribution for each example or position; "labels", a logit each, whose sigmoid
    is the chance of a label that holds or not, whatever the others do; "numbers". scale: by whose square the squared error of numbers is divided, as
    the task's loss does.

    Probabilities are averaged, and numbers. Cross-entropy and squared error are convex in these, so the loss of the mean is at most the mean of
    the losses. Positions whose class number is -100 do not count.

    >>> labels = Meaning("labels")
    >>> labels.said(torch.zeros(2, 3)).tolist()[0]
    [0.5, 0.5, 0.5]
    >>> logs = [labels.logs(torch.tensor([[x, -x]])) for x in (0.0, 2.0)]
    >>> truth = torch.tensor([[1.0, 0.0]])
    >>> together, each = labels.loss(labels.mean(logs), truth), [labels.loss(x, truth) for x in logs]
    >>> round(together, 4), [round(x, 4) for x in each]
    (0.3705, [0.6931, 0.1269])
    """

    kind: Literal["classes", "labels", "numbers"]
    axis: int = 1
    scale: float = 1.0

    @classmethod
    def of(cls, run: Run) -> Meaning:
        """Return what the outputs of a run's model mean, by the kind of its data, its loss, and the shapes of outputs and targets.

        Targets that are real numbers and outputs of the same shape are probabilities of classes where the loss is a cross-entropy or they sum to 1
        for each example, and several labels else. Raises TaskError, in one line, where outputs of several models have no mean that is an answer
        again.
        """
        data, loss = run.data, run.loss
        outputs, targets = _tried(run)
        name = f"{type(run.task).__name__}"
        got = f"outputs {tuple(outputs.shape)}, targets {tuple(targets.shape)} ({targets.dtype}), kind {data.kind!r}, loss {_named(loss)}"
        without = "or train with a rule that averages no outputs, such as average"
        alike = outputs.shape in (targets.shape, (*targets.shape, 1))
        if isinstance(loss, nn.BCELoss):
            raise TaskError(
                f"{name}.loss: models that teach each other give logits, and BCELoss takes probabilities ({got}). Use "
                f"BCEWithLogitsLoss without a sigmoid in the model, {without}."
            )
        if data.kind == "regression" and isinstance(loss, (*_LABELS, *_CROSS)):
            raise TaskError(
                f"{name}.data: numbers are averaged as they are, and the loss takes them for logits ({got}). Give "
                f'Data(..., kind="classification"), {without}.'
            )
        if data.kind == "regression" or isinstance(loss, _NUMBERS):
            if not alike:
                raise TaskError(
                    f"{name}.model: where models teach each other, outputs are numbers of the targets' shape ({got}). Return outputs "
                    f"{tuple(targets.shape)}, {without}."
                )
            return cls("numbers", scale=loss.scale if isinstance(loss, Loss) else 1.0)
        if targets.is_floating_point():
            low, high = map(float, torch.cat([s.targets.reshape(-1) for s in (data.train, data.valid)]).aminmax())
            if not alike or not 0 <= low <= high <= 1:
                raise TaskError(
                    f"{name}.data: where models teach each other, real targets of kind 'classification' are probabilities or labels from 0 to "
                    f"1, one for each output ({got}, from {low:g} to {high:g}). Give such, {without}."
                )
            crossed = isinstance(loss, _CROSS) or (isinstance(loss, Loss) and loss.name in CLASSES)
            whole = not isinstance(loss, _LABELS) and _sum_to_one(data.train.targets)
            return cls("classes" if targets.ndim > 1 and (crossed or whole) else "labels")
        if alike:
            found = {int(v) for s in (data.train, data.valid) for v in s.targets.unique()} - {IGNORED}
            if not found <= {0, 1}:
                raise TaskError(
                    f"{name}.model: one logit each can tell classes 0 and 1 apart, got class {max(found, key=abs)} ({got}). Return logits "
                    "(n, classes)."
                )
            return cls("labels")
        crossed = isinstance(loss, _CROSS) or (isinstance(loss, Loss) and loss.named(targets) == "cross_entropy")
        try:
            axis = 1 if crossed and outputs.ndim == targets.ndim + 1 else classes_axis(outputs.shape, targets.shape)
        except UsageError as e:
            raise TaskError(f"{name}.model: {e}") from e
        if axis is None:
            raise TaskError(
                f"{name}.model: where models teach each other, there is a score for each class, or one logit of two ({got}). Return "
                f"outputs ({', '.join(['n', 'classes', *map(str, targets.shape[1:])])}), {without}."
            )
        return cls("classes", axis)

    def said(self, outputs: Tensor) -> Tensor:
        """Return what is averaged, of the outputs' shape: probabilities, or numbers."""
        if self.kind == "numbers":
            return outputs
        return outputs.softmax(self.axis) if self.kind == "classes" else outputs.sigmoid()

    def agree(self, outputs: Tensor, taught: Tensor, targets: Tensor | None = None) -> Tensor:
        """Return how far outputs are from what was taught (`said`, of the same shape): cross-entropy, or squared error; a scalar.

        targets: those of the same examples, (n, ...): positions among them that do not count are left out.
        """
        if self.kind == "numbers":
            return F.mse_loss(outputs, taught) / self.scale**2
        if self.kind == "classes":
            each = -(taught * F.log_softmax(outputs, self.axis)).sum(self.axis)
        else:
            each = F.binary_cross_entropy_with_logits(outputs, taught, reduction="none")
        if targets is None or targets.is_floating_point() or targets.ndim < 2:
            return each.mean()
        counts = (targets != IGNORED).reshape(each.shape)
        return (each * counts).sum() / counts.sum().clamp(min=1)

    # -- of whole splits: logarithms all along, since a probability that is too small for a number would count for less than it is

    def logs(self, outputs: Tensor) -> Tensor:
        """Return log-probabilities in float64 (of a label's truth and falsehood along a new last axis), or numbers."""
        x = outputs.double()
        if self.kind == "classes":
            return x.log_softmax(self.axis)
        return x if self.kind == "numbers" else torch.stack([F.logsigmoid(x), F.logsigmoid(-x)], -1)

    def mean(self, logs: Sequence[Tensor]) -> Tensor:
        """Return the `logs` of the mean of what several said."""
        stacked = torch.stack(tuple(logs))
        return stacked.mean(0) if self.kind == "numbers" else stacked.logsumexp(0) - math.log(len(stacked))

    def loss(self, logs: Tensor, targets: Tensor) -> float:
        """Return the mean cross-entropy, or squared error, to the targets."""
        if self.kind == "numbers":
            return float(F.mse_loss(logs.reshape(targets.shape), targets.double()))
        if self.kind == "labels":
            y = targets.reshape(-1).double()
            true, false = logs.reshape(-1, 2).unbind(1)
            return float(-(y * true + (1 - y) * false)[y != IGNORED].mean())
        if targets.is_floating_point():
            return float(-(targets.double() * logs).sum(self.axis).mean())
        return float(F.nll_loss(logs.movedim(self.axis, 1), targets, ignore_index=IGNORED))


def _tried(run: Run) -> tuple[Tensor, Tensor]:
    """Return outputs and targets of the first examples, in evaluation mode; the model stays as it is."""
    index = torch.arange(min(_TRIED, len(run.train)), device=run.device)
    inputs, targets = run.train.batch(index)
    with torch.no_grad(), stream(run.seed, "tried", device=run.device):
        return copy.deepcopy(run.model).eval()(*inputs), targets


def _sum_to_one(targets: Tensor) -> bool:
    """Return whether targets (n, C, ...) are a distribution for each example."""
    return targets.ndim > 1 and targets.shape[1] > 1 and bool(((targets.sum(1) - 1).abs() < 1e-4).all())


def _named(loss: Any) -> str:
    return loss.name if isinstance(loss, Loss) else getattr(loss, "__name__", type(loss).__name__)

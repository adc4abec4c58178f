"""Losses by name, as callables that fit a model's outputs to the targets' shape before they compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch  # noqa: F401  (the doctests)
from torch import Tensor
from torch.nn import functional

from whet.errors import TaskError, nearest

__all__ = ["LOSSES", "Loss", "loss"]

CLASSES = ("cross_entropy", "hinge")
NUMBERS = ("mse", "mae", "huber")
LOSSES = ("auto", *CLASSES, *NUMBERS)


@dataclass(frozen=True)
class Loss:
    """A named loss, the mean over a batch.

    name: "cross_entropy" (logits (n, C) against class numbers (n,) or class probabilities (n, C)), "hinge" (the
    multi-class margin of Crammer & Singer 2001), "mse", "mae", "huber" (quadratic up to one `scale`), or "auto": cross
    entropy for integer targets, mse for numbers. smoothing: label smoothing of the cross-entropy. scale: the standard
    deviation of the training targets, by whose square mse and huber (by which mae) are divided: the loss of predicting
    the mean is then 1 for mse whatever the target's unit, and a learning rate means the same on every data set.

    Predictions (n, 1) for targets (n,) are taken as (n,): the broadcast to (n, n) that PyTorch's losses would do is never
    meant. Raises TaskError for an unknown name.

    >>> Loss("mse", scale=2.0)(torch.tensor([[3.0]]), torch.tensor([1.0])).item()
    1.0
    >>> round(Loss()(torch.zeros(1, 10), torch.tensor([3])).item(), 4)
    2.3026
    """

    name: str = "auto"
    smoothing: float | Tensor = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in LOSSES:
            raise TaskError(f"loss: got {self.name!r}. Allowed: {', '.join(LOSSES)}.{nearest(str(self.name), LOSSES)}")

    def named(self, targets: Tensor) -> str:
        """Return the name that "auto" stands for with these targets."""
        if self.name != "auto":
            return self.name
        return "mse" if targets.is_floating_point() else "cross_entropy"

    def plain(self) -> Loss:
        """Return the loss without label smoothing: what a validation split is measured with."""
        return self if self.smoothing == 0 else replace(self, smoothing=0.0)

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss, a scalar tensor."""
        name = self.name
        if name == "auto":
            name = "mse" if targets.is_floating_point() else "cross_entropy"
        if name == "cross_entropy":
            if isinstance(self.smoothing, Tensor):  # it is a hyperparameter whose gradient is wanted
                return smoothed(outputs, targets, self.smoothing)
            return functional.cross_entropy(outputs, targets, label_smoothing=self.smoothing)
        if name == "hinge":
            return functional.multi_margin_loss(outputs, targets)
        if outputs.ndim == targets.ndim + 1 and outputs.shape[-1] == 1:
            outputs = outputs.squeeze(-1)
        if outputs.shape != targets.shape:
            raise ValueError(f"outputs {tuple(outputs.shape)} do not fit targets {tuple(targets.shape)}")
        if name == "mae":
            return functional.l1_loss(outputs, targets) / self.scale
        if name == "huber":
            return functional.huber_loss(outputs, targets, delta=self.scale) / self.scale**2
        return functional.mse_loss(outputs, targets) / self.scale**2


def smoothed(outputs: Tensor, targets: Tensor, smoothing: Tensor) -> Tensor:
    """Return PyTorch's cross-entropy with label smoothing as a function of a smoothing () that may have a gradient.

    >>> outputs, targets, s = torch.randn(4, 3), torch.tensor([0, 2, 1, 1]), torch.tensor(0.3)
    >>> bool((smoothed(outputs, targets, s) - functional.cross_entropy(outputs, targets, label_smoothing=0.3)).abs() < 1e-6)
    True
    """
    even = -functional.log_softmax(outputs, 1).mean(1)  # (n, ...)
    if not targets.is_floating_point():
        even = even[targets != -100]  # positions that count nowhere
    return (1 - smoothing) * functional.cross_entropy(outputs, targets) + smoothing * even.mean()


def loss(params: Mapping[str, Any], *, scale: float = 1.0) -> Loss:
    """Return the loss a configuration names: keys "loss" ("auto") and "label_smoothing" (0).

    scale: as for `Loss`. Raises TaskError for an unknown name.

    >>> loss({"label_smoothing": 0.1}).smoothing
    0.1
    """
    smoothing = params.get("label_smoothing", 0.0)
    return Loss(
        params.get("loss", "auto"), smoothing if isinstance(smoothing, Tensor) else float(smoothing), float(scale)
    )

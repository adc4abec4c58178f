"""The last layer: it starts from what the targets alone say, so the loss at the start is the entropy of the prior."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["Head", "Rescale", "prior"]


class Rescale(nn.Module):
    """Turn standardised predictions into the target's units: `mean + std * x`, with `mean` and `std` as buffers.

    As the last layer of a regression model it lets the network work on the scale of 1 while the model, exported or not,
    answers in real units. `Loss(..., scale=std)` of whet.train.loss divides the squared error by std ** 2 in turn, so
    that gradients, and with them good learning rates, do not depend on the units of the target.

    >>> Rescale.fit(torch.tensor([10.0, 30.0]))(torch.tensor([[0.0], [1.0]])).tolist()
    [[20.0], [30.0]]
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor | float = 0.0, std: Tensor | float = 1.0) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.as_tensor(std, dtype=torch.float32))

    @classmethod
    def fit(cls, targets: Tensor) -> Rescale:
        """Return the layer for `targets` (n,) or (n, k): their mean and standard deviation, 1 where they are constant."""
        values = targets.double()
        std = values.std(0, correction=0)
        return cls(values.mean(0).float(), torch.where(std > 0, std, torch.ones_like(std)).float())

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, k) predictions in the target's units."""
        return self.mean + self.std * x


class Head(nn.Module):
    """A linear layer (n, features) -> (n, outputs) whose output at the start is nearly the prior.

    prior: log class frequencies (outputs,), which become the bias (so the first epochs are not spent on learning it), or
    a Rescale that holds the targets' mean, or None. Weights are drawn with standard deviation 0.1 / sqrt(features): for
    features of unit size the logits' variance is 0.01, which adds about 0.005 to the cross-entropy.

    >>> head = Head(8, 2, torch.tensor([0.9, 0.1]).log())
    >>> head(torch.zeros(1, 8)).softmax(1)[0, 0].item()  # doctest: +ELLIPSIS
    0.89999...
    """

    def __init__(self, features: int, outputs: int, prior: Tensor | Rescale | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(features, outputs)
        self.rescale = prior if isinstance(prior, Rescale) else None
        with torch.no_grad():
            self.linear.weight.normal_(0, 0.1 / math.sqrt(max(features, 1)))
            self.linear.bias.copy_(bias(outputs, prior))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, or predictions in the target's units."""
        x = self.linear(x)
        return x if self.rescale is None else self.rescale(x)


def bias(outputs: int, prior: Tensor | Rescale | None) -> Tensor:
    """Return the bias (outputs,) that makes the output the prior."""
    return prior.float() if isinstance(prior, Tensor) else torch.zeros(outputs)


def prior(targets: Tensor, classes: int | None = None) -> Tensor | Rescale:
    """Return what the targets alone say: log class frequencies (classes,) of integers, or the Rescale of numbers.

    A class that is absent counts as half an example, so that its logit is finite.

    >>> prior(torch.tensor([0, 0, 0, 1])).exp().tolist()
    [0.75, 0.25]
    >>> prior(torch.tensor([1.0, 3.0])).mean.item()
    2.0
    """
    if targets.is_floating_point():
        return Rescale.fit(targets)
    count = torch.bincount(targets, minlength=classes or 0).double()
    count = torch.where(count > 0, count, torch.full_like(count, 0.5))
    return (count / count.sum()).log().float()

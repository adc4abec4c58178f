"""Several models as one: the weighted mean of what they predict, in NumPy for stored outputs and as a torch module.

Classification averages probabilities, not logits: the mean of probabilities is a probability again, its log loss is at
most the mean of the members' (Jensen), and one member's over-confident logits cannot drown the others. The result is the
logarithm of the mean, which is a valid logit: softmax of it gives back the mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from whet.data.split import Kind
from whet.errors import DataError

__all__ = ["Average", "combine", "outputs_of", "probabilities"]

TINY = 1e-300  # the least probability whose logarithm is taken


def probabilities(outputs: np.ndarray) -> np.ndarray:
    """Return class probabilities (n, C), float64, of logits or log-probabilities (n, C).

    One logit per example, (n,) or (n, 1), is that of class 1 of two. Stable: 1e4 is as fine a logit as 1.

    >>> probabilities(np.array([[1000.0, 1000.0]])).tolist(), probabilities(np.zeros(1)).tolist()
    ([[0.5, 0.5]], [[0.5, 0.5]])
    """
    logits = np.asarray(outputs, dtype=np.float64)
    if logits.ndim == 1 or logits.shape[1] == 1:
        one = logits.reshape(-1, 1)
        logits = np.concatenate([np.zeros_like(one), one], axis=1)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def outputs_of(mean: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return mean probabilities (n, C) as model outputs of `shape`: log-probabilities, or one logit per example.

    >>> outputs_of(np.array([[0.25, 0.75]]), (1,)).round(4).tolist()  # log(0.75 / 0.25)
    [1.0986]
    """
    log = np.log(np.maximum(mean, TINY))
    return (log[:, 1] - log[:, 0]).reshape(shape) if len(shape) == 1 or shape[1] == 1 else log.reshape(shape)


def combine(outputs: Sequence[np.ndarray], weights: Sequence[float] | None = None, *, kind: Kind) -> np.ndarray:
    """Return the weighted mean of stored `outputs`, one array (n, C) or (n,) per model, as outputs of the same shape.

    weights: one per model, not negative, any sum (default: equal). Classification: log of the mean probability (one
    logit per example stays one logit); regression: mean value. Raises DataError when shapes or weights do not fit.

    >>> combine([np.array([1.0, 2.0]), np.array([3.0, 4.0])], kind="regression").tolist()
    [2.0, 3.0]
    >>> np.exp(combine([np.array([[9.0, 9.0]]), np.log([[0.9, 0.1]])], [1, 3], kind="classification")).round(3).tolist()
    [[0.8, 0.2]]
    """
    arrays = [np.asarray(o, dtype=np.float64) for o in outputs]
    share = shares(weights, len(arrays))
    shape = arrays[0].shape
    for at, array in enumerate(arrays):
        if array.shape != shape:
            raise DataError(
                f"combine: outputs {at} have shape {array.shape}, outputs 0 have {shape}. Give equal shapes."
            )
    if kind == "regression":
        return np.tensordot(share, np.stack(arrays), axes=1)
    return outputs_of(np.tensordot(share, np.stack([probabilities(a) for a in arrays]), axes=1), shape)


def shares(weights: Sequence[float] | None, n: int) -> np.ndarray:
    """Return `weights` for n models as shares (n,) that sum to 1; equal ones for None. Raises DataError.

    >>> shares([1, 3], 2).tolist()
    [0.25, 0.75]
    """
    share = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    if n == 0 or share.shape != (n,):
        raise DataError(f"weights: {n} models but weights of shape {share.shape}. Give one weight per model.")
    if not (np.isfinite(share).all() and (share >= 0).all() and share.sum() > 0):
        raise DataError(f"weights: got {share.tolist()}, allowed finite numbers >= 0, at least one > 0.")
    return share / share.sum()


class Average(nn.Module):
    """Models as one model: called like each of its members, it returns their mean as `combine` defines it.

    models: modules with equal inputs and equal output shapes, (n, C) or (n,); weights: one per model, any sum. axis: of the classes, where a
    model says one for each position; labels: each output is a logit of its own, of a label that holds or not. Members of weight 0 are
    left out. Weights are kept in float32.

    >>> half = Average([nn.Linear(3, 2), nn.Linear(3, 2)], [1, 1], kind="classification")
    >>> torch.softmax(half(torch.zeros(5, 3)), 1).shape, torch.exp(half(torch.zeros(5, 3))).sum(1).allclose(torch.ones(5))
    (torch.Size([5, 2]), True)
    """

    log_weights: Tensor

    def __init__(
        self,
        models: Sequence[nn.Module],
        weights: Sequence[float] | None = None,
        *,
        kind: Kind,
        axis: int = 1,
        labels: bool = False,
    ) -> None:
        super().__init__()
        share = shares(weights, len(models))
        self.kind, self.axis, self.labels = kind, axis, labels
        self.models = nn.ModuleList(m for m, s in zip(models, share, strict=True) if s > 0)
        self.register_buffer("log_weights", torch.tensor(np.log(share[share > 0]), dtype=torch.float32))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return log of the mean probability (n, C), or the mean value; inputs as for a member."""
        outputs = torch.stack([model(*inputs) for model in self.models], dim=-1)  # (n, C, k) or (n, k)
        if self.kind == "regression":
            return (outputs * self.log_weights.exp()).sum(-1)
        if self.labels or outputs.ndim == 2 or outputs.shape[1:-1] == (1,):  # logits of class 1 of two
            # -softplus(-x) is log(sigmoid(x)), which exporters write as it stands, so that its logarithm is of 0
            one = torch.logsumexp(-nn.functional.softplus(-outputs) + self.log_weights, dim=-1)
            return one - torch.logsumexp(-nn.functional.softplus(outputs) + self.log_weights, dim=-1)
        return torch.logsumexp(torch.log_softmax(outputs, dim=self.axis) + self.log_weights, dim=-1)

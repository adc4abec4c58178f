"""A multi-layer perceptron for tables, with embeddings for categories; without hidden layers it is the linear model."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from whet.errors import TaskError, nearest
from whet.models.head import Head, Rescale
from whet.models.standardize import Standardize

__all__ = ["ACTIVATIONS", "Mlp"]

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


class Layer(nn.Module):
    """One hidden layer: linear, normalisation, activation, dropout. (n, inputs) -> (n, width)."""

    def __init__(self, inputs: int, width: int, *, dropout: float, norm: str, activation: str) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, width)
        self.norm = normalisation(norm, width)
        self.activation = chosen("activation", activation, ACTIVATIONS)()
        self.dropout = dropout  # not a module: the names of the weights must not depend on it
        nn.init.kaiming_normal_(self.linear.weight, nonlinearity="relu" if activation != "tanh" else "tanh")
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        if self.norm is not None:
            x = self.norm(x)
        x = self.activation(x)
        return functional.dropout(x, self.dropout, self.training) if self.dropout else x


class Mlp(nn.Module):
    """A perceptron over a table's numbers (n, p) and categories (n, q): `depth` hidden layers of `width` units.

    numbers: p; outputs: number of classes, or of predicted values; categories: the number of levels of each of the q
    columns; norm: "none", "batch" or "layer"; activation: "relu", "gelu", "silu" or "tanh"; standardize: the layer for the
    numbers, fitted on the training split; prior: what the targets alone say (`whet.models.prior`).

    All columns share one embedding table (one lookup a step, fast on a CPU), as wide as the rule 1.6 * levels ** 0.56
    gives for the largest column, within 2 to 16. depth=0 is the plain linear model over numbers and one-hot categories.
    Hidden layers start as He et al. 2015 (arXiv:1502.01852), the head near the prior. Raises TaskError for an unknown
    norm or activation.

    >>> model = Mlp(3, 2, categories=(5, 2), depth=2, width=16, dropout=0.1, norm="batch")
    >>> model(torch.zeros(4, 3), torch.ones(4, 2, dtype=torch.int64)).shape
    torch.Size([4, 2])
    """

    offsets: Tensor

    def __init__(
        self,
        numbers: int,
        outputs: int,
        *,
        categories: Sequence[int] = (),
        depth: int = 2,
        width: int = 128,
        dropout: float = 0.0,
        norm: str = "none",
        activation: str = "relu",
        standardize: Standardize | None = None,
        prior: Tensor | Rescale | None = None,
    ) -> None:
        super().__init__()
        self.standardize = standardize
        self.embedding: nn.Embedding | None = None
        inputs = numbers
        if categories:
            each = max(2, min(16, round(1.6 * max(categories) ** 0.56))) if depth else outputs
            self.embedding = nn.Embedding(sum(categories), each)
            nn.init.normal_(self.embedding.weight, 0, 1.0 if depth else 0.1 / len(categories) ** 0.5)
            starts = torch.tensor([0, *categories[:-1]]).cumsum(0)  # where each column's levels begin, (q,)
            self.register_buffer("offsets", starts, persistent=False)
            inputs += len(categories) * each if depth else 0
        sizes = [inputs, *[width] * depth]
        self.layers = nn.Sequential(
            *(Layer(a, b, dropout=dropout, norm=norm, activation=activation) for a, b in itertools.pairwise(sizes))
        )
        self.head = Head(max(sizes[-1], 1), outputs, prior)  # a table of categories only: one input that is always 0

    def forward(self, numbers: Tensor, categories: Tensor | None = None) -> Tensor:
        """Return (n, outputs) for numbers (n, p) and categories (n, q) int64, each from 0 to its number of levels."""
        x = numbers if self.standardize is None else self.standardize(numbers)
        if self.embedding is None:
            return self.head(self.layers(x))
        assert categories is not None
        embedded = self.embedding(categories + self.offsets)  # (n, q, each)
        if len(self.layers):
            return self.head(self.layers(torch.cat([x, embedded.flatten(1)], 1)))
        linear = self.head.linear
        x = embedded.sum(1) + (linear(x) if x.shape[1] else linear.bias)
        return x if self.head.rescale is None else self.head.rescale(x)


def chosen(what: str, name: str, allowed: Sequence[str] | dict[str, type[nn.Module]]) -> type[nn.Module]:
    """Return the entry of `allowed` called `name`, or raise TaskError."""
    if name not in allowed:
        raise TaskError(f"{what}: got {name!r}. Allowed: {', '.join(allowed)}.{nearest(str(name), allowed)}")
    return allowed[name] if isinstance(allowed, dict) else nn.Identity


def normalisation(name: str, width: int) -> nn.Module | None:
    """Return the normalisation of (n, width) features called `name`, None for "none"."""
    if name == "none":
        return None
    return chosen("norm", name, {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm, "none": nn.Identity})(width)

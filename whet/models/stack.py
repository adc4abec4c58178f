"""A network out of a list of layers, each with its own width, activation, normalisation and skip connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from whet.models.convnet import normalisation
from whet.models.head import Head, Rescale
from whet.models.mlp import ACTIVATIONS, Layer, chosen
from whet.models.standardize import Standardize

__all__ = ["Stack"]

_GRID = 4  # cells a side, at most, of the map that the head sees


class Dense(nn.Module):
    """A hidden layer, and its input added to what comes out, (n, inputs) -> (n, width).

    The input is added behind the activation: before it, a linear map of the input would be part of the layer's own.
    """

    def __init__(self, inputs: int, width: int, *, skip: bool, dropout: float, norm: str, activation: str) -> None:
        super().__init__()
        self.layer = Layer(inputs, width, dropout=dropout, norm=norm, activation=activation)
        self.shortcut = nn.Linear(inputs, width, bias=False) if skip and inputs != width else None
        self.skip = skip
        if self.shortcut is not None:
            nn.init.kaiming_normal_(self.shortcut.weight, nonlinearity="linear")

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        return y + (x if self.shortcut is None else self.shortcut(x)) if self.skip else y


class Conv(nn.Module):
    """A convolution, normalisation and activation, its input added, then max pooling: (n, inputs, h, w) -> (n, filters, h', w')."""

    def __init__(
        self, inputs: int, filters: int, *, kernel: int, stride: int, pool: int, skip: bool, norm: str, activation: str
    ) -> None:  # fmt: skip
        super().__init__()
        chosen("norm", norm, ("batch", "group", "none"))
        self.activation = chosen("activation", activation, ACTIVATIONS)()
        self.conv = nn.Conv2d(inputs, filters, kernel, stride, kernel // 2, bias=norm == "none")
        self.norm = normalisation(norm, filters)
        self.shortcut = nn.Conv2d(inputs, filters, 1, bias=False) if skip and inputs != filters else None
        self.skip, self.stride, self.pool = skip, stride, pool
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu" if activation != "tanh" else "tanh")
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)
        if self.shortcut is not None:
            nn.init.kaiming_normal_(self.shortcut.weight, nonlinearity="linear")

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        y = self.activation(y if self.norm is None else self.norm(y))
        if self.skip:
            if self.stride > 1:
                x = functional.avg_pool2d(x, self.stride, ceil_mode=True, count_include_pad=False)
            y = y + (x if self.shortcut is None else self.shortcut(x))
        for _ in range(self.pool):
            y = functional.max_pool2d(y, 2, ceil_mode=True)
        return y


class Stack(nn.Module):
    """Layers one behind the other, then a linear one, over numbers (n, p) or pictures (n, c, h, w) or (n, h, w), uint8 or float.

    shape: (p,), (c, h, w) or (h, w); outputs: number of classes, or of predicted values; layers: of each its "kind", "dense" or "conv", all the same,
    and "activation" ("relu", "gelu", "silu", "tanh"), "norm" and "skip"; a dense one has "units" and the norms "none", "batch" and "layer", a conv one "filters",
    "kernel" (odd), "pool" and the norms "none", "batch" and "group"; none is the linear model. dropout: after each dense layer, and behind the last conv one; standardize: the
    layer for the inputs, fitted on the training split; prior: what the targets alone say (`whet.models.prior`).

    The first convolution halves pictures of 20 pixels and more, and those from 56 on are pooled once more behind it. The head sees a map of at most 4x4. Raises
    TaskError for an unknown norm or activation. `whet.spaces.build` makes one of a configuration.

    >>> wide = {"kind": "dense", "units": 16, "activation": "relu", "norm": "batch", "skip": True}
    >>> Stack((4,), 3, [wide, wide])(torch.zeros(2, 4)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self, shape: tuple[int, ...], outputs: int, layers: Sequence[Mapping[str, Any]], *, dropout: float = 0.0,
        standardize: Standardize | None = None, prior: Tensor | Rescale | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.standardize = standardize
        self.flat = not layers or layers[0]["kind"] == "dense"
        self.dropout = 0.0 if self.flat else dropout  # dense layers have their own
        self.window: tuple[int, int] | None = None
        made: list[nn.Module] = []
        if self.flat:
            width = prod(shape)
            for x in layers:
                same = {k: x[k] for k in ("skip", "norm", "activation")}
                made.append(Dense(width, x["units"], dropout=dropout, **same))
                width = x["units"]
        else:
            channels, height, breadth = shape if len(shape) == 3 else (1, *shape)
            side, size, width = min(height, breadth), (height, breadth), channels
            for i, x in enumerate(layers):
                stride = 2 if not i and side >= 20 else 1
                pool = int(x["pool"]) + (not i and side >= 56)
                same = {k: x[k] for k in ("kernel", "skip", "norm", "activation")}
                made.append(Conv(width, x["filters"], stride=stride, pool=pool, **same))
                width, by = x["filters"], stride * 2**pool
                size = (-(-size[0] // by), -(-size[1] // by))
            window = (-(-size[0] // _GRID), -(-size[1] // _GRID))
            if window != (1, 1):
                self.window, size = window, (-(-size[0] // window[0]), -(-size[1] // window[1]))
            width *= size[0] * size[1]
        self.layers = nn.Sequential(*made)
        if not self.flat:
            # The memory layout oneDNN's convolutions like best; values unchanged.
            self.layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.head = Head(width, outputs, prior)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, outputs)."""
        if x.ndim == 3:
            x = x.unsqueeze(1)
        if self.standardize is not None:
            x = self.standardize(x)
        elif not x.is_floating_point():
            x = x.to(self.head.linear.weight.dtype)
        x = self.layers(x.flatten(1) if self.flat else x)
        if self.window is not None:
            x = functional.avg_pool2d(x, self.window, self.window, ceil_mode=True, count_include_pad=False)
        x = x.flatten(1)
        return self.head(functional.dropout(x, self.dropout, self.training) if self.dropout else x)

"""A small residual convolutional network, fast on a CPU, for pictures from 8x8 to 64x64 and beyond."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from whet.models.head import Head, Rescale
from whet.models.mlp import ACTIVATIONS, chosen
from whet.models.standardize import Standardize

__all__ = ["Convnet"]

_SHALLOW = 2  # blocks a stage up to which normalised branches do not start at zero
_MEMORY = (
    0.2  # weight of a batch in BatchNorm's averages: after the 20 steps of a small data set's epoch, 99 % is its own
)


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut, (n, inputs, h, w) -> (n, width, h / stride, w / stride).

    zero: the second convolution's part starts at zero (Goyal et al. 2017, arXiv:1706.02677), so a deep net starts as a
    shallow one; a shallow one only learns later for it. The shortcut of a block that changes its size is average pooling and a 1x1 convolution (He et al. 2018,
    arXiv:1812.01187, ResNet-D).
    """

    def __init__(self, inputs: int, width: int, stride: int, *, norm: str, activation: str, zero: bool) -> None:
        super().__init__()
        plain = norm == "none"
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=plain)
        self.norm1 = normalisation(norm, width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=plain)
        self.norm2 = normalisation(norm, width)
        self.skip = nn.Conv2d(inputs, width, 1, bias=plain) if inputs != width else None
        self.activation = ACTIVATIONS[activation]()
        self.stride = stride
        if zero:
            last: nn.Module = self.conv2 if self.norm2 is None else self.norm2
            nn.init.zeros_(last.weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(x)
        y = self.activation(y if self.norm1 is None else self.norm1(y))
        y = self.conv2(y)
        if self.norm2 is not None:
            y = self.norm2(y)
        if self.stride > 1:
            x = functional.avg_pool2d(x, self.stride, ceil_mode=True, count_include_pad=False)
        return self.activation(y + (x if self.skip is None else self.skip(x)))


class Convnet(nn.Module):
    """A residual network over pictures (n, c, h, w), or (n, h, w) with one channel; uint8 or float.

    shape: (c, h, w), or (h, w); outputs: number of classes, or of predicted values; depth: blocks a stage, 0 for the plain
    linear model over pixels; width: channels of the first stage, doubled each stage; norm: "batch", "group" or "none";
    dropout: before the head; standardize: the layer for the pixels, fitted on the training split; prior: what the targets
    alone say (`whet.models.prior`).

    The stem halves pictures of 20 pixels and more, and halves again from 56, so the stages work on 8x8 to 16x16 maps at
    most and a step costs little on a CPU; each further stage halves until the map is at most 4 pixels wide. The head sees
    that map whole: averaging it first, as deep networks do, makes a shallow one learn much later. Raises TaskError for an unknown norm or activation.

    >>> Convnet((1, 8, 8), 10, width=8)(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        outputs: int,
        *,
        depth: int = 1,
        width: int = 32,
        dropout: float = 0.0,
        norm: str = "batch",
        activation: str = "relu",
        standardize: Standardize | None = None,
        prior: Tensor | Rescale | None = None,
    ) -> None:
        super().__init__()
        channels, height, breadth = shape if len(shape) == 3 else (1, *shape)
        chosen("norm", norm, ("batch", "group", "none"))
        kind = chosen("activation", activation, ACTIVATIONS)
        self.standardize = standardize
        self.dropout = dropout
        if depth == 0:
            self.features: nn.Sequential | None = None
            self.head = Head(channels * height * breadth, outputs, prior)
            return
        side = min(height, breadth)
        stride = 1 if side < 20 else 2 if side < 56 else 4
        kernel = 3 if stride < 4 else 5
        stem = nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=norm == "none")
        layers: list[nn.Module | None] = [stem, normalisation(norm, width), kind()]
        size, inputs, stage = (-(-height // stride), -(-breadth // stride)), width, 0
        while stage == 0 or min(size) > 4:
            wide = width * 2**stage
            for i in range(depth):
                step = 2 if stage and i == 0 else 1
                layers.append(
                    Block(inputs, wide, step, norm=norm, activation=activation, zero=depth > _SHALLOW or norm == "none")
                )
                inputs = wide
            size, stage = (size if stage == 0 else (-(-size[0] // 2), -(-size[1] // 2))), stage + 1
        self.features = nn.Sequential(*(x for x in layers if x is not None))
        for module in self.features.modules():
            if isinstance(module, nn.Conv2d) and module.weight.any():  # the zero ones stay zero
                nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        # The memory layout oneDNN's convolutions like best: 10 to 30 % less time a step, values unchanged.
        self.features.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.head = Head(inputs * size[0] * size[1], outputs, prior)

    def forward(self, images: Tensor) -> Tensor:
        """Return (n, outputs)."""
        x = images.unsqueeze(1) if images.ndim == 3 else images
        if self.standardize is not None:
            x = self.standardize(x)
        elif not x.is_floating_point():
            x = x.to(self.head.linear.weight.dtype)
        x = (x if self.features is None else self.features(x)).flatten(1)
        return self.head(functional.dropout(x, self.dropout, self.training) if self.dropout else x)


def normalisation(name: str, width: int) -> nn.Module | None:
    """Return the normalisation of (n, width, h, w) maps called `name`, None for "none"."""
    if name == "none":
        return None
    return (
        nn.BatchNorm2d(width, momentum=_MEMORY)
        if name == "batch"
        else nn.GroupNorm(next(g for g in (8, 4, 2, 1) if width % g == 0), width)
    )

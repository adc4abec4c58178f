"""The network of a configuration. PyTorch is loaded when the first one is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whet.spaces.size import Shape, picture
from whet.spaces.structure import CONV, layers_of
from whet.tune.space import Params

if TYPE_CHECKING:
    from torch import Tensor, nn

    from whet.models import Rescale, Standardize

__all__ = ["build"]


def build(
    params: Params, inputs: Shape, outputs: int, *, under: str = "",
    standardize: Standardize | None = None, prior: Tensor | Rescale | None = None,
) -> nn.Module:  # fmt: skip
    """Return the network that a configuration of `mlp` or `convnet` describes, with new weights.

    inputs: how many numbers an example has, or the shape of a picture, (channels, height, width) or (height, width); outputs: number of
    classes, or of predicted values; under: the name of the choice whose branch holds the layers ("net" for "net.layer1"); standardize, prior: as for
    `whet.models.Mlp` and `Convnet`. It takes (n, features), or pictures (n, channels, height, width) or (n, height, width), uint8 or float, and returns (n, outputs). What other
    names the configuration has does not matter.

    Raises TaskError when the configuration has no layers, or the pictures are no pictures or too small.

    >>> from whet.spaces import convnet
    >>> import numpy, torch
    >>> params = convnet().sample(numpy.random.default_rng(0))
    >>> build(params, (1, 8, 8), 10)(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """
    from whet.models.stack import Stack

    layers = layers_of(params, under)
    shape = (inputs,) if isinstance(inputs, int) else tuple(inputs)
    if layers and layers[0]["kind"] == CONV:
        shape = picture(inputs)
    dropout = float(params.get(f"{under}.dropout" if under else "dropout", 0.0) or 0.0)
    return Stack(shape, outputs, layers, dropout=dropout, standardize=standardize, prior=prior)

"""The weights of a first layer as pictures: smooth ones have learned something, noise has not."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Pictures", "first_layer", "smoothness"]


@dataclass(frozen=True)
class Pictures:
    """The weights of a first layer, one picture a unit.

    layer: its dotted name; images: (units, height, width) or, where the layer reads three channels, (units, height,
    width, 3), uint8, each stretched to its own range around 128 = weight 0; shown: which units they are;
    smooth: (units,) float64, see `smoothness`; units: how many the layer has.
    """

    layer: str
    images: np.ndarray
    shown: tuple[int, ...]
    smooth: np.ndarray
    units: int


def smoothness(weights: np.ndarray) -> np.ndarray:
    """Return for pictures (n, height, width) or (n, height, width, channels) how alike neighbouring pixels are, (n,).

    The correlation of pixels one step apart, down and to the right, about the picture's own mean (Moran's I with
    neighbours that share an edge). Independent weights of `p` pixels have an expectation of -1 / (p - 1), about 0; a
    smooth picture is near 1. NaN for a picture of one value or one pixel.

    >>> ramp, noise = np.arange(64.0).reshape(1, 8, 8), np.random.default_rng(0).normal(size=(1, 8, 8))
    >>> float(smoothness(ramp).round(2)[0]), bool(abs(smoothness(noise)[0]) < 0.3)
    (0.86, True)
    """
    x = np.asarray(weights, np.float64)
    x = x[..., None] if x.ndim == 3 else x
    x = x - x.mean((1, 2), keepdims=True)
    pairs = (x[:, 1:] * x[:, :-1]).sum((1, 2, 3)) + (x[:, :, 1:] * x[:, :, :-1]).sum((1, 2, 3))
    channels = x.shape[3]
    count = channels * (x[0, 1:, :, 0].size + x[0, :, 1:, 0].size) if len(x) else 0
    variance = (x**2).mean((1, 2, 3))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((variance > 0) & (count > 0), pairs / count / variance, np.nan)


def first_layer(model: nn.Module, shape: tuple[int, ...] | None = None, most: int = 64) -> Pictures | None:
    """Return the weights of the first layer that reads pictures, as pictures; None where there is none.

    A two-dimensional convolution with kernels of 2 x 2 or more, or a linear layer whose inputs are the pixels of a
    picture: of `shape` (height, width) or (channels, height, width) where given, else of a square of 64 pixels or more,
    grey or with three channels. Channels other than three are shown as their mean. At most `most` units, those with the
    largest weights first, because units that never learned are small. Copies; nothing is changed.

    >>> pictures = first_layer(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)))
    >>> pictures.layer, pictures.images.shape, pictures.images.dtype.name
    ('1', (10, 28, 28), 'uint8')
    >>> first_layer(nn.Linear(10, 3)) is None
    True
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            weight: Tensor = module.weight
            if min(weight.shape[2:]) < 2:
                continue
        elif isinstance(module, nn.Linear):
            size = _picture(module.in_features, shape)
            if size is None:
                return None  # what comes behind it no longer sees pixels
            weight = module.weight.reshape(-1, *size)
        elif isinstance(module, (nn.Embedding, nn.RNNBase, nn.Conv1d, nn.Conv3d)):
            return None
        else:
            continue
        return _shown(name, weight.detach(), most)
    return None


def _picture(inputs: int, shape: tuple[int, ...] | None) -> tuple[int, int, int] | None:
    """Return (channels, height, width) of so many inputs, or None when they are no picture."""
    if shape is not None:
        channels, height, width = (1, *shape) if len(shape) == 2 else shape
        return (channels, height, width) if channels * height * width == inputs else None
    for channels in (1, 3):
        side = math.isqrt(inputs // channels)
        if side >= 8 and channels * side * side == inputs:
            return channels, side, side
    return None


def _shown(name: str, weight: Tensor, most: int) -> Pictures | None:
    """Return weights (units, channels, height, width) as pictures."""
    w = weight.to("cpu", torch.float64).numpy()
    if not np.isfinite(w).all() or not w.size:
        return None
    order = np.argsort(-np.square(w).sum((1, 2, 3)), kind="stable")[:most]
    chosen = w[order].transpose(0, 2, 3, 1)
    chosen = chosen if chosen.shape[3] == 3 else chosen.mean(3)
    axes = tuple(range(1, chosen.ndim))
    top = np.abs(chosen).max(axes, keepdims=True)
    images = np.rint(128 + 127 * chosen / np.where(top > 0, top, 1)).astype(np.uint8)
    return Pictures(name, images, tuple(int(i) for i in order), smoothness(chosen), len(w))

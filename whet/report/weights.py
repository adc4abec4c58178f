"""The first layer's weights as pictures, and in words how smooth they are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from whet.report.block import Pictures
from whet.report.quantity import clean, count, show

if TYPE_CHECKING:
    from whet.checks.pictures import Pictures as Weights

__all__ = ["first_weights", "texture"]

_SHOWN = 32
_SMALL = 25  # pixels below which noise can look smooth


def texture(weights: Weights) -> str:
    """Return how smooth the pictures of a layer's units are, in words, with the median over the units.

    Weights that are noise have a smoothness about 0, give or take the inverse root of the pixels; below three times
    that they are called noise.

    >>> from torch import nn
    >>> from whet.checks.pictures import first_layer
    >>> texture(first_layer(nn.Linear(784, 10), (28, 28))).partition(" (")[0]
    'they look like noise'
    """
    height, width = weights.images.shape[1:3]
    known = weights.smooth[np.isfinite(weights.smooth)]
    if height * width < _SMALL or not len(known):
        return f"{height} x {width} pixels are too few to tell a pattern from noise"
    middle = float(np.median(known))
    noise = 3 / math.sqrt(height * width)
    word = "they look like noise" if middle < noise else "they are smooth" if middle > 0.6 else "they are partly smooth"
    return f"{word} (neighbouring pixels correlate by {show(round(middle, 2))} in the median unit; noise by 0 +- {show(round(noise / 3, 2))})"


def first_weights(weights: Weights | None, when: str, *, like: Weights | None = None) -> Pictures | None:
    """Return the pictures with a title that says when they were taken, or None without any.

    like: earlier pictures of the same layer, whose units come in the same order.

    >>> from torch import nn
    >>> from whet.checks.pictures import first_layer
    >>> first_weights(first_layer(nn.Conv2d(1, 4, 3)), "before any step").title
    'First-layer weights before any step: 3 x 3 pixels are too few to tell a pattern from noise'
    """
    if weights is None or not len(weights.images):
        return None
    ranks = {u: i for i, u in enumerate(like.shown)} if like is not None else {}
    order = sorted(range(len(weights.shown)), key=lambda i: ranks.get(weights.shown[i], len(ranks) + i))
    small = weights.images.shape[1] * weights.images.shape[2] < _SMALL
    smooth = ["" if small or not math.isfinite(v) else f": {show(round(float(v), 2) + 0.0)}" for v in weights.smooth]
    items = tuple((weights.images[i], f"unit {weights.shown[i]}{smooth[i]}") for i in order[:_SHOWN])
    note = f"Layer {clean(weights.layer) or 'itself'}, {count(weights.units, 'unit')}"
    note += f", the {len(items)} with the largest weights" if len(items) < weights.units else ""
    note += ". Mid-grey is 0, and each picture is stretched to its own range"
    note += "." if small else "; the number is its smoothness, 1 at most."
    return Pictures(f"First-layer weights {when}: {texture(weights)}", items, note)

"""Models that are reasonable defaults, as plain `nn.Module`s: an MLP for tables, with word averages for text, a small residual CNN for images.

>>> Mlp(4, 3, depth=0)(torch.zeros(2, 4)).shape
torch.Size([2, 3])
"""

from __future__ import annotations

import torch  # noqa: F401  (the doctest above)

from whet.models.convnet import Convnet
from whet.models.head import Head, Rescale, prior
from whet.models.mlp import Mlp
from whet.models.stack import Stack
from whet.models.standardize import Standardize
from whet.models.text import TextMlp, WordAverage

__all__ = ["Convnet", "Head", "Mlp", "Rescale", "Stack", "Standardize", "TextMlp", "WordAverage", "prior"]

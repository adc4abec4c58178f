"""A task that trains in milliseconds: a network with one hidden layer on the 8 x 8 digits, 2 epochs, 4 hyperparameters, its validation loss.

whet compare benchmarks/digits_mlp.py --search gp,tpe,evolution --schedule full --budget 40trials
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import nn

import whet


class DigitsMlp(whet.Task):
    """Of its hyperparameters the learning rate matters most, then the width."""

    space = whet.Space(
        lr=whet.Float(1e-5, 1.0, log=True), width=whet.Int(32, 256, log=True), weight_decay=whet.Float(1e-9, 1e-3, log=True),
        dropout=whet.Float(0.0, 0.3),
    )  # fmt: skip
    goal, steps = "min loss", 2

    def data(self, params: Mapping[str, Any]) -> whet.Data:
        """Return the digits, pixels from 0 to 1."""
        x, y = load_digits(return_X_y=True)
        return whet.Data.from_arrays(torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y), seed=self.seed)

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        """Return the network."""
        width = params["width"]
        return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Dropout(params["dropout"]), nn.Linear(width, 10))

"""Small tasks for tests of distributed training."""

import torch
from torch import nn

from whet.data.split import Data, Split
from whet.task import Task


class Blobs(Task):
    """Three Gaussian classes; a net without random numbers of its own."""

    steps = 4
    n = 240

    def data(self, params):
        g = torch.Generator().manual_seed(5)
        centres = 2 * torch.randn(3, 6, generator=g)
        y = torch.arange(self.n + 90) % 3
        x = centres[y] + torch.randn(len(y), 6, generator=g)
        return Data(Split(x[: self.n], y[: self.n]), Split(x[self.n :], y[self.n :]), classes=("a", "b", "c"))

    def model(self, params):
        return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))


class Normed(Blobs):
    """With batch normalisation, and 241 examples, so that a batch of one would be left over."""

    n = 241

    def model(self, params):
        return nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 3))


class Lines(Task):
    """A line to be fitted: a quadratic loss."""

    steps = 4

    def data(self, params):
        x = torch.linspace(-1, 1, 128)[:, None]
        return Data(Split(x[::2], 3 * x[::2, 0] + 1), Split(x[1::2], 3 * x[1::2, 0] + 1), kind="regression")

    def model(self, params):
        return nn.Sequential(nn.Linear(1, 1), nn.Flatten(0))


PARAMS = {"optimizer": "sgd", "lr": 0.1, "batch": 16}

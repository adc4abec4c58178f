"""Small tasks for tests of distributed training."""

import json
import math
import os
import time
from pathlib import Path

import torch
from torch import nn

from whet.data.split import Data, Split
from whet.distributed.delays import Delays
from whet.task import Task
from whet.tune.space import Float, Int, Space


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


class Counted(nn.Module):
    """One weight for each example; a step on it adds one to the weight of each example of the batch."""

    def __init__(self, n):
        super().__init__()
        self.seen = nn.Parameter(torch.zeros(n))

    def forward(self, i):
        return self.seen[i]


class Tally(Task):
    """Counts how often each example was applied: after e epochs each weight is e, unless one was lost or applied twice."""

    steps = 6
    n = 120
    metrics = ("loss",)
    goal = "min loss"
    space = Space(pause=Float(0, 1), nan=Int(-1, 10**6))

    def data(self, params):
        i = torch.arange(self.n)
        return Data(Split(i, torch.zeros(self.n)), Split(i, torch.zeros(self.n)), kind="regression")

    def model(self, params):
        return Counted(self.n)

    def loss(self, params):
        pause, spoilt = params.get("pause", 0.0), params.get("nan", -1)

        def one_each(outputs, targets):
            if torch.is_grad_enabled():
                time.sleep(pause)
            return -outputs.sum() * (math.nan if spoilt == os.getpid() else 1.0)

        return one_each

    def optimizer(self, params, model):
        return torch.optim.SGD(model.parameters(), lr=1.0)

    def batch(self, params):
        return 4


class Spoilt(Blobs):
    """Its loss fails, but not when it is tried."""

    def loss(self, params):
        def fails(outputs, targets):
            if len(targets) > 2:
                raise RuntimeError("spoilt on purpose")
            return nn.functional.cross_entropy(outputs, targets)

        return fails


class Ill(Blobs):
    """Its loss is not a number in the process whose number stands in the file `ill`."""

    def loss(self, params):
        def spoilt(outputs, targets):
            loss, path = nn.functional.cross_entropy(outputs, targets), Path(params["ill"])
            if torch.is_grad_enabled() and len(targets) > 2:
                time.sleep(0.01)
                loss = loss * (math.nan if path.exists() and path.read_text() == str(os.getpid()) else 1.0)
            return loss

        return spoilt


class Dropped(Blobs):
    """With dropout, and a layer that the loss never sees."""

    def model(self, params):
        net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Dropout(0.3), nn.Linear(12, 3))
        net[0].spare = nn.Linear(2, 2)
        return net


class Deep(Blobs):
    """With three layers that have weights, and normalisation of each example."""

    def model(self, params):
        return nn.Sequential(
            nn.Linear(6, 12), nn.LayerNorm(12), nn.Tanh(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)
        )


class Slow(Deep):
    """Takes its time."""

    def loss(self, params):
        def late(outputs, targets):
            if torch.is_grad_enabled():
                time.sleep(0.01)
            return nn.functional.cross_entropy(outputs, targets)

        return late


class Drowsy(Slow):
    """Takes far more time than a process that is started again does."""

    def loss(self, params):
        def late(outputs, targets):
            if torch.is_grad_enabled() and len(targets) > 2:
                time.sleep(0.25)
            return nn.functional.cross_entropy(outputs, targets)

        return late


class Sleeper(Task):
    """Its steps take no processor: each sleeps for as long as the simulator would draw for this worker and step.

    folder: where a process takes the first free number, and writes the seconds from step to step; none: nobody sleeps. slow: how many times as
    long number 0 takes; draw: the seed of the times.
    """

    steps, n = 6, 60
    metrics = ("loss",)
    goal = "min loss"
    space = Space(slow=Float(1, 10), draw=Int(0, 100))
    unit = 0.04  # seconds of a step

    def data(self, params):
        i = torch.arange(self.n)
        return Data(Split(i, torch.zeros(self.n)), Split(i, torch.zeros(self.n)), kind="regression")

    def model(self, params):
        return Counted(self.n)

    def loss(self, params):
        folder = params["folder"]
        nap = Nap(folder, Delays("gamma", 20.0, {0: params["slow"]}), params["draw"], self.unit) if folder else None

        def slept(outputs, targets):
            if (
                nap is not None and torch.is_grad_enabled() and len(targets) == 1
            ):  # a step: two examples are tried before
                nap.take()
            return outputs.sum()

        return slept

    def batch(self, params):
        return 1


class Nap:
    """The sleeps of one process."""

    def __init__(self, folder, delays, seed, unit):
        self.folder, self.delays, self.seed, self.unit = folder, delays, seed, unit
        self.number, self.step, self.seconds, self.began = -1, 0, [], 0.0

    def take(self):
        now = time.monotonic()
        if self.number < 0:
            while self.number < 0 or not self.claim():
                self.number += 1
        else:
            self.seconds.append(now - self.began)  # with the way to the server and back
            with open(f"{self.folder}/{self.number}.json", "w") as file:
                json.dump(self.seconds, file)
        self.began = now
        time.sleep(self.delays.seconds(self.seed, self.number, self.step) * self.unit)
        self.step += 1

    def claim(self):
        try:
            os.close(os.open(f"{self.folder}/{self.number}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

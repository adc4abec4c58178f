"""A task whose workers and server kill themselves at chosen points of an exchange, each point once."""

import os
import random
import signal

import torch
from lessons import Tally
from torch import nn

from whet.distributed.local import children
from whet.distributed.local.frames import Kind
from whet.distributed.local.serve import Listener
from whet.distributed.step import Steps
from whet.distributed.worker import Worker

WORKER = ("half", "written", "sent")  # a part of the gradient is there; all of it; the message as well
SERVER = (
    "heard",
    "stepped",
    "merged",
    "answered",
)  # the message is read; weights are changed; that is noted; the worker was told


class Halves(nn.Module):
    """`Counted`, with its weights in two parameters, so that one gradient may be there without the other."""

    def __init__(self, n):
        super().__init__()
        self.first, self.second = nn.Parameter(torch.zeros(n // 2)), nn.Parameter(torch.zeros(n - n // 2))

    def forward(self, i):
        return torch.cat([self.first, self.second])[i]


class Struck(Tally):
    """Vectors of half a megabyte. points: where to strike; signs: the folder in which a point is claimed; seed: of the instants."""

    n = 120_000

    def model(self, params):
        if "WHET_WORKER" in os.environ:  # in a process that a training started, not in the one that tests
            Strikes(params["points"], params["signs"], params["seed"]).arm()
        return Halves(self.n)

    def batch(self, params):
        return self.n // 30


class Strikes:
    """Counts how often this process came to each point, and kills it at one's number unless that was claimed before."""

    armed = False

    def __init__(self, points, signs, seed):
        chance = random.Random(seed)
        self.at, self.signs = {p: chance.randint(1, 20) for p in points}, signs
        self.came = dict.fromkeys(points, 0)

    def come(self, point):
        if point not in self.at:
            return
        self.came[point] += 1
        if self.came[point] == self.at[point]:
            try:
                os.close(os.open(f"{self.signs}/{point}", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)

    def arm(self):
        """Come to a point before or after what is done there."""
        if Strikes.armed:
            return
        Strikes.armed = True
        send, made = children.send, Worker.__init__

        def sends(connection, frame):
            if frame.kind is Kind.PUSH:
                self.come("written")
            send(connection, frame)
            if frame.kind is Kind.PUSH:
                self.come("sent")

        def hooked(worker, *args, **options):
            made(worker, *args, **options)
            worker.there = 0

            def arrived(_):
                worker.there += 1
                if worker.there % 2:  # of two
                    self.come("half")

            for p in worker.flat.parameters:
                p.register_post_accumulate_grad_hook(arrived)

        children.send, Worker.__init__ = sends, hooked
        self.around(Listener, "_push", before="heard")
        self.around(Steps, "take", after="stepped")
        self.around(Listener, "merged", after="merged")
        self.around(Listener, "give", after="answered")

    def around(self, owner, name, *, before="", after=""):
        done = getattr(owner, name)

        def does(*args, **options):
            self.come(before)
            found = done(*args, **options)
            self.come(after)
            return found

        setattr(owner, name, does)

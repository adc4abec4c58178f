"""whet's own channel as a training drives it, with workers that have nothing to compute."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from channels.case import LR, Case, await_start, case_of
from whet.data.split import Data, Split
from whet.distributed.flat import Flat
from whet.distributed.local import children
from whet.distributed.local.job import Job
from whet.distributed.local.layout import region_path
from whet.distributed.local.region import Region
from whet.distributed.rule import Local
from whet.distributed.update import Given, Update
from whet.execute.child import Link
from whet.task import Task
from whet.tasks import reference, resolve
from whet.train.run import Run

_WARM = 3
_EXAMPLES = 1_000_000  # a batch each: no epoch ends while it is measured


class Vectors(nn.Module):
    """Parameters and nothing else: `pieces` of them, `size` numbers together."""

    def __init__(self, size: int, pieces: int) -> None:
        super().__init__()
        each = [size // pieces] * (pieces - 1)
        self.each = nn.ParameterList(torch.zeros(n) for n in (*each, size - sum(each)))

    def forward(self, x: Tensor) -> Tensor:
        return x + sum(p[0] for p in self.each)


class Nothing(Task):
    """A task whose model has as many parameters as are asked for."""

    goal, metrics, steps = "min loss", ("loss",), 1_000

    def data(self, params: Mapping[str, Any]) -> Data:
        x = torch.zeros(_EXAMPLES)
        return Data(Split(x, x), Split(x[:2], x[:2]), kind="regression")

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return Vectors(params["size"], params["pieces"])

    def optimizer(self, params: Mapping[str, Any], model: nn.Module) -> torch.optim.Optimizer:
        match params["optimizer"]:
            case "momentum":
                return torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9)
            case "adam":
                return torch.optim.Adam(model.parameters(), lr=LR)
            case _:
                return torch.optim.SGD(model.parameters(), lr=LR)

    def batch(self, params: Mapping[str, Any]) -> int:
        return 1


class Idle:
    """A worker that sends at once what lies in its vector, and notes when."""

    def __init__(self, number: int, vector: Tensor, local: Local, case: Case, link: Link) -> None:
        self.number, self.vector, self.local, self.case, self.link = number, vector, local, case, link
        self.step, self.further = 0, link.further
        self.at: list[float] = []

    def work(self, given: Given) -> Update:
        if self.step == _WARM:
            await_start(self.case, self.link)
        self.at.append(time.perf_counter())
        if self.step > _WARM + 5 and self.at[-1] - self.at[_WARM] >= self.case.seconds:
            self.link.stop()
        self.step += 1
        return Update(self.number, self.step - 1, self.vector, self.local.sends, 1, given.version, given.tickets)

    @property
    def seconds(self) -> list[float]:
        """How long each exchange took, from when an update was there to when the next one could have been."""
        return [b - a for a, b in zip(self.at[_WARM:], self.at[_WARM + 1 :], strict=False)]


def job(case: Case, *, pieces: int = 1, optimizer: str = "sgd") -> Job:
    """Return what the processes are told, and make what they share."""
    params = {"size": case.size, "pieces": pieces, "optimizer": optimizer}
    made = Job(
        reference(resolve("channels.of_whet:Nothing", seed=0)), params, case.rule, case.workers, 1_000, 0, "global", case.folder,
        checkpoint=str(Path(case.folder, "checkpoint")), often=1e9,
    )  # fmt: skip
    flat = Flat(Run(Nothing(), params, device="cpu").model)
    Region.make(region_path(Path(case.folder)), made.layout(flat).areas())
    return made


def prepare(case: Case) -> dict[str, Any]:
    """Return what server and workers are told beside the case."""
    return {"job": job(case).json(), "epoch": 0, "resume": False, "threads": 1, "shown": None, "spent": 0.0}


def serve(payload: Mapping[str, Any], link: Link) -> dict[str, Any]:
    """Be the server of a training, until the last worker is gone."""
    return children.serve(payload, link)


def work(payload: Mapping[str, Any], link: Link) -> dict[str, Any]:
    """Be a worker without work."""
    link.go()
    told, number, case = Job(**payload["job"]), int(payload["worker"]), case_of(payload)
    torch.set_num_threads(1)
    region = told.region(Flat(Vectors(told.params["size"], told.params["pieces"])))
    local = told.made_rule().local or Local()
    vector = region[f"{number}/{'gradient' if local.sends == 'gradient' else 'weights'}"]
    if local.sends == "gradient":
        vector.fill_(1e-6)
    idle = Idle(number, vector, local, case, link)
    children.Hand(told, number, region, begin=lambda step: idle, link=link).work()
    link.go()
    return {"seconds": idle.seconds}

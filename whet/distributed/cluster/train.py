"""One training on a Ray cluster, iterated by its owner as a `Run` is."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
import uuid
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor

from whet.distributed.cluster.crew import Crew
from whet.distributed.cluster.nodes import Nodes
from whet.distributed.cluster.parcel import unwrap
from whet.distributed.fit import check_run
from whet.distributed.flat import Flat
from whet.distributed.local.job import Job
from whet.distributed.member import member_size
from whet.distributed.rule import Rule
from whet.distributed.shares import crew
from whet.distributed.tenure import Owner, Writer
from whet.execute.nodes import need
from whet.task import Task
from whet.tasks import reference
from whet.train.run import Run
from whet.tune.space import Params
from whet.tune.trial import Point

__all__ = ["Limits", "Training"]


class Limits(TypedDict, total=False):
    """Options that every training on a cluster may be given.

    deadline: seconds after which a worker or server that does not answer is replaced; cpus, gpus: that each worker is given of the
    cluster's, also parts of one.
    """

    deadline: float
    cpus: float
    gpus: float


class Training:
    """Train a task on `workers` actors and a server; iterate it to get a `Point` after each epoch's worth of merged batches.

    workers: how many, or a share for each, as `whet.distributed.shuffle.Shuffle` has them; rule: a `Rule` or its name; shuffle: "global", "local" or "once"; folder: of the checkpoint, on the node where the server is: this machine
    when it is part of the cluster, else the head (None: a temporary one); resume: go on from what is there; address: "ray://HOST:PORT" of a
    cluster, or None for the one that RAY_ADDRESS or this machine's `ray start` names, else one of this machine's own; limits: `Limits`
    (deadline 120; a CPU and no GPU for each worker, parts of a CPU where there are fewer). An actor that dies is started again: a worker takes up the work of
    the one before, a server begins at its checkpoint. Workers that find no room on the cluster join when there is some.

    A point's cost is in seconds since the first worker's first step; its metrics have "updates". After the last, `run.model` has the weights; status
    says how each worker got on, lost how many acknowledged updates died with servers, models the members' (worker, weights) where
    the rule exchanges models. It is a `whet.distributed.channels.Channel`.

    Use it as a context manager, or call `close`: leaving it ends the actors. Raises MissingExtra without Ray, UsageError for what cannot be or a folder
    that another training has, and TaskError when the task cannot be found by other processes or fails in one.
    """

    def __init__(
        self, task: Task, params: Params, *, rule: Rule | str, workers: int | Sequence[int], steps: int | None = None, seed: int = 0,
        shuffle: str = "global", folder: Path | None = None, resume: bool = False, address: str | None = None,
        **limits: Unpack[Limits],
    ) -> None:  # fmt: skip
        need("--on ray")
        self.run = Run(task, params, steps=steps, seed=seed, device="cpu")
        self.workers, shares = crew(workers)
        self.lost, self.address, self.limits = 0, address, limits
        self.status: dict[str, Any] = {}
        self.deaths: Counter[str] = Counter()
        self.models: tuple[tuple[int, Tensor], ...] = ()
        self._temporary = folder is None
        where = Path(tempfile.gettempdir(), f"whet-{uuid.uuid4().hex}") if folder is None else Path(folder).resolve()
        self.job = Job(
            reference(task), dict(params), str(rule), self.workers, self.run.steps, seed, shuffle, str(where),
            "auto" if limits.get("gpus") else "cpu", deadline=limits.get("deadline", 120.0),
            checkpoint=str(where / "server.safetensors"), shares=shares, name=uuid.uuid4().hex,
        )  # fmt: skip
        check_run(self.run, self.job.made_rule())
        self.job.shuffled(self.run)
        self._flat = Flat(self.run.model)
        self._resume, self._halting = resume, False
        self._first = math.inf  # when the first worker took its first step
        self._nodes: Nodes | None = None
        self._crew: Crew | None = None
        owner = None if folder is None else Owner(where)  # here: where the server is, if that is on this machine
        self._let_go = weakref.finalize(self, _let_go, owner, Path(self.job.checkpoint))

    @property
    def places(self) -> dict[str, tuple[int, str]]:
        """The process and the node of each that has begun."""
        return {} if self._crew is None else dict(self._crew.places)

    def __iter__(self) -> Iterator[Point]:
        """Start the actors and go on until every epoch's batches are merged."""
        return (point for point in self.events() if point is not None)

    def events(self, seconds: float = 1.0) -> Iterator[Point | None]:
        """Do as iterating does, and yield None about once in `seconds` as well: its owner's turn to look, to halt or to leave."""
        if self._crew is None:
            limits = self.limits
            self._nodes = Nodes(self.address, self.workers, cpus=limits.get("cpus"), gpus=limits.get("gpus", 0.0))
            self._crew = Crew(
                self._nodes, self.job, resume=self._resume, shown=self.run.step or None, deaths=self.deaths
            )
        crew, due = self._crew, time.monotonic() + seconds
        while not (crew.closed or (self._halting and not crew.begun)):  # the latter: before there was anything to save
            for said in crew.answers(min(1.0, max(0.0, due - time.monotonic()))):
                if "result" in said:
                    self.status = self._timed(said["result"])
                    return
                if "told" in said:
                    yield from self._heard(crew, said["told"])
                else:
                    self._begin(crew, said)
            if time.monotonic() >= due:
                yield None
                due = time.monotonic() + seconds

    def _begin(self, crew: Crew, said: dict[str, Any]) -> None:
        """Take in how a server begins."""
        self.lost += said["lost"]
        if not crew.begun:
            self.run.step = max(self.run.step, said["shown"])
        crew.go(said["shown"])
        if self._halting:
            crew.halt()

    def _heard(self, crew: Crew, told: list[dict[str, Any]]) -> Iterator[Point]:
        """Yield a point for each epoch, after the server was told to go on."""
        for news in told:
            if "late" in news:
                crew.late(news["late"], news["birth"])
        epochs = [news for news in told if "epoch" in news]
        assert crew.shown is not None
        crew.go(max([crew.shown, *(int(news["epoch"]) for news in epochs)]))
        for news in epochs:
            unwrap(news.pop("weights"), self._flat.weights)
            buffers = torch.empty(self._flat.buffer_size, dtype=torch.float64)
            self._flat.write_buffers(unwrap(news.pop("buffers"), buffers))
            models = news.pop("models")
            self.models = tuple(
                (w, unwrap(m, self._flat.weights.new_empty(member_size(self._flat)))) for w, m in models
            )
            self.status = self._timed({**news, "models": [w for w, _ in models]})
            if news["epoch"] > self.run.step and not self.run.over:
                yield self._point(news)

    def _timed(self, status: dict[str, Any]) -> dict[str, Any]:
        """Return a server's status with the time of the whole training, also when it was not the first."""
        now = time.monotonic()
        if status["seconds"]:
            self._first = min(self._first, now - float(status["seconds"]))
        return {**status, "seconds": max(0.0, now - self._first)}

    def _point(self, news: dict[str, Any]) -> Point:
        cost = float(self.status["seconds"])
        self.run.step = int(news["epoch"])
        found = self.run.evaluate()
        value, loss = found.pop(self.run.goal.name), float(news["loss"])
        if not math.isfinite(loss) or not math.isfinite(value):
            self.run.over, value = True, math.nan
            self.halt()
        metrics = {**found, "train_loss": loss, "updates": float(news["version"])}
        return Point(self.run.step, value, cost=cost, metrics=metrics)

    def look(self) -> dict[str, Any]:
        """Ask the server how the training stands; return the last that is known when it does not answer at once."""
        found = None if self._crew is None else self._crew.status()
        if found is not None:
            self.status = self._timed(found)
        return self.status

    def halt(self) -> None:
        """Ask the server to save and end, also one that is still to come; the iteration then ends."""
        self._halting = True
        if self._crew is not None:
            self._crew.halt()

    def close(self) -> None:
        """End the actors, leave the cluster, and remove what was temporary."""
        nodes, self._nodes = self._nodes, None
        if nodes is not None:
            if self._crew is not None:
                self._crew.close(clean=self._temporary)
            nodes.leave()
            if self._temporary:
                shutil.rmtree(self.job.folder, ignore_errors=True)
        self._let_go()

    def __enter__(self) -> Training:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _let_go(owner: Owner | None, checkpoint: Path) -> None:
    if owner is not None:
        writer = Writer(checkpoint)
        if writer.take():  # the server has ended, and with it goes what it left to say so
            writer.drop()
        owner.let_go()

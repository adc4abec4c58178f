"""One training on processes that step together, iterated by its owner as a `Run` is."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from whet.distributed.collective.job import Job
from whet.distributed.collective.state import about, fill
from whet.distributed.local.place import Place
from whet.distributed.named import parse_rule
from whet.distributed.rule import Rule
from whet.distributed.shares import crew
from whet.errors import TaskError, UsageError
from whet.execute.gpu import visible
from whet.execute.process import died_of
from whet.execute.processes import Message, Pool
from whet.task import Task
from whet.tasks import reference
from whet.train.run import Run
from whet.tune.space import Params
from whet.tune.trial import Point

__all__ = ["Training"]

_CHECKPOINT = "collective.safetensors"  # its name
_TRIES = 5  # deaths in a row, without an epoch between, that are taken for bad luck
_GRACE = 5.0  # seconds after the first sign that a worker is gone in which it is found out which
_RESTART = "restart"  # why the others of one that died are ended


class Training:
    """Train a task synchronously on `workers` processes; iterate it to get a `Point` after each epoch's worth of batches.

    stages: into how many parts of consecutive layers the model is cut, each in a process of its own: workers / stages copies train on
    batches of their own, data parallel; with stages == workers there is one copy, layer parallel; between the two, hybrid. rule: "sync",
    the only one there is here; shuffle: "global", "local" or "once", of batches to copies; folder: where checkpoints go (a temporary one
    when None); resume: go on from what is there.

    Each step is that of one process on the union of the copies' batches. Gradients are exchanged by DistributedDataParallel, layers by
    PyTorch's pipelining with the schedule 1F1B; over NCCL with a GPU for each worker, else on the CPU over Gloo. Statistics of batch
    normalisation are each copy's own while it trains, and their mean in `run.model`; in a pipeline a batch is normalised by microbatches. The loss must be
    a mean over examples.

    A process that dies or hangs ends all: they are started again from the last checkpoint (one each epoch, and every 30 s between), and what came
    after it is trained again. deadline, set before the first point: seconds that one waits for the others (120).

    A point's cost is in seconds since the start, without the start-up; its metrics have "updates". After the last, `run.model` has the weights;
    deaths says of each process how often it died, lost how many updates were trained again. It is a `Channel`.

    Use it as a context manager, or call `close`: leaving it ends the processes. Raises UsageError for another rule, numbers that do not go
    together or a folder that another training has, TaskError when the task cannot be found by other processes, fails in one, or has a model that cannot be cut.
    """

    deadline: float = 120.0

    def __init__(
        self, task: Task, params: Params, *, rule: Rule | str = "sync", workers: int | Sequence[int], stages: int = 1,
        steps: int | None = None, seed: int = 0, shuffle: str = "global", folder: Path | None = None, resume: bool = False,
    ) -> None:  # fmt: skip
        if str(parse_rule(str(rule))) != "sync":
            raise UsageError(f"rule {rule}: --on torch has sync only. Use --rule sync, or --on processes for {rule}.")
        workers, shares = crew(workers)
        if shares:
            raise UsageError(
                "shares: --on torch gives all workers the same. Leave --shares out, or use --on processes or ray."
            )
        whole = all(isinstance(n, int) and not isinstance(n, bool) for n in (workers, stages))
        if not whole or workers < 1 or stages < 1 or workers % stages:
            raise UsageError(
                f"workers: must be a multiple of stages, both >= 1, got workers={workers!r} and stages={stages!r}. Use e.g. --workers "
                f"{max(1, stages if isinstance(stages, int) else 2)}."
            )
        devices = visible()
        self._devices = [[d] for d in devices[:workers]] if len(devices) >= workers else None
        gpus = self._devices is not None
        self.run = Run(task, params, steps=steps, seed=seed, device="auto" if gpus and stages == 1 else "cpu")
        if not any(p.requires_grad for p in self.run.model.parameters()):
            raise TaskError(
                f"model: {type(self.run.model).__name__} has no parameters to train. Give it a layer with weights, with requires_grad."
            )
        self.workers, self.stages, self.lost = workers, stages, 0
        self.deaths: Counter[str] = Counter()
        self.models: tuple[tuple[int, Tensor], ...] = ()
        self._resume, self._life, self._row = resume, 0, 0
        self._began = self._lived = 0.0
        self._from = 0  # version at the start of this life
        self._again = 0  # batches
        self._pool: Pool | None = None
        self._halting = False
        self._trouble: float | None = None  # when a worker was first heard to be gone
        self._heard: set[int] = set()  # workers that have said since that they miss another
        self._why = ""  # how they saw it
        job = Job(
            reference(task), dict(params), workers, stages, self.run.steps, seed, shuffle, "", "", backend="nccl" if gpus else "gloo",
        )  # fmt: skip
        self._per_epoch = job.shuffled(self.run).per_epoch
        self._place = place = Place(folder, job.areas(), name=_CHECKPOINT)
        self._region = place.region
        self.job = replace(
            job, folder=str(place.meet), checkpoint=str(place.checkpoint), temporary=tuple(map(str, place.temporary))
        )

    def __iter__(self) -> Iterator[Point]:
        """Start the processes and go on until every epoch's batches are trained on."""
        return (point for point in self.events() if point is not None)

    def events(self, seconds: float = 1.0) -> Iterator[Point | None]:
        """Do as iterating does, and yield None about once in `seconds` as well: its owner's turn to look, to halt or to leave."""
        if self._pool is None:
            if self._halting:
                return
            if not self._resume:  # what a training before this one left is not to be gone on from when a process dies
                Path(self.job.checkpoint).unlink(missing_ok=True)
            none: list[list[str]] = [[] for _ in range(self.workers)]
            self._pool = Pool(self.workers, threads=None, devices=self._devices or none)
            self._call()
        due = time.monotonic() + seconds
        while True:
            message = self._pool.get(max(0.0, min(due - time.monotonic(), 1.0)))
            if message is not None:
                if message.worker == 0 and message.kind == "result" and self._now(message) and "done" in message.data:
                    return  # the others are done before: it is this one that writes
                yield from self._hear(message)
            if self._trouble is not None and time.monotonic() - self._trouble > _GRACE:
                silent = [
                    w for w in range(self.workers) if w not in self._heard
                ]  # the others have said that they miss one
                self._restart(silent, f"did not answer within {self.deadline:g} s ({self._why})")
            if time.monotonic() >= due:
                yield None
                due = time.monotonic() + seconds

    def _call(self) -> None:
        assert self._pool is not None
        job = {**self.job.json(), "deadline": self.deadline}
        for rank in range(self.workers):
            payload = {
                "job": job, "rank": rank, "life": self._life, "resume": self._resume, "threads": self._pool.threads,
            }  # fmt: skip
            self._pool.call(rank, "whet.distributed.collective.children:work", payload)

    # -- what processes say

    def _hear(self, message: Message) -> Iterator[Point]:
        data = message.data
        if message.kind == "exit":
            if data["why"] != _RESTART:
                self._died(message)
        elif message.kind == "error":
            self._failed(message)
        elif message.kind == "result" and self._now(message) and "severed" in data:
            self._heard.add(message.worker)
            self._why = data["severed"]
            self._trouble = self._trouble or time.monotonic()
        elif message.kind == "event" and self._now(message):
            if "started" in data:
                yield from self._started(data)
            else:
                yield from self._epoch(data)

    def _now(self, message: Message) -> bool:
        """Return whether a worker of this life said it."""
        return bool(message.data.get("life") == self._life)

    def _started(self, data: dict[str, Any]) -> Iterator[Point]:
        now = time.monotonic()
        self._began, self._lived, self._from = self._began or now, now, int(data["version"])
        if self._life == 0 and data["version"]:
            fill(Path(self.job.checkpoint), self.run.model)
            self.run.step = self.run.step or int(data["epoch"])  # an owner that knows how far it was may lack the last
        if data["epoch"] > self.run.step:  # saved by those that died before they could say so
            yield from self._epoch(data)
        self._region["seen"].fill_(self.run.step)

    def _epoch(self, data: dict[str, Any]) -> Iterator[Point]:
        self._row = 0
        seconds = time.monotonic() - self._began
        fill(Path(self.job.checkpoint), self.run.model)
        self._region["seen"].fill_(int(data["epoch"]))
        if data["epoch"] <= self.run.step:
            return
        self.run.step, loss = int(data["epoch"]), float(data["loss"])
        found = self.run.evaluate() if math.isfinite(loss) else {}
        value = found.pop(self.run.goal.name, math.nan)
        if not math.isfinite(value):
            self.run.over, value = True, math.nan
            self.halt()
        metrics = {**found, "train_loss": loss, "updates": float(data["version"])}
        yield Point(self.run.step, value, cost=seconds, metrics=metrics)

    def _failed(self, message: Message) -> None:
        """Raise what a worker's work failed with, unless it failed since another one died."""
        data = message.data
        if not data["known"]:
            assert self._pool is not None
            until = time.monotonic() + 1.0
            while (left := until - time.monotonic()) > 0:
                other = self._pool.get(left)
                if other is not None and other.kind == "exit" and other.data["why"] != _RESTART:
                    self._died(other)
                    return
        raise TaskError(data["error"] if data["known"] else f"worker {message.worker}: {data['error']}")

    def _died(self, message: Message) -> None:
        trace = message.data["trace"][-400:].strip()
        self._restart([message.worker], f"died ({died_of(message.data['code'])})" + (f": {trace}" if trace else ""))

    def _restart(self, dead: list[int], how: str) -> None:
        """Put fresh processes in the place of all, which go on from the last checkpoint; raise TaskError when that never helps."""
        self._row += 1
        if self._row > _TRIES:
            who = ", ".join(f"worker {w}" for w in dead) or "workers"
            raise TaskError(f"{who}: {how}, the last of {self._row} such ends without an epoch between.")
        assert self._pool is not None
        for w in dead:
            self.deaths[f"worker {w}"] += 1
        for w in range(self.workers):
            self._pool.end(w, _RESTART)
            self._pool.restart(w)
        while self._pool.get(0.0) is not None:
            pass  # what those that ended had to say
        before, kept = self._far(), about(Path(self.job.checkpoint))
        self.lost += max(0, before[0] - kept[0])
        self._again += max(0, before[1] - kept[1])
        self._trouble, self._resume, self._life = None, True, self._life + 1
        self._heard.clear()
        self._call()

    # -- what is known

    def look(self) -> dict[str, Any]:
        """Return how the training stands."""
        return self.status

    @property
    def status(self) -> dict[str, Any]:
        """How the training stands, as a `Channel` says it; there is no staleness, and nobody is ahead."""
        version, merged = self._far()
        seconds = max(time.monotonic() - self._lived, 1e-9)
        each = [v - self._from for v in self._region["version"].tolist()]
        return {
            "seconds": time.monotonic() - self._began if self._began else 0.0,
            "version": version, "merged": merged, "epochs": merged / self._per_epoch, "staleness": {"0": merged} if merged else {},
            "refused": {}, "drawn_again": self._again, "events": {"left": sum(self.deaths.values())},
            "workers": {
                str(w): {"updates": max(0, n), "rate": max(0, n) / seconds, "waits": False, "ahead": n - min(each)}
                for w, n in enumerate(each)
            },
        }  # fmt: skip

    def _far(self) -> tuple[int, int]:
        """Return the version and the batches merged of the worker that is furthest."""
        return int(self._region["version"].max()), int(self._region["merged"].max())

    def halt(self) -> None:
        """Ask the workers to save and end after their next step; the iteration then ends."""
        self._halting = True
        self._region["halt"].fill_(1)

    def close(self) -> None:
        """End the processes and remove what they shared."""
        if self._pool is not None:
            self._pool.kill()
            self._pool = None
        self._place.clear()

    def __enter__(self) -> Training:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

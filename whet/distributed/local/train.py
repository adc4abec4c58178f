"""One training on processes of this machine, iterated by its owner as a `Run` is."""

from __future__ import annotations

import math
import shutil
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from whet.distributed.fit import check_run
from whet.distributed.flat import Flat
from whet.distributed.local.frames import Frame, FrameError, Kind, connect, receive, send
from whet.distributed.local.job import Job
from whet.distributed.local.layout import region_path, socket_path
from whet.distributed.local.region import Region
from whet.distributed.rule import Rule
from whet.errors import TaskError, UsageError
from whet.execute.process import died_of
from whet.execute.processes import Message, Pool
from whet.task import Task
from whet.tasks import reference
from whet.train.run import Run
from whet.tune.space import Params
from whet.tune.trial import Point

__all__ = ["Training"]

_SERVER = 0  # its number in the pool; worker w is w + 1
_ANSWER = 0.25  # seconds in which a server that is not busy says how it stands
_TRIES = 5  # deaths of one process in a row, without an epoch between, that are taken for bad luck


class Training:
    """Train a task on `workers` processes and a server; iterate it to get a `Point` after each epoch's worth of merged batches.

    rule: a `Rule` or its name; shuffle: "global", "local" or "once"; folder: where checkpoints go (a temporary one when None); resume: go on from
    what is there; deadline: seconds after which a worker that does not answer is replaced; often: seconds between checkpoints beside those of each
    epoch. A process that dies is started again: a worker takes up the work of the one before, a server begins at its checkpoint.

    A point's cost is in seconds since the start, without the start-up; its metrics have "updates". After the last, `run.model` has the weights; status says
    how each worker got on, lost how many acknowledged updates died with servers, models the members' (worker, weights) where the rule
    exchanges models. It is a `whet.distributed.channels.Channel`.

    Use it as a context manager, or call `close`: leaving it ends the processes. Raises TaskError when the task cannot be found by other processes
    or fails in one.
    """

    def __init__(
        self, task: Task, params: Params, *, rule: Rule | str, workers: int, steps: int | None = None, seed: int = 0,
        shuffle: str = "global", folder: Path | None = None, resume: bool = False, deadline: float = 120.0,
    ) -> None:  # fmt: skip
        self.run = Run(task, params, steps=steps, seed=seed, device="cpu")
        self.workers, self.lost = workers, 0
        self.status: dict[str, Any] = {}
        self.deaths: Counter[str] = Counter()
        self.models: tuple[tuple[int, Tensor], ...] = ()
        self._halting = False
        self._meet = Path(tempfile.mkdtemp(prefix="whet-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self._resume, self._epoch, self._began = resume, 0, 0.0
        self._row: Counter[int] = Counter()
        self._owner: socket.socket | None = None
        self._pool: Pool | None = None
        checkpoint = (self._meet if folder is None else folder) / "server.safetensors"
        self.job = Job(
            reference(task), dict(params), str(rule), workers, self.run.steps, seed, shuffle, str(self._meet),
            deadline=deadline, checkpoint=str(checkpoint),
        )  # fmt: skip
        try:
            if resume and not Path(checkpoint).exists():
                raise UsageError(f"resume: nothing to go on from at {checkpoint}. Leave resume out to begin.")
            self.job.shuffled(self.run)
            check_run(self.run)
            self._flat = Flat(self.run.model)
            self._region = Region.make(region_path(self._meet), self.job.layout(self._flat).areas())
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[Point]:
        """Start the processes and go on until every epoch's batches are merged."""
        return (point for point in self.events() if point is not None)

    def events(self, seconds: float = 1.0) -> Iterator[Point | None]:
        """Do as iterating does, and yield None about once in `seconds` as well: its owner's turn to look, to halt or to leave."""
        if self._pool is None:
            if not self._resume:  # what another training left there is nothing that a server may begin at
                Path(self.job.checkpoint).unlink(missing_ok=True)
            self._pool = Pool(self.workers + 1, threads=None)
            self._serve()
            for w in range(self.workers):
                self._work(w)
        due = time.monotonic() + seconds
        while not (self._halting and self._owner is None):  # halted before there was a server: nothing to save
            message = self._pool.get(max(0.0, due - time.monotonic()))
            if message is not None and message.worker == _SERVER:
                if message.kind == "result":
                    self.status = message.data
                    return
                yield from self._heard(message)
            elif message is not None and message.kind in ("exit", "error"):
                self._ended(message)
            if time.monotonic() >= due:
                yield None
                due = time.monotonic() + seconds

    def _serve(self) -> None:
        assert self._pool is not None
        payload = {"job": self.job.json(), "epoch": self._epoch, "resume": self._resume}
        self._pool.call(_SERVER, "whet.distributed.local.children:serve", payload)

    def _work(self, worker: int) -> None:
        assert self._pool is not None
        payload = {"job": self.job.json(), "worker": worker, "threads": self._pool.threads}
        self._pool.call(worker + 1, "whet.distributed.local.children:work", payload)

    # -- what processes say

    def _heard(self, message: Message) -> Iterator[Point]:
        data = message.data
        if message.kind in ("exit", "error"):
            self._ended(message)
        elif message.kind == "event" and "listening" in data:
            self.lost += data["lost"]
            self.run.step = max(self.run.step, int(data["epochs"]))
            if self._owner is not None:
                self._owner.close()
            self._owner = connect(socket_path(self._meet), seconds=self.job.deadline)
            self._say(Frame(Kind.HALT) if self._halting else Frame(Kind.SEEN, a=int(data["epochs"])))
        elif message.kind == "event" and "epoch" in data:
            self.status = data
            self._row.clear()
            self._flat.weights.copy_(self._region["snapshot"])
            self._flat.write_buffers(self._region["snapshot/buffers"])
            if data["models"]:
                found = self._region["snapshot/models"].view(-1, self._flat.size)
                self.models = tuple((w, found[i].clone()) for i, w in enumerate(data["models"]))
            self._say(Frame(Kind.SEEN, a=int(data["epoch"])))
            if data["epoch"] > self.run.step:
                yield self._point(data)

    def _point(self, data: dict[str, Any]) -> Point:
        self.run.step = int(data["epoch"])
        found = self.run.evaluate()
        value, loss = found.pop(self.run.goal.name), float(data["loss"])
        if not math.isfinite(loss) or not math.isfinite(value):
            self.run.over, value = True, math.nan
            self.halt()
        metrics = {**found, "train_loss": loss, "updates": float(data["version"])}
        return Point(self.run.step, value, cost=float(data["seconds"]), metrics=metrics)

    def _ended(self, message: Message) -> None:
        """Put another process in the place of one that ended, unless its work cannot be done."""
        assert self._pool is not None
        i = message.worker
        who = "server" if i == _SERVER else f"worker {i - 1}"
        if message.kind == "error":
            raise TaskError(f"{who}: {message.data['error'] if isinstance(message.data, dict) else message.data}")
        self.deaths[who] += 1
        self._row[i] += 1
        if self._row[i] > _TRIES:
            raise TaskError(
                f"{who}: died {self._row[i]} times in a row ({died_of(message.data['code'])}). {message.data['trace'][-400:]}"
            )
        self._pool.restart(i)
        if i == _SERVER:
            self._epoch, self._resume = self._epoch + 1, True
            self._serve()
        else:
            self._work(i - 1)

    # -- words to the server

    def _say(self, frame: Frame) -> None:
        try:
            assert self._owner is not None
            send(self._owner, frame)
        except OSError:
            pass  # it died: its end comes as a message

    def look(self) -> dict[str, Any]:
        """Ask the server how the training stands; return the last that is known when it does not answer at once."""
        if self._owner is None:
            return self.status
        self._say(Frame(Kind.WATCH))
        try:
            self._owner.settimeout(_ANSWER)
            while frame := receive(self._owner):
                if frame.kind is Kind.STATUS:
                    self.status = dict(frame.status)
                self._owner.settimeout(0.0)  # answers to earlier looks, which came too late then, are there at once
        except (OSError, FrameError):
            pass
        finally:
            self._owner.settimeout(self.job.deadline)
        return self.status

    def halt(self) -> None:
        """Ask the server to save and end, also one that is still to come; the iteration then ends."""
        self._halting = True
        if self._owner is not None:
            self._say(Frame(Kind.HALT))

    def close(self) -> None:
        """End the processes and remove what they shared."""
        if self._owner is not None:
            self._owner.close()
        if self._pool is not None:
            self._pool.kill()
            self._pool = None
        shutil.rmtree(self._meet, ignore_errors=True)

    def __enter__(self) -> Training:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

"""One training on processes of this machine, iterated by its owner as a `Run` is."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from whet.distributed.fit import check_run
from whet.distributed.flat import Flat
from whet.distributed.keeper import workers_in
from whet.distributed.local.contact import Contact
from whet.distributed.local.crew import SERVER, Crew, name
from whet.distributed.local.frames import Frame, Kind, most_tickets
from whet.distributed.local.job import Job
from whet.distributed.local.layout import socket_path
from whet.distributed.local.place import CHECKPOINT, Place
from whet.distributed.member import member_size
from whet.distributed.rule import Local, Rule
from whet.distributed.shares import crew
from whet.errors import TaskError, UsageError
from whet.execute.processes import Message
from whet.task import Task
from whet.tasks import reference
from whet.train.run import Run
from whet.tune.space import Params
from whet.tune.trial import Point

__all__ = ["Training"]

_ANSWER = 0.25  # seconds in which a server that is not busy says how it stands
_TURN = 1.0  # seconds between looks whether the processes are well, at most


class Training:
    """Train a task on `workers` processes and a server; iterate it to get a `Point` after each epoch's worth of merged batches.

    workers: how many, or a share for each (see `whet.distributed.shuffle.Shuffle`); rule: a `Rule` or its name; shuffle: "global", "local" or "once"; folder:
    where checkpoints go, for this training alone (a temporary one when None); resume: go on from what is there; deadline: seconds in which a worker has to take a step, and the server to merge one or to write its
    checkpoint; who takes longer is replaced. A process that dies is started again: a worker takes up the work of the one before, a server begins at its
    checkpoint, which is written after each epoch and every half minute.

    A point's cost is in seconds since the first worker's first step; its metrics have "updates". After the last, `run.model` has the weights; status says
    how each worker got on, lost how many acknowledged updates died with servers, models the members' (worker, weights) where the rule
    exchanges models. It is a `whet.distributed.channels.Channel`.

    Use it as a context manager, or call `close`: leaving it ends the processes. Raises TaskError when the task cannot be found by other processes
    or fails in one.
    """

    def __init__(
        self, task: Task, params: Params, *, rule: Rule | str, workers: int | Sequence[int], steps: int | None = None, seed: int = 0,
        shuffle: str = "global", folder: Path | None = None, resume: bool = False, deadline: float = 120.0,
    ) -> None:  # fmt: skip
        self.run = Run(task, params, steps=steps, seed=seed, device="cpu")
        (self.workers, shares), self.lost = crew(workers), 0
        self.status: dict[str, Any] = {}
        self.deaths: Counter[str] = Counter()
        self.models: tuple[tuple[int, Tensor], ...] = ()
        self._halting = self._ended = False
        self._resume, self._epoch, self._acknowledged = resume, 0, 0
        self._began: float | None = None  # when the first server was there
        self._first: float | None = None  # when the first worker took its first step
        if resume and (folder is None or not (folder / CHECKPOINT).exists()):
            where = folder / CHECKPOINT if folder is not None else "no folder"
            raise UsageError(f"resume: nothing to go on from at {where}. Leave resume out to begin.")
        job = Job(
            reference(task), dict(params), str(rule), self.workers, self.run.steps, seed, shuffle, "", deadline=deadline,
            shares=shares, before=workers_in(folder / CHECKPOINT) if resume and folder is not None else 0,
        )  # fmt: skip
        every = (job.made_rule().local or Local()).every * max(shares, default=1)
        if every > most_tickets():
            raise UsageError(
                f"{job.rule}: every: processes of one machine exchange at least once in {most_tickets()} steps, got {every}."
            )
        job.shuffled(self.run)
        check_run(self.run, job.made_rule())
        self._flat = Flat(self.run.model)
        self._place = place = Place(folder, job.layout(self._flat).areas())
        self._region = place.region
        self._contact = Contact(socket_path(place.meet), seconds=deadline)
        self.job = replace(
            job, folder=str(place.meet), checkpoint=str(place.checkpoint), temporary=tuple(map(str, place.temporary))
        )
        self._crew = Crew(self.job, self.deaths)

    def __iter__(self) -> Iterator[Point]:
        """Start the processes and go on until every epoch's batches are merged."""
        return (point for point in self.events() if point is not None)

    def events(self, seconds: float = 1.0) -> Iterator[Point | None]:
        """Do as iterating does, and yield None about once in `seconds` as well: its owner's turn to look, to halt or to leave."""
        if self._crew.pool is None and not self._ended:
            if not self._resume:  # what another training left there is nothing that a server may begin at
                Path(self.job.checkpoint).unlink(missing_ok=True)
            while not self._crew.ready(seconds):
                yield None
                if self._halting:
                    return
            self._crew.begin()
            self._serve()
            for w in range(self.workers):
                self._crew.work(w)
        due = time.monotonic() + seconds
        while not self._ended and not (
            self._halting and self._began is None
        ):  # halted before there was anything to save
            message = self._crew.get(max(0.0, min(_TURN, due - time.monotonic())))
            if message is None:
                self._look_after()
            else:
                yield from self._heard(message)
            if time.monotonic() >= due and not self._ended:
                yield None
                due = time.monotonic() + seconds

    def _serve(self) -> None:
        known = self._began is not None or self.run.step > 0
        self._crew.serve(
            epoch=self._epoch, resume=self._resume, shown=self.run.step if known else None,
            spent=0.0 if self._first is None else time.monotonic() - self._first,
        )  # fmt: skip

    # -- what processes say

    def _heard(self, message: Message) -> Iterator[Point]:
        i, data = message.worker, message.data
        if message.kind == "error":
            raise TaskError(f"{name(i)}: {data['error'] if isinstance(data, dict) else data}")
        if message.kind == "exit":
            self._replace(i, data)
        elif message.kind == "result" and i == SERVER:
            self.status, self._ended = data, True
        elif (
            message.kind == "result" and data["epoch"] < self._epoch
        ):  # who said that all is done was lost with what it had
            self._crew.work(i - 1)
        elif message.kind == "result":
            self._crew.idle.add(i - 1)
        elif message.kind == "event" and "ready" in data:
            self._crew.due.pop(i, None)
        elif message.kind == "event" and "late" in data:
            self._crew.end(data["late"] + 1, data["process"])
        elif message.kind == "event" and "listening" in data:
            self._listens(data)
        elif message.kind == "event" and "epoch" in data:
            self._know(data)
            self._crew.further()
            self._take(data["models"])
            self._contact.say(Frame(Kind.SEEN, a=int(data["epoch"])))
            if data["epoch"] > self.run.step and not self.run.over:
                yield self._point(data)

    def _listens(self, data: dict[str, Any]) -> None:
        """Take in how a server begins."""
        first, self._resume = self._began is None, True
        self._crew.due.pop(SERVER, None)
        self.lost += max(0, self._acknowledged - int(data["version"]))
        self._acknowledged = 0
        self._contact.reach()
        if first:
            self._began = time.monotonic()
            self.run.step = max(self.run.step, int(data["shown"]))
            if data["over"]:  # nothing is left to do, and nothing will be told
                self._take(data["models"])
        if self._halting:
            self._contact.say(Frame(Kind.HALT))

    def _know(self, status: dict[str, Any] | None) -> None:
        """Take in how the training stands, when something was heard of it."""
        if status:
            self.status = status
            if self._first is None and status.get("seconds"):
                self._first = time.monotonic() - float(status["seconds"])

    def _take(self, members: list[int]) -> None:
        """Take the weights that the server shows."""
        self._flat.weights.copy_(self._region["snapshot"])
        self._flat.write_buffers(self._region["snapshot/buffers"])
        if members:
            found = self._region["snapshot/models"].view(-1, member_size(self._flat))
            self.models = tuple((w, found[i].clone()) for i, w in enumerate(members))

    def _point(self, data: dict[str, Any]) -> Point:
        self.run.step = int(data["epoch"])
        found = self.run.evaluate()
        value, loss = found.pop(self.run.goal.name), float(data["loss"])
        if not math.isfinite(loss) or not math.isfinite(value):
            self.run.over, value = True, math.nan
            self.halt()
        metrics = {**found, "train_loss": loss, "updates": float(data["version"])}
        return Point(self.run.step, value, cost=float(data["seconds"]), metrics=metrics)

    # -- processes that end, or do not answer

    def _replace(self, i: int, end: dict[str, Any]) -> None:
        """Put another process in the place of one that ended, unless its work cannot be done."""
        if i == SERVER:  # another one counts from its checkpoint on
            counts = self._region["counts"]
            self._acknowledged = max(self._acknowledged, int(counts[0]))
            counts[0] = 0
        self._crew.replace(i, end)
        if i == SERVER:
            self._epoch += 1
            self._contact.close()
            self._serve()
            self._crew.rouse()

    def _look_after(self) -> None:
        """Ask the server how it is now and then; end processes that have not answered in their time."""
        now, contact = time.monotonic(), self._contact
        self._know(contact.hear())
        if contact.asked is not None and now - contact.asked > self.job.deadline:
            contact.asked = None
            self._crew.end(SERVER)
        elif self._began is not None and SERVER not in self._crew.due:
            contact.ask()
        self._crew.overdue()

    # -- words to the server

    def look(self) -> dict[str, Any]:
        """Ask the server how the training stands; return the last that is known when it does not answer at once."""
        if not self._ended:  # else the last word is known, and what still lies there is older
            self._contact.ask()
            self._know(self._contact.hear(_ANSWER))
        return self.status

    def halt(self) -> None:
        """Ask the server to save and end, also one that is still to come; the iteration then ends."""
        self._halting = True
        self._contact.say(Frame(Kind.HALT))

    def close(self) -> None:
        """End the processes and remove what they shared."""
        self._ended = True
        self._contact.close()
        self._crew.close()
        self._place.clear()

    def __enter__(self) -> Training:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

"""The server of a training as an actor: its calls run in one event loop, one at a time, so that nothing has to be locked."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from whet.distributed.client import Client
from whet.distributed.cluster.answers import Answers, until
from whet.distributed.cluster.parcel import Answer, Bytes, said, unwrap, wrap
from whet.distributed.cluster.turn import Turn
from whet.distributed.desk import Desk
from whet.distributed.keeper import Keeper
from whet.distributed.local.job import Job
from whet.distributed.tenure import GONE, Writer
from whet.distributed.update import Given
from whet.execute.nodes import here

__all__ = ["Service"]

_LOOK = 0.1  # seconds between looks at what is overdue
_SLEPT = 2.0  # seconds without a look, after which this process was stopped or busy: what waits is heard before anybody is called late


class Service:
    """The server of one training, which workers and the owner call from wherever they are.

    job: as `Job.json` gives it; epoch: how many servers there were before; put: what lays a model where every node can get it, and returns what gets
    it there (None: `ray.put`). Beside its checkpoint `Turn` keeps what outlives this process. A
    call that waits answers within the seconds it is given.
    """

    def __init__(self, job: Mapping[str, Any], epoch: int, *, put: Callable[[Bytes], Any] | None = None) -> None:
        self.job, self.epoch, self._put = Job(**job), epoch, put
        self.halting, self.failed = False, ""
        self._folder = Path(self.job.folder)
        self._writer = Writer(Path(self.job.checkpoint), self.job.name)
        self._told: list[dict[str, Any]] = []  # what the owner has not heard yet
        self._news = asyncio.Event()
        self._result: dict[str, Any] | None = None
        self._answers = Answers()
        self._pulled: dict[int, Tensor] = {}  # worker -> the weights (p,) it was given: its backup
        self._pushed: dict[int, Tensor] = {}  # worker -> what it sent last (p,)
        self._stored: dict[int, tuple[Tensor, Any]] = {}  # worker -> its model, and the same in the object store
        self._watching: asyncio.Task[None] | None = None

    async def start(self, *, resume: bool, shown: int | None) -> dict[str, Any]:
        """Make the server, from its checkpoint when there is to be one; shown: the last whole epoch that the owner has read, as `Desk` has it.

        Return lost (acknowledged updates that died with the one before), version and shown; or error. When nothing is left to do,
        what `hear` tells then is the last epoch again: the owner may have no weights yet.
        """
        try:
            self.server = self.job.server(self.job.run())
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            until = time.monotonic() + GONE
            while (
                not self._writer.take() and not self._writer.ours
            ):  # ours: of a server that was given up, as its turn tells it
                if time.monotonic() > until:
                    return {"error": self._writer.refused}
                await asyncio.sleep(_LOOK)
            self._turn = Turn(self._folder, self.epoch, anew=not resume)
            if resume and not self.epoch and not Path(self.job.checkpoint).exists():
                where = f"{self.job.checkpoint} on {os.uname().nodename}"
                return {"error": f"resume: nothing to go on from at {where}. Leave resume out to begin."}
            self.keeper = Keeper(
                self.server,
                Path(self.job.checkpoint),
                self.job.often,
                epoch=self.epoch,
                turn=lambda: not self._turn.over,
            )
            self.keeper.begin(resume=resume)
        except Exception as e:
            return {"error": said(e)}
        self.desk = Desk(
            self.server, self, workers=self.job.workers, epoch=self.epoch, deadline=self.job.deadline,
            shown=shown, together=1 if self.epoch and not self.server.closing else self.job.workers,
        )  # fmt: skip
        found = {"version": self.server.held.version, "shown": self.desk.shown}
        if self.desk.over:
            self.whole(self.desk.shown)
        self.desk.show()
        self._watching = asyncio.get_running_loop().create_task(self._watch())
        return {"lost": self._turn.lost(found["version"]), **found}

    # -- calls of workers

    async def hello(self, worker: int, birth: int, *, own: bool) -> tuple[int, int] | None:
        """Take in a worker, of the process `birth`; return its life and its next step, None when this server is over."""
        taken: list[Client | None] = []
        self._do(lambda: taken.append(self.desk.hello(worker, own=own)))  # it may write a checkpoint, and that may fail
        client = taken[0] if taken else None
        if client is None:
            return None
        self._answers.begin(client.life, birth=birth)
        return client.life, client.step

    async def pull(self, worker: int, life: int, *, seconds: float) -> Answer:
        """Answer with what the worker goes on from; "wait" when there is nothing for it within `seconds`."""
        client = self._client(worker, life)
        if client is not None and not self._answers.has(life):
            self._do(lambda: self.desk.ask(client))
        return await self._answer(client, seconds)

    async def alive(self, worker: int, life: int) -> None:
        """Note that a worker got further with what it is at."""
        client = self._client(worker, life)
        if client is not None:
            self.desk.alive(client)

    async def push(
        self, worker: int, life: int, step: int, *, vector: Bytes, buffers: Bytes, about: tuple[int, int, float],
        seconds: float,
    ) -> Answer:  # fmt: skip
        """Merge an update, then answer as `pull` does. about: examples, the version that was pulled, loss.

        What comes from a life that is over, or was merged before, changes nothing.
        """
        client = self._client(worker, life)
        if client is None:
            self.desk.events["stale"] += 1
        else:
            self._do(lambda: self._push(client, step, vector, buffers, about))
        return await self._answer(client, seconds)

    def _push(self, client: Client, step: int, vector: Bytes, buffers: Bytes, about: tuple[int, int, float]) -> None:
        if client.worker not in self._pushed:
            self._pushed[client.worker] = torch.empty_like(self.server.held.weights)
        update = self._pushed[client.worker]  # rules may write into it, and nobody into what Ray gives
        if self.desk.expected(client, step):  # else one that waits may be in there
            unwrap(vector, update)
        found = unwrap(buffers, torch.empty(self.server.flat.buffer_size, dtype=torch.float64))
        examples, pulled, loss = about
        self.desk.push(client, step, update, found, examples=examples, pulled=pulled, loss=loss)

    async def _answer(self, client: Client | None, seconds: float) -> Answer:
        if client is not None and self.desk.clients.get(client.worker) is client and not self.over:
            await self._answers.wait(client.life, seconds)
        if self.over:
            return Answer("lost" if self.failed or self._turn.over else "over")
        if client is None or self.desk.clients.get(client.worker) is not client:
            return Answer("stale")
        return self._answers.take(client.life)

    def _client(self, worker: int, life: int) -> Client | None:
        client = self.desk.clients.get(worker)
        return client if client is not None and client.life == life and not self.over else None

    # -- calls of the owner

    async def hear(self, seen: int, *, seconds: float) -> dict[str, Any]:
        """Return what there is to tell, or nothing after `seconds`; seen: the last whole epoch that the owner has read.

        told: whole epochs ("epoch": status, with "weights", "buffers", "models") and workers that are late ("late": the worker, "birth"); or result:
        the last status, when all is over; or error: what failed.
        """
        self._do(lambda: self.desk.seen(seen))
        if not self._told and not self.over:
            await until(self._news, seconds)
        if self.failed:
            return {"error": self.failed}
        if self.over and not self._told:
            return {"result": self._end()}
        told, self._told = self._told, []
        return {"told": told}

    async def left(self, worker: int, birth: int) -> None:
        """Count a worker as gone, since its process `birth` has ended."""
        client = self.desk.clients.get(worker)
        if client is not None and self._answers.births()[client.life] == birth:
            self._do(lambda: self.desk.leave(client))

    async def status(self) -> dict[str, Any]:
        """Return how the training stands."""
        return self.desk.status()

    async def halt(self) -> None:
        """Save and end: what `hear` returns then is the result."""
        self.halting = True
        self._wake()

    async def clean(self) -> None:
        """Remove the folder, checkpoint and all."""
        shutil.rmtree(self._folder, ignore_errors=True)

    async def where(self, folder: str) -> tuple[int, str]:
        """Go to `folder`, where the paths that people give begin, if the node has it; return the number of this process, and the node's name."""
        return here(folder)

    # -- its own

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do here."""
        return self.halting or bool(self.failed) or self._turn.over or self.desk.over

    def _do(self, action: Callable[[], None]) -> None:
        if self.over:
            return
        try:
            action()
        except Exception as e:
            self.failed = said(e)
        if self.over:
            self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._answers.wake()

    def _end(self) -> dict[str, Any]:
        if self._result is None:
            self.desk.end()
            self.keeper.write()
            self._writer.drop()
            self._result = {"done": self.desk.finished, **self.desk.status()}
        return self._result

    async def _watch(self) -> None:
        looked = time.monotonic()
        while not self.over:
            await asyncio.sleep(_LOOK)
            looked, before = time.monotonic(), looked
            if looked - before < _SLEPT:
                self._do(self._expire)
        self._wake()

    def _expire(self) -> None:
        births = self._answers.births()
        for client in self.desk.expire():
            self._tell({"late": client.worker, "birth": births[client.life]})

    def _tell(self, news: dict[str, Any]) -> None:
        self._told.append(news)
        self._news.set()

    # -- what the desk needs

    def into(self, worker: int) -> Tensor:
        """Return the worker's vector: a copy of it travels, so what it was given and its backup are the same."""
        if worker not in self._pulled:
            self._pulled[worker] = torch.empty_like(self.server.held.weights)
        return self._pulled[worker]

    def give(self, client: Client, given: Given) -> None:
        """Have the answer ready for the worker's call, which waits or will come."""
        weights = wrap(self._pulled[client.worker]) if given.fresh else None
        models = tuple((w, self._store(w, m)) for w, m in given.models)
        buffers = None if given.buffers is None else wrap(given.buffers)
        answer = Answer("given", given.version, given.tickets, weights, models, given.handed, buffers, given.closing)
        self._answers.give(client.life, answer)

    def _store(self, worker: int, model: Tensor) -> Any:
        """Put a model where every node can get it, once."""
        if worker not in self._stored or self._stored[worker][0] is not model:
            if self._put is None:
                import ray

                self._put = ray.put
            self._stored[worker] = model, self._put(wrap(model))
        return self._stored[worker][1]

    def drop(self, client: Client) -> None:
        """Have a call that waits answered: this life is over."""
        self._answers.end(client.life)

    def merged(self) -> None:
        """Note what was acknowledged where it outlives this process."""
        self._turn.acknowledge(self.server.held.version)
        self.keeper.after()

    def whole(self, epoch: int) -> None:
        """Keep the weights for the owner, as they are now."""
        buffers = torch.empty(self.server.flat.buffer_size, dtype=torch.float64)
        self.server.flat.read_buffers(buffers)
        self._tell({
            **self.desk.epoch_status(), "weights": wrap(self.server.held.weights).copy(), "buffers": wrap(buffers),
            "models": tuple((w, wrap(m).copy()) for w, m in self.server.models),
        })  # fmt: skip

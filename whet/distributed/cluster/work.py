"""A worker of a training as an actor: it asks the server for work, does it, and brings it back, call by call."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from whet.distributed.cluster.parcel import Answer, said, unwrap, wrap
from whet.distributed.desk import SIGNS
from whet.distributed.local.job import Job
from whet.distributed.member import member_size
from whet.distributed.rule import Local
from whet.distributed.update import Given
from whet.distributed.worker import Parts, Worker
from whet.execute.nodes import here

__all__ = ["PATIENCE", "Labour"]

PATIENCE = 5.0  # seconds a call waits at the server before it is answered that there is nothing yet
_RETRY = 0.2  # seconds before a worker that lost its server says so


class Labour:
    """One worker, in one process: its number, and in which of its processes it lives.

    job: as `Job.json` gives it; threads: that it computes with.
    """

    def __init__(self, job: Mapping[str, Any], number: int, birth: int, threads: int) -> None:
        self.job, self.number, self.birth = Job(**job), number, birth
        self.sent = 0
        self._own = False  # whether it has weights to go on from
        self._peers: dict[int, Tensor] = {}
        torch.set_num_threads(threads)

    def where(self, folder: str) -> tuple[int, str]:
        """Go to `folder`, where the paths that people give begin, if the node has it; return the number of this process, and the node's name."""
        return here(folder)

    def begin(self) -> dict[str, Any]:
        """Make the model and load the data; return nothing, or error."""
        try:
            run = self.job.run(device=self.job.device)
            local = self.job.made_rule().local or Local()
            self._worker = Worker(self.number, Parts.of(run), self.job.shuffled(run), local=local)
        except Exception as e:
            return {"error": said(e)}
        return {}

    def work(self, server: Any) -> dict[str, Any]:
        """Work for a server until nothing is left to do; return updates (sent in all), and whether it lost the server.

        Its own weights and optimizer stay, for another server to go on with. An error of the task comes back as its words.
        """
        from ray.exceptions import RayError

        try:
            while (end := self._live(server)) == "stale":
                pass
        except RayError:
            end = "lost"
        except Exception as e:
            return {"error": said(e)}
        if end == "lost":
            time.sleep(_RETRY)  # the owner has to learn of it too
        return {"updates": self.sent, "lost": end == "lost"}

    def _live(self, server: Any) -> str:
        """Say hello and work; return why it ended: "over", "lost" or "stale"."""
        worker = self._worker
        welcome = self._get(server.hello.remote(self.number, self.birth, own=self._own))
        if welcome is None:
            return "lost"
        life, worker.step = welcome
        worker.further = self._signs(server, life)
        answer: Answer = self._get(server.pull.remote(self.number, life, seconds=PATIENCE))
        while answer.kind in ("given", "wait"):
            if answer.kind == "wait":
                answer = self._get(server.pull.remote(self.number, life, seconds=PATIENCE))
                continue
            update = worker.work(self._taken(worker, answer))
            assert update.buffers is not None
            self.sent += 1
            answer = self._get(server.push.remote(
                self.number, life, update.step, vector=wrap(update.vector), buffers=wrap(update.buffers),
                about=(update.examples, update.pulled, update.loss), seconds=PATIENCE,
            ))  # fmt: skip
        return answer.kind

    def _signs(self, server: Any, life: int) -> Callable[[], None]:
        """Return what says to a server that this got further, unless it has just said so."""
        said = time.monotonic()

        def sign() -> None:
            nonlocal said
            now = time.monotonic()
            if now - said > self.job.deadline / SIGNS:
                said = now
                server.alive.remote(self.number, life)

        return sign

    def _taken(self, worker: Worker, answer: Answer) -> Given:
        """Put what was given where it belongs."""
        if answer.weights is not None:
            unwrap(answer.weights, worker.flat.weights)
        self._own = True
        found = self._get([ref for _, ref in answer.models]) if answer.models else []
        for (w, _), model in zip(answer.models, found, strict=True):
            if w not in self._peers:
                self._peers[w] = worker.flat.weights.new_empty(member_size(worker.flat))
            unwrap(model, self._peers[w])
        buffers = None
        if answer.buffers is not None:
            buffers = unwrap(answer.buffers, torch.empty(worker.flat.buffer_size, dtype=torch.float64))
        models = tuple((w, self._peers[w]) for w, _ in answer.models)
        return Given(answer.version, answer.tickets, models, answer.handed, buffers=buffers, closing=answer.closing)

    def _get(self, references: Any) -> Any:
        import ray

        return ray.get(references, timeout=PATIENCE + self.job.deadline)

"""The actors of one training: what each was asked, what they answer, and another in the place of one that ended."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from whet.distributed.cluster.nodes import Nodes
from whet.distributed.cluster.work import PATIENCE
from whet.distributed.local.job import Job
from whet.errors import TaskError, UsageError
from whet.execute.nodes import end, joined, reason

__all__ = ["Crew"]

_SERVER = -1  # its number among workers
_TRIES = 5  # deaths of one process in a row, without an epoch between, that are taken for bad luck
_ROOM = 300.0  # seconds that workers wait for room on a cluster that has none for any of them
_BEGIN = 600.0  # seconds an actor may take to begin: torch, the data, the checkpoint
_ANSWER = 1.0  # seconds in which a server that is not busy says how it stands


class Awaited(NamedTuple):
    """What was asked of an actor, which worker it is, and until when it has to answer."""

    what: str
    worker: int
    until: float


class Crew:
    """A server and the workers of a job on the nodes of a cluster.

    resume: whether the server begins at a checkpoint; shown: the last whole epoch that it need not show (again), None for the one that its
    checkpoint knows. deaths, places: by "server" and "worker 3", how often it was replaced, and the process and node where it is; serving:
    whether there is a server that has begun, begun: or was; closed: whether all is over, and nothing more is asked of Ray.
    """

    def __init__(self, nodes: Nodes, job: Job, *, resume: bool, shown: int | None, deaths: Counter[str]) -> None:
        self.nodes, self.job, self.deaths = nodes, job, deaths
        self.places: dict[str, tuple[int, str]] = {}
        self.serving = self.begun = self.closed = False
        self.shown = shown
        self._resume, self._epoch = resume, 0
        self._room = time.monotonic() + _ROOM
        self._row: Counter[int] = Counter()
        self._awaited: dict[Any, Awaited] = {}
        self._server: Any = None
        self._workers: dict[int, Any] = {}
        self._births: Counter[int] = Counter()
        self._idle: set[int] = set()  # workers that wait for a server
        self._serve()
        for w in range(job.workers):
            self._work(w)

    def answers(self, seconds: float) -> Iterator[dict[str, Any]]:
        """Wait up to `seconds`, replace what ended, and yield what servers say, as `Service.start` and `Service.hear` return it.

        Raises TaskError when the work of one fails, it dies again and again or this process has left the cluster, UsageError when there is no
        room for any worker.
        """
        import ray
        from ray.exceptions import RayError

        if not self.closed and not joined():
            raise TaskError(
                "ray: this process has left the cluster, so nothing more is heard of the training. Resume it."
            )
        ready = [] if self.closed else ray.wait(list(self._awaited), timeout=seconds)[0]
        for ref in ready:
            if self.closed:
                break
            what, worker, _ = self._awaited.pop(ref)
            try:
                found = ray.get(ref, timeout=self.job.deadline)
            except RayError as e:
                self._replace(worker, reason(e))
                continue
            if isinstance(found, dict) and "error" in found:
                raise TaskError(f"{_name(worker)}: {found['error']}")
            if what == "where":
                self._where(worker, found)
            elif what in ("begin", "work"):
                self._idle.add(worker)
                self._set_to_work()
            else:
                yield found
        if not self.closed:
            self._overdue()

    def _overdue(self) -> None:
        import ray

        now = time.monotonic()
        late = [ref for ref, of in self._awaited.items() if now > of.until]
        if late:  # it may be the owner that took its time
            _, late = ray.wait(late, num_returns=len(late), timeout=0)
        for worker in {self._awaited[ref].worker for ref in late}:
            self._replace(worker, "no answer in time")
        if now > self._room:
            raise UsageError(
                f"ray: no worker found room in {_ROOM:g} seconds: each asks for {self.nodes.asked}, and the cluster has "
                f"{self.nodes.has}. Ask for less (cpus=0.5), or wait until others are done."
            )

    def _where(self, worker: int, found: tuple[int, str]) -> None:
        self.places[_name(worker)] = found
        if worker != _SERVER:
            self._room = math.inf
            self._await(self._workers[worker].begin.remote(), "begin", worker, seconds=_BEGIN)

    # -- the server

    def _serve(self) -> None:
        self.serving = False
        self._server = self.nodes.server(self.job.json(), self._epoch)
        self._await(self._server.where.remote(os.getcwd()), "where", _SERVER)
        self._await(self._server.start.remote(resume=self._resume, shown=self.shown), "start", _SERVER, seconds=_BEGIN)

    def go(self, shown: int) -> None:
        """Have the server go on, and tell what comes after the epoch `shown`; the workers too, when it has begun only now."""
        if self.shown is not None and shown > self.shown:
            self._row.clear()
        self.serving = self.begun = True
        self.shown = shown
        told = self._server.hear.remote(shown, seconds=PATIENCE)
        self._await(told, "hear", _SERVER, seconds=PATIENCE + self.job.deadline)
        self._set_to_work()

    def halt(self) -> None:
        """Have the server save and end."""
        if self.serving:
            self._server.halt.remote()

    def status(self) -> dict[str, Any] | None:
        """Return how the training stands, or None when the server does not say so at once."""
        import ray
        from ray.exceptions import RayError

        if not self.serving:
            return None
        try:
            return ray.get(self._server.status.remote(), timeout=_ANSWER)
        except RayError:
            return None

    # -- workers

    def _work(self, worker: int) -> None:
        """Start a worker; it says where it is once there is room for it."""
        actor = self._workers[worker] = self.nodes.worker(self.job.json(), worker, self._births[worker])
        self._await(actor.where.remote(os.getcwd()), "where", worker)

    def _set_to_work(self) -> None:
        while self.serving and self._idle:
            worker = self._idle.pop()
            self._await(self._workers[worker].work.remote(self._server), "work", worker)

    def late(self, worker: int, birth: int) -> None:
        """Replace a worker that gave the server no answer, unless that was done."""
        if self._births[worker] == birth:
            self._replace(worker, f"no answer in {self.job.deadline:g} seconds")

    # -- all

    def _await(self, ref: Any, what: str, worker: int, *, seconds: float = math.inf) -> None:
        self._awaited[ref] = Awaited(what, worker, time.monotonic() + seconds)

    def _replace(self, worker: int, why: str) -> None:
        """Put another actor in the place of one that ended or does not answer."""
        self._awaited = {ref: of for ref, of in self._awaited.items() if of.worker != worker}
        self.places.pop(_name(worker), None)
        self.deaths[_name(worker)] += 1
        self._row[worker] += 1
        if self._row[worker] > _TRIES:
            raise TaskError(f"{_name(worker)}: died {self._row[worker]} times in a row ({why}).")
        if worker == _SERVER:
            end(self._server)
            self._epoch, self._resume = self._epoch + 1, self._resume or self.begun
            self._serve()
            return
        if self.serving:
            self._server.left.remote(worker, self._births[worker])
        end(self._workers[worker])
        self._births[worker] += 1
        self._idle.discard(worker)
        self._work(worker)

    def close(self, *, clean: bool) -> None:
        """End all actors; clean: have the server remove its folder. They are gone already where the cluster was left before."""
        import ray

        try:
            if clean and self.serving and joined():
                ray.get(self._server.clean.remote(), timeout=_ANSWER)
        except Exception:
            pass  # it has died, and what is in its temporary folder stays there
        self.serving, self.closed = False, True
        for actor in (self._server, *self._workers.values()):
            end(actor)


def _name(worker: int) -> str:
    return "server" if worker == _SERVER else f"worker {worker}"

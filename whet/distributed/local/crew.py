"""The processes of one training on this machine: begun, told what to do, ended when they are late, and others in their place."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from whet.distributed.local.job import Job
from whet.errors import TaskError
from whet.execute.forkserver import ForkServer
from whet.execute.process import died_of
from whet.execute.processes import Message, Pool

__all__ = ["SERVER", "Crew", "name"]

SERVER = 0  # its number; worker w is w + 1
_TRIES = 5  # deaths of one process in a row, without an epoch between, that are taken for bad luck
_BEGIN = 600.0  # seconds a process may take to begin: torch, the data, the checkpoint


class Crew:
    """A server and the workers of a job, all forked from a process that has made what they need.

    deaths: by "server" and "worker 3", how often it was replaced; pool: the processes, once they were begun; due: of each that begins, by when it
    has to; idle: the workers that were told that all is done.
    """

    def __init__(self, job: Job, deaths: Counter[str]) -> None:
        self.job, self.deaths = job, deaths
        self.pool: Pool | None = None
        self.due: dict[int, float] = {}
        self.idle: set[int] = set()
        self._forks: ForkServer | None = None
        self._row: Counter[int] = Counter()

    def ready(self, seconds: float) -> bool:
        """Return whether, within `seconds`, all is made that the processes are forked with."""
        if self._forks is None:
            self._forks = ForkServer("whet.distributed.local.children:prepare", {"job": self.job.json()})
        return self._forks.ready(seconds)

    def begin(self) -> None:
        """Begin the processes; they have nothing to do yet."""
        self.pool = Pool(self.job.workers + 1, threads=None, forks=self._forks)

    def get(self, seconds: float) -> Message | None:
        """Return the next that a process says, or None when none does within `seconds`."""
        assert self.pool is not None
        return self.pool.get(seconds)

    # -- what they do

    def serve(self, **how: Any) -> None:
        """Have the server serve; how: as `whet.distributed.local.children.serve` is told, beside the job."""
        self._call(SERVER, "serve", how)

    def work(self, worker: int) -> None:
        """Have a worker work."""
        self._call(worker + 1, "work", {"worker": worker})

    def _call(self, i: int, what: str, how: dict[str, Any]) -> None:
        assert self.pool is not None
        self.due[i] = time.monotonic() + _BEGIN
        payload = {"job": self.job.json(), "threads": self.pool.threads, **how}
        self.pool.call(i, f"whet.distributed.local.children:{what}", payload)

    def rouse(self) -> None:
        """Have those work again that were told that all is done."""
        for worker in self.idle:
            self.work(worker)
        self.idle.clear()

    # -- their end

    def further(self) -> None:
        """Take in that the training got further: deaths up to now are no longer in a row with those to come."""
        self._row.clear()

    def replace(self, i: int, end: dict[str, Any]) -> None:
        """Put another process in the place of one that ended, unless its work cannot be done: then raise TaskError; a worker goes to work."""
        assert self.pool is not None
        who, late = name(i), end["why"] == "late"
        self.deaths[who] += 1
        self._row[i] += 1
        if self._row[i] > _TRIES:
            how = f"no answer within {self.job.deadline:g} seconds" if late else died_of(end["code"])
            hint = "If its steps take longer than that, give a longer deadline." if late else end["trace"][-400:]
            raise TaskError(f"{who}: died {self._row[i]} times in a row ({how}). {hint}")
        self.pool.restart(i)
        if i != SERVER:
            self.work(i - 1)

    def overdue(self) -> None:
        """End those that did not begin in their time."""
        now = time.monotonic()
        for i in [i for i, until in self.due.items() if now > until]:
            self.end(i)

    def end(self, i: int, process: int | None = None) -> None:
        """End a process that is late, unless another one than `process` has its place by now; its end is told then."""
        assert self.pool is not None
        if process in (None, self.pool.pids()[i]):
            self.due.pop(i, None)
            self.pool.end(i, "late")

    def close(self) -> None:
        """End all."""
        if self.pool is not None:
            self.pool.kill()
            self.pool = None
        if self._forks is not None:
            self._forks.close()
            self._forks = None


def name(i: int) -> str:
    """Return what process number `i` is called.

    >>> name(SERVER), name(3)
    ('server', 'worker 2')
    """
    return "server" if i == SERVER else f"worker {i - 1}"

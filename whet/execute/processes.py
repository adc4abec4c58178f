"""Long-lived worker processes on this machine, spoken to in JSON lines over pipes.

Nothing is pickled: a worker is a fresh Python that imports what it is told by name, or a fork of a process of one thread that was
one (`whet.execute.forkserver`), never of its owner. It ends when its pipe does, so no worker outlives its owner, however the owner dies.
"""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from whet.execute.process import Process

if TYPE_CHECKING:
    from whet.execute.forkserver import ForkServer

__all__ = ["Message", "Pool"]

_LOOK = 0.25  # seconds between two looks at the workers
_CLOSE_LOOK = 0.05  # the same when their memory is limited


class Message(NamedTuple):
    """Something a worker said, or what became of it.

    kind: "ready", "warm", "event", "result", "error" or "exit". The data of "exit" are code (as in `subprocess`: a signal is negative), name,
    why ("memory" or "stall" when it was ended for that), seconds and memory (of the piece of work it was in, its peak), trace.
    """

    worker: int
    kind: str
    data: Any


class Pool:
    """A number of worker processes, each with its share of the machine's cores.

    memory: the most bytes a piece of work may take, counted from what its process held when it began; a process that
    passes it is killed. stall: the most seconds in which a piece of work may give no sign of getting further, likewise.
    devices: the GPUs of each worker. log: where what the work prints goes, instead of standard error. forks: what workers are forked from,
    instead of begun anew.

    Use it as a context manager; leaving it ends the workers.

    >>> with Pool(1) as pool:
    ...     pool.call(0, "whet.execute.processes:echo", {"x": 1})
    ...     pool.wait(0)
    {'x': 1}
    """

    remote = False

    def __init__(
        self,
        workers: int,
        *,
        threads: int | None = None,
        log: Path | None = None,
        memory: int | None = None,
        stall: float | None = None,
        devices: Sequence[Sequence[str]] | None = None,
        forks: ForkServer | None = None,
    ) -> None:
        self.workers = workers
        self.threads = threads or max(1, cores() // workers)
        self.memory, self.stall = memory, stall
        self._log, self._devices, self._forks = log, devices, forks
        self._messages: queue.Queue[Message] = queue.Queue()
        self._processes: list[Process] = []
        self._readers: list[threading.Thread] = []
        self._closing = threading.Event()
        for i in range(workers):
            self._processes.append(self._start(i))
        self._watcher = threading.Thread(target=self._watch, daemon=True, name="whet-watch")
        self._watcher.start()

    def _start(self, worker: int) -> Process:
        devices = None if self._devices is None else self._devices[worker]
        process = Process(threads=self.threads, log=self._log, devices=devices, stall=self.stall, forks=self._forks)
        self._readers = [r for r in self._readers if r.is_alive()]
        self._readers.append(threading.Thread(target=self._read, args=(worker, process), daemon=True))
        self._readers[-1].start()
        return process

    def restart(self, worker: int) -> None:
        """Put a fresh process in the place of worker number `worker`, which ended or is to."""
        before = self._processes[worker]
        before.leave()  # it has nothing more to say
        self._processes[worker] = self._start(worker)

    def _read(self, worker: int, process: Process) -> None:
        for line in process.lines():
            try:
                whole = json.loads(line)
                kind, data = next(iter(whole.items()))
            except (ValueError, StopIteration, AttributeError):
                continue
            if kind == "pulse":
                process.pulse(data)
            elif not process.left:
                self._messages.put(Message(worker, kind, whole if kind == "error" else data))
        process.wait()
        self._report(worker, process)

    def _report(self, worker: int, process: Process) -> None:
        end = process.end()
        if end is not None and not process.left:
            self._messages.put(Message(worker, "exit", end))

    def _watch(self) -> None:
        """Look at every worker now and then, and end those that hold too much or stand still."""
        gone: dict[int, Process] = {}
        while not self._closing.wait(_LOOK if self.memory is None else _CLOSE_LOOK):
            for i, process in enumerate(list(self._processes)):
                if not process.alive:
                    # its pipe may be held open by a process that the work started: then nobody else says that it ended
                    if gone.get(i) is process:
                        self._report(i, process)
                    gone[i] = process
                elif process.over(self.memory):
                    process.kill("memory")
                elif self.stall is not None and process.silent() > self.stall:
                    process.kill("stall")

    def warm(self, *modules: str) -> None:
        """Have every worker import `modules` while nothing else is to do."""
        for process in self._processes:
            process.send({"import": list(modules)})

    def call(self, worker: int, reference: str, payload: Mapping[str, Any]) -> None:
        """Have a worker run `reference(payload, link)`; the answer comes as a "result" or "error" message."""
        self._processes[worker].send({"call": reference, "payload": dict(payload)})

    def stop(self) -> None:
        """Ask the work of every worker to stop at its next convenient moment."""
        for process in self._processes:
            process.send({"stop": True})

    def end(self, worker: int, why: str) -> None:
        """Kill a worker; its "exit" message gives `why`."""
        self._processes[worker].kill(why)

    def active(self, worker: int) -> bool:
        """Return whether the worker has begun a piece of work and not ended it."""
        return self._processes[worker].active

    def get(self, seconds: float) -> Message | None:
        """Return the next message, or None when none comes within `seconds`."""
        try:
            return self._messages.get(timeout=seconds)
        except queue.Empty:
            return None

    def wait(self, worker: int) -> Any:
        """Return the result of a worker's call; raise RuntimeError with its traceback when it failed."""
        while True:
            message = self._messages.get()
            if message.worker == worker and message.kind == "result":
                return message.data
            if message.worker == worker and message.kind in ("error", "exit"):
                raise RuntimeError(f"worker {worker}: {message.data}")

    def pids(self) -> list[int]:
        """Return the process ids of the workers."""
        return [p.pid for p in self._processes]

    def names(self) -> list[str]:
        """Return the names of the worker processes (see `whet.journal.process.who`)."""
        return [p.name for p in self._processes]

    def close(self, *, seconds: float = 10.0) -> None:
        """End the workers: let them finish for `seconds`, then kill them."""
        self._closing.set()
        for p in self._processes:
            p.hang_up()
        until = time.monotonic() + seconds
        for p in self._processes:
            if not p.wait(max(0.0, until - time.monotonic())):
                p.kill()
                p.wait()
        for reader in self._readers:
            reader.join(timeout=1.0)  # a grandchild may hold the pipe open
        self._watcher.join(timeout=1.0)
        for p in self._processes:
            p.end()

    def kill(self) -> None:
        """End the workers at once."""
        self._closing.set()
        for p in self._processes:
            p.kill()
        self.close()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or issubclass(kind, Exception):
            self.close()
        else:  # a second Ctrl-C: at once
            self.kill()


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def echo(payload: Mapping[str, Any], link: object) -> Mapping[str, Any]:
    """Return what was sent: the smallest work there is.

    >>> echo({"x": 1}, None)
    {'x': 1}
    """
    return payload


def prepared(payload: Mapping[str, Any]) -> None:
    """Do nothing ahead: the smallest preparation there is."""

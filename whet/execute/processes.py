"""Long-lived worker processes on this machine, spoken to in JSON lines over pipes.

Nothing is pickled and nothing is forked: a worker is a fresh Python that imports what it is told by name. It ends when
its pipe does, so no worker outlives its owner, however the owner dies.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Message", "Pool"]

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Message(NamedTuple):
    """Something a worker said: kind "ready", "warm", "event", "result", "error" or "exit", and what came with it."""

    worker: int
    kind: str
    data: Any


class Pool:
    """A number of worker processes, each with its share of the machine's cores.

    Use it as a context manager; leaving it ends the workers.

    >>> with Pool(1) as pool:
    ...     pool.call(0, "whet.execute.processes:echo", {"x": 1})
    ...     pool.wait(0)
    {'x': 1}
    """

    def __init__(self, workers: int, *, threads: int | None = None, log: Path | None = None) -> None:
        self.workers = workers
        self.threads = threads or max(1, cores() // workers)
        self._log = log
        self._messages: queue.Queue[Message] = queue.Queue()
        self._processes: list[subprocess.Popen[str] | None] = [None] * workers
        self._readers: list[threading.Thread] = []
        for i in range(workers):
            self.restart(i)

    def restart(self, worker: int) -> None:
        """Start worker number `worker`, in place of one that ended."""
        env = {**os.environ, **dict.fromkeys(_THREADS, str(self.threads)), "PYTHONUNBUFFERED": "1"}
        # what this process can import, the worker can: also an uninstalled package, or a script's folder
        env["PYTHONPATH"] = os.pathsep.join(
            dict.fromkeys([*(p or os.getcwd() for p in sys.path if not p.endswith(".zip"))])
        )
        log = open(self._log, "ab") if self._log else None  # noqa: SIM115
        process = subprocess.Popen(
            [sys.executable, "-m", "whet.execute.child"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log or None,
            env=env, text=True, encoding="utf-8", bufsize=1,
        )  # fmt: skip
        if log:
            log.close()
        before, self._processes[worker] = self._processes[worker], process
        if before is not None:
            _shut(before)
        self._readers.append(threading.Thread(target=self._read, args=(worker, process), daemon=True))
        self._readers[-1].start()

    def _read(self, worker: int, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                try:
                    whole = json.loads(line)
                    kind, data = next(iter(whole.items()))
                except (ValueError, StopIteration, AttributeError):
                    continue
                self._messages.put(Message(worker, kind, whole if kind == "error" else data))
        self._messages.put(Message(worker, "exit", process.wait()))

    def _send(self, worker: int, message: Mapping[str, Any]) -> None:
        process = self._processes[worker]
        if process is None or process.stdin is None:
            return
        try:
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()
        except (BrokenPipeError, ValueError, OSError):
            pass  # it is gone: its "exit" message says so

    def warm(self, *modules: str) -> None:
        """Have every worker import `modules` while nothing else is to do."""
        for i in range(self.workers):
            self._send(i, {"import": list(modules)})

    def call(self, worker: int, reference: str, payload: Mapping[str, Any]) -> None:
        """Have a worker run `reference(payload, link)`; the answer comes as a "result" or "error" message."""
        self._send(worker, {"call": reference, "payload": dict(payload)})

    def stop(self) -> None:
        """Ask the work of every worker to stop at its next convenient moment."""
        for i in range(self.workers):
            self._send(i, {"stop": True})

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
        """Return the process ids of the workers that were started."""
        return [p.pid for p in self._processes if p is not None]

    def close(self, *, seconds: float = 10.0) -> None:
        """End the workers: let them finish for `seconds`, then kill them."""
        for p in self._processes:
            if p is not None:
                _shut(p)
        for p in self._processes:
            if p is not None:
                try:
                    p.wait(timeout=seconds)
                except subprocess.TimeoutExpired:
                    p.kill()
                    p.wait()
        for reader in self._readers:
            reader.join(timeout=1.0)  # a grandchild may hold the pipe open

    def kill(self) -> None:
        """End the workers at once."""
        for p in self._processes:
            if p is not None:
                p.kill()
        self.close()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or issubclass(kind, Exception):
            self.close()
        else:  # a second Ctrl-C: at once
            self.kill()


def _shut(process: subprocess.Popen[str]) -> None:
    if process.stdin is not None:
        try:
            process.stdin.close()
        except OSError:
            pass  # a pipe that broke


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def echo(payload: Mapping[str, Any], link: object) -> Mapping[str, Any]:
    """Return what was sent: the smallest work there is.

    >>> echo({"x": 1}, None)
    {'x': 1}
    """
    return payload

"""One engine's processes, case after case: started, measured, ended."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from channels.case import Case
from channels.of_memory import Limit
from whet.distributed.local.frames import Frame, Kind, connect, send
from whet.distributed.local.layout import socket_path
from whet.execute.processes import Message, Pool

__all__ = ["ENGINES", "Engine", "Figures", "Table"]

_LIMIT_SECONDS = 0.2  # for which the limit is measured before and after each case, at a million numbers
_PATIENCE = 120.0  # seconds that a step of a case may take


@dataclass(frozen=True)
class Engine:
    """A way to exchange. module: where it is; package: what it needs; rule: of whet's server.

    own: it starts its workers itself; all: idle processes have to be there too, since it counts how often a process has begun.
    """

    title: str
    module: str
    package: str = "torch"
    rule: str = "async"
    own: bool = False
    all: bool = False

    @property
    def missing(self) -> bool:
        """Whether what it needs is not installed."""
        return find_spec(self.package) is None


ENGINES = {
    "whet": Engine("whet", "of_whet"),
    "whet-dc": Engine("whet, dc-asgd-a", "of_whet", rule="dc-asgd-a"),
    "gloo": Engine("gloo send/recv", "of_gloo"),
    "rpc": Engine("torch RPC", "of_rpc", all=True),
    "zeromq": Engine("ZeroMQ ipc", "of_zeromq", "zmq"),
    "tcp": Engine("raw TCP", "of_tcp"),
    "ray": Engine("Ray actors", "of_ray", "ray", own=True),
}


class Figures(NamedTuple):
    """What one case measured: the seconds of each exchange, of each of the limit beside it, CPU seconds an exchange of all processes."""

    seconds: list[float]
    limit: list[float]
    cpu: float


class Table:
    """The processes of one engine, for up to `workers` workers; a context manager."""

    def __init__(self, engine: Engine, workers: int) -> None:
        self.engine, self.workers = engine, 0 if engine.own else workers
        self._pool = Pool(self.workers + 1, threads=1)

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.kill()

    def play(self, size: int, workers: int, seconds: float, limit: Limit) -> Figures:
        """Measure one case."""
        folder = tempfile.mkdtemp(prefix="channels-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        try:
            return self._play(Case(size, workers, seconds, folder, self.engine.rule), limit)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _play(self, case: Case, limit: Limit) -> Figures:
        module = f"channels.{self.engine.module}"
        count = self.workers if self.engine.all else min(self.workers, case.workers)
        payload: dict[str, Any] = {"case": case._asdict(), "processes": count}
        if self.engine.module == "of_whet":
            payload |= import_module(module).prepare(case)
        self._pool.call(0, f"{module}:serve", payload)
        if not self.engine.own:
            payload |= next(self._said("event"))
            for w in range(count):
                self._pool.call(w + 1, f"{module}:work", {**payload, "worker": w})
        ready = self._said("event")
        for _ in range(1 if self.engine.own else case.workers):
            next(ready)
        each = _LIMIT_SECONDS * max(1.0, case.size / 1e7)
        beside = limit.seconds(each)
        before = self._cpu()
        Path(case.folder, "start").touch()
        results, found, left = self._said("result"), [], max(1, count)
        ended = False  # the server, which may say so first
        while left:
            result = next(results)
            ended = ended or "seconds" not in result
            left -= "seconds" in result
            found += result.get("seconds", [])
        after = self._cpu()
        if self.engine.module == "of_whet":
            with connect(socket_path(Path(case.folder)), seconds=_PATIENCE) as owner:
                send(owner, Frame(Kind.HALT))
        if not (ended or self.engine.own):
            next(results)
        return Figures(found, beside + limit.seconds(each), (after - before) / len(found))

    def _said(self, kind: str) -> Iterator[Any]:
        """Yield what the processes say of one kind."""
        while True:
            message: Message | None = self._pool.get(_PATIENCE)
            if message is None:
                raise TimeoutError(f"{self.engine.title}: nothing heard for {_PATIENCE:g} s")
            if message.kind in ("error", "exit"):
                raise RuntimeError(f"{self.engine.title}: process {message.worker}: {message.data}")
            if message.kind == kind:
                yield message.data

    def _cpu(self) -> float:
        """Return the CPU seconds so far of all processes."""
        total = 0.0
        for pid in self._pool.pids():
            own = psutil.Process(pid)
            for p in (own, *own.children(recursive=True)):
                try:
                    times = p.cpu_times()
                except psutil.Error:
                    continue
                total += times.user + times.system
        return total

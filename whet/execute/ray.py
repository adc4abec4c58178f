"""Workers on a Ray cluster: one actor for each, which has a worker process of its own on its node.

The actor only passes messages on; the work runs in the same process as on one machine, so a crash, a limit or a suspended
worker look the same from here. Actors belong to this process and end with it. Ray is imported only when it is used.
"""

from __future__ import annotations

import os
import platform
import queue
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from whet.errors import UsageError
from whet.execute.actor import Order, actor
from whet.execute.nodes import alive, connect, divide, end, joined, leave, need, reason
from whet.execute.processes import Message

__all__ = ["Cluster", "place"]

_POLL = 0.2  # seconds an actor waits for something to tell before it answers


def place(
    on: str, workers: int, *, memory: int | None, gpus: float | None, stall: float | None
) -> Callable[..., Cluster]:
    """Return how to start workers on the cluster that `on` names; raise UsageError or MissingExtra when it cannot be."""
    address = None if on == "ray" else on
    if address is not None and not re.fullmatch(r"ray://[^/:@\s]+(:\d{1,5})?", address):
        raise UsageError(
            f"on={on!r}: is no address. Use ray://HOST:PORT, e.g. ray://head:10001, or ray for this machine."
        )
    need(f"on={on!r}")
    return partial(_started, workers, address, memory, gpus, stall)


def _started(
    workers: int,
    address: str | None,
    memory: int | None,
    gpus: float | None,
    stall: float | None,
    *,
    log: Path | None = None,
) -> Cluster:
    return Cluster(workers, address=address, memory=memory, gpus=gpus, stall=stall, log=log)


class Cluster:
    """Workers as actors of a Ray cluster, with the interface of `whet.execute.processes.Pool`.

    address: "ray://HOST:PORT", or None for the cluster that RAY_ADDRESS or this machine's `ray start` names, else one of
    this machine's own that lasts as long as the workers.
    """

    def __init__(
        self,
        workers: int,
        *,
        address: str | None = None,
        memory: int | None = None,
        gpus: float | None = None,
        stall: float | None = None,
        log: Path | None = None,
    ) -> None:
        self.workers, self.memory, self.stall = workers, memory, stall
        self._ours = connect(address, workers)
        try:
            nodes = alive()
            self.remote = any(node["NodeManagerHostname"] != platform.node() for node in nodes)
            self.threads, share = divide([n["Resources"] for n in nodes], workers, gpus=gpus, memory=memory)
            # a log that every node can write; else what the work prints is in Ray's own logs
            given = {
                "threads": self.threads, "memory": memory, "stall": stall, "cwd": os.getcwd(),
                "log": str(Path(log).resolve()) if log is not None and not self.remote else None,
            }  # fmt: skip
            self._new = partial(actor, given, self.threads, share, memory)
            self._messages: queue.Queue[Message] = queue.Queue()
            self._lines = [Line(i, self._new, self._messages, self.remote) for i in range(workers)]
        except BaseException:
            self._leave()
            raise

    def warm(self, *modules: str) -> None:
        """Have every worker import `modules` while nothing else is to do."""
        for line in self._lines:
            line.order("warm", list(modules))

    def call(self, worker: int, reference: str, payload: Mapping[str, Any]) -> None:
        """Have a worker run `reference(payload, link)`; the answer comes as a "result" or "error" message."""
        self._lines[worker].order("call", [reference, dict(payload)])

    def restart(self, worker: int) -> None:
        """Put a fresh worker in the place of one, on another node when its node or actor is gone."""
        line = self._lines[worker]
        if line.live:
            line.order("restart", None)
        else:
            self._lines[worker] = Line(worker, self._new, self._messages, self.remote)

    def end(self, worker: int, why: str) -> None:
        """Kill a worker; its "exit" message gives `why`."""
        self._lines[worker].order("end", why)

    def stop(self) -> None:
        """Ask the work of every worker to stop at its next convenient moment."""
        for line in self._lines:
            line.order("stop", None)

    def get(self, seconds: float) -> Message | None:
        """Return the next message, or None when none comes within `seconds`."""
        try:
            return self._messages.get(timeout=seconds)
        except queue.Empty:
            return None

    def active(self, worker: int) -> bool:
        """Return whether the worker has begun a piece of work and not ended it."""
        return self._lines[worker].active

    def names(self) -> list[str]:
        """Return the names of the worker processes that are known."""
        return [line.name for line in self._lines]

    def pids(self) -> list[int]:
        """Return no ids: the processes are Ray's, here or elsewhere."""
        return []

    def close(self, *, seconds: float = 10.0) -> None:
        """End the workers: let them finish for `seconds`, then kill them; then leave the cluster."""
        for line in self._lines:
            line.order("close", seconds)
        until = time.monotonic() + seconds + 5
        for line in self._lines:
            line.end(max(0.0, until - time.monotonic()))
        self._leave()

    def kill(self) -> None:
        """End the workers at once, and leave the cluster."""
        for line in self._lines:
            line.order("close", 0.0)
        for line in self._lines:
            line.end(2.0)
        self._leave()

    def _leave(self) -> None:
        if self._ours:
            self._ours = False
            leave()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or issubclass(kind, Exception):
            self.close()
        else:
            self.kill()


class Line:
    """The line to one actor: a thread that tells it what to do and asks what there is to tell, in this order, again and again.

    live: whether the actor still answers; name, active: of its worker process.
    """

    def __init__(self, worker: int, new: Callable[[], Any], messages: queue.Queue[Message], remote: bool) -> None:
        self.live, self.active, self.name = True, False, ""
        self._worker, self._messages, self._remote = worker, messages, remote
        self._orders: queue.Queue[Order] = queue.Queue()
        self._actor: Any = None
        self._up = self._closing = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, args=(new,), daemon=True, name=f"whet-ray-{worker}")
        self._thread.start()

    def order(self, what: str, data: Any) -> None:
        """Have the actor do something, after all that was ordered before."""
        self._closing = self._closing or what == "close"
        self._orders.put((what, data))

    def end(self, seconds: float) -> None:
        """Wait until the line is closed, and kill the actor if it takes longer than `seconds`."""
        self._thread.join(seconds if self._up else 0.0)
        with self._lock:  # nothing is asked of Ray from here on: it would begin a cluster anew
            self.live = False
        if self._actor is not None:
            end(self._actor)
        self._thread.join(5.0)

    def _run(self, new: Callable[[], Any]) -> None:
        import ray

        try:
            with self._lock:
                if not self.live:
                    return
                self._actor = new()
            ray.get(self._actor.ready.remote())  # waits for room on the cluster, if need be
            self._up = True
            closed = False
            while self.live and not closed:
                orders = list(self._take())
                closed = any(what == "close" for what, _ in orders)
                said = self._asked(orders)
                if said is None:
                    break
                self.name, self.active = said["name"], said["active"]
                for kind, data in said["messages"]:
                    if kind == "error" and self._remote:
                        data = {**data, "error": f"on {said['host']}: {data['error']}"}
                    self._messages.put(Message(self._worker, kind, data))
        except BaseException as e:  # whatever happened to the actor, its node or the way there: the worker is lost
            was, self.live, self.active = self.live, False, False
            if was and not self._closing:
                why = f"its actor on the cluster was lost: {reason(e)}"
                self._messages.put(Message(self._worker, "exit", {"code": None, "name": self.name, "why": why}))

    def _asked(self, orders: list[Order]) -> dict[str, Any] | None:
        """Have the actor follow orders; return what it says, or None when the line was ended."""
        import ray

        with self._lock:
            if not self.live:
                return None
            if not joined():
                raise ConnectionError("the cluster was left")
            asked = self._actor.exchange.remote(orders, _POLL)
        found: dict[str, Any] = ray.get(asked)
        return found

    def _take(self) -> Iterable[Order]:
        while True:
            try:
                yield self._orders.get_nowait()
            except queue.Empty:
                return

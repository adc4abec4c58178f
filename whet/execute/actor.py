"""The actor of a Ray cluster: on its node, one worker process, and what its owner orders of it and is told by it."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whet.execute.nodes import environment
from whet.execute.processes import Pool

__all__ = ["Host", "Order", "actor"]

_SILENCE = 30.0  # seconds without a question after which an actor takes its owner for gone

Order = tuple[str, Any]
"""What an actor is to do: "call", "warm", "stop", "restart", "end" or "close", and with what."""


class Host:
    """An actor: one worker process on the node it runs on, and the messages to and from it."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        if os.path.isdir(given["cwd"]):
            os.chdir(given["cwd"])  # where the paths that people give begin
        log = None if given["log"] is None else Path(given["log"])
        self._pool = Pool(1, threads=given["threads"], memory=given["memory"], stall=given["stall"], log=log)
        self._asked = time.monotonic()
        threading.Thread(target=self._expect, daemon=True, name="whet-owner").start()

    def _expect(self) -> None:
        """Ask the work to stop when nobody has asked for messages for long: the owner may be gone without a word."""
        while True:
            time.sleep(1.0)
            if time.monotonic() - self._asked > _SILENCE:
                self._pool.stop()

    def ready(self) -> bool:
        """Answer, once there is somebody to."""
        return True

    def exchange(self, orders: list[Order], seconds: float) -> dict[str, Any]:
        """Follow orders, wait up to `seconds` for messages, and return them with the state of the worker."""
        self._asked = time.monotonic()
        pool = self._pool
        for what, data in orders:
            if what == "call":
                pool.call(0, data[0], data[1])
            elif what == "warm":
                pool.warm(*data)
            elif what == "stop":
                pool.stop()
            elif what == "restart":
                pool.restart(0)
            elif what == "end":
                pool.end(0, data)
            elif what == "close":
                pool.close(seconds=data)
        messages: list[tuple[str, Any]] = []
        message = pool.get(seconds)
        while message is not None:
            messages.append((message.kind, message.data))
            message = pool.get(0)
        return {"messages": messages, "name": pool.names()[0], "active": pool.active(0), "host": platform.node()}


def actor(given: Mapping[str, Any], threads: int, share: float, memory: int | None) -> Any:
    """Start a `Host` on the cluster, where there are `threads` cores, this share of a GPU and `memory` bytes for it."""
    import ray

    options: dict[str, Any] = {"num_cpus": threads, "max_restarts": 0, "runtime_env": environment()}
    if share:
        options["num_gpus"] = share
    if memory is not None:
        options["memory"] = memory
    return ray.remote(Host).options(**options).remote(dict(given))

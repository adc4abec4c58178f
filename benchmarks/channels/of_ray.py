"""Ray: the server is an actor, a worker is another one; vectors travel through the object store as arrays."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray

from channels.case import apply, await_start, case_of, timed
from whet.execute.child import Link


@ray.remote
class Server:
    """Holds the weights."""

    def __init__(self, size: int) -> None:
        torch.set_num_threads(1)
        warnings.simplefilter("ignore")  # an array in the object store cannot be written to, nor is it
        self.weights = torch.ones(size)

    def step(self, gradient: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take a step on a gradient (size,), which lies in the object store; return the weights."""
        apply(self.weights, torch.from_numpy(gradient))
        return self.weights.numpy()


@ray.remote
class Worker:
    """Sends gradients, takes weights."""

    def __init__(self, server: Any, size: int) -> None:
        self.server, self.gradient = server, np.full(size, 1e-6, np.float32)

    def exchange(self) -> None:
        """Push and pull."""
        self.weights = ray.get(self.server.step.remote(self.gradient))

    def warm(self) -> None:
        """Exchange a few times."""
        for _ in range(3):
            self.exchange()

    def work(self, seconds: float) -> list[float]:
        """Exchange for so long; return how long each took."""
        return timed(self.exchange, seconds)


def serve(payload: Mapping[str, Any], link: Link) -> dict[str, Any]:
    """Start a server and workers; return what the workers measured."""
    case = case_of(payload)
    if not ray.is_initialized():
        # a cluster of its own, which nobody else on this machine finds
        ray.init(
            "local", num_cpus=8, include_dashboard=False, logging_level="error", log_to_driver=False,
            _temp_dir=tempfile.mkdtemp(prefix="ray-"),
        )  # fmt: skip
    server = Server.remote(case.size)  # type: ignore[attr-defined]
    workers = [Worker.remote(server, case.size) for _ in range(case.workers)]  # type: ignore[attr-defined]
    ray.get([w.warm.remote() for w in workers])
    await_start(case, link)
    found = ray.get([w.work.remote(case.seconds) for w in workers])
    for actor in (server, *workers):
        ray.kill(actor)
    return {"seconds": [s for own in found for s in own]}

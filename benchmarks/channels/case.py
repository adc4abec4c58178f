"""One case, and what server and workers of any engine have in common: a vector each way, and the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from whet.execute.child import Link

LR = 1e-3
_LEAST = 5  # exchanges of a worker, however long they take
_WARM = 3


class Case(NamedTuple):
    """What is exchanged: `size` float32 numbers each way with each of `workers`, for `seconds`; folder: where they meet."""

    size: int
    workers: int
    seconds: float
    folder: str
    rule: str = "async"

    def weights(self) -> Tensor:
        """Return the server's vector (size,)."""
        return torch.ones(self.size)

    def gradient(self) -> Tensor:
        """Return a worker's vector (size,), small enough that the weights stay finite."""
        return torch.full((self.size,), 1e-6)


def apply(weights: Tensor, gradient: Tensor) -> None:
    """Take the server's step."""
    weights.add_(gradient, alpha=-LR)


def exchanges(case: Case, link: Link, exchange: Callable[[], object]) -> dict[str, Any]:
    """Exchange again and again once all are ready; return the seconds that each took."""
    for _ in range(_WARM):
        exchange()
    await_start(case, link)
    return {"seconds": timed(exchange, case.seconds)}


def await_start(case: Case, link: Link) -> None:
    """Say that this worker is ready, and wait until all are."""
    link.emit({"ready": True})
    start = Path(case.folder, "start")
    while not start.exists():
        time.sleep(0.001)


def timed(call: Callable[[], object], seconds: float) -> list[float]:
    """Call for so long; return how long each call took."""
    found: list[float] = []
    begun = before = time.perf_counter()
    while before - begun < seconds or len(found) < _LEAST:
        call()
        now = time.perf_counter()
        found.append(now - before)
        before = now
    return found


def case_of(payload: Mapping[str, Any]) -> Case:
    """Return the case that a process was told."""
    return Case(**payload["case"])

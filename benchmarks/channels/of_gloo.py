"""torch.distributed with gloo, point to point."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch.distributed as dist

from channels.case import apply, case_of, exchanges
from whet.execute.child import Link


def serve(payload: Mapping[str, Any], link: Link) -> dict[str, Any]:
    """Answer each gradient with the weights after it, until every worker has sent one that begins with infinity."""
    case = case_of(payload)
    weights, gradient, left = case.weights(), case.gradient(), case.workers
    link.emit({"at": f"file://{case.folder}/gloo"})
    join(f"file://{case.folder}/gloo", 0, case.workers)
    while left:
        who = dist.recv(gradient)
        if math.isinf(gradient[0]):
            left -= 1
            continue
        apply(weights, gradient)
        dist.send(weights, who)
    dist.barrier()
    dist.destroy_process_group()
    return {}


def work(payload: Mapping[str, Any], link: Link) -> dict[str, Any]:
    """Send gradients, take weights."""
    case = case_of(payload)
    weights, gradient = case.weights(), case.gradient()
    join(payload["at"], int(payload["worker"]) + 1, case.workers)

    def exchange() -> None:
        dist.send(gradient, 0)
        dist.recv(weights, 0)

    found = exchanges(case, link, exchange)
    gradient[0] = math.inf
    dist.send(gradient, 0)
    dist.barrier()
    dist.destroy_process_group()
    return found


def join(where: str, rank: int, workers: int) -> None:
    """Meet the others."""
    dist.init_process_group("gloo", init_method=where, rank=rank, world_size=workers + 1)

"""torch.distributed.rpc: a worker calls a function of the server with its gradient, and is returned the weights."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed.rpc as rpc
from torch import Tensor

from channels.case import apply, case_of, exchanges
from whet.execute.child import Link

_held: list[Tensor] = []
_lock = threading.Lock()  # calls run in threads of the server


def stepped(gradient: Tensor) -> Tensor:
    """Take a step, in the server; return a copy of the weights, which others may be about to change."""
    with _lock:
        apply(_held[0], gradient)
        return _held[0].clone()


def serve(payload: Mapping[str, Any], link: Link) -> dict[str, Any]:
    """Let the workers call, until all have gone."""
    case = case_of(payload)
    torch.set_num_threads(1)
    _held[:] = [case.weights()]
    link.emit({"at": f"file://{case.folder}/rpc"})
    join(f"file://{case.folder}/rpc", "server", 0, payload["processes"])
    rpc.shutdown()
    return {}


def work(payload: Mapping[str, Any], link: Link) -> dict[str, Any]:
    """Send gradients, take weights."""
    case, number = case_of(payload), int(payload["worker"])
    gradient = case.gradient()
    join(payload["at"], f"worker{number}", number + 1, payload["processes"])
    found: dict[str, Any] = {"seconds": []}
    if number < case.workers:
        found = exchanges(case, link, lambda: rpc.rpc_sync("server", stepped, args=(gradient,)))
    rpc.shutdown()
    return found


def join(where: str, name: str, rank: int, processes: int) -> None:
    """Meet the others."""
    options = rpc.TensorPipeRpcBackendOptions(init_method=where, num_worker_threads=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it is in maintenance
        rpc.init_rpc(name, rank=rank, world_size=processes + 1, rpc_backend_options=options)

"""Where a process stands among the others, and the groups it speaks to: made from a file that only their owner's user can read."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

from whet.distributed.collective.job import Job

__all__ = ["Place", "joined", "severed"]


@dataclass(frozen=True)
class Place:
    """A process among the workers: number `rank` of all, stage `stage` of replica `replica`.

    copies: the group of those that hold the same stage; layers: of those that hold one model between them; words: of all, on the CPU.
    """

    rank: int
    replica: int
    stage: int
    stages: int
    replicas: int
    device: torch.device
    copies: dist.ProcessGroup
    layers: dist.ProcessGroup
    words: dist.ProcessGroup

    @property
    def last(self) -> bool:
        """Whether the loss is computed here."""
        return self.stage == self.stages - 1


@contextmanager
def joined(job: Job, rank: int, life: int) -> Iterator[Place]:
    """Meet the other workers of a life of the job; leave them at the end.

    They find each other through a file in the job's folder, which is its owner's alone, and speak over the loopback interface. Raises what
    `severed` knows when one of them does not come within the deadline.
    """
    name = loopback()
    if name:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
    store = dist.FileStore(str(Path(job.folder) / f"meet-{life}"), job.workers)  # type: ignore[attr-defined]
    limit = timedelta(seconds=job.deadline)
    dist.init_process_group(job.backend, store=store, rank=rank, world_size=job.workers, timeout=limit)
    try:
        kind = "cuda" if job.backend == "nccl" else "cpu"
        mesh = init_device_mesh(kind, (job.replicas, job.stages), mesh_dim_names=("copies", "layers"))
        words = dist.new_group(backend="gloo", timeout=limit)
        assert words is not None
        yield Place(
            rank, rank // job.stages, rank % job.stages, job.stages, job.replicas, torch.device(kind),
            mesh.get_group("copies"), mesh.get_group("layers"), words,
        )  # fmt: skip
    finally:
        dist.destroy_process_group()


def severed(error: BaseException | None) -> bool:
    """Return whether an error says that another process is gone or did not answer in time, and not that the work failed."""
    while error is not None:
        if isinstance(error, dist.DistError) or "gloo/" in str(error):
            return True
        error = error.__cause__
    return False


def loopback() -> str | None:
    """Return the name of the interface that reaches this machine alone.

    >>> (loopback() or "lo")[:2]
    'lo'
    """
    return next((name for _, name in socket.if_nameindex() if name.startswith("lo")), None)

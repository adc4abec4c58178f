"""The cluster that a training runs on: joined and left, and where on it actors are started."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from whet.distributed.cluster.serve import Service
from whet.distributed.cluster.work import Labour
from whet.errors import UsageError
from whet.execute.nodes import alive, connect, environment, leave, room

__all__ = ["Nodes", "share"]

_CALLS = 1000  # that an actor takes at once, at least: each worker's may wait at the server


def share(nodes: list[Mapping[str, float]], workers: int, *, gpus: float = 0.0) -> float:
    """Return the CPUs that each worker is given when nobody says: one, or the largest 1/k that there is room for, else none.

    >>> share([{"CPU": 4.0}], 4), share([{"CPU": 2.0}], 4), share([{"CPU": 2.0}, {"CPU": 1.0}], 3), share([{"CPU": 0.0}], 2)
    (1.0, 0.5, 1.0, 0.0)
    """
    for k in itertools.count(1):
        cpus = int(10_000 / k) / 10_000  # what Ray tells apart
        if not cpus or room(nodes, cpus=cpus, gpus=0) >= workers:
            return cpus
    raise AssertionError


class Nodes:
    """Joins the cluster, starts actors on it, ends them, and leaves it when it was joined for this.

    address: "ray://HOST:PORT", or None for the cluster that RAY_ADDRESS or this machine's `ray start` names, else one of this machine's own;
    cpus, gpus: of each worker (cpus None: as `share` says). The server takes no CPU of those that the cluster counts: it is busy for
    moments only. Raises UsageError when the cluster cannot be joined.
    """

    def __init__(self, address: str | None, workers: int, *, cpus: float | None, gpus: float) -> None:
        import ray

        self._ours, self.workers, self.gpus = connect(address, workers), workers, gpus
        try:
            nodes = alive()
            resources = [n["Resources"] for n in nodes]
            self.cpus = share(resources, workers) if cpus is None else cpus
            self.total = sum(r.get("CPU", 0.0) for r in resources), sum(r.get("GPU", 0.0) for r in resources)
            if not room(resources, cpus=self.cpus, gpus=gpus) and (self.cpus or gpus):
                raise UsageError(
                    f"ray: no node has room for a worker with {self.asked}: the cluster has {self.has}. Ask for less, e.g. cpus=0.5."
                )
            client = ray.util.client.ray.is_connected()  # then the owner is on none of the nodes
            head = [n["NodeID"] for n in nodes if "node:__internal_head__" in n["Resources"]]
            self._home: str = head[0] if client and head else ray.get_runtime_context().get_node_id()
        except BaseException:
            self.leave()
            raise

    @property
    def asked(self) -> str:
        """What each worker asks for."""
        return f"{self.cpus:g} CPU" + (f" and {self.gpus:g} GPU" if self.gpus else "")

    @property
    def has(self) -> str:
        """What the cluster had when it was joined."""
        return "{:g} CPU and {:g} GPU".format(*self.total)

    @property
    def threads(self) -> int:
        """Threads a worker computes with."""
        return max(1, int(self.cpus))

    def server(self, job: Mapping[str, Any], epoch: int) -> Any:
        """Start a server; it begins with `Service.start`."""
        calls = max(_CALLS, 4 * self.workers)
        return self._actor(Service, num_cpus=0, max_concurrency=calls, scheduling_strategy=self._at(self._home)).remote(
            dict(job), epoch
        )

    def worker(self, job: Mapping[str, Any], number: int, birth: int) -> Any:
        """Start a worker, as soon as there is room for it."""
        given = {"num_gpus": self.gpus} if self.gpus else {}
        return self._actor(Labour, num_cpus=self.cpus, **given).remote(dict(job), number, birth, self.threads)

    def _actor(self, of: type[Any], **options: Any) -> Any:
        import ray

        return ray.remote(of).options(max_restarts=0, max_task_retries=0, runtime_env=environment(), **options)

    def _at(self, node: str) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(node_id=node, soft=False)

    def leave(self) -> None:
        """Leave the cluster, when it was joined for this."""
        if self._ours:
            self._ours = False
            leave()

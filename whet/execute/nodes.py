"""The nodes of a Ray cluster: how to join it, and how much room there is for workers."""

from __future__ import annotations

import itertools
import logging
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from whet.errors import MissingExtra, UsageError, one_line
from whet.execute.processes import cores
from whet.units import show_bytes

__all__ = [
    "alive",
    "connect",
    "divide",
    "end",
    "environment",
    "here",
    "joined",
    "leave",
    "named",
    "need",
    "reason",
    "room",
]

_TELLS = "print_to_stdstream"  # what Ray prints the logs of a lost node with, pages of them, to standard output


def need(what: str) -> None:
    """Raise MissingExtra, in the name of `what` needs it, when Ray is not installed."""
    try:
        import ray  # noqa: F401
    except ImportError as e:
        raise MissingExtra(f'{what}: needs Ray, which is not installed. Run: pip install "whet[ray]".') from e


def environment() -> dict[str, Any]:
    """Return a `runtime_env` in which actors can import what this process can, where the same folders exist on their nodes."""
    path = os.pathsep.join(dict.fromkeys(p or os.getcwd() for p in sys.path if not p.endswith(".zip")))
    return {"env_vars": {"PYTHONPATH": path}}


def here(folder: str) -> tuple[int, str]:
    """Go to `folder`, if there is one; return the number of this process, and the name of its node."""
    if os.path.isdir(folder):
        os.chdir(folder)
    return os.getpid(), platform.node()


def named() -> str | None:
    """Return the address of the cluster that RAY_ADDRESS or this machine's `ray start` names, None when neither does.

    Ray's own search goes on to any cluster that runs here. One that another process started for itself goes when that process does, so
    it is no place to work; and a name that `ray start` left of one that is gone would be waited for, for minutes.
    """
    from ray._private import services, utils

    if said := os.environ.get("RAY_ADDRESS"):
        return None if said == "local" else said
    started = utils.read_ray_address()
    if not started:
        return None
    found: Any = services.find_gcs_addresses  # of the nodes that run here
    found.cache_clear()
    return started if started in found() else None


def connect(address: str | None, workers: int) -> bool:
    """Join the cluster at `address`, or the one that is `named`, else start one here; return whether it is to be left again.

    Raises UsageError when it cannot be.
    """
    import ray
    from ray._private import worker as ray_worker

    if ray.is_initialized():
        return False
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    where = "ray"
    try:
        if address is not None:
            where = address
            ray.init(address, **quiet)
            return True
        if (found := named()) is not None:
            where = found
            ray.init(
                **quiet
            )  # it finds the same, and speaks to it with the user's token, as it does with no address that it is given
        else:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            ray.init("local", num_cpus=max(cores(), workers), include_dashboard=False, **quiet)
    except (Exception, SystemExit) as e:  # the latter: Ray ends the process when nobody answers
        raise UsageError(
            f"{where}: cannot join the cluster: {'it does not answer' if isinstance(e, SystemExit) else reason(e)}. Check the address, and `ray status` there."
        ) from e
    if hasattr(ray_worker, _TELLS):  # a worker that is lost is told by its "exit" message
        _loud.append(getattr(ray_worker, _TELLS))
        setattr(ray_worker, _TELLS, lambda *_, **__: None)
    return True


_loud: list[Any] = []


def leave() -> None:
    """Leave the cluster that `connect` joined."""
    import ray
    from ray._private import worker as ray_worker

    ray.shutdown()
    if _loud:
        setattr(ray_worker, _TELLS, _loud.pop())


def joined() -> bool:
    """Return whether this process is part of a cluster. Most calls of Ray where it is not begin a cluster of its own, unasked, that nobody leaves."""
    import ray

    return bool(ray.is_initialized())


def end(actor: Any) -> None:
    """End an actor, whatever it is at, if there is a cluster still: a process that is stopped is killed within seconds."""
    import ray

    if not joined():
        return
    try:
        ray.kill(actor)
    except Exception:
        pass  # it is gone, or the whole cluster is


def alive() -> list[dict[str, Any]]:
    """Return the nodes of the cluster that live."""
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def room(nodes: Iterable[Mapping[str, float]], *, cpus: float, gpus: float = 0, memory: float = 0) -> int:
    """Return how many workers find room on nodes with these resources.

    >>> room([{"CPU": 4, "memory": 8e9}, {"CPU": 2, "memory": 1e9}], cpus=2, memory=2e9)
    2
    """
    wanted = {"CPU": cpus, "GPU": gpus, "memory": memory}
    return sum(min(int(node.get(k, 0) / v + 1e-9) for k, v in wanted.items() if v) for node in nodes)


def divide(
    nodes: list[Mapping[str, float]], workers: int, *, gpus: float | None = None, memory: int | None = None
) -> tuple[int, float]:
    """Return the threads and the share of a GPU of each worker, as much as the cluster has for all of them.

    Raises UsageError when there is no room for them.

    >>> divide([{"CPU": 4.0}, {"CPU": 4.0}], 3)
    (2, 0)
    """
    total = sum(node.get("GPU", 0) for node in nodes)
    needs = {"memory": memory or 0}
    if gpus is None:
        shares = (1 / n for n in itertools.count(1))
        gpus = next(s for s in shares if room(nodes, cpus=0, gpus=s) >= workers) if total >= 1 else 0
    most = int(max((node.get("CPU", 0) for node in nodes), default=0))
    for threads in range(most, 0, -1):
        if room(nodes, cpus=threads, gpus=gpus, **needs) >= workers:
            return threads, gpus
    found = room(nodes, cpus=1, gpus=gpus, **needs)
    each = "1 CPU" + (f", {gpus:g} GPU" if gpus else "") + (f", {show_bytes(memory)}" if memory else "")
    cpus = int(sum(node.get("CPU", 0) for node in nodes))
    raise UsageError(
        f"ray: no room for {workers} workers with {each} each: the cluster's {len(nodes)} {'node has' if len(nodes) == 1 else 'nodes have'} {cpus} CPUs and "
        f"{total:g} GPUs, which is enough for {found}. Use fewer workers, or ask for less{' (gpus=0: none)' if gpus else ''}."
    )


def reason(error: BaseException) -> str:
    """Return what went wrong in a few words: Ray's own errors are pages long.

    >>> reason(ValueError("two\\nlines."))
    'ValueError: two lines'
    """
    text = one_line(str(error))
    return f"{type(error).__name__}: {text[:300]}".rstrip(". ") if text else type(error).__name__

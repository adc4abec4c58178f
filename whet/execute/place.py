"""Where trials run, from the words a person uses: here, in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from whet.errors import UsageError, nearest
from whet.execute import gpu
from whet.execute.processes import Message, Pool
from whet.units import parse_bytes, parse_duration, show_bytes

__all__ = ["Workers", "place"]

_LEAST = 16_000_000  # bytes: with less the interpreter itself cannot go on


class Workers(Protocol):
    """A number of workers, wherever they are: `whet.execute.processes.Pool` says what each part does.

    remote: whether a worker may be on another machine, with files of its own.
    """

    workers: int
    threads: int
    memory: int | None
    stall: float | None
    remote: bool

    def warm(self, *modules: str) -> None:
        """Have every worker import `modules`."""
        ...

    def call(self, worker: int, reference: str, payload: Mapping[str, Any]) -> None:
        """Have a worker run `reference(payload, link)`."""
        ...

    def restart(self, worker: int) -> None:
        """Put a fresh worker in the place of one."""
        ...

    def end(self, worker: int, why: str) -> None:
        """Kill a worker; its "exit" message gives the reason."""
        ...

    def stop(self) -> None:
        """Ask the work of every worker to stop."""
        ...

    def get(self, seconds: float) -> Message | None:
        """Return the next message, or None."""
        ...

    def active(self, worker: int) -> bool:
        """Return whether the worker is in the middle of a piece of work."""
        ...

    def names(self) -> list[str]:
        """Return the names of the worker processes."""
        ...

    def pids(self) -> list[int]:
        """Return the ids of the worker processes on this machine."""
        ...

    def close(self, *, seconds: float = 10.0) -> None:
        """End the workers."""
        ...

    def kill(self) -> None:
        """End the workers at once."""
        ...

    def __enter__(self) -> Workers: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None: ...


def place(
    on: str = "auto",
    workers: int = 1,
    *,
    memory: int | str | None = None,
    gpus: float | str | None = None,
    stall: float | str | None = None,
) -> Callable[..., Workers] | None:
    """Return how to start the workers, called with `log=PATH` or nothing, or None when all is to run in this process.

    on: "processes" of this machine, "ray", "ray://HOST:PORT", "inline", or "auto": inline for one worker that is given
    no limits, else processes. memory: the most bytes a trial may take; gpus: of each worker; stall: the most seconds
    between two reports. Raises UsageError for what cannot be, before anything is started.

    >>> place() is None, place("processes", 2, memory="4GB") is None
    (True, False)
    """
    if not isinstance(workers, int) or isinstance(workers, bool) or workers < 1:
        raise UsageError(f"workers must be a whole number of at least 1, got {workers!r}.")
    if not isinstance(on, str) or (on not in ("auto", "inline", "processes", "ray") and not on.startswith("ray://")):
        near = nearest(str(on), ["processes", "ray"])
        raise UsageError(f"on={on!r}: no such place.{near} Use processes, ray or ray://HOST:PORT.")
    bytes_ = None if memory is None else parse_bytes(memory, "memory")
    if bytes_ is not None and bytes_ < _LEAST:
        raise UsageError(f"memory={memory!r}: must be at least {show_bytes(_LEAST)} for each trial. Use e.g. 4GB.")
    share = None if gpus is None else gpu.check_share(gpus)
    seconds = None if stall is None else parse_duration(stall, "stall")
    bounded = bytes_ is not None or share is not None or seconds is not None
    if on == "inline" and (workers > 1 or bounded):
        what = f"workers={workers}" if workers > 1 else "memory, gpus and stall"
        raise UsageError(f'on="inline": {what} need worker processes. Use on="processes".')
    if on == "inline" or (on == "auto" and workers == 1 and not bounded):
        return None
    if os.environ.get("WHET_WORKER"):
        raise UsageError('study.run: called again inside a worker. Put the call under `if __name__ == "__main__":`.')
    if on.startswith("ray"):
        from whet.execute.ray import place as on_ray

        return on_ray(on, workers, memory=bytes_, gpus=share, stall=seconds)
    if bytes_ is not None and sys.platform != "linux":
        raise UsageError("memory: limits work on Linux only. Leave it out here.")
    devices = gpu.divide(gpu.visible(), workers, share)
    return partial(_processes, workers, bytes_, devices, seconds)


def _processes(
    workers: int, memory: int | None, devices: list[list[str]] | None, stall: float | None, *, log: Path | None = None
) -> Workers:
    return Pool(workers, log=log, memory=memory, devices=devices, stall=stall)

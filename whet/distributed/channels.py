"""Channels: where the workers of a training are, by name, and what each of them offers its owner."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from torch import Tensor

from whet.errors import UsageError, nearest
from whet.train.run import Run
from whet.tune.trial import Point

__all__ = ["CHANNELS", "Channel", "channel"]

# name -> where its Training is; by name, since each stands above what it is made of
CHANNELS: dict[str, str] = {
    "processes": "whet.distributed.local.train:Training",
    "ray": "whet.distributed.cluster.train:Training",
    "torch": "whet.distributed.collective.train:Training",
}


class Channel(Protocol):
    """One training on workers somewhere: made of a task, configuration and rule, iterated by its owner.

    It is called as `Training(task, params, rule=, workers=, steps=, seed=, shuffle=, folder=, resume=)`, and raises a WhetError for
    what cannot be before anything is started. Use it as a context manager: leaving it ends the workers.

    run: the owner's run, whose model has the weights of the last point, and `steps` the epochs; workers: how many;
    status: how the training stood when last heard of; lost: acknowledged updates that died with servers; deaths: of each process,
    "server" or "worker 3"; models: (worker, its model as `whet.distributed.member` lays it) of the members at the last point, where the rule exchanges models, else ().

    status has, as far as it is known: seconds (since the first worker's first step; 0.0 before), version (updates applied), merged (batches), epochs (merged, a real number), staleness (text of a
    number -> pushes), refused (reason -> pushes), drawn_again (batches), lent (those drawn from a slower one's shard), passes (over
    each shard), events (word -> count), and workers: number as text -> updates,
    rate (updates a second), waits (for others), ahead (updates ahead of the slowest).
    """

    run: Run
    workers: int
    status: dict[str, Any]
    lost: int
    deaths: Counter[str]
    models: tuple[tuple[int, Tensor], ...]

    def __iter__(self) -> Iterator[Point]:
        """Train until every epoch is merged; yield a point after each epoch's worth."""
        ...

    def events(self, seconds: float = 1.0) -> Iterator[Point | None]:
        """Do as iterating does, and yield None about once in `seconds` as well: its owner's turn to look, to halt or to leave."""
        ...

    def look(self) -> Mapping[str, Any]:
        """Return the status now, or the last one known when no answer comes at once."""
        ...

    def halt(self) -> None:
        """Save and end as soon as that can be; the iteration then ends."""
        ...

    def close(self) -> None:
        """End the workers at once and clean up."""
        ...

    def __enter__(self) -> Channel: ...

    def __exit__(self, *_: object) -> None: ...


def channel(name: str, *, stages: int = 1) -> Callable[..., Channel]:
    """Return how to make a training on the channel `name`, or on that of an address "name://host:port".

    stages: into how many parts of consecutive layers the model is cut. Raises UsageError when there is no channel of that name, it takes no
    address, or it does not cut models.

    >>> channel("processes").__name__
    'Training'
    """
    kind, address, _ = name.partition("://")
    if kind not in CHANNELS:
        raise UsageError(f"--on {name or repr(name)}: no such place.{nearest(kind, CHANNELS)} Use {_listed()}.")
    module, _, attribute = CHANNELS[kind].partition(":")
    made: Callable[..., Channel] = getattr(importlib.import_module(module), attribute)
    if stages != 1:
        if "stages" not in inspect.signature(made).parameters:
            raise UsageError(f"--stages {stages}: {kind} does not cut models into layers. Use --on torch.")
        made = functools.partial(made, stages=stages)
    if not address:
        return made
    if "address" not in inspect.signature(made).parameters:
        raise UsageError(f"--on {name}: {kind} takes no address. Use {kind}.")
    return functools.partial(made, address=name)


def _listed() -> str:
    *others, last = CHANNELS
    return f"{', '.join(others)} or {last}" if others else last

"""What a state was made with: whoever goes on from it has the same, or is told what differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whet.distributed.flat import Flat
from whet.distributed.rule import Rule
from whet.distributed.shuffle import Shuffle
from whet.distributed.step import Steps
from whet.errors import CheckpointError

__all__ = ["made", "need_format", "need_same"]

FORMAT = 4  # of a server's state; a state of another is refused before it is read


def made(rule: Rule, shuffle: Shuffle, flat: Flat, steps: Steps) -> dict[str, Any]:
    """Return what two servers must have in common for one to go on from the state of the other.

    How many workers there are matters where each has a shard of its own.
    """
    return {
        "format": FORMAT, "rule": str(rule), "seed": shuffle.seed, "batch": shuffle.batch, "shuffle": shuffle.how,
        "workers": "any" if shuffle.how == "global" else shuffle.workers, "examples": shuffle.n,
        "optimizer": type(steps.optimizer).__name__, "weights": flat.size, "dtype": str(flat.weights.dtype),
        "statistics": flat.buffer_size, "steps": f"on {'the whole vector' if steps.whole else 'each parameter'}",
        "shares": list(shuffle.shares) or None,
    }  # fmt: skip


def need_format(made: Mapping[str, Any]) -> None:
    """Raise CheckpointError when what a state was `made` with says that another version wrote it.

    >>> need_format({"rule": "sync"})
    Traceback (most recent call last):
    ...
    whet.errors.CheckpointError: checkpoint: was written by another version of whet (format 1, here 4). Go on with that one, or begin anew without resume.
    """
    if (was := made.get("format", 1)) != FORMAT:
        raise CheckpointError(
            f"checkpoint: was written by another version of whet (format {was}, here {FORMAT}). Go on with that one, or begin anew "
            "without resume."
        )


def need_same(made: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Raise CheckpointError for the first thing that a state was `made` with and its reader has otherwise.

    >>> need_same({"workers": 4, "rule": "sync"}, {"workers": 8, "rule": "sync"})
    Traceback (most recent call last):
    ...
    whet.errors.CheckpointError: checkpoint: was made with workers 4, and here it is 8. Go on as it was made, or begin anew without resume.
    """
    for what in dict.fromkeys((*own, *made)):
        if made.get(what) != own.get(what):
            was = f"with {what} {made[what]}" if made.get(what) is not None else f"without {what}"
            here = "there is none" if own.get(what) is None else f"it is {own[what]}"
            raise CheckpointError(
                f"checkpoint: was made {was}, and here {here}. Go on as it was made, or begin anew without resume."
            )

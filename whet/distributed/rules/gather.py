"""Rules that wait for all: synchronous SGD, model averaging, and DiLoCo's outer step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from whet.distributed.pieces import pieces
from whet.distributed.rule import Local, Memory, Rule
from whet.distributed.rules.gradient import Merged, ahead, steps
from whet.distributed.update import Held, Update
from whet.errors import UsageError

__all__ = ["average", "diloco", "sync"]


def level(held: Held, worker: int) -> bool:
    """Let a worker go on when no living one is behind it."""
    return ahead(held, worker) == 0


def gather(finish: Callable[[Memory, Tensor, Held], Tensor] | None = None) -> Callable[..., Merged]:
    """Return a merge that holds updates back until every living worker's is there, then gives their mean by examples.

    The sum is taken in the order of the workers' numbers, so it does not depend on who came first. What a worker that has
    left sent still counts.
    """

    def merge(memory: dict[str, Any], update: Update | None, held: Held) -> Merged:
        found = gathered(memory, update, held)
        if not found:
            return memory, None
        whole = mean(found, memory["sum"]) if len(found) > 1 else found[0].vector
        if finish is not None:
            whole = finish(memory, whole, held)
        return memory, joint(found)._replace(vector=whole)

    return merge


def gathered(memory: dict[str, Any], update: Update | None, held: Held) -> list[Update]:
    """Remember `update`; return the round's updates once every living worker's is there, in order of their numbers.

    What a worker sent before it left counts with the round, and does not stand for what it sends when it is back. The clocks say
    who has sent something: an update that was refused before it came here is not waited for.
    """
    waiting, left = memory["waiting"], memory["left"]
    if (
        update is not None and held.slowest < held.clocks[update.worker]
    ):  # the most frequent case, and it takes no search
        waiting[update.worker], memory["clock"] = update, held.clocks[update.worker]
        return []
    for w in sorted(set(waiting) - set(held.clocks)):  # another may come to use its memory
        gone = waiting.pop(w)
        left.append(gone._replace(vector=gone.vector.clone()))
    if update is not None:
        waiting[update.worker] = update
        memory["clock"] = held.clocks[update.worker]  # what each has come to when the round is complete
    if not (waiting or left) or (held.clocks and held.slowest < memory["clock"]):
        return []
    found = sorted([*waiting.values(), *left], key=lambda u: (u.worker, u.step))
    waiting.clear()
    left.clear()
    return found


def joint(updates: list[Update]) -> Update:
    """Return one update in the name of all, with the vector of the first."""
    n = sum(u.examples for u in updates)
    return updates[0]._replace(
        worker=-1, examples=n, pulled=min(u.pulled for u in updates), tickets=tuple(t for u in updates for t in u.tickets),
        loss=sum(u.loss * u.examples for u in updates) / n,
    )  # fmt: skip


def mean(updates: list[Update], out: Tensor) -> Tensor:
    """Return the mean of the updates' vectors by their examples, in `out`."""
    n = sum(u.examples for u in updates)
    for total, first, *others in pieces(out, *(u.vector for u in updates)):
        torch.mul(first, updates[0].examples / n, out=total)
        for part, u in zip(others, updates[1:], strict=True):
            total.add_(part, alpha=u.examples / n)
    return out


def room(held: Held) -> dict[str, Any]:
    """Return the memory of `gather`."""
    return {**seats(), "sum": torch.empty_like(held.weights)}


def seats() -> dict[str, Any]:
    """Return the memory of `gathered`: who waits, who has left, and the clock of the round."""
    return {"waiting": {}, "left": [], "clock": 0}


def sync() -> Rule:
    """Synchronous SGD: one step with the mean of every living worker's gradient, weighted by examples.

    w <- w - eta sum_k n_k g_k / sum_k n_k. The step is that of one worker on the union of the batches, so the effective batch is M times
    as big; it waits for the slowest.
    """
    return Rule("sync", merge=gather(), init=room, admit=level, gathers=True)


def average(every: int = 1) -> Rule:
    """Model averaging: each worker takes `every` steps with its own optimizer, then all go on from the mean of the weights.

    w <- sum_k n_k w_k / sum_k n_k. Also called local SGD. With one worker it is SGD. The workers' optimizers keep
    their momentum. Raises UsageError when every is not a whole number >= 1.
    """
    return Rule(
        "average", merge=gather(), init=room, admit=level, gathers=True, local=Local(steps(every, "average"), "weights"),
        options=(("every", every),),
    )  # fmt: skip


def diloco(every: int = 500, *, lr: float = 0.7, momentum: float = 0.9) -> Rule:
    """DiLoCo (Douillard et al. 2023, arXiv:2311.08105): an outer Nesterov step along the mean of what the workers moved.

    D = w - mean_k w_k after `every` local steps; v <- momentum v + D; w <- w - lr (D + momentum v). Defaults are the paper's;
    its inner optimizer is AdamW. Raises UsageError for values outside lr > 0, 0 <= momentum < 1.
    """
    if not 0 < lr < float("inf") or not 0 <= momentum < 1:
        raise UsageError(f"diloco: needs lr > 0 and 0 <= momentum < 1, got {lr!r} and {momentum!r}. Use 0.7 and 0.9.")

    def outer(memory: dict[str, Any], whole: Tensor, held: Held) -> Tensor:
        moved = held.weights - whole
        memory["velocity"].mul_(momentum).add_(moved)
        return held.weights.sub(moved.add_(memory["velocity"], alpha=momentum), alpha=lr)

    def init(held: Held) -> dict[str, Any]:
        return {**room(held), "velocity": torch.zeros_like(held.weights)}

    return Rule(
        "diloco", merge=gather(outer), init=init, admit=level, gathers=True, local=Local(steps(every, "diloco"), "weights"),
        options=(("every", every), ("lr", lr), ("momentum", momentum)),
    )  # fmt: skip

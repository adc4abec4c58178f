"""Elastic averaging: workers and centre pull at each other."""

from __future__ import annotations

from whet.distributed.rule import Local, Memory, Rule
from whet.distributed.rules.gradient import Merged, steps
from whet.distributed.update import Held, Update
from whet.errors import UsageError

__all__ = ["elastic"]


def elastic(alpha: float = 0.225, *, every: int = 10) -> Rule:
    """EASGD, asynchronous (Zhang, Choromanska, LeCun 2015, arXiv:1412.6651).

    After `every` steps of its own worker i sends x_i; with d = alpha (x_i - x), the centre moves x <- x + d and the worker
    x_i <- x_i - d, both from the same x. The paper's alpha is beta / M with beta 0.9 (0.225 for four workers); every 10.
    Raises UsageError when alpha is outside (0, 1).
    """
    if not 0 < alpha < 1:
        raise UsageError(f"elastic: alpha must be in (0, 1), got {alpha!r}. Use e.g. 0.9 / workers.")

    def merge(memory: Memory, update: Update | None, held: Held) -> Merged:
        if update is None:
            return memory, None
        pull = (update.vector - held.weights).mul_(alpha)
        return memory, update._replace(vector=held.weights + pull, reply=update.vector - pull)

    return Rule(
        "elastic", merge=merge, local=Local(steps(every, "elastic"), "weights", "own"),
        options=(("alpha", alpha), ("every", every)),
    )  # fmt: skip

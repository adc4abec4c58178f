"""Guards: what must not reach the weights."""

from __future__ import annotations

import math
import statistics
from typing import Any

import torch

from whet.distributed.rule import Rule
from whet.distributed.rules.gradient import Merged
from whet.distributed.update import Held, Refused, Update
from whet.errors import UsageError

__all__ = ["clip", "finite"]

_MEMORY = 64  # norms that the median is taken over
_FEW = 8  # below so many there is no median to speak of


def finite(*, huge: float = 1000.0, quarantine: int = 10) -> Rule:
    """Refuse gradients with NaN or infinity, and those whose norm is over `huge` times the median of the last 64.

    A worker that was refused `quarantine` times in a row is refused for as long as it is there: something is wrong with it. Who
    comes in its place begins anew. Weights (the rules that average) are held to NaN and infinity only. Raises UsageError for
    huge <= 1 or quarantine < 1.

    >>> held, rule = Held(torch.zeros(1)), finite()
    >>> rule.merge(rule.init(held), Update(0, 0, torch.tensor([float("nan")])), held)[1]
    Refused(why='nan', tickets=None)
    """
    if not huge > 1 or not isinstance(quarantine, int) or quarantine < 1:
        raise UsageError(
            f"finite: needs huge > 1 and a whole number quarantine >= 1, got {huge!r} and {quarantine!r}. Use 1000 and 10."
        )

    def merge(memory: dict[str, Any], update: Update | None, held: Held) -> Merged:
        row, norms = memory["row"], memory["norms"]
        if update is None:
            for gone in [w for w in row if int(w) >= 0 and int(w) not in held.here]:
                del row[gone]
            return memory, None
        worker = str(update.worker)
        if update.worker >= 0 and row.get(worker, 0) >= quarantine:  # -1: of all, and none of them is to blame
            return memory, Refused("quarantine")
        norm = float(torch.linalg.vector_norm(update.vector))
        bad = ""
        if not math.isfinite(norm):
            bad = "nan"
        elif update.kind == "gradient":
            if len(norms) >= _FEW and norm > huge * statistics.median(norms) > 0:
                bad = "huge"
            else:
                norms.append(norm)
                del norms[:-_MEMORY]
        row[worker] = row.get(worker, 0) + 1 if bad else 0
        return memory, Refused(bad) if bad else update

    return Rule(
        "finite", merge=merge, init=lambda held: {"row": {}, "norms": []},
        options=() if (huge, quarantine) == (1000.0, 10) else (("huge", huge), ("quarantine", quarantine)),
    )  # fmt: skip


def clip(norm: float) -> Rule:
    """Scale a gradient down to the Euclidean norm `norm` when it is longer. Raises UsageError when norm <= 0."""
    if not 0 < norm < math.inf:
        raise UsageError(f"clip: norm must be > 0, got {norm!r}. Use e.g. 1.0.")

    def merge(memory: Any, update: Update | None, held: Held) -> Merged:
        if update is not None and update.kind == "gradient":
            length = float(torch.linalg.vector_norm(update.vector))
            if length > norm:
                update.vector.mul_(norm / length)
        return memory, update

    return Rule("clip", merge=merge, gradients=True, options=(("norm", norm),))

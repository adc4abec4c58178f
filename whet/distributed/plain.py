"""A rule's memory and updates as plain values, for checkpoints, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from whet.distributed.update import Ticket, Update

__all__ = ["lived", "plain", "thaw"]


def thaw(memory: Any, change: Callable[[Any], Any]) -> Any:
    """Return a copy of a rule's memory with `change` applied to each node that is no container."""
    memory = change(memory)
    if isinstance(memory, dict):
        return {k: thaw(v, change) for k, v in memory.items()}
    if isinstance(memory, list):
        return [thaw(v, change) for v in memory]
    return memory.clone() if isinstance(memory, Tensor) else memory


def plain(node: Any) -> Any:
    """Return an update as a dict of plain values and tensors."""
    if not isinstance(node, Update):
        return node
    return {"$update": {**node._asdict(), "tickets": [list(t) for t in node.tickets]}}


def lived(node: Any) -> Any:
    """Return the update that `plain` made a dict of."""
    if not isinstance(node, dict) or "$update" not in node:
        return node
    fields = dict(node["$update"])
    fields["tickets"] = tuple(Ticket(*t) for t in fields["tickets"])
    return Update(**fields)

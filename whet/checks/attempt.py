"""How far one optimizer got with a few examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Attempt", "named"]


@dataclass(frozen=True)
class Attempt:
    """How far one optimizer got: its name, the factor on its learning rate, the least loss, the steps, out of time.

    losses: of every step; answers: what was predicted at the least of them; weights: the first layer, before and after.
    """

    name: str
    factor: float
    loss: float
    steps: int
    late: bool = False
    losses: tuple[float, ...] = ()
    answers: Mapping[str, Any] = field(default_factory=dict)
    weights: tuple[Any, Any] = (None, None)


def named(optimizer: Any) -> str:
    """Return an optimizer as a person would write it."""
    if optimizer is None:
        return "the optimizer"
    rate = optimizer.param_groups[0].get("lr")
    return type(optimizer).__name__ + (f"(lr={float(rate):.3g})" if rate is not None else "")

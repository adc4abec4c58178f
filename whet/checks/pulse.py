"""What a look at one step of a training measures: gradients, weights, updates, dead units, the movement of predictions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from whet.checks.activations import Site

__all__ = ["Gauge", "Pulse", "norms"]


@dataclass(frozen=True)
class Pulse:
    """One look. Norms are Euclidean, keyed by parameter.

    step: losses seen before it; loss: their mean since the last look; updates: |update| / |weight| of matrices; still:
    matrices that the optimizer holds at a rate above 0 and did not change; sites: activations, see `Site`; motion: see
    `movement`, empty when it was not measured; outputs: the predictions on the first examples of the fixed batch.
    """

    step: int
    loss: float
    grads: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    updates: Mapping[str, float] = field(default_factory=dict)
    still: tuple[str, ...] = ()
    held: int = 0
    sites: Sequence[Site] = ()
    motion: Mapping[str, float] = field(default_factory=dict)
    outputs: Tensor | None = None

    @cached_property
    def grad(self) -> float:
        """The norm of the whole gradient."""
        return math.sqrt(sum(v * v for v in self.grads.values()))


def norms(values: Sequence[Tensor]) -> list[float]:
    """Return the Euclidean norm of each tensor, in float32 at least, with one wait for the device.

    >>> norms([torch.tensor([3.0, 4.0]), torch.full((65536,), 1.0, dtype=torch.float16)])
    [5.0, 256.0]
    """
    if not values:
        return []
    dense = [v.coalesce().values() if v.is_sparse else v for v in values]
    half = any(v.dtype in (torch.float16, torch.bfloat16) for v in dense)
    found = torch._foreach_norm(dense, 2, dtype=torch.float32) if half else torch._foreach_norm(dense)
    if len({(f.device, f.dtype) for f in found}) > 1:
        return [float(f) for f in found]
    return torch.stack(found).tolist()


class Gauge:
    """Measures one step of an optimizer: `before` it, with the gradients there, and `after` it.

    >>> layer = nn.Linear(2, 1)
    >>> optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    >>> layer(torch.ones(1, 2)).sum().backward()
    >>> gauge = Gauge(layer, optimizer)
    >>> gauge.before(); _ = optimizer.step(); gauge.after()
    >>> {k: round(v, 4) for k, v in gauge.grads.items()}
    {'weight': 1.4142, 'bias': 1.0}
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self._names = {id(p): k for k, p in model.named_parameters()}
        self.clear()

    def clear(self) -> None:
        """Forget what was measured."""
        self.grads: dict[str, float] = {}
        self.weights: dict[str, float] = {}
        self.updates: dict[str, float] = {}
        self.still: tuple[str, ...] = ()
        self.held = 0
        self.broken: tuple[str, str] | None = None  # ("gradient" or "weight", the first parameter that is not finite)
        self._pairs: list[tuple[str, nn.Parameter, Tensor]] = []

    def before(self) -> None:
        """Measure gradients and remember the weights that the step may change."""
        self.clear()
        # a fused optimizer is handed scaled gradients by a gradient scaler, and what to divide them by
        scale = getattr(self.optimizer, "grad_scale", None)
        factor = 1.0 if scale is None else 1.0 / float(scale)
        given = [(n, p) for n, p, _ in self._matrices() if p.grad is not None]
        grads = [p.grad for _, p in given if p.grad is not None]
        self.grads = {n: v * factor for (n, _), v in zip(given, norms(grads), strict=True)}
        self._check("gradient", self.grads, ((n, p.grad) for n, p in given))
        self._pairs = [(n, p, p.detach().clone()) for n, p, rate in self._matrices() if rate and p.ndim >= 2]

    def after(self) -> None:
        """Measure the weights and by how much the step changed them."""
        if not self._pairs:
            return
        labels = [n for n, _, _ in self._pairs]
        old = [v for _, _, v in self._pairs]
        new = [p.detach() for _, p, _ in self._pairs]
        self.weights = dict(zip(labels, norms(new), strict=True))
        self._check("weight", self.weights, zip(labels, new, strict=True))
        torch._foreach_sub_(old, new)
        moved = norms(old)
        self.held = len(labels)
        self.still = tuple(n for n, v in zip(labels, moved, strict=True) if v == 0)
        self.updates = {
            n: v / self.weights[n] for n, v in zip(labels, moved, strict=True) if self.weights[n] > 0 and v > 0
        }
        self._pairs = []

    def _matrices(self) -> list[tuple[str, nn.Parameter, bool]]:
        """Return (name, parameter, whether its rate is above 0) of what the optimizer holds."""
        return [(self._names.get(id(p), f"group {g}[{i}]"), p, float(group.get("lr", 1.0)) > 0)
                for g, group in enumerate(self.optimizer.param_groups) for i, p in enumerate(group["params"])
                if p.requires_grad and p.is_floating_point()]  # fmt: skip

    def _check(self, what: str, found: Mapping[str, float], values: Iterable[tuple[str, Any]]) -> None:
        """Note the first tensor that holds a number that is not finite; a norm alone may overflow."""
        if self.broken is None and not all(map(math.isfinite, found.values())):
            for name, value in values:
                dense = value.coalesce().values() if value.is_sparse else value
                if not math.isfinite(found[name]) and not bool(dense.isfinite().all()):
                    self.broken = (what, name)
                    return

"""What the activation functions inside a forward pass give out, whether they are modules or plain function calls."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from whet.checks.source import near

__all__ = ["Activations", "Site"]

# Below this input the derivative is 0, or under 1e-6 for the smooth ones.
_DEAD = {"relu": 0.0, "relu6": 0.0, "hardswish": -3.0, "gelu": -6.0, "silu": -20.0, "mish": -20.0, "elu": -14.0,
         "selu": -14.0, "celu": -14.0}  # fmt: skip
_FLAT = {"tanh": 1.0, "sigmoid": 0.5}  # an input beyond +-(about 1.83 / this) is in the flat part
_EDGE = 1.8318  # artanh(0.95); the sigmoid at 2 * 1.8318 is 0.975
_FAR = 6.9068 / 2  # the sigmoid at 2 * this is 0.999
_LAST = {"linear", "bilinear", "layer_norm", "rms_norm", "embedding", "multi_head_attention_forward", "gru", "lstm",
         "rnn_tanh", "rnn_relu", "gru_cell", "lstm_cell", "rnn_tanh_cell", "rnn_relu_cell", "matmul", "addmm"}  # fmt: skip
_SECOND = {"conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "batch_norm",
           "group_norm", "instance_norm"}  # fmt: skip


@dataclass
class Site:
    """One place in a program where an activation function is called, over all calls seen so far.

    layer: the module that calls it, "body.1 (ReLU)"; line: "file:line" in the user's code, or "". Per unit (a feature,
    a channel): `dead`, whether every input lay where the derivative is 0; `zero`, whether every input was exactly 0;
    `total`, `square`: sums of inputs. `samples`: inputs per unit. For tanh and sigmoid the number of inputs in the flat
    parts (`low`, `high`), and `far` beyond where the sigmoid is 0.001 or 0.999.
    """

    kind: str
    layer: str
    line: str
    units: int
    samples: int = 0
    calls: int = 0
    dead: Tensor = field(default_factory=lambda: torch.zeros(0))
    zero: Tensor = field(default_factory=lambda: torch.zeros(0))
    total: Tensor = field(default_factory=lambda: torch.zeros(0))
    square: Tensor = field(default_factory=lambda: torch.zeros(0))
    low: Tensor = field(default_factory=lambda: torch.zeros(()))
    high: Tensor = field(default_factory=lambda: torch.zeros(()))
    far: Tensor = field(default_factory=lambda: torch.zeros(()))
    last: Any = None

    @property
    def flat(self) -> bool:
        """Whether it is one that saturates on both sides."""
        return self.kind in _FLAT

    def distance(self) -> Tensor:
        """Return for every unit how many standard deviations its mean input lies above the dead range."""
        mean = self.total / max(1, self.samples)
        spread = (self.square / max(1, self.samples) - mean**2).clamp(min=0).sqrt()
        return (mean - _DEAD.get(self.kind, 0.0)) / spread.clamp(min=1e-12)


class Activations(TorchFunctionMode):
    """Watch every activation function called inside the block, on tensors that require a gradient.

    Seen: relu, relu6, hardswish, gelu, silu, mish, elu, selu, celu, tanh and sigmoid, as modules, from
    torch.nn.functional, from torch or as methods. Not seen: those inside a fused kernel (the gates of a recurrent
    layer), and inside compiled or scripted code. The units are counted along the dimension of the layer before (the last
    one of a linear layer's outputs, the second one of a convolution's). moments: also sum the inputs.

    >>> net = nn.Sequential(nn.Linear(3, 5), nn.ReLU())
    >>> with Activations(net) as seen:
    ...     _ = nn.functional.relu(net(torch.zeros(4, 3)) - 1)
    >>> [(s.kind, s.layer, s.units, s.samples) for s in seen.sites.values()]
    [('relu', '1 (ReLU)', 5, 4), ('relu', 'the program', 5, 4)]
    """

    def __init__(self, model: nn.Module, *, moments: bool = True) -> None:
        super().__init__()
        self.sites: dict[tuple[str, str, str, int], Site] = {}
        self.moments = moments
        self.seconds = 0.0  # spent here, calls of the functions themselves left out
        self._root = model
        self._names = {id(m): f"{k} ({type(m).__name__})" if k else type(m).__name__ for k, m in model.named_modules()}
        self._axis: int | None = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Look at the input of an activation, then call it."""
        began = time.perf_counter()
        name = getattr(func, "__name__", "").rstrip("_")
        if name == "hardtanh" and [*args[1:3], *(kwargs or {}).values()][:2] in ([0.0, 6.0], [0, 6]):
            name = "relu6"
        site = None
        if name in _DEAD or name in _FLAT:
            x = args[0] if args else (kwargs or {}).get("input")
            if isinstance(x, Tensor) and x.requires_grad and x.ndim >= 2 and x.numel() and x.is_floating_point():
                with torch.no_grad():
                    site = self._note(name, x.detach())
        elif name in _LAST:
            self._axis = -1
        elif name in _SECOND:
            self._axis = 1
        self.seconds += time.perf_counter() - began
        result = func(*args, **(kwargs or {}))
        if site is not None and site.flat:
            site.last = result
        return result

    def _note(self, kind: str, x: Tensor) -> Site:
        """Add one call to its site."""
        axis = self._axis if self._axis is not None else (-1 if x.ndim < 4 else 1)
        layer, line = self._caller()
        by = x.movedim(axis, 0).flatten(1)  # (units, samples)
        key = (kind, layer, line, len(by))
        site = self.sites.get(key)
        if site is None:
            site = self.sites[key] = Site(kind, layer, line, len(by))
        first, site.calls = site.calls == 0, site.calls + 1
        site.samples += by.shape[1]
        if self.moments:
            wide = by.double()
            total, square = wide.sum(1), (wide**2).sum(1)
            site.total, site.square = (total, square) if first else (site.total + total, site.square + square)
        if kind in _FLAT:
            edge, far = _EDGE / _FLAT[kind], _FAR / _FLAT[kind]
            site.low = site.low.to(x.device) + (by < -edge).sum()
            site.high = site.high.to(x.device) + (by > edge).sum()
            site.far = site.far.to(x.device) + (by.abs() > far).sum()
            return site
        dead, zero = (by <= _DEAD[kind]).all(1), (by == 0).all(1)
        site.dead, site.zero = (dead, zero) if first else (site.dead & dead, site.zero & zero)
        return site

    def _caller(self) -> tuple[str, str]:
        """Return the name of the innermost module on the stack, and the innermost line of the user's own code."""
        layer, line = "", ""
        frame = sys._getframe(3)
        while frame is not None and not (layer and line):
            code = frame.f_code
            owner = frame.f_locals.get("self") if code.co_argcount and code.co_varnames[0] == "self" else None
            if owner is self._root and code.co_name == "_wrapped_call_impl":
                break  # what lies outside called the model, not the activation
            layer = layer or self._names.get(id(owner), "")
            line = line or near(code.co_filename, frame.f_lineno)
            frame = frame.f_back  # type: ignore[assignment]
        return layer or "the program", line

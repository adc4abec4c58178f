"""A place to try things out with a model and leave no trace: everything a probe may change is put back, bit for bit.

Tensors are restored in place, so views, ties and an optimizer's references stay what they were. What is outside
the given modules and optimizers (a file, a global counter, a data loader's position) is not seen and not restored.
"""

from __future__ import annotations

import copy
import functools
import random
import types
import warnings
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from whet.seed import key

__all__ = ["PLAIN", "Names", "randomness", "sandbox", "untouched"]

Undo = Callable[[], None]
PLAIN = (list, dict, set, deque, defaultdict, OrderedDict)  # containers whose contents are restored one level deep
_LARGE = 10_000_000  # elements past which a tensor that is no part of a model is taken for data, and not copied


def _tensor(tensor: Tensor) -> Undo:
    """Remember the bits of a tensor; undo writes them into the storage it has now."""
    alias, bits = tensor.detach(), tensor.detach().clone()
    written = not any(step == 0 and size > 1 for step, size in zip(tensor.stride(), tensor.shape, strict=True))

    def undo() -> None:
        if written:  # an expanded tensor has one element in several places: nobody can write into it, nor need we
            with torch.no_grad():
                alias.copy_(bits)

    return undo


def _parameter(parameter: nn.Parameter) -> Undo:
    """Remember a parameter: bits, storage, dtype, gradient and requires_grad."""
    alias, grad, wanted = parameter.data, parameter.grad, parameter.requires_grad
    undos = [_tensor(alias)] + ([_tensor(grad)] if grad is not None else [])

    def undo() -> None:
        for step in undos:
            step()
        if parameter.data_ptr() != alias.data_ptr() or parameter.dtype != alias.dtype:  # .float(), .to(), ...
            parameter.grad = None  # a gradient of another dtype would forbid the assignment
            parameter.data = alias
        parameter.requires_grad_(wanted)
        parameter.grad = grad

    return undo


def _value(value: Any) -> Undo:
    """Remember the contents of a plain container, or of a tensor that is no parameter."""
    if isinstance(value, Tensor):
        return _tensor(value)
    kept = value.copy()  # not copy.copy, which takes ten times as long for the OrderedDicts of hooks in every module

    def undo() -> None:
        if value or kept:
            value.clear()
            value.extend(kept) if isinstance(value, (list, deque)) else value.update(kept)

    return undo


def _attributes(thing: Any, skip: tuple[str, ...] = ()) -> list[Undo]:
    """Remember which attributes an object has, and the contents of those that are containers or tensors."""
    undos: list[Undo] = []
    for name, value in vars(thing).items():
        if name not in skip and (type(value) in PLAIN or (type(value) is Tensor and not value.is_sparse)):
            undos.append(_value(value))
    before = dict(vars(thing))

    def undo() -> None:
        vars(thing).clear()
        vars(thing).update(before)

    return [*undos, undo]


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Let the body call a model in the middle of a training: its buffers, modes, attributes and the random states are put back.

    >>> layer = nn.BatchNorm1d(2)
    >>> with untouched(layer):
    ...     _ = layer(torch.ones(4, 2))
    >>> int(layer.num_batches_tracked)
    0
    """
    undos = [undo for module in model.modules() for undo in _module(module)]
    mine, numpys, pythons = torch.get_rng_state(), np.random.get_state(), random.getstate()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        for undo in undos:
            undo()
        torch.set_rng_state(mine)
        np.random.set_state(numpys)
        random.setstate(pythons)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)


def _module(module: nn.Module) -> list[Undo]:
    """Remember one module without its children: attributes (training among them), buffers, what is registered."""
    undos = _attributes(module, skip=("_parameters", "_buffers", "_modules"))
    for buffer in module._buffers.values():
        if buffer is not None:
            undos.append(_tensor(buffer))
    for registered in (module._parameters, module._buffers, module._modules):
        undos.append(_value(registered))
    return undos


def _optimizer(optimizer: torch.optim.Optimizer) -> list[Undo]:
    """Remember an optimizer: its state, its groups' options, its counters."""
    undos: list[Undo] = []
    for state in optimizer.state.values():
        if isinstance(state, dict):
            undos += [_value(v) for v in state.values() if isinstance(v, (Tensor, *PLAIN))]
            undos.append(_value(state))
    undos.append(_value(optimizer.state))
    for group in optimizer.param_groups:
        undos += [_value(v) for v in group.values() if isinstance(v, (Tensor, list))]
        undos.append(_value(group))
    undos.append(_value(optimizer.param_groups))
    return undos + _attributes(optimizer, skip=("state", "param_groups"))


@dataclass(frozen=True)
class Names:
    """Some names of a namespace, such as the globals that a function uses.

    >>> count = {"steps": 1}
    >>> with sandbox(Names(count, ("steps",))):
    ...     count["steps"] += 1
    >>> count
    {'steps': 1}
    """

    space: dict[str, Any]
    names: tuple[str, ...]


def _other(thing: Any) -> list[Undo]:
    """Remember what is neither module nor optimizer: names, a cell, a generator, a container, an object's attributes."""
    if isinstance(thing, Names):
        before = {k: thing.space[k] for k in thing.names if k in thing.space}
        return [lambda: thing.space.update(before)]
    if isinstance(thing, types.CellType):
        try:
            held = thing.cell_contents
        except ValueError:  # not bound yet
            return []
        return [lambda: setattr(thing, "cell_contents", held)]
    if isinstance(thing, torch.Generator):
        bits = thing.get_state()
        return [functools.partial(thing.set_state, bits)]  # type: ignore[list-item]
    if isinstance(thing, np.random.Generator):
        state = copy.deepcopy(thing.bit_generator.state)
        return [lambda: setattr(thing.bit_generator, "state", state)]
    if isinstance(thing, random.Random):
        drawn = thing.getstate()
        return [lambda: thing.setstate(drawn)]
    if type(thing) in PLAIN:
        return [_value(thing)]
    if isinstance(getattr(thing, "__dict__", None), dict) and not isinstance(
        thing, (types.ModuleType, types.MethodType)
    ):
        return _attributes(
            thing, tuple(k for k, v in vars(thing).items() if isinstance(v, Tensor) and v.numel() > _LARGE)
        )
    return []


@contextmanager
def randomness(*parts: int | str) -> Iterator[None]:
    """Seed torch, NumPy's global and Python's `random` with the stream named by `parts`; put all three back.

    >>> before = torch.get_rng_state()
    >>> with randomness(0, "probe"):
    ...     a = torch.rand(1)
    >>> with randomness(0, "probe"):
    ...     b = torch.rand(1)
    >>> torch.equal(a, b), torch.equal(before, torch.get_rng_state())
    (True, True)
    """
    mine, numpys, pythons = torch.get_rng_state(), np.random.get_state(), random.getstate()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else None
    seed = key(*parts)
    try:
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        yield
    finally:
        torch.set_rng_state(mine)
        np.random.set_state(numpys)
        random.setstate(pythons)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)


@contextmanager
def sandbox(*things: Any, seed: tuple[int | str, ...] = (0,), float32: bool = True) -> Iterator[None]:
    """Let the body change modules and optimizers; restore them on the way out, also when the body raises.

    things: modules and optimizers, and what else a program counts and keeps with (generators, containers, schedulers,
    objects; tensors in them up to 10 million elements). Restored bit for bit, in their own storage:
    parameters, gradients, requires_grad, buffers, training mode, attributes, optimizer state and options, and the
    random states of torch, NumPy and Python. Inside, randomness is keyed by `seed`, gradients are on, warnings are
    silent, gradients start at None, and with `float32` half-precision modules compute in float32.

    >>> layer = nn.Linear(2, 1)
    >>> before = layer.weight.detach().clone()
    >>> with sandbox(layer):
    ...     _ = layer.weight.data.zero_()
    >>> torch.equal(layer.weight, before)
    True
    """
    undos: list[Undo] = []
    parameters: dict[int, nn.Parameter] = {}
    modules = [t for t in things if isinstance(t, nn.Module)]
    for module in {id(m): m for t in modules for m in t.modules()}.values():
        undos += _module(module)
        parameters |= {id(p): p for p in module._parameters.values() if p is not None}
    for thing in things:
        if isinstance(thing, torch.optim.Optimizer):
            undos += _optimizer(thing)
            parameters |= {id(p): p for group in thing.param_groups for p in group["params"]}
        elif not isinstance(thing, nn.Module):
            undos += _other(thing)
    undos += [_parameter(p) for p in parameters.values()]
    with randomness(*seed), torch.inference_mode(False), torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for p in parameters.values():
                p.grad = None
            if float32:
                for module in modules:
                    if any(
                        t.dtype in (torch.float16, torch.bfloat16) for t in (*module.parameters(), *module.buffers())
                    ):
                        module.float()
            yield
        finally:
            for undo in undos:
                undo()

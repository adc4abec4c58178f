"""What a function can get at: the objects in its closure, its globals, its defaults and the object it belongs to."""

from __future__ import annotations

import functools
import inspect
import random
import types
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from whet.checks.sandbox import PLAIN, Names
from whet.checks.source import own

__all__ = ["reached"]

_DEEP, _MANY = 6, 100  # levels of objects to follow, and items of a container
_STATE = (torch.Generator, np.random.Generator, random.Random)
_KEEPERS = (torch.optim.lr_scheduler.LRScheduler, torch.amp.GradScaler)


def reached(function: Callable[..., Any]) -> list[Any]:
    """Return what `function` can change: modules, optimizers, schedulers, scalers, generators, cells, globals, containers
    and objects of the user's own classes, each once. Objects of libraries, which may hold threads and files, are left out.

    >>> layer, count = nn.Linear(1, 1), [0]
    >>> def step(batch):
    ...     count[0] += 1
    ...     return layer(batch)
    >>> found = reached(step)
    >>> any(x is layer for x in found), any(x is count for x in found)
    (True, True)
    """
    found: list[Any] = []
    seen: set[int] = set()
    queue: deque[tuple[Any, int]] = deque([(function, 0)])
    while queue:
        thing, depth = queue.popleft()
        if id(thing) in seen or depth > _DEEP:
            continue
        seen.add(id(thing))
        for other in _next(thing, found):
            queue.append((other, depth + 1))
    return found


def _next(thing: Any, found: list[Any]) -> Iterator[Any]:
    """Note `thing` when it can be changed, and yield what it leads to."""
    if isinstance(thing, functools.partial):
        yield from (thing.func, *thing.args, *thing.keywords.values())
    elif isinstance(thing, types.MethodType):
        yield from (thing.__func__, thing.__self__)
    elif isinstance(thing, types.FunctionType):
        if own(thing):
            names = tuple(k for k in sorted(_names(thing.__code__)) if k in thing.__globals__)
            found += [thing, Names(thing.__globals__, names), *(thing.__closure__ or ())]
            yield from (thing.__globals__[k] for k in names)
            yield from (thing.__defaults__ or ())
            yield from (thing.__kwdefaults__ or {}).values()
            for cell in thing.__closure__ or ():
                try:
                    yield cell.cell_contents
                except ValueError:  # not bound yet
                    continue
        if hasattr(thing, "__wrapped__"):
            yield thing.__wrapped__
    elif isinstance(thing, (nn.Module, torch.optim.Optimizer, *_STATE)):
        found.append(thing)
    elif isinstance(thing, (list, dict, set, tuple, deque)):
        if type(thing) in PLAIN:
            found.append(thing)
        if len(thing) <= _MANY:
            yield from thing.values() if isinstance(thing, dict) else thing
    elif isinstance(thing, _KEEPERS) or _theirs(thing):
        found.append(thing)
        yield from list(vars(thing).values())


def _names(code: types.CodeType) -> set[str]:
    """Return the global names in a function's code, and in the code of functions inside it."""
    inner = (c for c in code.co_consts if isinstance(c, types.CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _theirs(thing: Any) -> bool:
    """Whether a thing is an object of a class in the user's own code."""
    if inspect.isclass(thing) or inspect.ismodule(thing) or not isinstance(getattr(thing, "__dict__", None), dict):
        return False
    return own(type(thing))

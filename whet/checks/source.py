"""Where something stands in the user's own code."""

from __future__ import annotations

import functools
import inspect
import os
import sys
import sysconfig
from pathlib import Path
from typing import Any

import torch

__all__ = ["name", "near", "own", "place"]

_NOT_OURS = tuple(
    f"{folder}{os.sep}"  # the folder itself: a neighbour's name may begin like it
    for folder in (
        Path(torch.__file__).parent,
        Path(__file__).parents[1],  # whet's own, also when it is no installed package
        *(sysconfig.get_paths()[name] for name in ("stdlib", "purelib")),
    )
)


def _code(thing: Any) -> Any:
    """Return what of `thing` has source code: the function itself, else the class."""
    while isinstance(thing, functools.partial):
        thing = thing.func
    if inspect.ismethod(thing) or inspect.isfunction(thing) or inspect.isclass(thing):
        return thing
    return type(thing)


def name(thing: Any) -> str:
    """Return the name a person would use: of the function, or of the class of an object.

    >>> name(torch.nn.Linear(1, 1)), name(torch.nn.functional.mse_loss)
    ('Linear', 'mse_loss')
    """
    code = _code(thing)
    return str(getattr(code, "__qualname__", type(code).__name__)).rpartition("<locals>.")[2]


@functools.cache
def _shown(file: str) -> str:
    """Return a file of the user's own code as a person names it; "" for a library's, and for what is no file."""
    path = Path(file).resolve()
    if file.startswith("<") or str(path).startswith(_NOT_OURS):
        return ""
    return os.path.relpath(file) if path.is_relative_to(Path.cwd()) else file


def near(file: str, line: int) -> str:
    """Return "file:line" where the file is the user's own code, else "".

    >>> near(torch.__file__, 3), near("<stdin>", 1)
    ('', '')
    """
    shown = _shown(file)
    return f"{shown}:{max(line, 1)}" if shown else ""


def place(thing: Any, otherwise: Any = None) -> str:
    """Return "file:line (name)" of a function or an object's class where that is the user's own code, else its name.

    otherwise: what to point at when `thing` is a library's, such as the method that put an nn.Sequential together.

    >>> place(torch.nn.CrossEntropyLoss())
    'CrossEntropyLoss'
    """
    for at in (thing, otherwise):
        if at is None:
            continue
        try:
            file, line = inspect.getsourcefile(_code(at)), inspect.getsourcelines(_code(at))[1]
        except (TypeError, OSError):  # built in, typed at a prompt, or made by exec
            continue
        if file and not str(Path(file).resolve()).startswith(_NOT_OURS):
            near = os.path.relpath(file) if Path(file).resolve().is_relative_to(Path.cwd()) else file
            return f"{near}:{max(line, 1)} ({name(at)})"
    return name(thing)


def own(thing: Any) -> bool:
    """Return whether a function or class is the user's own code: not torch's, Python's or an installed package's.

    >>> own(torch.nn.Linear), own(lambda: 0)
    (False, True)
    """
    code = getattr(thing, "__code__", None)
    module = sys.modules.get(getattr(thing, "__module__", None) or "")
    file = code.co_filename if code is not None else getattr(module, "__file__", None)
    if file is None:
        return getattr(thing, "__module__", "") == "__main__"
    return not str(Path(file).resolve()).startswith(_NOT_OURS)

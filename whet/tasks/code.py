"""Import a task from a person's own code: a file or a module; what goes wrong in it is said with its line."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from whet.errors import TaskError, WhetError, nearest
from whet.task import Task

__all__ = ["blame", "find_task", "import_file", "import_module", "make_task"]


def blame(error: BaseException, file: str | None = None) -> str:
    """Return the error as "KeyError: 'x' (task.py, line 12)", at the last line of `file`, or of any file, it came through.

    >>> try:
    ...     {}["x"]
    ... except KeyError as e:
    ...     blame(e).split(" (")[0]
    "KeyError: 'x'"
    """
    name = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({Path(error.filename).name}, line {error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if file is not None and f.filename == file] or list(frames)
    return f"{name} ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else name


def import_file(path: Path) -> ModuleType:
    """Return the module a Python file makes; its folder is importable meanwhile, so files beside it can be imported.

    The module's name is made of the full path, so two files called task.py do not meet.
    Raises TaskError naming the exception and its line.
    """
    full = path.resolve()
    name = f"{full.stem}_{hashlib.blake2b(str(full).encode(), digest_size=4).hexdigest()}"
    spec = importlib.util.spec_from_file_location(name, full)
    if spec is None or spec.loader is None:
        raise TaskError(f"{path}: cannot be imported as Python. Give a file that ends in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # as the import statement does: dataclasses and pickling look there
    sys.path.insert(0, str(full.parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as e:
        del sys.modules[name]
        raise TaskError(f"{path}: does not import: {blame(e, str(full))}. Try: python {path}") from e
    finally:
        sys.path.remove(str(full.parent))
    return module


def import_module(name: str) -> ModuleType:
    """Return the module called `name`. Raises TaskError when there is none or it fails.

    >>> import_module("whet.tasks.code").__name__
    'whet.tasks.code'
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as e:
        if e.name and (name == e.name or name.startswith(e.name + ".")):
            raise TaskError(
                f"{name}: no such module. Is it installed, or in the current folder? A file is file.py."
            ) from None
        raise TaskError(f"{name}: does not import: {blame(e)}.") from e
    except (Exception, SystemExit) as e:
        raise TaskError(f"{name}: does not import: {blame(e)}. Try: python -c 'import {name}'") from e


def find_task(module: ModuleType, name: str | None, source: str) -> Any:
    """Return the task class (or instance) called `name` in `module`; without a name, the only class there is.

    Raises TaskError: none, several, no such name, or the name is something else.
    """
    own = {k: v for k, v in vars(module).items() if isinstance(v, type) and issubclass(v, Task) and v is not Task}
    mine = {k: v for k, v in own.items() if v.__module__ == module.__name__}
    made = {k: v for k, v in vars(module).items() if isinstance(v, Task)}
    if name:
        found = vars(module).get(name)
        if found is None:
            raise TaskError(
                f"{source}: no {name!r} in it.{nearest(name, [*own, *made])} It has: {', '.join(own) or 'no Task'}."
            )
        if not isinstance(found, Task) and name not in own:
            raise TaskError(
                f"{source}:{name} is a {type(found).__name__}, not a subclass of whet.Task. Write class {name}(Task)."
            )
        return found
    if not mine and len(made) == 1:
        return next(iter(made.values()))
    if not mine:
        raise TaskError(
            f"{source}: defines no Task. Write class MyTask(whet.Task), with data and model; or `whet new DIR`."
        )
    if len(mine) > 1:
        raise TaskError(
            f"{source}: defines {len(mine)} tasks ({', '.join(mine)}). Say which: {source}:{next(iter(mine))}"
        )
    return next(iter(mine.values()))


def make_task(found: Any, source: str, file: str | None) -> Task:
    """Return the task itself: `found`, or what it makes when called without arguments."""
    if isinstance(found, Task):
        return found
    try:
        return found()
    except WhetError:
        raise
    except Exception as e:
        raise TaskError(f"{source}: {found.__name__}() fails: {blame(e, file)}. It must need no arguments.") from e

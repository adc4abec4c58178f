"""A callable by name, so that another process can find it: `package.module:name` or `path/to/file.py:name`."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from whet.errors import TaskError, UsageError, nearest, one_line

__all__ = ["load_module", "refer", "resolve"]


def refer(target: Callable[..., Any]) -> str:
    """Return the name another process finds `target` by.

    Raises UsageError when there is none: a lambda, a closure, a method of an object, something typed at a prompt.

    >>> import json
    >>> refer(json.dumps)
    'json:dumps'
    """
    name = getattr(target, "__qualname__", "")
    module = sys.modules.get(getattr(target, "__module__", "") or "")
    what = name or repr(target)
    how = "Use a function at the top level of a module or script, or workers=1"
    if not name or "<" in name:
        kind = (
            "a lambda"
            if "<lambda>" in name
            else "defined inside a function"
            if "<locals>" in name
            else "not a function"
        )
        raise UsageError(f"{what}: cannot be sent to another process: it is {kind}. {how}.")
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not target:
        raise UsageError(
            f"{what}: cannot be sent to another process: {target.__module__}.{name} is something else. {how}."
        )
    assert module is not None
    if module.__name__ == "__main__" or not _importable(module.__name__):
        file = getattr(module, "__file__", None)
        if not file or not Path(file).exists():
            raise UsageError(f"{what}: cannot be sent to another process: it is in no file. {how}.")
        return f"{Path(file).resolve()}:{name}"
    return f"{module.__name__}:{name}"


def _importable(name: str) -> bool:
    """Return whether another process can import `name`; that it is in `sys.modules` here says nothing."""
    top = name.partition(".")[0]
    finders = [f.find_spec for f in sys.meta_path if hasattr(f, "find_spec")]
    return any(find(top, None) is not None for find in finders)


@functools.lru_cache(maxsize=64)
def load_module(where: str) -> ModuleType:
    """Return the module at `where`: a path that ends in .py, or a dotted name.

    Raises TaskError, naming the line, when it does not import.
    """
    try:
        if not where.endswith(".py"):
            if "" not in sys.path:
                sys.path.insert(0, "")
            return importlib.import_module(where)
        path = Path(where).resolve()
        if not path.exists():
            raise TaskError(f"{where}: no such file. Check the path.")
        # a name of its own, so that two files called task.py are two modules; stable over processes
        name = f"{path.stem}_{hashlib.blake2b(str(path).encode(), digest_size=4).hexdigest()}"
        if name in sys.modules:
            return sys.modules[name]
        if str(path.parent) not in sys.path:
            sys.path.insert(0, str(path.parent))  # a task may import its neighbours
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            sys.modules.pop(name, None)
            raise
        return module
    except TaskError:
        raise
    except Exception as e:
        line = _line(e, where)
        raise TaskError(f"{where}{line}: does not import: {type(e).__name__}: {one_line(str(e))}.") from e


def _line(e: BaseException, where: str) -> str:
    if isinstance(e, SyntaxError) and e.lineno:
        return f", line {e.lineno}"
    tb, found = e.__traceback__, ""
    while tb is not None:
        if where.endswith(".py") and tb.tb_frame.f_code.co_filename == str(Path(where).resolve()):
            found = f", line {tb.tb_lineno}"
        tb = tb.tb_next
    return found


def resolve(reference: str) -> Any:
    """Return what `package.module:name` or `file.py:name` names; raise TaskError when it is not there.

    >>> resolve("json:dumps")([1])
    '[1]'
    """
    where, _, name = reference.rpartition(":")
    if not where:
        raise UsageError(f"{reference!r}: use package.module:name or path/to/file.py:name.")
    found: Any = load_module(where)
    for part in name.split("."):
        if not hasattr(found, part):
            names = [n for n in vars(found) if not n.startswith("_")]
            raise TaskError(f"{where}: has no {name!r}.{nearest(name, names)}")
        found = getattr(found, part)
    return found

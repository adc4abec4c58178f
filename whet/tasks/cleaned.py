"""Write the task file that `whet look --apply` makes: the task it looked at, with its data cleaned by the steps proposed."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from whet.data.bundled import BUNDLED
from whet.data.seen.proposal import Proposal, quoted
from whet.errors import StoreError, UsageError
from whet.task import Task
from whet.tasks.image import ImageTask
from whet.tasks.resolve import reference
from whet.tasks.table import TableTask

__all__ = ["check_clean", "clean_file", "cleaned_task", "write_clean"]

WIDTH = 110
_CODE = re.compile(r"(.+\.py)(?::(\w+))?")


def clean_file(task: Task) -> Path:
    """Return the file that is written when none is named: in the current folder, after the task.

    >>> clean_file(ImageTask("digits")).name
    'digits_clean.py'
    """
    return Path(f"{re.sub(r'[^A-Za-z0-9_]+', '_', task.name).strip('_') or 'task'}_clean.py")


def write_clean(task: Task, steps: Sequence[Proposal], path: Path, *, command: str, overwrite: bool = False) -> None:
    """Write the task file whole or not at all; command: what looked at the task, for its header.

    Raises UsageError as `check_clean` does, StoreError when it cannot be written.
    """
    check_clean(task, path, overwrite=overwrite)
    text, new = cleaned_task(task, steps, path, command=command), path.with_name(f".{path.name}.part")
    try:
        # a file's name may hold bytes that are no text; Python reads their escapes as the same name
        new.write_text(text, encoding="utf-8", errors="backslashreplace")
        os.replace(new, path)
    except OSError as e:
        raise StoreError(
            f"{path}: cannot be written ({e.strerror or e}). Give a file in a folder you may write to."
        ) from e
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)


def check_clean(task: Task, path: Path, *, overwrite: bool = False) -> None:
    """Raise UsageError when the file is there and is not to be overwritten, is no .py, or its folder is missing."""
    if path.suffix != ".py":
        raise UsageError(f"{path}: a task file ends in .py. Name it {path.with_suffix('.py').name}.")
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"{path}: {'is a folder' if path.is_dir() else 'its folder is not there'}. Give another path.")
    if _source(task) == path.resolve():
        raise UsageError(f"{path}: is the task that was looked at. Give another path.")
    if path.exists() and not overwrite:
        raise UsageError(f"{path}: is there already. --yes overwrites it, --to FILE writes another.")


def cleaned_task(task: Task, steps: Sequence[Proposal], path: Path, *, command: str) -> str:
    """Return the text of a task file at `path`: the task of `task` (of `resolve`), its data cleaned by `steps`.

    The task is subclassed by its class and source, or imported from the file or module it came from. Live steps are code; the items of
    the others are comments, to be uncommented one by one.
    Raises TaskError for a task that no file can name.

    >>> from whet.tasks.resolve import resolve
    >>> steps = [Proposal("DUPLICATE", "drop_duplicates")]
    >>> text = cleaned_task(resolve("digits"), steps, Path("digits_clean.py"), command="whet look digits")
    >>> "data = clean.drop_duplicates(data)" in text, "class DigitsClean(ImageTask):" in text
    (True, True)
    """
    imports, parent, start = _origin(task, path)
    name = path.stem
    title = "".join(w[:1].upper() + w[1:] for w in re.split(r"[^A-Za-z0-9]+", name) if w)
    title = title if title[:1].isalpha() else f"Clean{title}"
    body = [line for step in steps for line in ("", *_step(step, command))]
    here = ["HERE = Path(__file__).resolve().parent", ""] if "HERE" in parent + "".join(start + imports) else []
    own = [line for line in imports if not line.startswith(("from ", "import "))]  # what needs HERE comes after it
    known = sorted({*(line for line in imports if line not in own), "from whet.data import Data, clean"},
                   key=lambda line: (not line.startswith("from pathlib"), line))  # fmt: skip
    known = [*known[:1], "", *known[1:]] if here else known
    return "\n".join([
        f'"""{_docstring(task.name)}, cleaned as was proposed by: {_docstring(command)}',
        "",
        "Each step is yours to change. What was done stands in every look, report and exported model.",
        "",
        f"    whet look {path.name}",
        f"    whet run {path.name} --budget 3m",
        '"""',
        "",
        *known, "", *here, *own, *([""] if own else []),
        "",
        "@clean.once",
        "def cleaned(data: Data) -> Data:",
        *(f"    {line}".rstrip() for line in body[1:]),
        *([""] if body else []),
        "    return data",
        "",
        "",
        f"class {title}({parent}):",
        "    def __init__(self):",
        *(f"        {line}" for line in start),
        f"        self.name = {quoted(name)}",
        "",
        "    def data(self, params):",
        "        return cleaned(super().data(params))",
        "",
    ])  # fmt: skip


def _docstring(text: str) -> str:
    return text.encode(errors="replace").decode().replace("\\", "/").replace('"', "'")


def _source(task: Task) -> Path | None:
    """Return the Python file the task came from, None when it came from elsewhere."""
    found = _CODE.fullmatch(str(task.__dict__.get("reference", {}).get("task", "")))
    return Path(found[1]).resolve() if found else None


def _origin(task: Task, path: Path) -> tuple[list[str], str, list[str]]:
    """Return (imports, the class to inherit from, what its __init__ does first)."""
    known = reference(task)
    text, target, kind = str(known["task"]), known.get("target"), known.get("kind")
    if (
        type(task) in (ImageTask, TableTask)
        and not _CODE.fullmatch(text)
        and (text in BUNDLED or ":" not in Path(text).name)
    ):
        words = [quoted(text) if text in BUNDLED else _place(Path(text), path)]
        words += [quoted(target)] if target else []
        words += [f"kind={quoted(kind)}"] if kind else []
        words += [f"time={quoted(known['time'])}"] if known.get("time") else []
        imports = [f"from whet.tasks import {type(task).__name__}"]
        imports += ["from pathlib import Path"] if "HERE" in words[0] else []
        return imports, type(task).__name__, [f"super().__init__({', '.join(words)})"]
    found = _CODE.fullmatch(text)
    name = (found[2] if found else text.partition(":")[2]) or type(task).__name__
    if found:
        imports = ["from pathlib import Path", "from whet.tasks.code import import_file",
                   f"source = import_file({_place(Path(found[1]), path)})"]  # fmt: skip
        thing = f"source.{name}"
    else:
        imports, thing = [f"from {text.partition(':')[0]} import {name} as source"], "source"
    if _is_class(task, name):
        return imports, thing, ["super().__init__()"]
    return imports, f"type({thing})", [f"vars(self).update(vars({thing}))"]


def _is_class(task: Task, name: str) -> bool:
    """Return whether `name` is the task's class, not an instance that its module made."""
    return type(task).__name__ == name


def _place(source: Path, path: Path) -> str:
    """Return Python for the path of `source`: beside the task file, or absolute."""
    full = source.resolve()
    try:
        beside = full.relative_to(path.resolve().parent)
    except ValueError:
        return quoted(str(full))
    return f"HERE / {quoted(str(beside))}"


def _step(step: Proposal, command: str) -> Iterable[str]:
    """Yield the lines of one step."""
    if not step.items:
        yield f"# {step.code}" + ("" if step.live else ": uncomment it if these are copies of one thing")
        yield ("" if step.live else "# ") + step.text()
        return
    more = f"; {step.left:,} more are not listed: look again afterwards" if step.left else ""
    ids = [w for literal, _ in step.items[:6] if (w := literal.partition(": (")[0].strip("'\""))]
    yield f"# {step.code}" + ("" if step.live else ": look first, then uncomment what you agree with") + more
    if step.step in ("drop", "relabel") and not step.live:
        yield f"# see: {command} --show {','.join(ids)}"
    line = step.text()
    if step.live and len(line) <= WIDTH:
        yield line
        return
    open_, close = "{}" if step.step == "relabel" else "[]"
    yield f"data = clean.{step.step}(data, {open_}"
    if step.live:
        yield from _packed([literal for literal, _ in step.items])
    else:
        for literal, remark in step.items:
            yield f"    # {literal}," + (f"  # {' '.join(remark.split())[:80]}" if remark else "")
    yield f"{close}, {', '.join(f'{k}={v}' for k, v in step.options.items())})"


def _packed(items: Sequence[str]) -> Iterable[str]:
    """Yield lines of items, as many on each as fit."""
    line = "   "
    for item in items:
        if len(line) + len(item) + 2 > WIDTH:
            yield line
            line = "   "
        line += f" {item},"
    yield line

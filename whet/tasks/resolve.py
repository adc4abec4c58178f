"""From what a person types to a `Task`, and from a task to JSON that another process makes the same one of."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from whet.data.bundled import BUNDLED
from whet.data.read import PARQUET, TEXT
from whet.data.split import Data
from whet.data.textfolder import is_text_folder
from whet.errors import DataError, TaskError, WhetError, nearest
from whet.seed import rng
from whet.task import Task
from whet.tasks.code import blame, find_task, import_file, import_module, make_task
from whet.tasks.image import ImageTask
from whet.tasks.name import task_name
from whet.tasks.table import TableTask
from whet.tune.space import Space
from whet.tune.trial import parse_goals

__all__ = ["BUILT_IN", "reference", "resolve", "restore"]

BUILT_IN = {"digits": ImageTask, "diabetes": TableTask}
MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def resolve(
    text: str,
    *,
    target: str | Sequence[str] | None = None,
    kind: str | None = None,
    seed: int = 0,
    time: str | None = None,
    goal: Sequence[str] = (),
) -> Task:
    """Return the task that `text` names, its data loaded and looked over, its splits drawn by `seed`.

    text: `digits` or `diabetes`; a CSV or Parquet file (with `target`, and `kind` "classification" or "regression" to
    override what is inferred, `time` the column that says when, or "none"); a folder of pictures or .txt files, one
    sub-folder a class, or of IDX files; `file.py`, `file.py:Name` or
    `package.module:Name`. A built-in name goes before a folder of that name: write ./digits for the folder. goal: in place of the task's own, e.g.
    ["max accuracy", "min latency"].

    Raises DataError for data, and TaskError for code, that cannot be used.

    >>> resolve("digits", seed=3).seed
    3
    """
    column = target if isinstance(target, str) or target is None else _only(target)
    task = _find(text, column or None, kind, seed, time)
    if goal:
        task.goal = [str(g) for g in parse_goals(goal)]
    full = text if text in BUILT_IN or MODULE.fullmatch(text) else _absolute(text)
    task.__dict__["reference"] = {"task": full, "target": column or None, "kind": kind, "seed": seed} | _when(time)
    task.__dict__["reference"] |= {"goal": task.goal} if goal else {}
    return task


def _when(time: str | None) -> dict[str, str]:
    return {} if time is None else {"time": time}


def _only(targets: Sequence[str]) -> str | None:
    """Return the one target of several options `--target`, None without any."""
    if len(targets) > 1:
        raise DataError(f"target: given {len(targets)} times ({', '.join(targets)}). Give --target once.")
    return targets[0] if targets else None


def _absolute(text: str) -> str:
    """Return the path in `text` made absolute, so that a process elsewhere finds it; a :Name stays."""
    path, name = _split(text)
    return str(Path(path).resolve()) + (f":{name}" if name else "")


def _split(text: str) -> tuple[str, str | None]:
    found = re.fullmatch(r"(.+\.py):([A-Za-z_]\w*)", text)
    return (found[1], found[2]) if found else (text, None)


def _find(text: str, target: str | None, kind: str | None, seed: int, time: str | None) -> Task:
    if not text.strip():
        raise TaskError(f"task: none given. Give {' or '.join(BUILT_IN)}, a file, a folder, or package.module:Name.")
    path, name = _split(text)
    if time is not None and not text.lower().removesuffix(".gz").endswith(TEXT + PARQUET):
        raise TaskError(f"{text}: is no table with a column of times, got --time {time}. Leave --time out.")
    code = path.endswith(".py") or bool(MODULE.fullmatch(text) and not Path(text).exists())
    if (text in BUILT_IN or code) and (target or kind):
        option, value = ("--target", target) if target else ("--kind", kind)
        raise TaskError(f"{text}: has its own {option[2:]}, got {option} {value}. Leave {option} out.")
    if text in BUILT_IN:
        return BUILT_IN[text](text, seed=seed)
    if code:
        return _from_code(text, path, name, seed)
    if Path(text).is_dir():
        if target or kind not in (None, "classification"):
            option, value = ("--target", target) if target else ("--kind", kind)
            raise DataError(
                f"{text}: a folder of pictures or texts has no {option[2:]} to choose, got {value!r}. Leave {option} out."
            )
        if is_text_folder(text):
            return TableTask(text, seed=seed)
        return ImageTask(text, seed=seed)
    known = text.lower().removesuffix(".gz").endswith(TEXT + PARQUET)
    if Path(text).exists() or known:
        return TableTask(text, target, kind=kind, seed=seed, time=time)
    raise TaskError(
        f"{text}: no built-in task, file or folder of this name.{nearest(text, _names(text))} Give {' or '.join(BUILT_IN)}, a "
        "CSV or Parquet file with --target, a folder of pictures or texts, file.py, or package.module:Name."
    )


def _names(text: str) -> list[str]:
    folder = Path(text).parent
    beside = [str(folder / p.name) for p in list(folder.iterdir())[:1000]] if folder.is_dir() else []
    return [*BUILT_IN, *beside]


def _from_code(text: str, path: str, name: str | None, seed: int) -> Task:
    if path.endswith(".py"):
        if not Path(path).is_file():
            what = "is a folder" if Path(path).is_dir() else "no such file"
            raise TaskError(
                f"{path}: {what}.{nearest(path, _names(path))} `whet new DIR` writes a task file to start from."
            )
        module, file = import_file(Path(path)), str(Path(path).resolve())
    else:
        dotted, name = text.split(":")
        module, file = import_module(dotted), None
    found = find_task(module, name, path if path.endswith(".py") else text.split(":")[0])
    task = make_task(found, text, file or getattr(module, "__file__", None))
    if not isinstance(getattr(task, "space", None), Space):
        raise TaskError(
            f"{text}: space is {task.space!r}, not a whet.Space. Write space = Space(lr=Float(1e-4, 1e-1, log=True))."
        )
    task.seed = seed
    if not name and path.endswith(".py"):
        default = type(task).__name__.lower()
        if task.name in (
            "",
            default,
        ):  # no name of its own: the file's, or its folder's when every file is called task.py
            stem = task_name(path)
            task.name = task_name(Path(path).resolve().parent) if stem == "task" else stem
    task.name = task_name(task.name or type(task).__name__.lower())
    _probe(task, text, file or getattr(module, "__file__", None))
    return task


def _probe(task: Task, text: str, file: str | None) -> None:
    """Raise TaskError when the task's data cannot be had, or is no `Data`: before anything is written anywhere."""
    try:
        data = task.data(task.space.sample(rng(task.seed, "probe")))
    except WhetError as e:
        lines = [f.lineno for f in traceback.extract_tb(e.__traceback__) if file is not None and f.filename == file]
        if not lines:
            raise
        raise type(e)(f"{Path(str(file)).name}, line {lines[-1]}: {e}") from e
    except Exception as e:
        raise TaskError(f"{text}: data(params) fails: {blame(e, file)}.") from e
    if not isinstance(data, Data):
        raise TaskError(
            f"{text}: data(params) returns {type(data).__name__}, must return whet.Data. E.g. return Data.from_arrays(x, y)."
        )


def reference(task: Task) -> dict[str, Any]:
    """Return JSON from which `restore` makes the same task in another process.

    A task of `resolve` knows where it came from; another one must be a TableTask or ImageTask over files, or of a class that can
    be imported by name and called without arguments.

    Raises TaskError when it is neither.

    >>> reference(resolve("digits", seed=1))
    {'task': 'digits', 'target': None, 'kind': None, 'seed': 1}
    """
    known = task.__dict__.get("reference")
    if known is not None:
        return {**known, "seed": task.seed}
    kind = type(task)
    if kind in (TableTask, ImageTask) and isinstance(task.source, (str, Path)):  # type: ignore[attr-defined]
        source = str(task.source)  # type: ignore[attr-defined]
        text = source if source in BUNDLED else str(Path(source).resolve())
        if (kind is TableTask and task.texts is None) or (kind is ImageTask and task.size is None and not task.flip):  # type: ignore[attr-defined]
            target, chosen = getattr(task, "target", None), getattr(task, "kind", None)
            when = _when(getattr(task, "time", None))
            return {"task": text, "target": target, "kind": chosen, "seed": task.seed} | when
    module, name = kind.__module__, kind.__qualname__
    if kind in (TableTask, ImageTask) or module == "__main__" or "." in name:
        raise TaskError(
            f"{name}: another process cannot make this task again. Put a class MyTask(Task) that needs no arguments into a file "
            "and name it file.py:MyTask, or use workers=1."
        )
    return {"task": f"{module}:{name}", "target": None, "kind": None, "seed": task.seed}


def restore(reference: Mapping[str, Any]) -> Task:
    """Return the task of a `reference`.

    >>> restore({"task": "digits", "target": None, "kind": None, "seed": 1}).name
    'digits'
    """
    return resolve(
        str(reference["task"]),
        target=reference.get("target"),
        kind=reference.get("kind"),
        seed=int(reference.get("seed", 0)),
        time=reference.get("time"),
        goal=reference.get("goal", ()),
    )

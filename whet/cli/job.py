"""From a command's words to a `Job`, and the settings of one configuration."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whet.errors import SpaceError, UsageError, nearest
from whet.recipe.job import Job
from whet.task import Task
from whet.tune.budget import Budget
from whet.tune.space import Space

__all__ = ["configuration", "make_job", "make_task"]


def make_task(text: str, target: Sequence[str] | None, kind: str | None, seed: int) -> Task:
    """Return the task that the words name."""
    from whet.tasks import resolve

    return resolve(text, target=list(target) if target else None, kind=kind, seed=seed)


def make_job(
    task: Task, *, runs: Path, budget: str | None, workers: int, name: str, search: str, schedule: str, epochs: int | None
) -> Job:
    """Return the job; raise UsageError for what makes no sense in it."""
    if epochs is not None and epochs < 1:
        raise UsageError(f"--epochs: must be at least 1, got {epochs}.")
    if runs.exists() and not runs.is_dir():
        raise UsageError(f"--runs {runs}: is a file. Give a folder.")
    command = " ".join(["whet", *(_quoted(a) for a in sys.argv[1:])])
    return Job(
        task, runs=runs, budget=Budget.of(budget), workers=workers, name=name, search=search, schedule=schedule,
        steps=epochs, command=command,
    )  # fmt: skip


def _quoted(word: str) -> str:
    import shlex

    return shlex.quote(word)


def configuration(space: Space, start: dict[str, Any], settings: Sequence[str] | None) -> dict[str, Any]:
    """Return `start` with `NAME=VALUE` settings applied; what a setting switches on is filled from the middle.

    Raises UsageError for a setting that cannot be read, SpaceError for an unknown name or a value outside its domain.
    """
    given: dict[str, Any] = {}
    for setting in settings or ():
        name, equals, text = setting.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--set {setting}: use NAME=VALUE, e.g. --set lr=1e-3.")
        name = name.strip()
        if name not in space.names:
            inner = [n for n in space.names if n.endswith("." + name)]
            name = inner[0] if len(inner) == 1 else name  # lr for optimizer.lr, where only one can be meant
        if name not in space.names:
            known = ", ".join(space.names) or "none"
            raise UsageError(f"--set {name}: no such hyperparameter.{nearest(name, space.names)} Allowed: {known}.")
        if name in given:
            raise UsageError(f"--set {name}: given twice. Give it once.")
        given[name] = _value(text.strip())
    if not given:
        return start
    try:
        import numpy as np

        kept = dict(given)
        # keep what still exists of the start: a changed choice drops the old branch
        for name, value in start.items():
            try:
                space.fill({**kept, name: value}, np.random.default_rng(0))
            except SpaceError:
                continue
            kept[name] = value
        return space.fill(kept, np.random.default_rng(0))
    except SpaceError as e:
        raise UsageError(f"--set: {e}") from None


def _value(text: str) -> Any:
    words = {"true": True, "false": False, "none": None, "null": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        value = json.loads(text)
    except ValueError:
        try:
            return float(text)  # 1e-3 and .5, which JSON may refuse
        except ValueError:
            return text
    return value if isinstance(value, (int, float, str)) else text

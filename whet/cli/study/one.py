"""`whet study show STUDY TRIAL`: everything the study knows of one trial."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whet.cli.study import shown
from whet.cli.study.shown import cell

if TYPE_CHECKING:
    from whet.tune.study import Study
    from whet.tune.trial import Trial

_GRADIENT = ("gradient.", "gradient(")
_POINTS = 12  # points of a curve that are written out


def one(study: Study, trial: Trial, *, json: bool, places: tuple[Path, str | None]) -> int:
    """Show one trial wholly."""
    from whet.cli.screen import Screen, emit_json
    from whet.recipe.words import count, unit
    from whet.tune.account import Account, accounts

    account = accounts(study.journal.read()).get(trial.id, Account())
    files = _checkpoints(study, trial.id)
    if json:
        emit_json({
            **shown.trial_json(trial), "interrupted": trial.id in study.interrupted, "checkpoints": files,
            "began": account.began, "ended": account.ended, "seconds": account.seconds,
            "workers": list(account.workers), "retries": account.retries, "repeated": account.repeated,
        })  # fmt: skip
        return 0
    screen = Screen()
    value = "no value yet" if trial.value is None else f"{study.goals[0].name} {cell(trial.value)}"
    screen.block(
        f"trial {trial.id}", [f"{value} after {count(trial.step, unit(study))}, {shown.state_of(study, trial)}"]
    )
    notes = [*(f"#{t}" for t in trial.tags), *([trial.note] if trial.note else [])]
    screen.block("note", textwrap.wrap(" ".join(notes), 70))
    width = max((len(k) for k in trial.params), default=0)
    screen.block("settings", [f"{k:<{width}}  {cell(v)}" for k, v in trial.params.items()] or ["none yet"])
    screen.block("origin", textwrap.wrap(_origin(trial), 70))
    screen.block("curve", _curve(study, trial))
    screen.block("work", _work(trial, account, unit(study)))
    screen.block("files", _files(files, unit(study)))
    if trial.error:
        said = f"{trial.error.get('type', 'Failed')}: {trial.error.get('message', '')}"
        screen.block("error", textwrap.wrap(said, 70))
        for line in str(trial.error.get("traceback") or "").rstrip().splitlines():
            screen.line(line)  # as Python prints it, so that it can be copied and clicked
    verb = f"compare {study.name} {trial.id} best"
    if trial.value is None or (best := study.trials.best) is None or best.id == trial.id:
        verb = f"note {study.name} {trial.id} 'what you think of it'"
    screen.block("next", [shown.again(verb, *places)])
    return 0


def _origin(trial: Trial) -> str:
    """Return how the trial came to be, in a few words."""
    parts = [f"{k} {cell(v)}" for k, v in trial.origin.items() if isinstance(v, (str, int, float))]
    for name in ("cma", "zoom", "evolution", "population", "hypergradient", "trego"):
        if isinstance(inner := trial.origin.get(name), Mapping):
            keys = (
                "generation",
                "pass",
                "step",
                "around",
                "parent",
                "population",
                "member",
                "replaces",
                "from",
                "length",
                "try",
            )
            parts += [f"{k} {cell(inner[k])}" for k in keys if inner.get(k) is not None]
            if isinstance(changed := inner.get("changed"), list):
                parts.append(f"changed {' and '.join(map(str, changed))}")
    if isinstance(advised := trial.origin.get("like"), Mapping):
        parts.append(f"from trial {advised.get('trial')} of study {advised.get('study')}")
    if trial.parent is not None:
        parts.append(f"goes on from trial {trial.parent[0]} at epoch {trial.parent[1]}")
    return ", ".join(parts) or "not proposed yet"


def _curve(study: Study, trial: Trial) -> list[str]:
    if not trial.curve:
        return ["nothing reported"]
    points = list(trial.curve)
    if len(points) > _POINTS:  # evenly spread, both ends among them
        points = [points[round(i * (len(points) - 1) / (_POINTS - 1))] for i in range(_POINTS)]
    from whet.recipe.words import unit

    lines = [f"{unit(study):>7}  {study.goals[0].name}"]
    for p in points:
        more = ", ".join(f"{k} {cell(v)}" for k, v in p.metrics.items() if not k.startswith(_GRADIENT))
        lines.append(f"{p.step:>7}  {cell(p.value):<10} {more}"[:70].rstrip())
    if slopes := sum(k.startswith(_GRADIENT) for k in points[-1].metrics):
        lines.append(f"and the gradient by {slopes} hyperparameter{'s' * (slopes != 1)}; --json has it")
    if len(points) < len(trial.curve):
        lines.append(f"{len(points)} of {len(trial.curve)} reports; --json has all")
    return lines


def _work(trial: Trial, account: Any, unit: str) -> list[str]:
    from whet.recipe.words import count
    from whet.tune.budget import duration

    if account.began is None:
        made = f"elsewhere, in {duration(account.seconds)}" if account.seconds else "nobody has worked on it here"
        return [made]
    lines = [
        f"{duration(account.seconds)}, cost {cell(trial.cost)}; {shown.moment(account.began)} to {shown.moment(account.ended)}"
    ]
    for worker in account.workers:
        host, pid = worker.split("/")[0], ([*worker.split("/"), "", "", ""])[2]
        lines.append(f"{host} process {pid}" if pid else worker)
    if account.retries:
        lines.append(f"{count(account.retries, 'transient failure')}")
    if account.repeated:
        lines.append(f"{count(account.repeated, unit)} trained again, its checkpoint was not there")
    return lines


def _checkpoints(study: Study, id: int) -> list[dict[str, Any]]:
    folder = study.files.folder
    found = []
    for step, name in study.checkpoints(id):
        path = None if folder is None else folder / name
        there = path is not None and path.exists()
        found.append({"step": step, "path": str(path), "bytes": path.stat().st_size if there and path else None})
    return found


def _files(files: list[dict[str, Any]], unit: str) -> list[str]:
    from whet.recipe.words import size

    lines = []
    for f in files:
        lines.append(f"{unit} {f['step']}: {size(f['bytes']) if f['bytes'] is not None else 'missing'}")
        lines.append(f"  {f['path']}")
    return lines or ["no checkpoints"]

"""`whet study export` and `import`: studies on their way out and in."""

from __future__ import annotations

import shlex
import textwrap
from pathlib import Path
from typing import Annotated

import typer

from whet.cli import options as o
from whet.cli.study import shown
from whet.cli.study.shown import StudyName, cell

__all__ = ["add"]


def add(verbs: typer.Typer) -> None:
    """Add the verbs."""
    verbs.command("export", epilog="Example: whet study export digits --to digits.parquet")(export)
    verbs.command("import", epilog="Example: whet study import sqlite:///optuna.db --name old")(import_study)


def export(
    study: StudyName,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="A .csv, .parquet or .json file (default: STUDY.json).")
    ] = None,
    format: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="csv, parquet or json, whatever the file is called.")
    ] = "",
    curves: bool = typer.Option(False, "--curves", help="One row per report instead of one per trial."),
    force: bool = typer.Option(False, "--force", help="Replace the file when it is there."),
    runs: o.Runs = Path("runs"),
    store: o.Store = None,
    json: o.Json = False,
) -> int:
    """Write a study to a file: a table, or JSON that has all of it.

    A table has one row per trial (or per report: --curves). `import` takes the JSON back whole.
    """
    from whet.cli.screen import Screen, emit_json
    from whet.errors import UsageError, nearest
    from whet.recipe.words import count, size
    from whet.tune.exchange.write import FORMATS
    from whet.tune.exchange.write import export as write

    kind = format.lower() or (to.suffix.lower().removeprefix(".") if to else "csv" if curves else "json")
    if kind not in FORMATS:
        flag = f"--format {format}" if format else f"--to {to}"
        raise UsageError(f"{flag}: no such format.{nearest(kind, FORMATS)} Allowed: {', '.join(FORMATS)}.")
    with shown.opened(runs, store, study) as opened:
        path = to or Path(f"{study}{'-curves' if curves else ''}.{kind}")
        n = write(opened, path, format=kind, curves=curves, force=force)
    bytes_ = path.stat().st_size
    if json:
        emit_json({"study": study, "path": str(path), "format": kind, "rows": n, "bytes": bytes_})
        return 0
    screen = Screen()
    what = "report" if curves else "trial"
    screen.block("export", [f"{count(n, what)}, {size(bytes_)}: {path}"])
    if kind == "json":
        screen.block("", ["all of it but the checkpoints"])
        screen.block("next", [f"whet study import {shlex.quote(str(path))} --name {study}-2{shown.where(runs, store)}"])
    else:
        left = "the configurations (without --curves)" if curves else "the curves (--curves) and tracebacks"
        screen.block("", textwrap.wrap(f"not in a table: {left}; a .json file has all", 70))
        screen.block("next", [f"python -c \"import pandas; print(pandas.read_{kind}('{path}'))\""])
    return 0


def import_study(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|URL",
            help="An Optuna storage (sqlite:///FILE, postgresql://..., a database or journal file), an exported .json, a table.",
        ),
    ],
    name: Annotated[str, typer.Option("--name", metavar="STUDY", help="What it is to be called here.")],
    study: Annotated[
        str, typer.Option("--study", metavar="NAME", help="Which of an Optuna storage's several studies.")
    ] = "",
    goal: Annotated[
        str, typer.Option("--goal", metavar="GOAL", help='Of a table: "min NAME" or "max NAME" of its results.')
    ] = "",
    param: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="COLUMN", help="Of a table: a hyperparameter; may be repeated (default: all others)."),
    ] = None,
    value: Annotated[
        str | None, typer.Option("--value", metavar="COLUMN", help="Of a table: the results (default: the goal's name).")
    ] = None,
    search: Annotated[str, typer.Option("--search", metavar="NAME", help="What to try from here on (default: its own).")] = "",
    schedule: Annotated[str, typer.Option("--schedule", metavar="NAME", help="How long (default: its own).")] = "",
    runs: o.Runs = Path("runs"),
    store: o.Store = None,
    json: o.Json = False,
) -> int:  # fmt: skip
    """Take in a study from Optuna, a table, or what export wrote.

    It can be gone on with, and searchers learn from what it holds. What could not be carried over is listed.
    """
    from whet.cli.screen import Screen, emit_json
    from whet.errors import UsageError
    from whet.journal.store import check_name
    from whet.recipe.words import count
    from whet.tune.exchange.read import read
    from whet.tune.trial import State
    from whet.tune.wording import described

    kept = shown.place(runs, store)
    check_name(name)
    if (kept.path is None or kept.path.exists()) and name in {n for n, _ in kept.database().studies()}:
        raise UsageError(
            f"--name {name}: there is a study of this name. Give another, or `{shown.again(f'delete {name}', runs, store)}`."
        )
    found = read(source, study=study, goal=goal, params=param, value=value)
    with found.study(kept, name, search=search, schedule=schedule) as made:
        trials, best = made.trials, made.trials.best
        states = {s.value: n for s in State if (n := sum(t.state is s for t in trials))}
        if json:
            emit_json({
                "study": name, "source": found.source, "trials": len(trials), "states": states, "goals": list(found.goals),
                "steps": found.steps, "space": found.space.json(), "best": None if best is None else best.id,
                "said": list(found.said), "lost": list(found.lost),
            })  # fmt: skip
            return 0
        screen = Screen()
        counts = ", ".join(f"{n} {s}" for s, n in states.items()) or "none"
        screen.block("import", textwrap.wrap(f"{count(len(trials), 'trial')} from {found.source}", 70))
        screen.block("", textwrap.wrap(f"{counts}; {' and '.join(found.goals)}", 70))
        if best is not None:
            screen.block("best", [f"trial {best.id}: {trials.goal.name} {cell(best.value)}"])
        space = [f"{n}: {described(d)}" for n, d in found.space.items()]
        screen.block("space", [shown.short(line, 70) for line in space] or ["no hyperparameters"])
        for label, lines in (("decided", [s for s in found.said if s not in space]), ("lost", found.lost)):
            screen.block(label, [x for line in lines for x in textwrap.wrap(line, 70, subsequent_indent="  ")])
        if not found.lost:
            screen.block("lost", ["nothing"])
        screen.block("next", [shown.again(f"show {name}", runs, store), shown.in_python(kept, name)])
    return 0

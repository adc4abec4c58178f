"""`whet look`: the data."""

from __future__ import annotations

import typer

from whet.cli import options as o

__all__ = ["add"]


def add(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("look", epilog="Example: whet look houses.csv --target price")(look)


def look(
    task: o.TaskName,
    target: o.Target = None,
    kind: o.Kind = None,
    seed: o.Seed = 0,
    json: o.Json = False,
) -> int:
    """Look at the data: sizes, classes, columns, what is wrong with them.

    The test split stays sealed. Exit code 1 when something makes the data unfit (a FAIL).
    """
    from whet.cli.job import make_task
    from whet.cli.screen import Screen, emit_json, only_json
    from whet.data.look import look as look_at
    from whet.recipe.job import Job

    with only_json(json):
        made = make_task(task, target, kind, seed)
        found = look_at(Job(made).data())
    if json:
        emit_json(found.json())
    else:
        screen = Screen()
        screen.block("data", found.lines())
        screen.block("next", [f"whet check {o.again(task, target, kind)}"])
    return int(any(f.severity == "FAIL" for f in found.findings))

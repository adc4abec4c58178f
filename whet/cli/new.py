"""`whet new`: a task file to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["add"]


def add(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("new", epilog="Example: whet new flowers")(new)


def new(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write task.py; made when missing.")],
) -> int:
    """Write a commented task file that runs as it is."""
    from whet.cli.screen import Screen
    from whet.tasks.template import write_task

    path = write_task(folder)
    screen = Screen()
    screen.block("wrote", [str(path)])
    screen.block("next", [f"whet check {path}", f"whet run {path} --budget 60s"])
    return 0

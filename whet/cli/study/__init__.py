"""`whet study`: what the studies hold, and a person's part in them. One file per group of verbs."""

from __future__ import annotations

import typer

from whet.cli import verify
from whet.cli.study import carry, compare, front, importance, keep, look, mark, plot, schedule

__all__ = ["add"]

_HELP = """What the studies hold, and your part in them.

Look: list, show, best, front, compare, plot, importance, schedule. Take part: enqueue, note, tag. Carry: export, import. Keep: rename, delete, replay, fsck.
"""


def add(app: typer.Typer) -> None:
    """Add the verbs."""
    verbs = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=_HELP)
    for group in (look, front, compare, plot, importance, schedule, mark, carry, keep):
        group.add(verbs)
    verify.add(verbs)
    app.add_typer(verbs, name="study")

"""`whet check`: the skeleton."""

from __future__ import annotations

import shlex
import sys

import typer

from whet.cli import options as o

__all__ = ["add"]


def add(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("check", epilog="Example: whet check task.py")(check)


def check(
    task: o.TaskName,
    target: o.Target = None,
    kind: o.Kind = None,
    time: o.Time = None,
    set: o.Set = None,
    seed: o.Seed = 0,
    html: o.Html = None,
    json: o.Json = False,
) -> int:
    """Check the skeleton: can it learn, and does it do what it should.

    Loss at init, one batch overfits, inputs matter, examples are independent. Exit code 1 when something is impossible in a correct program (a FAIL).
    """
    from whet.checks import check_task, lines
    from whet.cli.job import configuration, make_task
    from whet.cli.screen import Screen, emit_json
    from whet.recipe.block import WIDTH
    from whet.recipe.finish import one_thread
    from whet.recipe.job import Job

    o.check_page(html)
    one_thread()
    made = make_task(task, target, kind, seed, time=time)
    params = configuration(made.space, Job(made).first, set)
    health = check_task(made, params, seed=seed)
    page = None
    if html is not None:
        from whet.report import check_report, write_html

        command = shlex.join(["whet", *sys.argv[1:]])
        page = write_html(check_report(made.name, health, params=params, command=command, seed=seed), html)
    if json:
        emit_json(health.json())
        return int(health.failed)
    screen = Screen()
    screen.block("check", lines(health, WIDTH))
    if page is not None:
        screen.block("page", [str(page)])
    if not health.failed:
        screen.block("next", [f"whet run {o.again(task, target, kind, time)} --budget 3m"])
    return int(health.failed)

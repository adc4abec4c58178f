"""`whet look`: the data."""

from __future__ import annotations

import typer

from whet.cli import options as o

__all__ = ["add"]


def add(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("look", epilog="Example: whet look houses.csv --target price --html look.html")(look)


def look(
    task: o.TaskName,
    target: o.Target = None,
    kind: o.Kind = None,
    seed: o.Seed = 0,
    html: o.Html = None,
    json: o.Json = False,
) -> int:
    """Look at the data: sizes, classes, columns, what is wrong with them.

    The test split stays sealed. Exit code 1 when something makes the data unfit (a FAIL).
    """
    o.check_page(html)
    from whet.cli.job import make_task
    from whet.cli.screen import Screen, emit_json
    from whet.data.look import look as look_at
    from whet.recipe.job import Job

    made = make_task(task, target, kind, seed)
    screen = Screen(quiet=json)
    data = Job(made).data()
    path = None
    with screen.watching("look") as told:
        found = look_at(data, told=told)
        if html is not None:
            from whet.report.document import write_html
            from whet.report.looked import look_report

            told(f"writing {html.name}", 0.95)
            path = write_html(look_report(data, found), html)
    if json:
        emit_json(found.json() | ({"html": str(path)} if path is not None else {}))
    else:
        screen.block("data", found.lines())
        if path is not None:
            screen.block("page", [str(path)])
        screen.block("next", [f"whet check {o.again(task, target, kind)}"])
    return int(any(f.severity == "FAIL" for f in found.findings))

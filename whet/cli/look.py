"""`whet look`: the data, examples of it, and what could be cleaned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whet.cli import options as o

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from whet.data.look import Look
    from whet.data.seen.proposal import Proposal
    from whet.data.split import Data

__all__ = ["add"]

Show = Annotated[
    str | None,
    typer.Option("--show", metavar="IDS", help="See these examples whole: 12,804, 3-9, train:12, valid:9, or all."),
]
Where = Annotated[
    str | None,
    typer.Option("--where", metavar="TEXT", help='Filter the examples, e.g. "length > 200 and label == 3".'),
]
Sort = Annotated[
    str | None, typer.Option("--sort", metavar="COLUMN", help="Sort the examples; -COLUMN: the largest first.")
]
Columns = Annotated[
    str | None, typer.Option("--columns", metavar="NAMES", help="The columns to show, with commas between.")
]
Apply = Annotated[bool, typer.Option("--apply", help="Write a task file that cleans the data as proposed.")]
To = Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Where --apply writes (default: NAME_clean.py).")]
Yes = Annotated[bool, typer.Option("--yes", help="Overwrite the file if it is there.")]


def add(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("look", epilog="Example: whet look houses.csv --target price --html look.html")(look)


def look(
    task: o.TaskName,
    target: o.Target = None,
    kind: o.Kind = None,
    time: o.Time = None,
    show: Show = None,
    where: Where = None,
    sort: Sort = None,
    columns: Columns = None,
    apply: Apply = False,
    to: To = None,
    yes: Yes = False,
    seed: o.Seed = 0,
    html: o.Html = None,
    json: o.Json = False,
) -> int:
    """Look at the data: sizes, classes, columns, what is wrong in it.

    With --show, --where or --sort: at examples. The test split stays sealed. Exit code 1 when something makes the data unfit (a FAIL).
    """
    from whet.cli.output import Kept, check_file, check_page

    check_page(html)
    from whet.cli.job import make_task
    from whet.cli.rows import Asked, show_rows
    from whet.cli.screen import Screen, emit_json, only_json
    from whet.data.look import look as look_at
    from whet.data.seen.proposal import proposals
    from whet.errors import UsageError
    from whet.recipe.job import Job
    from whet.tasks.cleaned import check_clean, clean_file, write_clean

    asked = Asked(show, where, sort, columns)
    if asked.any and (apply or html is not None):
        raise UsageError(
            f"{'--apply' if apply else '--html'}: is about all of the data. Leave --show, --where, --sort and --columns out."
        )
    if (to is not None or yes) and not apply:
        raise UsageError(f"{'--to' if to is not None else '--yes'}: belongs to --apply. Add --apply, or leave it out.")
    screen = Screen(quiet=json)
    with only_json(json):
        made = make_task(task, target, kind, seed, time=time)
        data = Job(made).data()
    again = o.again(task, target, kind, time) + (f" --seed {seed}" if seed else "")
    if asked.any:
        show_rows(data, asked, again=again, json=json)
        return 0
    path = to if to is not None or not apply else clean_file(made)
    if path is not None:
        check_clean(made, path, overwrite=yes)
        check_file("--apply" if to is None else "--to", path)
    kept, page, wrote = Kept(), None, None
    with only_json(json), screen.telling("look") as told:
        found = look_at(data, told=told)
        with kept.trying():
            page = _page(data, found, html, told) if html is not None else None
    steps = proposals(data, found)
    if path is not None and steps:
        with kept.trying():
            write_clean(made, steps, path, command=f"whet look {again}", overwrite=yes)
            wrote = path
    if json:
        also = {"wrote": str(wrote) if wrote else None} | ({"html": str(page)} if page is not None else {})
        emit_json({**found.json(), "clean": [p.json() for p in steps], **also})
    else:
        screen.block("data", found.lines(f"whet look {again}"))
        if page is not None:
            screen.block("page", [str(page)])
        screen.block("clean", _proposed(steps))
        if apply:
            none = "nothing: there is nothing to clean" if not steps else "nothing"
            screen.block("wrote", [str(wrote) if wrote else none])
        if wrote is not None:
            file = o.again(str(wrote), None, None)
            screen.block("next", [f"whet look {file}", f"whet run {file} --budget 3m"])
        else:
            first = [f"whet look {again} --apply"] if steps else []
            screen.block("next", [*first, f"whet check {o.again(task, target, kind, time)}"])
    return kept.code(int(any(f.severity == "FAIL" for f in found.findings)))


def _page(data: Data, found: Look, html: Path, told: Callable[[str, float], None]) -> Path:
    from whet.report.document import write_html
    from whet.report.looked import look_report

    told(f"writing {html.name}", 0.95)
    return write_html(look_report(data, found), html)


def _proposed(steps: Sequence[Proposal]) -> list[str]:
    """Return the steps proposed: code for those to be applied, a line for those to be gone through."""
    from whet.recipe.block import WIDTH

    lines = []
    for p in steps:
        if p.live:
            text = p.text(3).removeprefix("data = clean.")
            lines.append(f"{text if len(text) <= WIDTH - 18 else text[: WIDTH - 21] + '...':<{WIDTH - 18}}  # {p.code}")
    for p in steps:
        if not p.live:
            n = len(p.items) + p.left
            what = {"drop_columns": "column", "blank": "value"}.get(p.step, "example")
            text = f"{p.step.partition('_')[0]} {n:,} {what}{'' if n == 1 else 's'}" if p.items else "drop duplicates"
            lines.append(f"{f'to review: {text}':<{WIDTH - 18}}  # {p.code}")
    return lines

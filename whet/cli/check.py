"""`whet check`: the skeleton."""

from __future__ import annotations

import shlex
import sys
import time
from typing import TYPE_CHECKING

import typer

from whet.cli import options as o

if TYPE_CHECKING:
    from whet.recipe.block import Progress

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
    plain: o.Plain = False,
    json: o.Json = False,
) -> int:
    """Check the skeleton: can it learn, and does it do what it should.

    Loss at init, one batch overfits, inputs matter, examples are independent. Exit code 1 when something is impossible in a correct program (a FAIL).
    """
    from whet.checks import check_task, lines
    from whet.cli.job import configuration, make_task
    from whet.cli.output import Kept, check_page
    from whet.cli.screen import Screen, emit_json, only_json
    from whet.errors import UsageError
    from whet.recipe.block import WIDTH
    from whet.recipe.finish import one_thread
    from whet.recipe.job import Job

    check_page(html)
    one_thread()
    screen = Screen(plain=plain, quiet=json)
    far = _Far()
    with only_json(json):
        made = make_task(task, target, kind, seed, time=time)
        params = configuration(made.space, Job(made).first, set)
        with screen.watching(far.look):
            health = check_task(made, params, seed=seed, tell=far.tell)
    if not health.findings and not health.facts and health.not_run:
        raise UsageError(f"{task}: nothing of it could be checked: {health.not_run[0].why}.")
    kept = Kept()
    if json:
        emit_json(health.json())
    else:
        screen.block("check", lines(health, WIDTH))
    if html is not None:  # after what was found is shown: it may fail
        from whet.report import check_report, write_html

        command = shlex.join(["whet", *sys.argv[1:]])
        with kept.trying():
            page = write_html(check_report(made.name, health, params=params, command=command, seed=seed), html)
            screen.block("page", [] if json else [str(page)])
    if json:
        return kept.code(int(health.failed))
    # No run takes such a model, or it is so slow that none is worth beginning.
    refused = any(f.code == "MET" and f.severity == "INFO" for f in health.findings)
    refused |= any(n.code == "MET" and n.applies for n in health.not_run)
    if not health.failed and not refused:
        screen.block("next", [f"whet run {o.again(task, target, kind, time)} --budget 3m"])
    return kept.code(int(health.failed))


class _Far:
    """How far the checks are."""

    def __init__(self) -> None:
        from whet.checks import names

        self.code, self.number, self.total, self.began = "", 0, len(names()), time.monotonic()
        self.left: float | None = None
        self.told = self.began

    def tell(self, code: str, number: int, total: int, left: float | None) -> None:
        """Take note of a check that begins."""
        self.code, self.number, self.total, self.left, self.told = code, number, total, left, time.monotonic()

    def look(self) -> Progress:
        """Return it for the screen."""
        from whet.recipe.block import Progress

        what = f"{self.code}: check" if self.number else "making the model, a first pass: check"
        left = None if self.left is None else max(0.0, self.left - (time.monotonic() - self.told))
        so_far = f"{time.monotonic() - self.began:.0f} s so far"
        return Progress(
            "check", max(0, self.number - 1) / self.total, f"{what} {self.number}", str(self.total), left, best=so_far
        )

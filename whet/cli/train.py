"""`whet train`: one run."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import typer

from whet.cli import options as o
from whet.cli.place import place

__all__ = ["add"]


def add(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("train", epilog="Example: whet train digits --set lr=1e-3 --epochs 10")(train)


def train(
    task: o.TaskName,
    target: o.Target = None,
    kind: o.Kind = None,
    time: o.Time = None,
    set: o.Set = None,
    epochs: o.Epochs = None,
    stop: o.Stop = None,
    seed: o.Seed = 0,
    runs: o.Runs = Path("runs"),
    name: o.Name = "",
    resume: bool = typer.Option(False, "--resume", help="Go on from the checkpoint of the same command."),
    watch: bool = typer.Option(
        False, "--watch", help="Look at the training as it runs; end it, with the finding, when going on is hopeless."
    ),
    html: o.Html = None,
    json: o.Json = False,
    plain: o.Plain = False,
) -> int:
    """Train one configuration: the task's own, changed by --set. The test split stays sealed.

    Ctrl-C finishes the current epoch and saves; --resume goes on from there. When --stop ends it, the best epoch's
    weights are what is saved.
    """
    from whet.cli.job import check_words, configuration, make_job, make_task

    check_words(budget=None, search="auto", schedule="auto", epochs=epochs, store=place(runs, None), stop=stop)
    from whet.checks.live import Live
    from whet.cli.output import Kept, check_page
    from whet.cli.screen import Screen, emit_json
    from whet.cli.stop import interruptible
    from whet.errors import UsageError
    from whet.recipe.finish import one_thread
    from whet.recipe.single import train_once

    check_page(html)
    if html is not None and not watch:
        raise UsageError("--html: shows what --watch sees of a training. Give both, or neither.")
    one_thread()
    made = make_task(task, target, kind, seed, time=time)
    job = make_job(
        made, runs=runs, budget=None, workers=1, name=name, search="auto", schedule="auto", epochs=epochs, stop=stop
    )
    params = configuration(made.space, job.first, set)
    live = Live(stop=True, grace=1.0) if watch else None
    screen = Screen(plain=plain, quiet=json)
    with interruptible("finishing this epoch and saving", screen.notice) as asked:
        blocks = screen.show(train_once(job, params, resume=resume, live=live, stopping=asked.is_set))
    block, kept = blocks["train"], Kept()
    if html is not None and live is not None:
        from whet.report import check_report, write_html

        title, command = f"Training of {job.name}", shlex.join(["whet", *sys.argv[1:]])
        report = check_report(job.name, live.health, title=title, params=params, command=command)
        with kept.trying():
            screen.block("page", [str(write_html(report, html))])
    if json:
        emit_json({**block.data, "interrupted": asked.is_set()})
    if asked.is_set():
        screen.block("next", ["the same command with --resume goes on from here"])
        return kept.code(130)
    if not block.failed:
        screen.block("next", [f"whet tune {o.again(task, target, kind, time)} --budget 3m"])
    return kept.code(int(block.failed))

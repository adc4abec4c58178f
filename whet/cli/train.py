"""`whet train`: one run."""

from __future__ import annotations

from pathlib import Path

import typer

from whet.cli import options as o

__all__ = ["add"]


def add(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("train")(train)


def train(
    task: o.TaskName,
    target: o.Target = None,
    kind: o.Kind = None,
    set: o.Set = None,
    epochs: o.Epochs = None,
    seed: o.Seed = 0,
    runs: o.Runs = Path("runs"),
    name: o.Name = "",
    resume: bool = typer.Option(False, "--resume", help="Go on from the checkpoint of the same command."),
    json: o.Json = False,
    plain: o.Plain = False,
) -> int:
    """Train one configuration: the task's own, changed by --set. The test split stays sealed.

    Ctrl-C finishes the current epoch and saves; --resume goes on from there.
    """
    from whet.cli.job import configuration, make_job, make_task
    from whet.cli.screen import Screen, emit_json
    from whet.cli.stop import interruptible
    from whet.recipe.finish import one_thread
    from whet.recipe.single import train_once

    one_thread()
    made = make_task(task, target, kind, seed)
    job = make_job(
        made, runs=runs, budget=None, workers=1, name=name, search="auto", schedule="auto", epochs=epochs
    )
    params = configuration(made.space, job.first, set)
    screen = Screen(plain=plain, quiet=json)
    with interruptible("finishing the current epoch and saving; --resume goes on from there") as asked:
        blocks = screen.show(train_once(job, params, resume=resume, stopping=asked.is_set))
    block = blocks["train"]
    if json:
        emit_json({**block.data, "interrupted": asked.is_set()})
    more = "the same command with --resume goes on" if asked.is_set() else f"whet tune {task} --budget 3m"
    screen.block("next", [more])
    return 130 if asked.is_set() else int(block.failed)

"""`whet tune`: many runs."""

from __future__ import annotations

from pathlib import Path

import typer

from whet.cli import options as o

__all__ = ["add"]


def add(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("tune")(tune)


def tune(
    task: o.TaskName,
    budget: o.Budget = "3m",
    target: o.Target = None,
    kind: o.Kind = None,
    workers: o.Workers = None,
    search: o.Search = "auto",
    schedule: o.Schedule = "auto",
    epochs: o.Epochs = None,
    seed: o.Seed = 0,
    runs: o.Runs = Path("runs"),
    name: o.Name = "",
    fresh: o.Fresh = False,
    json: o.Json = False,
    plain: o.Plain = False,
) -> int:
    """Search for the best configuration, and report. The test split stays sealed.

    The same command again goes on where it stopped; a larger --budget gives a finished study more.
    """
    from whet.tune.budget import Budget

    Budget.of(budget)
    workers = o.check_workers(workers)
    from whet.cli.job import make_job, make_task
    from whet.cli.screen import Screen, blocks_json, emit_json
    from whet.cli.stop import interruptible
    from whet.recipe.finish import one_thread
    from whet.recipe.recipe import tuned

    one_thread()
    made = make_task(task, target, kind, seed)
    job = make_job(
        made, runs=runs, budget=budget, workers=workers, name=name, search=search, schedule=schedule, epochs=epochs
    )
    screen = Screen(plain=plain, quiet=json)
    how = "finishing the current epoch, then reporting what was done; the same command goes on from there"
    with interruptible(how) as asked:
        blocks = screen.show(tuned(job, fresh=fresh, stopping=asked.is_set))
    if json:
        emit_json({"study": job.name, "runs": str(job.folder), "interrupted": asked.is_set(), **blocks_json(blocks)})
    screen.block("next", [f"whet study best {job.name} --runs {job.runs}", "a larger --budget goes on; --fresh starts over"])
    return 130 if asked.is_set() else 0

"""`whet tune`: many runs."""

from __future__ import annotations

from pathlib import Path

import typer

from whet.cli import options as o
from whet.cli.place import place, where

__all__ = ["add"]


def add(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("tune", epilog="Example: whet tune digits --budget 200trials --search random")(tune)


def tune(
    task: o.TaskName,
    budget: o.Budget = "3m",
    target: o.Target = None,
    kind: o.Kind = None,
    time: o.Time = None,
    workers: o.Workers = None,
    on: o.On = "processes",
    memory: o.Memory = None,
    gpus: o.Gpus = None,
    stall: o.Stall = None,
    search: o.Search = "auto",
    schedule: o.Schedule = "auto",
    goal: o.Goal = None,
    like: o.Like = None,
    epochs: o.Epochs = None,
    folds: o.Folds = None,
    stop: o.Stop = None,
    until: o.Until = None,
    rerace: o.Rerace = 0.0,
    price: o.Price = None,
    seed: o.Seed = 0,
    runs: o.Runs = Path("runs"),
    store: o.Store = None,
    quota: o.Quota = None,
    durability: o.Durability = "process",
    name: o.Name = "",
    fresh: o.Fresh = False,
    json: o.Json = False,
    plain: o.Plain = False,
) -> int:
    """Search for the best configuration, and report. The test split stays sealed.

    The same command again goes on where it stopped; a larger --budget gives a finished study more. With --like the first trials are
    the best of earlier studies, and models learn from them for as long as they agree with what is measured here.
    """
    workers = o.check_workers(workers, on)
    start = o.check_place(on, workers, memory, gpus, stall)
    from whet.cli.job import check_words, make_job, make_task

    kept = place(runs, store, quota=quota, durability=durability)
    check_words(
        budget=budget, search=search, schedule=schedule, epochs=epochs, store=kept, stop=stop, until=until, price=price,
        like=like, goal=goal, folds=folds,
    )  # fmt: skip
    from whet.cli.screen import Screen, blocks_json, emit_json
    from whet.cli.stop import interruptible
    from whet.recipe.finish import one_thread
    from whet.recipe.steps import tuned

    one_thread()
    job = make_job(
        make_task(task, target, kind, seed, time=time, goal=goal), runs=runs, budget=budget, workers=workers, name=name, search=search,
        schedule=schedule, epochs=epochs, start=start, stop=stop, until=until, price=price, store=kept,
        like=like, rerace=rerace, folds=folds,
    )  # fmt: skip
    screen = Screen(plain=plain, quiet=json)
    with interruptible(f"finishing this {job.unit}, then reporting", screen.notice) as asked:
        blocks = screen.show(tuned(job, fresh=fresh, stopping=asked.is_set))
    if json:
        emit_json({"study": job.name, "runs": str(job.folder), "interrupted": asked.is_set(), **blocks_json(blocks)})
    if asked.is_set():
        screen.block("next", ["the same command again goes on from here"])
        return 130
    screen.block("next", [f"whet study best {job.name}{where(job.runs, store)}", o.more(job, blocks)])
    return 0

"""`whet run`: the whole recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from whet.cli import options as o
from whet.cli.place import place, where

if TYPE_CHECKING:
    from whet.cli.screen import Screen
    from whet.recipe import Block, Job

__all__ = ["add"]


def add(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("run", epilog="Example: whet run houses.csv --target price --budget 10m")(run)


def run(
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
    epochs: o.Epochs = None,
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
    force: bool = typer.Option(False, "--force", help="Go on although the check of the skeleton failed."),
    json: o.Json = False,
    plain: o.Plain = False,
) -> int:
    """The recipe: look, check, tune, squeeze, test, export, report.

    Everything it makes goes into RUNS/STUDY. The same command again goes on where it stopped; a larger --budget
    gives a finished study more.
    """
    workers = o.check_workers(workers, on)
    start = o.check_place(on, workers, memory, gpus, stall)
    from whet.cli.job import check_words, make_job, make_task

    kept = place(runs, store, quota=quota, durability=durability)
    check_words(
        budget=budget, search=search, schedule=schedule, epochs=epochs, store=kept, stop=stop, until=until, price=price,
        goal=goal,
    )  # fmt: skip
    from whet.cli.screen import Screen, blocks_json, emit_json
    from whet.cli.stop import interruptible
    from whet.recipe import recipe
    from whet.recipe.finish import one_thread

    one_thread()
    job = make_job(
        make_task(task, target, kind, seed, time=time, goal=goal), runs=runs, budget=budget, workers=workers, name=name, search=search,
        schedule=schedule, epochs=epochs, start=start, stop=stop, until=until, price=price, store=kept, rerace=rerace,
    )  # fmt: skip
    screen = Screen(plain=plain, quiet=json)
    how = "finishing this epoch, then reporting"
    with interruptible(how, screen.notice) as asked:
        blocks = screen.show(recipe(job, force=force, fresh=fresh, stopping=asked.is_set))
    if json:
        emit_json({"study": job.name, "runs": str(job.folder), "interrupted": asked.is_set(), **blocks_json(blocks)})
    return _end(screen, job, blocks, store)


def _end(screen: Screen, job: Job, blocks: Mapping[str, Block], store: str | None) -> int:
    """Say what was made and how to go on; return the exit code."""
    from whet.recipe.words import count

    if "tune" not in blocks:
        screen.block(
            "stopped", ["the skeleton is wrong: a search would only tune around it.", "Mend it, or go on with --force."]
        )
        return 1
    if "export" not in blocks:
        done = blocks["tune"].data
        screen.block("saved", [f"{job.folder}   {count(done['trials'], 'trial')}, {count(done['epochs'], 'epoch')}"])
        screen.block("next", ["the same command again goes on from here"])
        return 130
    found = blocks["test"].data or blocks["squeeze"].data
    split = "the sealed test split" if blocks["test"].data else "validation"
    low, high = found["interval"]
    report, model = f"{job.folder}/report.html", f"{job.folder}/model"
    wide = max(len(report), len(model))
    screen.block("made", [
        f"{found['metric']} {found['value']:.4g} (95 %: {low:.4g} to {high:.4g}) on {split}",
        f"{report:<{wide}}  the report, one file", f"{model:<{wide}}  model.onnx and its weights",
    ])  # fmt: skip
    screen.block("next", [f"whet study show {job.name}{where(job.runs, store)}", o.more(job, blocks)])
    return int(blocks["export"].failed)

"""`whet run`: the whole recipe."""

from __future__ import annotations

from pathlib import Path

import typer

from whet.cli import options as o

__all__ = ["add"]


def add(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("run")(run)


def run(
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
    force: bool = typer.Option(False, "--force", help="Go on although the check of the skeleton failed."),
    json: o.Json = False,
    plain: o.Plain = False,
) -> int:
    """The whole recipe: look, check, tune, squeeze, test, export, report.

    Everything it makes goes into RUNS/STUDY. The same command again goes on where it stopped; a larger --budget
    gives a finished study more.
    """
    from whet.tune.budget import Budget

    Budget.of(budget)  # what is wrong with it is said before anything is loaded
    workers = o.check_workers(workers)
    from whet.cli.job import make_job, make_task
    from whet.cli.screen import Screen, blocks_json, emit_json
    from whet.cli.stop import interruptible
    from whet.recipe import recipe
    from whet.recipe.finish import one_thread

    one_thread()
    job = make_job(
        make_task(task, target, kind, seed), runs=runs, budget=budget, workers=workers, name=name, search=search,
        schedule=schedule, epochs=epochs,
    )  # fmt: skip
    screen = Screen(plain=plain, quiet=json)
    how = "finishing the current epoch, then reporting what was done; the same command goes on from there"
    with interruptible(how) as asked:
        blocks = screen.show(recipe(job, force=force, fresh=fresh, stopping=asked.is_set))
    if json:
        emit_json({"study": job.name, "runs": str(job.folder), "interrupted": asked.is_set(), **blocks_json(blocks)})
    return _end(screen, job, blocks, asked.is_set(), force)


def _end(screen: object, job: object, blocks: dict, interrupted: bool, force: bool) -> int:  # type: ignore[type-arg]
    """Say what was made and how to go on; return the exit code."""
    say = screen.block  # type: ignore[attr-defined]
    if blocks["check"].failed and not force:
        say("stopped", ["the skeleton is wrong: a search would only tune around it.", "Mend it, or go on with --force."])
        return 1
    if interrupted:
        say("next", ["the same command goes on from here"])
        return 130
    found = blocks["test"].data or blocks["squeeze"].data
    split = "test" if blocks["test"].data else "validation"
    low, high = found["interval"]
    value = f"{found['metric']} {found['value']:.4g} (95 %: {low:.4g} to {high:.4g}) on {split}"
    say("made", [f"{job.folder}/model   {value}"])  # type: ignore[attr-defined]
    say("next", [f"whet study show {job.name} --runs {job.runs}", "a larger --budget goes on; --fresh starts over"])  # type: ignore[attr-defined]
    return 1 if blocks["export"].failed else 0

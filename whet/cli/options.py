"""The options several verbs share: one spelling, one help text, one environment variable each."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from whet.recipe import Block, Job

__all__ = [
    "Budget", "Durability", "Epochs", "Folds", "Fresh", "Goal", "Gpus", "Html", "Json", "Kind", "Like", "Memory", "Name", "On", "Plain", "Price", "Quota", "Runs", "Schedule",
    "Rerace", "Search", "Seed", "Set", "Stall", "Stop", "Store", "Target", "TaskName", "Time", "Until", "Workers", "again", "check_place",
    "check_workers", "more",
]  # fmt: skip

TaskName = Annotated[
    str,
    typer.Argument(
        metavar="TASK|PATH",
        help="digits, diabetes, a CSV or Parquet file, a folder of images or texts, file.py[:Name] or package.module:Name.",
    ),
]
Target = Annotated[
    list[str] | None, typer.Option("--target", metavar="COLUMN", help="The column to predict, for a table.")
]
Kind = Annotated[
    str | None,
    typer.Option("--kind", metavar="KIND", help="classification or regression, instead of the guess."),
]
Time = Annotated[
    str | None,
    typer.Option(
        "--time", metavar="COLUMN", help="The column that says when, for a series; none: a table, divided by chance."
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="BUDGET",
        envvar="WHET_BUDGET",
        help="The study's total: 90s, 10m, 1h30m, 200trials, 500epochs.",
    ),
]
Price = Annotated[
    str | None,
    typer.Option(
        "--price", metavar="PRICE", envvar="WHET_PRICE", help="What a --budget in cost buys: 2.5/h, 0.1/epoch, 3/trial."
    ),
]
Stop = Annotated[
    str | None,
    typer.Option(
        "--stop",
        metavar="TEXT",
        envvar="WHET_STOP",
        help='When to end one training: "target 0.98 | patience 5", diverged, steps, time, cost; "never".',
    ),
]
Rerace = Annotated[
    float,
    typer.Option(
        "--rerace",
        metavar="SHARE",
        help="The share of the budget kept to run the best configurations again, on fresh seeds, e.g. 0.2.",
    ),
]
Until = Annotated[
    str | None,
    typer.Option(
        "--until",
        metavar="TEXT",
        envvar="WHET_UNTIL",
        help='When to end the search: "gain | trials 200", target, patience, time, cost; "never".',
    ),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", envvar="WHET_WORKERS", help="Processes that train (default: one a core)."),
]
On = Annotated[
    str,
    typer.Option("--on", metavar="PLACE", envvar="WHET_ON", help="Where trials run: processes, ray, ray://HOST:PORT."),
]
Memory = Annotated[
    str | None,
    typer.Option("--memory", metavar="SIZE", envvar="WHET_MEMORY", help="The most memory a trial may take, e.g. 4GB."),
]
Gpus = Annotated[
    str | None,
    typer.Option(
        "--gpus", metavar="N", envvar="WHET_GPUS", help="GPUs of each worker, e.g. 1 or 0.5 (default: a share)."
    ),
]
Stall = Annotated[
    str | None,
    typer.Option("--stall", metavar="TIME", envvar="WHET_STALL", help="Longest time between two reports, e.g. 30m."),
]
Search = Annotated[
    str,
    typer.Option(
        "--search",
        metavar="NAME",
        envvar="WHET_SEARCH",
        help="What to try: auto, random, sobol, grid, gp, trego, forest, tpe, cma, zoom, evolution, policy, hypergradient, portfolio.",
    ),
]
Schedule = Annotated[
    str,
    typer.Option(
        "--schedule",
        metavar="NAME",
        envvar="WHET_SCHEDULE",
        help="How long: auto, full, median, asha, hyperband, freeze-thaw, population, race.",
    ),
]
Like = Annotated[
    list[str] | None,
    typer.Option(
        "--like", metavar="STUDY", help="An earlier study to learn from; may be repeated; all: what overlaps."
    ),
]
Goal = Annotated[
    list[str] | None,
    typer.Option(
        "--goal",
        metavar="TEXT",
        help='In place of the task\'s: "max accuracy", more goals and bounds after a comma ("min latency, latency <= 5").',
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        "--epochs", metavar="N", envvar="WHET_EPOCHS", help="The most epochs of a trial (default: the task's)."
    ),
]
Folds = Annotated[
    int | None,
    typer.Option(
        "--folds",
        metavar="K",
        envvar="WHET_FOLDS",
        help="Cross-validate each trial: K trainings, one a fold of the train and valid examples.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", envvar="WHET_SEED", help="Of splits, search and training.")]
Runs = Annotated[
    Path, typer.Option("--runs", metavar="DIR", envvar="WHET_RUNS", help="The folder for everything that is made.")
]
Store = Annotated[
    str | None,
    typer.Option("--store", metavar="URL", envvar="WHET_STORE", help="The database (default: DIR/whet.db of --runs)."),
]
Quota = Annotated[
    str | None,
    typer.Option("--quota", metavar="BYTES", envvar="WHET_QUOTA", help="The most its checkpoints may take, e.g. 10GB."),
]
Durability = Annotated[
    str,
    typer.Option(
        "--durability", metavar="NAME", envvar="WHET_DURABILITY", help="process, or power: waits for the disk."
    ),
]
Name = Annotated[str, typer.Option("--name", metavar="STUDY", help="The study's name (default: the task's).")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Delete the study of this name first.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A hyperparameter; may be repeated.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value and nothing else on standard output.")]
Html = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Also write FILE, a page with pictures that needs no network."),
]
Plain = Annotated[bool, typer.Option("--plain", envvar="WHET_PLAIN", help="Plain lines instead of a live display.")]


def again(task: str, target: list[str] | None, kind: str | None, time: str | None = None) -> str:
    """Return the words that name the same task once more.

    >>> again("a b.csv", ["price"], None)
    "'a b.csv' --target price"
    """
    words = [task]
    for option, value in (("--target", target[0] if target else None), ("--kind", kind), ("--time", time)):
        words += [option, value] if value else []
    return shlex.join(words)


def more(job: Job, blocks: Mapping[str, Block]) -> str:
    """Return the line on how to go on with a search that ended."""
    if blocks["tune"].data.get("stopped"):
        return "stopped: another --until goes on (--until never: without), --fresh starts over"
    data, limits = blocks["tune"].data, job.limits
    spent = (
        ("trials", limits.trials),
        (job.unit + "s", limits.steps),
        ("seconds", limits.seconds),
        ("cost", limits.cost),
    )
    if job.rerace and all(limit is None or (data.get(what) or 0) < limit for what, limit in spent):
        return "nothing is left to do: a larger --budget goes on, --fresh starts over"
    return f"--budget {job.budget} is spent: a larger one goes on, --fresh starts over"


def cores() -> int:
    """Return how many processes train when nobody says."""
    from whet.execute.processes import cores as available

    return min(8, available())


def check_place(on: str, workers: int, memory: str | None, gpus: str | None, stall: str | None) -> Callable[..., Any]:
    """Return how to start the workers; raise UsageError when they cannot be."""
    from whet.errors import UsageError, nearest
    from whet.execute import place

    if on not in ("processes", "ray") and not on.startswith("ray://"):
        raise UsageError(
            f"--on {on or repr(on)}: no such place.{nearest(on, ['processes', 'ray'])} Use processes, ray or ray://HOST:PORT."
        )
    try:
        start = place(on, workers, memory=memory, gpus=gpus, stall=stall)
    except UsageError as e:
        raise UsageError(str(e).replace(f"on={on!r}", f"--on {on}")) from None
    assert start is not None
    return start


def check_workers(workers: int | None, on: str = "processes") -> int:
    """Return the number of workers; raise UsageError when it makes no sense."""
    from whet.errors import UsageError

    if workers is None:
        return cores()
    if workers < 1:
        raise UsageError(f"--workers: must be at least 1, got {workers}.")
    if on == "processes" and workers > 64 * (os.cpu_count() or 1):
        raise UsageError(f"--workers: {workers} is more than this machine of {os.cpu_count()} cores can bear.")
    return workers

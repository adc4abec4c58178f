"""`whet train`: one run."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whet.cli import options as o
from whet.cli.place import place
from whet.cli.team import Words

if TYPE_CHECKING:
    from whet.checks.live import Live
    from whet.recipe.block import Began, Block, Progress
    from whet.recipe.job import Job
    from whet.recipe.many import Team
    from whet.report import Report
    from whet.tune.plan import Plan
    from whet.tune.space import Space

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
    schedule: Annotated[
        Path | None,
        typer.Option(
            "--schedule",
            metavar="FILE",
            help="Follow a schedule of hyperparameters that whet study schedule wrote, in place of one configuration.",
        ),
    ] = None,
    stop: o.Stop = None,
    seed: o.Seed = 0,
    workers: int | None = typer.Option(
        None,
        "--workers",
        metavar="N",
        help="Train on so many workers at once, under --rule (default: one process, no rule).",
    ),
    rule: str | None = typer.Option(
        None,
        "--rule",
        metavar="RULE",
        help="How workers' gradients become steps: sync (the default: it does not depend on who is faster), async, bounded(s=3), "
        "dc-asgd, average(every=4), elastic, diloco, ec, codistil; joined by + with finite, clip(norm=1).",
    ),
    shuffle: str | None = typer.Option(
        None,
        "--shuffle",
        metavar="HOW",
        help="global (the default: all examples anew each epoch), local (each worker its own shard), once.",
    ),
    shares: str | None = typer.Option(
        None,
        "--shares",
        metavar="N,...",
        help="For workers of unlike speed, how much each takes, such as 1,1,2 (default: all the same).",
    ),
    on: str | None = typer.Option(
        None,
        "--on",
        metavar="PLACE",
        help="Where workers are: processes (the default); ray or ray://HOST:PORT, a cluster; torch, rule sync over torch.distributed.",
    ),
    stages: int | None = typer.Option(
        None,
        "--stages",
        metavar="S",
        help="Cut the model into S parts of consecutive layers, each with a worker of its own (--on torch).",
    ),
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
    """Train one configuration: the task's own, changed by --set.

    A configuration that names a rule and workers is trained by them; --rule, --workers and --shuffle go before its own.
    With --schedule the values change at their epochs, under weights and an optimizer that go on; with the seed of its study the
    curve is that of its trial. The test split stays sealed. Ctrl-C finishes the current epoch and saves (with --workers it saves at once what is merged); --resume goes on from there. When
    --stop ends it, the best epoch's weights are what is saved.
    """
    from whet.cli.job import check_words, configuration, make_job, make_task

    check_words(budget=None, search="auto", schedule="auto", epochs=epochs, store=place(runs, None), stop=stop)
    from whet.cli.output import Kept, check_page
    from whet.cli.screen import Screen, emit_json
    from whet.cli.stop import interruptible
    from whet.recipe.finish import one_thread

    words = Words(workers, rule, shuffle, shares, on, stages)
    words.check()
    check_page(html)
    plan = None if schedule is None else _plan(schedule, set=set, watch=watch, many=words.many)
    if watch and words.many:  # before anything is loaded
        _check_watch(watch, html, many=True, named=False)
    one_thread()
    made = make_task(task, target, kind, seed, time=time)
    if plan is not None:
        _check_plan(plan, schedule, made.space)
        epochs = plan.steps if epochs is None else epochs
    job = make_job(
        made, runs=runs, budget=None, workers=1, name=name, search="auto", schedule="auto", epochs=epochs, stop=stop
    )
    params = dict(plan.at(1)) if plan is not None else words.applied(configuration(made.space, job.first, set))
    team = None if plan is not None else words.team(params)
    _check_watch(watch, html, many=team is not None, named=not words.many)
    live = _live() if watch else None
    screen = Screen(plain=plain, quiet=json)
    how = "finishing this epoch and saving" if team is None else "saving what is merged"
    with interruptible(how, screen.notice) as asked:
        blocks = screen.show(_events(job, params, team, plan, resume=resume, live=live, stopping=asked.is_set))
    block, kept = blocks["train"], Kept()
    if html is not None:
        from whet.report import write_html

        with kept.trying():
            screen.block("page", [str(write_html(_report(job, params, block, live), html))])
    if json:
        emit_json({**block.data, "interrupted": asked.is_set()})
    if asked.is_set():
        kept_any = block.data.get("path", "") is not None
        screen.block("next", [f"the same command {'with --resume goes on from here' if kept_any else 'begins again'}"])
        return kept.code(130)
    if not block.failed:
        screen.block("next", [f"whet tune {o.again(task, target, kind, time)} --budget 3m"])
    return kept.code(int(block.failed))


def _check_watch(watch: bool, html: Path | None, *, many: bool, named: bool) -> None:
    from whet.errors import UsageError

    if watch and many:
        whose = "the rule and workers of the configuration" if named else "--workers and --rule"
        raise UsageError(f"--watch: looks at each step of one process. Leave it out, or {whose}.")
    if html is not None and not watch and not many:
        raise UsageError("--html: shows what --watch sees of a training. Give both, or neither.")


def _plan(path: Path, *, set: list[str] | None, watch: bool, many: bool) -> Plan:
    """Return the schedule in a file; raise UsageError when there is none, or it is given together with what it excludes."""
    from whet.errors import UsageError
    from whet.tune.plan import Plan

    if set:
        raise UsageError("--schedule: has every value, also those of --set. Give one of the two.")
    if watch:
        raise UsageError(
            "--watch: looks at one model, and --schedule puts others in its place. Leave one of the two out."
        )
    if many:
        raise UsageError("--schedule: is followed on one process. Leave --workers and --rule out.")
    return Plan.read(path)


def _check_plan(plan: Plan, path: Path | None, space: Space) -> None:
    """Raise UsageError when a stretch is not a configuration of the task, or names several workers."""
    from whet.errors import SpaceError, UsageError

    for s in plan.stretches:
        try:
            space.check(s.params)
        except SpaceError as e:
            raise UsageError(f"--schedule {path}: epochs {s.first} to {s.last}: {e} Is it of another task?") from None
        if "rule" in s.params and "workers" in s.params:
            raise UsageError(
                f"--schedule {path}: names a rule and workers, and it is followed on one process. Use --set."
            )


def _live() -> Live:
    from whet.checks.live import Live

    return Live(stop=True, grace=1.0)


def _events(
    job: Job,
    params: dict[str, Any],
    team: Team | None,
    plan: Plan | None,
    *,
    resume: bool,
    live: Live | None,
    stopping: Callable[[], bool],
) -> Generator[Began | Progress | Block, None, None]:
    """Return what happens: on one process or on several."""
    if team is None:
        from whet.recipe.single import train_once

        return train_once(job, params, resume=resume, live=live, plan=plan, stopping=stopping)
    from whet.recipe.many import train_many

    return train_many(job, params, team, resume=resume, stopping=stopping)


def _report(job: Job, params: dict[str, Any], block: Block, live: Live | None) -> Report:
    """Return the report of what was seen of a training."""
    command = shlex.join(["whet", *sys.argv[1:]])
    if live is None:
        from whet.report.distributed import distributed_report

        return distributed_report(job.name, block.data, params=params, command=command)
    from whet.report import check_report

    return check_report(job.name, live.health, title=f"Training of {job.name}", params=params, command=command)

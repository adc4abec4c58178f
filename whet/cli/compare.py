"""`whet compare`: strategies against random search, on one task, with several seeds."""

from __future__ import annotations

import shlex
import sys
import textwrap
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from whet.cli import options as o

if TYPE_CHECKING:
    from whet.cli.screen import Screen
    from whet.recipe.block import Began, Block, Progress
    from whet.recipe.job import Job
    from whet.tune.compare.result import Comparison
    from whet.tune.compare.strategies import Strategy
    from whet.tune.compare.studies import Plan, Through

__all__ = ["add"]


def add(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("compare", epilog="Example: whet compare digits --search gp,tpe --seeds 10 --budget 200epochs")(compare)


def compare(
    task: o.TaskName,
    target: o.Target = None,
    kind: o.Kind = None,
    when: o.Time = None,
    search: str = typer.Option(
        "auto", "--search", metavar="NAME,...", help="What is compared: auto, gp, tpe, grid, ...; random joins them."
    ),
    schedule: str = typer.Option(
        "auto", "--schedule", metavar="NAME,...", help="Under which schedules: auto, full, asha, ...; each with each."
    ),
    seeds: int = typer.Option(10, "--seeds", metavar="N", help="So many seeds, from --seed on."),
    budget: str = typer.Option(
        "", "--budget", metavar="BUDGET", help="Of each study: 200epochs, 30trials, 2m (default: 30 whole trials)."
    ),
    workers: o.Workers = None,
    epochs: o.Epochs = None,
    stop: o.Stop = None,
    seed: o.Seed = 0,
    runs: o.Runs = Path("runs"),
    name: str = typer.Option("", "--name", metavar="NAME", help="Of its folder in --runs (default: compare-TASK)."),
    fresh: bool = typer.Option(False, "--fresh", help="Delete the studies of this comparison first."),
    quota: o.Quota = None,
    json: o.Json = False,
    plain: o.Plain = False,
) -> int:
    """Compare strategies: who finds better values sooner.

    Whether that is more than noise is said too.

    Each strategy gets a study for each seed, as `whet tune TASK --seed N --search NAME` would make it with one worker, but without the task's
    own first configuration. The same command again goes on where it stopped; more seeds or strategies join those there are.
    """
    workers = o.check_workers(workers)
    from whet.cli.job import make_task, optioned
    from whet.cli.screen import Screen, emit_json
    from whet.cli.stop import interruptible
    from whet.errors import UsageError
    from whet.recipe.begin import try_parts
    from whet.recipe.finish import one_thread
    from whet.recipe.job import Job
    from whet.stop import parse
    from whet.tune.budget import Budget
    from whet.tune.compare.run import make_plan, read_seeds
    from whet.tune.compare.strategies import strategies

    if seed < 0:
        raise UsageError(f"--seed: must be at least 0, got {seed}.")
    with optioned("search", "schedule", "seeds"):
        strategies(search, schedule)
        chosen = read_seeds(seeds if seeds < 2 else range(seed, seed + seeds))
    Budget.of(budget or None)
    if epochs is not None and epochs < 1:
        raise UsageError(f"--epochs: must be at least 1, got {epochs}.")
    if stop is not None:
        parse(stop, what="--stop")
    one_thread()
    job = Job(
        made := make_task(task, target, kind, seed, time=when),
        runs=runs,
        name=name or f"compare-{made.name}",
        steps=epochs,
        stop=stop,
    )
    store = _place(job.folder, quota, fresh=fresh)
    data = job.data()
    plan = make_plan(
        made.space, job.goals(data), made.steps, search=search, schedule=schedule, seeds=chosen, budget=budget or None, store=store,
        about=(made.name, _about(job)),
    )  # fmt: skip
    try_parts(job)
    screen = Screen(plain=plain, quiet=json)
    from whet.tune.compare.studies import Through, begun

    through = Through(plan)
    left = begun(plan, through)
    with interruptible("finishing this epoch of each study, then showing what is whole", screen.notice) as asked:
        screen.show(_going(job, left, through, workers=workers, stopping=asked.is_set))
    found = through.result
    page = _page(found, job, plan)
    if not json:
        _say(screen, found, through, page)
    if json:
        emit_json({"runs": str(job.folder), "interrupted": asked.is_set(), "report": page or None, **found.json()})
    if asked.is_set():
        screen.block("next", ["the same command again goes on from here"])
        return 130
    screen.block("next", _next(found, plan, o.again(task, target, kind, when)))
    return 0


def _place(folder: Path, quota: str | None, *, fresh: bool) -> Any:
    """Return the store of a comparison, emptied when `fresh`; raise UsageError when the folder is something else's."""
    import shutil

    from whet.errors import UsageError
    from whet.journal.store import Store

    store = Store(str(folder / "whet.db"), quota=quota)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file. Give another --name or --runs.")
    if folder.exists() and any(folder.iterdir()) and not (folder / "whet.db").exists():
        raise UsageError(f"{folder}: holds something that is no comparison. Give another --name.")
    names = store.names()
    if fresh and names:
        database = store.database()
        for name in names:
            database.delete(name)
            if (files := store.files(name)) is not None:
                shutil.rmtree(files, ignore_errors=True)
    return store


def _about(job: Job) -> Callable[[int], dict[str, Any]]:
    """Return what is recorded of the task with a seed."""
    from functools import cache

    from whet.recipe.job import fingerprint
    from whet.tasks import reference, restore

    known = reference(job.task)

    @cache
    def about(seed: int) -> dict[str, Any]:
        told = {**known, "seed": seed}
        data = restore(told).data(job.first)
        return {"reference": told, "data": fingerprint(data), "source": data.source, **({"stop": job.stop} if job.stop else {})}  # fmt: skip

    return about


def _going(
    job: Job, left: Sequence[tuple[Strategy, int]], through: Through, *, workers: int, stopping: Callable[[], bool]
) -> Generator[Began | Progress | Block, None, None]:
    """Go on with the studies; yield how far they are."""
    from whet.execute import place
    from whet.recipe.block import Began, Progress
    from whet.recipe.steps import WARM
    from whet.recipe.words import count
    from whet.tasks import reference
    from whet.tune.compare.crowd import crowd

    plan = through.plan
    known, total, began = reference(job.task), len(plan.each), time.monotonic()
    what = (
        f"{', '.join(s.name for s in plan.strategies)} with {count(len(plan.seeds), 'seed')} each: {count(total, 'study').replace('studys', 'studies')} "
        f"of {plan.limits}, trials of {count(plan.steps, 'epoch')}, over {count(len(plan.space.dims), 'dimension')}"
    )
    yield Began("compare", what + (f"; {len(left):,} are left" if 0 < len(left) < total else ""))
    if not left:
        return

    def given(seed: int) -> dict[str, Any]:
        stop = {"stop": job.stop} if job.stop else {}
        own = {"reference": {**known, "seed": seed}, **stop}
        return {"ref": "whet.tune.worker:objective", "given": own}

    start = place("processes", min(workers, len(left)))
    assert start is not None
    with start(log=job.folder / "workers.log") as pool:
        pool.warm(*WARM)
        first: float | None = None
        for _ in crowd(left, given, through, pool, stopping=stopping):
            done = through.share
            first = done if first is None else first
            past = time.monotonic() - began
            rest = past * (1 - done) / (done - first) if done - first > 0.02 else None
            yield Progress("compare", done, f"{len(through.lines)}", count(total, "study").replace("studys", "studies"), rest, best=through.standing)  # fmt: skip


def _page(found: Comparison, job: Job, plan: Plan) -> str:
    """Write the report; return its path, "" when there is nothing to show yet."""
    if len(found.seeds) < 2:
        return ""
    from whet.report import write_html
    from whet.report.compared import comparison_report

    setting = {
        "task": job.task.name, "strategies": ", ".join(s.key for s in plan.strategies), "budget of each study": str(plan.limits),
        "epochs of a trial": plan.steps, "dimensions": len(plan.space.dims), "seeds": ", ".join(map(str, found.seeds)), "studies": str(job.folder / "whet.db"),
    }  # fmt: skip
    report = comparison_report(found, command=shlex.join(["whet", *sys.argv[1:]]), setting=setting)
    return str(write_html(report, job.folder / "report.html"))


def _say(screen: Screen, found: Comparison, through: Through, page: str) -> None:
    from whet.recipe.block import WIDTH

    if len(found.seeds) < found.wanted:
        screen.block("stopped", [f"{len(through.lines)} of {len(through.plan.each)} studies are through, {len(found.seeds)} of {found.wanted} seeds whole"])  # fmt: skip
    if len(found.seeds) >= 2:
        head = f"after {found.end:,} {found.by} each; means over {len(found.seeds)} seeds; gain over {found.baseline}"
        screen.block("ends", [*textwrap.wrap(head, WIDTH), *found.table()])
    screen.block("answer", textwrap.wrap(found.sentence, WIDTH))
    if page:
        screen.block("page", [page])


def _next(found: Comparison, plan: Plan, task: str) -> list[str]:
    """Return the command that goes on with the best strategy, or that tells more."""
    from whet.tune.compare.noise import enough

    top = found.rows[0]
    if top.against is not None and top.against.verdict == "better":
        best = next(s for s in plan.strategies if s.name == top.name)
        return [
            f"whet tune {task} --search {best.search}"
            + (f" --schedule {best.schedule}" if best.schedule != "auto" else "")
        ]
    more = max(2 * len(found.seeds), enough(len(found.lines) - 1))
    return [f"--seeds {more}: the same command with more of them goes on from here"]

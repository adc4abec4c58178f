"""`whet study list`, `show` and `best`: what the studies of a folder hold."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whet.cli import options as o
from whet.cli.study import shown
from whet.cli.study.chosen import filtered, ordered
from whet.cli.study.shown import StudyName, cell, short, trial_json

if TYPE_CHECKING:
    from whet.cli.screen import Screen
    from whet.tune.study import Study
    from whet.tune.trial import Trial

__all__ = ["add"]

_ROWS = 20


def add(verbs: typer.Typer) -> None:
    """Add the verbs."""
    verbs.command("list", epilog="Example: whet study list")(list_studies)
    verbs.command("show", epilog="Examples: whet study show digits; whet study show digits 12")(show)
    verbs.command("best", epilog="Example: whet study best digits")(best)


def list_studies(runs: o.Runs = Path("runs"), store: o.Store = None, json: o.Json = False) -> int:
    """List the studies: who works on them, what they spent."""
    from whet.cli.screen import Screen, emit_json
    from whet.recipe.words import size
    from whet.tune.budget import duration

    kept = shown.place(runs, store)
    database = kept.database()
    rows = [row for name, at in database.studies() if (row := _glance(kept, name, at)) is not None]
    if json:
        emit_json(rows)
        return 0
    if not rows:
        print(f"no studies in {kept.path or kept.url}")
        Screen().block("next", [f"whet run digits --budget 60s{shown.where(runs, store)}"])
        return 0
    several = any(r["front"] is not None for r in rows)
    head = ["study", "state", "trials", "time", "size", "best", *(["front"] if several else []), "goal", "began"]
    cells = [
        [r["name"], r["state"], str(r["trials"]), duration(r["seconds"]), size(r["bytes"]), cell(r["best"]),
         *([cell(r["front"])] if several else []), short(r["goal"], 14), r["began"][:10]]
        for r in rows
    ]  # fmt: skip
    shown.table(head, cells, cut="study")
    first = max(rows, key=lambda r: r["began"])["name"]
    Screen().block("next", [shown.again(f"show {first}", runs, store)])
    return 0


def _glance(kept: Any, name: str, at: float) -> dict[str, Any] | None:
    """Return what `list` tells of one study, None when it was never begun."""
    from whet.journal.checkpoint import Files
    from whet.journal.process import dead
    from whet.tune.book import Book
    from whet.tune.pareto import front, targets
    from whet.tune.trial import State

    journal = kept.journal(name)
    try:
        history = Book(journal).history
        leases, seconds = journal.leases(), journal.spent()
    finally:
        journal.close()
    if history.terms is None:
        return None
    trials, folder = history.moment(), kept.files(name)
    workers = {v.worker for k, v in leases.items() if k in history.open and not dead(v.worker)}
    state = "running" if workers else "interrupted" if history.open else "waiting" if history.waiting else "idle"
    top, several = trials.best, len(targets(trials)) > 1
    return {
        "name": name, "state": state if len(trials) else "empty", "workers": len(workers), "trials": len(trials),
        "failed": sum(t.state is State.FAILED for t in trials), "epochs": history.steps, "seconds": seconds,
        "cost": history.cost, "bytes": Files(folder / "checkpoints").bytes() if folder else 0, "goal": str(trials.goal),
        "goals": [str(g) for g in trials.goals], "front": len(front(trials)) if several else None,
        "best": None if top is None else top.value, "began": shown.moment(at),
    }  # fmt: skip


def show(
    study: StudyName,
    trial: Annotated[str, typer.Argument(metavar="TRIAL", help="One trial wholly: its number, or best.")] = "",
    state: Annotated[
        list[str] | None, typer.Option("--state", metavar="STATE", help="Only trials in this state; may be repeated.")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="TAG", help="Only trials with this tag; may be repeated.")
    ] = None,
    sort: Annotated[
        str, typer.Option("--sort", metavar="KEY", help="best, id, value, step, cost, state or a hyperparameter; -KEY: the other way round.")
    ] = "best",
    all: bool = typer.Option(False, "--all", help="Every trial, not only the first 20."),
    runs: o.Runs = Path("runs"),
    store: o.Store = None,
    json: o.Json = False,
) -> int:  # fmt: skip
    """Show a study, its trials the best first; or one trial, wholly."""
    from whet.cli.screen import Screen, emit_json
    from whet.tune.pareto import targets

    with shown.opened(runs, store, study) as opened:
        if trial:
            from whet.cli.study.one import one

            return one(opened, shown.pick(opened, trial), json=json, places=(runs, store))
        order = ordered(filtered(opened, state, tag), opened.trials, sort)
        if json:
            emit_json(_whole(opened, order))
            return 0
        screen = Screen()
        _setup(screen, opened)
        chosen = order if all else order[:_ROWS]
        _rows(opened, chosen)
        if not order and (state or tag):
            print("no trial is like that")
        if len(order) > len(chosen):
            print(f"... {len(order) - len(chosen)} more: --all")
        if order:
            other = shown.again(f"show {study} {order[0].id}", runs, store)
            next_ = [shown.again(f"best {study}", runs, store), other] if opened.trials.best else [other]
            next_ += [shown.again(f"front {study}", runs, store)] if len(targets(opened.trials)) > 1 else []
        else:
            next_ = [shown.again(f"enqueue {study} --set NAME=VALUE", runs, store)]
        screen.block("next", next_)
    return 0


def _setup(screen: Screen, opened: Study) -> None:
    """Show how the study was set up, what it spent, and what else is on record."""
    from whet.recipe.block import WIDTH
    from whet.recipe.words import count, dealt, learnt, size, strategy, traded, unit
    from whet.tune import ending
    from whet.tune.budget import duration
    from whet.tune.failure import commonest
    from whet.tune.trial import State

    trials, spent = opened.trials, opened.spent
    tried = f"{count(len(trials), 'trial')}, {count(spent.steps or 0, unit(opened))}, {duration(spent.seconds or 0.0)}"
    tried += f"; cross-validated in {k} folds" if (k := dealt(opened)) else ""
    goals = " and ".join(map(str, opened.goals))
    setup = f"{goals}; {strategy(opened.searcher)}, {strategy(opened.scheduler)}, seed {opened.seed}"
    quota = opened.keeping.quota
    files = f"{size(opened.files.bytes())} of checkpoints" + (f", {size(quota)} allowed" if quota else "")
    resting = opened.interrupted
    counts = Counter("INTERRUPTED" if t.id in resting else t.state.value for t in trials)
    states = [f"{counts[s]} {s}" for s in [*(s.value for s in State), "INTERRUPTED"] if counts[s]]
    failed = commonest(trials)
    lines = [setup, tried, files, *([", ".join(states)] if states else [])]
    told = [piece for line in ending.lines(opened) for piece in textwrap.wrap(line, WIDTH)]
    told += [failed] if failed else []
    told += textwrap.wrap(traded(trials), 70)
    screen.block(short(opened.name, 9), [short(line, 70) for line in [*lines, *told]])
    if trials.like:
        screen.block("like", [short(line, 70) for line in learnt(trials)])
    for topic in ("squeeze", "test", "export", "imported", "stopped"):
        if known := opened.records(topic):
            lines = known[-1].get("lines") or [str(known[-1].get("why", ""))]
            screen.block(topic, [x for line in lines for x in textwrap.wrap(line, 70, subsequent_indent="  ") or [""]])


def _rows(opened: Study, chosen: Iterable[Trial]) -> None:
    from whet.recipe.words import configured, counted, unit
    from whet.tune.pareto import reported, targets

    resting, trials = opened.interrupted, opened.trials
    rows = [
        [
            str(t.id), "INTERRUPTED" if t.id in resting else str(t.state),
            cell(t.value), *(cell(counted(v)) for v in reported(trials, t)[1:]), str(t.step),
            configured(t.params), short(" ".join([*(f"#{g}" for g in t.tags), t.note]), 14),
        ]
        for t in chosen
    ]  # fmt: skip
    shown.table(
        ["trial", "state", *(short(g.name, 12) for g in targets(trials)), unit(opened), "configuration", "note"],
        rows,
        cut="configuration",
    )


def best(study: StudyName, runs: o.Runs = Path("runs"), store: o.Store = None, json: o.Json = False) -> int:
    """Show the best trial, its configuration ready to copy.

    Of several goals it is the best in the first; `whet study front` has the trade-offs.
    """
    from whet.cli.screen import Screen, emit_json
    from whet.recipe.winner import known, told
    from whet.recipe.words import count, dealt, no_model, traded, unit
    from whet.tune.pareto import unkept

    with shown.opened(runs, store, study) as opened:
        top, honest = opened.best, known(opened)
        if json:
            emit_json(
                {
                    **trial_json(top),
                    "interrupted": top.id in opened.interrupted,
                    **({} if honest is None else {"honest": honest.json()}),
                }
            )
            return 0
        screen = Screen()
        goal, how = opened.goals[0].name, "cross-validated" if dealt(opened) else "on validation"
        screen.block(
            f"trial {top.id}",
            [f"{goal} {cell(top.value)} {how} after {count(top.step, unit(opened))}, {shown.state_of(opened, top)}"],
        )
        said_of_it = [unkept(opened.trials), *told(honest, opened.trials, curves=not dealt(opened)), no_model(opened)]
        screen.block("", [piece for line in said_of_it for piece in textwrap.wrap(line, 70)])
        width = max((len(k) for k in top.params), default=0)
        screen.block("", [f"{k:<{width}}  {cell(v)}" for k, v in top.params.items()])
        if said := traded(opened.trials):
            screen.block("front", [*textwrap.wrap(said, 70), shown.again(f"front {study}", runs, store)])
        if top.parent is None:
            words = [
                f"whet train {shown.task_words(opened)}{shown.epoch_words(opened)}",
                *shown.settings(top.params.items()),
            ]
            screen.block("next", shown.continued(words))
        else:  # this configuration is only the end of how it came to be
            said = f"it went on from trial {top.parent[0]} at epoch {top.parent[1]} with other values; all of them, for one training:"
            screen.block("schedule", textwrap.wrap(said, 70))
            screen.block("next", [
                shown.again(f"schedule {study} --out {study}.json", runs, store),
                f"whet train {shown.task_words(opened)} --schedule {study}.json",
            ])  # fmt: skip
    return 0


def _whole(opened: Study, order: list[Trial]) -> dict[str, Any]:
    from whet.recipe.words import unit

    spent = opened.spent
    records = {
        topic: opened.records(topic)
        for topic in "task check until stopped ended winner raced squeeze unsealed test export imported".split()
    }
    return {
        "name": opened.name, "goals": [str(g) for g in opened.goals], "steps": opened.steps, "seed": opened.seed,
        "space": opened.space.json(), "spent": {"trials": spent.trials, f"{unit(opened)}s": spent.steps, "seconds": spent.seconds},
        "like": [{"study": x.name, "seq": x.seq, "trials": len(x)} for x in opened.trials.like],
        "bytes": opened.files.bytes(), "quota": opened.keeping.quota,
        "trials": [trial_json(t) for t in order], "records": {k: [dict(r) for r in v] for k, v in records.items() if v},
    }  # fmt: skip

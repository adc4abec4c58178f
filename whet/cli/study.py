"""`whet study`: what the studies of a folder hold."""

from __future__ import annotations

import datetime
import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer

from whet.cli import options as o
from whet.cli import verify

__all__ = ["add"]

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="The study's name.")]
_ROWS = 20


def add(app: typer.Typer) -> None:
    """Add the verb."""
    verbs = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="What the studies hold: list, show, best.")
    verbs.command("list", epilog="Example: whet study list")(list_studies)
    verbs.command("show", epilog="Example: whet study show digits")(show)
    verbs.command("best", epilog="Example: whet study best digits")(best)
    verify.add(verbs)
    app.add_typer(verbs, name="study")


def _store(runs: Path) -> Any:
    from whet.journal.store import Store

    return Store(str(runs / "whet.db"))


def list_studies(runs: o.Runs = Path("runs"), json: o.Json = False) -> int:
    """List the studies: trials, best value, when they began."""
    from whet.cli.screen import emit_json
    from whet.tune.history import History

    store = _store(runs)
    rows = []
    database = store.database()
    for name, at in database.studies():
        journal, history = store.journal(name), History()
        history.apply(journal.read())
        journal.close()
        if history.terms is None:
            continue
        trials = history.moment()
        top = trials.best
        rows.append({
            "name": name, "trials": len(trials), "epochs": history.steps, "goal": str(trials.goal),
            "best": None if top is None else top.value, "began": datetime.datetime.fromtimestamp(at).isoformat(" ", "minutes"),
        })  # fmt: skip
    if json:
        emit_json(rows)
        return 0
    if not rows:
        print(f"no studies in {store.path}")
    _table(["name", "trials", "epochs", "goal", "best", "began"], [[_cell(v) for v in r.values()] for r in rows])
    return 0


def show(
    study: StudyName,
    runs: o.Runs = Path("runs"),
    all: bool = typer.Option(False, "--all", help="Every trial, not only the best 20."),
    json: o.Json = False,
) -> int:
    """Show a study: how it was set up, what it spent, its trials with the best first."""
    from whet.cli.screen import Screen, emit_json
    from whet.recipe.block import WIDTH
    from whet.recipe.tuning import strategy
    from whet.recipe.words import configured, count, size
    from whet.tune import ending
    from whet.tune.budget import duration
    from whet.tune.failure import commonest
    from whet.tune.study import Study

    with Study.open(_store(runs), study) as opened:
        trials, spent = opened.trials, opened.spent
        order = sorted(
            trials, key=lambda t: (t.value is None, -trials.reach(t), trials.goal.score(t.value or 0.0), t.id)
        )
        if json:
            emit_json(_whole(opened, order))
            return 0
        screen = Screen()
        seconds = duration(spent.seconds or 0.0)
        tried = f"{count(len(trials), 'trial')}, {count(spent.steps or 0, 'epoch')}, {seconds}"
        setup = f"{strategy(opened.searcher)}, {strategy(opened.scheduler)}, seed {opened.seed}"
        failed = commonest(trials)
        files = f"{size(opened.files.bytes())} of checkpoints"
        told = [piece for line in ending.lines(opened) for piece in textwrap.wrap(line, WIDTH)]
        screen.block(
            study,
            [f"{' and '.join(map(str, opened.goals))}; {setup}", tried, files, *told, *([failed] if failed else [])],
        )
        for topic in ("squeeze", "test", "export"):
            if known := opened.records(topic):
                screen.block(topic, known[-1]["lines"])
        shown, resting = order if all else order[:_ROWS], opened.interrupted
        rows = [
            [
                str(t.id),
                "INTERRUPTED" if t.id in resting else str(t.state),
                _cell(t.value),
                str(t.step),
                configured(t.params)[:40],
                t.note[:14],
            ]
            for t in shown
        ]
        _table(["trial", "state", trials.goal.name, "epoch", "configuration", "note"], rows)
        if len(order) > len(shown):
            print(f"... {len(order) - len(shown)} more: --all")
        if opened.trials.best is not None:
            screen.block("next", [f"whet study best {study} --runs {runs}"])
    return 0


def best(study: StudyName, runs: o.Runs = Path("runs"), json: o.Json = False) -> int:
    """Show the best trial, its configuration ready to copy."""
    from whet.cli.screen import Screen, emit_json
    from whet.recipe.words import count
    from whet.tune.study import Study

    with Study.open(_store(runs), study) as opened:
        top = opened.best
        if json:
            emit_json(_trial(top))
            return 0
        screen = Screen()
        goal = opened.goals[0].name
        screen.block(
            f"trial {top.id}",
            [f"{goal} {_cell(top.value)} on validation after {count(top.step, 'epoch')}, {top.state}"],
        )
        width = max((len(k) for k in top.params), default=0)
        screen.block("", [f"{k:<{width}}  {_cell(v)}" for k, v in top.params.items()])
        screen.block(
            "next", _continued(["whet train " + _named(opened), *(f"--set {k}={v}" for k, v in top.params.items())])
        )
    return 0


def _named(opened: Any) -> str:
    """Return the words that name the study's task."""
    records = opened.records("task")
    if not records:
        return "TASK"
    known = records[-1]["reference"]
    file, colon, name = str(known["task"]).partition(".py:")
    path, here = Path(file + (".py" if colon else "")), Path.cwd()
    task = str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
    target = known.get("target")
    return o.again(task + (f":{name}" if colon else ""), [target] if target else None, known.get("kind"))


def _continued(words: list[str]) -> list[str]:
    """Return the pieces of a command on lines of a terminal, to be copied together."""
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) + 3 <= 70:
            lines[-1] += f" {word}"
        else:
            lines[-1] += " \\"
            lines.append(f"  {word}")
    return lines


def _trial(t: Any) -> dict[str, Any]:
    return {
        "id": t.id, "state": t.state.value, "value": t.value, "step": t.step, "params": dict(t.params), "origin": dict(t.origin),
        "cost": t.cost, "parent": t.parent, "error": t.error, "tags": list(t.tags), "note": t.note,
        "curve": [{"step": p.step, "value": p.value, "cost": p.cost, **p.metrics} for p in t.curve],
    }  # fmt: skip


def _whole(opened: Any, order: list[Any]) -> dict[str, Any]:
    spent = opened.spent
    topics = ("task", "check", "until", "stopped", "ended", "squeeze", "unsealed", "test", "export")
    records = {topic: opened.records(topic) for topic in topics}
    return {
        "name": opened.name, "goals": [str(g) for g in opened.goals], "steps": opened.steps, "seed": opened.seed,
        "space": opened.space.json(), "spent": {"trials": spent.trials, "epochs": spent.steps, "seconds": spent.seconds},
        "trials": [_trial(t) for t in order], "records": {k: [dict(r) for r in v] for k, v in records.items() if v},
    }  # fmt: skip


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(head: list[str], rows: list[list[str]]) -> None:
    """Print columns as wide as they need, numbers to the right."""
    if not rows:
        return
    table = [head, *rows]
    widths = [max(len(r[i]) for r in table) for i in range(len(head))]
    right = [
        all(r[i].replace(".", "").replace("-", "").replace("e", "").isdigit() or r[i] == "-" for r in rows)
        for i in range(len(head))
    ]
    for r in table:
        cells = [c.rjust(w) if at else c.ljust(w) for c, w, at in zip(r, widths, right, strict=True)]
        print("  ".join(cells).rstrip())

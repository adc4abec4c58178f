"""`whet study schedule`: the hyperparameters that a trial and those it comes from had, step by step; `whet train --schedule` follows them."""

from __future__ import annotations

import json as jsons
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whet.cli import options as o
from whet.cli.study import shown
from whet.cli.study.shown import StudyName, cell, short

if TYPE_CHECKING:
    from whet.tune.plan import Plan, Stretch
    from whet.tune.study import Study
    from whet.tune.trial import Trial

__all__ = ["add"]

_COLUMNS = 5  # hyperparameters that fit beside each other


def add(verbs: typer.Typer) -> None:
    """Add the verb."""
    verbs.command("schedule", epilog="Example: whet study schedule digits --out best.json")(schedule)


def schedule(
    study: StudyName,
    trial: Annotated[str, typer.Argument(metavar="[TRIAL]", help="The trial's number, or best.")] = "best",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write the schedule to FILE, for whet train --schedule FILE."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE when it is there.")] = False,
    runs: o.Runs = Path("runs"),
    store: o.Store = None,
    json: o.Json = False,
) -> int:
    """Show which hyperparameters a trial had, step by step.

    Those of the trials whose weights it went on from are in it: under --schedule population a trial goes on from another one's weights with other values, so that what made its model is
    a schedule. It can be followed in one training, whose curve is the same to the bit on the same machine and task.
    """
    from whet.cli.output import check_file
    from whet.cli.screen import Screen, emit_json
    from whet.errors import UsageError
    from whet.tune.plan import lived

    if out is not None:
        if out.exists() and not force:
            raise UsageError(f"--out {out}: exists. Give another file, or --force to replace it.")
        if not out.parent.is_dir():
            raise UsageError(f"--out {out}: its folder does not exist. Make it, or give another file.")
        check_file("--out", out)
    with shown.opened(runs, store, study) as opened:
        found = shown.pick(opened, trial)
        plan = made(opened, found)
        torn = anew(opened, plan.stretches)
        curve = lived(opened.trials, plan.stretches)
        if out is not None:
            out.write_text(jsons.dumps(plan.json(), indent=1) + "\n", encoding="utf-8")
        if json:
            emit_json({
                **plan.json(), "changes": list(plan.changed()), "torn": torn,
                "curve": [{"step": p.step, "value": p.value, **p.metrics} for p in curve],
            })  # fmt: skip
            return 0
        screen = Screen()
        said = f"trial {found.id}, {shown.state_of(opened, found).lower()} at epoch {found.step}"
        said += f", {opened.goals[0].name} {cell(found.value)}" if found.value is not None else ""
        n = len(plan.stretches)
        said += (
            f"; {n} stretches, each from the weights of the one before" if n > 1 else "; it comes from no other trial"
        )
        screen.block("schedule", textwrap.wrap(said, 70))
        head, rows, rest = _rows(plan)
        shown.table(head, rows)
        if rest:
            screen.block("always", textwrap.wrap(", ".join(f"{k}={cell(v)}" for k, v in rest.items()), 70))
        if torn:
            which = ", ".join(map(str, torn))
            screen.block("note", textwrap.wrap(
                f"trained again from epoch 1, since the weights it was to go on from were not there: {which}. The schedule "
                "does not tell all of how this model came to be.", 70,
            ))  # fmt: skip
        if out is not None:
            screen.block("next", [f"whet train {shown.task_words(opened)} --schedule {out}"])
        else:
            screen.block("next", [shown.again(f"schedule {study} {trial} --out {study}.json", runs, store)])
    return 0


def made(study: Study, trial: Trial) -> Plan:
    """Return the schedule of a trial; raise StudyError when it has trained nothing."""
    from whet.errors import StudyError
    from whet.recipe.words import dealt
    from whet.seed import key
    from whet.tune.plan import Plan, ancestry

    if dealt(study):
        raise StudyError(
            f"study '{study.name}': its trials are trainings of {dealt(study)} folds each, with one configuration throughout. See whet study best."
        )
    if not trial.step or not trial.params:
        raise StudyError(f"trial {trial.id}: has no epochs yet, so it has no schedule. Name another one.")
    stretches = ancestry(study.trials, trial.id)
    origin = {
        "study": study.name, "trial": trial.id, "goal": str(study.goals[0]), "value": trial.value, "seed": study.seed,
    }  # fmt: skip
    # what `whet.tune.worker.training_seed` says, which must not be imported here: it loads torch
    return Plan(stretches, study.steps, key(study.seed, stretches[0].trial or 0, "train"), origin)


def anew(study: Study, stretches: Sequence[Stretch]) -> list[int]:
    """Return the trials of a lineage that began at step 1 though they have a parent: its weights were not there."""
    first = {s.trial: s.first for s in stretches if s.first > 1}
    events = (e for e in study.journal.read() if e.kind == "repeated" and e.trial in first)
    return sorted({e.trial for e in events if e.trial is not None and e.data["step"] < first[e.trial]})


def _rows(plan: Plan) -> tuple[list[str], list[list[str]], dict[str, Any]]:
    """Return the head and rows of a table of what changes, and what does not."""
    names = plan.changed()
    kept = names[:_COLUMNS]
    head = ["epochs", "trial", *(short(n.rpartition(".")[2], 16) for n in kept)]
    rows = [[f"{s.first}-{s.last}", str(s.trial), *(cell(s.params.get(n)) for n in kept)] for s in plan.stretches]
    rest = {k: v for k, v in plan.stretches[-1].params.items() if k not in names}
    return head, rows, rest

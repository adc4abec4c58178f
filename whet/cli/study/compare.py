"""`whet study compare`: two trials side by side."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whet.cli import options as o
from whet.cli.study import shown
from whet.cli.study.shown import StudyName, cell, short

if TYPE_CHECKING:
    from whet.tune.difference import Difference, Outputs
    from whet.tune.study import Study

__all__ = ["add"]

_A = Annotated[str, typer.Argument(metavar="A", help="A trial's number, or best.")]
_B = Annotated[str, typer.Argument(metavar="B", help="The trial to hold against it.")]


def add(verbs: typer.Typer) -> None:
    """Add the verb."""
    verbs.command("compare", epilog="Example: whet study compare digits 3 best")(compare)


def compare(
    study: StudyName, a: _A, b: _B, runs: o.Runs = Path("runs"), store: o.Store = None, json: o.Json = False
) -> int:
    """Compare two trials: what differed, and is it more than noise.

    The noise is estimated from repeated configurations, else from the validation examples, else from the curves' jitter.
    """
    from whet.cli.screen import Screen, emit_json
    from whet.cli.study.drawn import plot
    from whet.errors import StudyError
    from whet.recipe.words import unit
    from whet.tune.account import Account, accounts
    from whet.tune.difference import difference, meeting

    with shown.opened(runs, store, study) as opened:
        ids = shown.pick(opened, a).id, shown.pick(opened, b).id
        if ids[0] == ids[1] and a != b:
            raise StudyError(f"trials {a} and {b}: are the same one. Give two trials.")
        trials = opened.trials
        step = meeting(trials, *ids)
        outputs, why_not = _outputs(opened, ids, step)
        found = difference(trials, *ids, outputs=outputs)
        known = accounts(opened.journal.read())
        seconds = [known.get(id, Account()).seconds for id in ids]
        if json:
            emit_json({"study": study, **found.json(), "seconds": seconds, "no_examples": why_not})
            return 0
        screen, step_name = Screen(), unit(opened)
        screen.block("verdict", textwrap.wrap(found.verdict, 70))
        how = found.worth.how
        if found.worth.source in ("jitter", "nothing") and why_not:
            how += f" ({why_not})"
        screen.block("", textwrap.wrap(how, 70))
        screen.block(
            "", [f"at {step_name} {found.step}: {found.goal} {cell(found.values[0])} and {cell(found.values[1])}"]
        )
        _side_by_side(screen, opened, found, seconds)
        if found.leads:
            screen.block("ahead", textwrap.wrap(_leads(found, step_name), 70))
        drawn = plot(
            [(p.step, p.value) for p in trials[ids[0]].curve], [(p.step, p.value) for p in trials[ids[1]].curve]
        )
        if drawn:
            screen.block("curves", [f"A trial {ids[0]}, B trial {ids[1]}, * both", *drawn])
        screen.block("next", _next(opened, found, (runs, store)))
    return 0


def _outputs(study: Study, ids: tuple[int, int], step: int) -> tuple[Outputs | None, str]:
    """Return what both models said on the validation examples, or None and why that is not known."""
    import numpy as np

    from whet.errors import CheckpointError, WhetError
    from whet.metric import METRICS
    from whet.tune.codec import unpack
    from whet.tune.difference import Outputs

    name = study.goals[0].name
    if name not in METRICS:
        return None, f"{name} is no metric of single examples"
    if not (records := study.records("task")):
        return None, "the study has no task on record, so its validation examples are not known"
    found = []
    for id in ids:
        names = [n for s, n in study.checkpoints(id) if s == step]
        try:
            found.append(np.asarray(unpack(study.keeping.load(names[-1]))["outputs"]))
        except (CheckpointError, KeyError, IndexError, TypeError):
            return None, f"trial {id} has no checkpoint of step {step} with its outputs"
    try:
        from whet.recipe.folds import judged
        from whet.recipe.job import Job, fingerprint
        from whet.recipe.words import dealt
        from whet.tasks import restore
        from whet.train.scored import goal_metric

        task = restore(records[-1]["reference"])
        data = task.data(dict(study.trials[ids[0]].params))
        known, now = records[-1].get("data"), fingerprint(Job(task).data())
        a, b = (judged(study, data, study.trials[id], step) for id in ids)
        data = a
    except (WhetError, OSError, ImportError) as e:
        return None, f"the task cannot be loaded: {e}"
    if dealt(study) and not np.array_equal(a.valid.ids, b.valid.ids):
        return None, "the two had other folds"
    targets = data.valid.targets.numpy()
    if (known is not None and known != now) or any(len(f) != len(targets) for f in found):
        return None, "the data changed since"
    own = goal_metric(task, study.trials[ids[0]].params, data, found[0]) if name == "loss" else None
    return Outputs(found[0], found[1], targets, data.kind, own), ""


def _side_by_side(screen: Any, study: Study, found: Difference, seconds: list[float]) -> None:
    from whet.report.maker import maker
    from whet.tune.budget import duration

    rows = [
        (
            c.name,
            *(text if there else "(not there)" for text, there in zip(_apart(c.a, c.b), (c.in_a, c.in_b), strict=True)),
        )
        for c in found.changes
    ]
    made = [maker(study.trials[id]) for id in (found.a, found.b)]
    if made[0] != made[1]:
        rows.append(("made by", made[0] or "-", made[1] or "-"))
    rows.append(("cost", cell(found.costs[0]), cell(found.costs[1])))
    if any(seconds):
        rows.append(("time", duration(seconds[0]), duration(seconds[1])))
    widths = [min(34, max(len(r[0]) for r in rows)), *(min(16, max(9, *(len(r[i]) for r in rows))) for i in (1, 2))]
    head = ("", f"trial {found.a}", f"trial {found.b}")
    lines = ["  ".join(short(c, w).ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in [head, *rows]]
    same = len(study.trials[found.a].params) - sum(c.in_a for c in found.changes)
    lines.append(
        f"{same} other hyperparameter{'s' if same != 1 else ''} the same" if same else "nothing else in common"
    )
    screen.block("differs", lines)


def _apart(a: Any, b: Any) -> tuple[str, str]:
    """Return two values as cells, with as many digits as tell them apart."""
    if isinstance(a, float) and isinstance(b, float) and a != b:
        for digits in range(4, 17):
            if (x := f"{a:.{digits}g}") != (y := f"{b:.{digits}g}"):
                return x, y
    return cell(a), cell(b)


def _leads(found: Difference, step: str) -> str:
    """Return who was ahead when, in a sentence."""
    who = {"a": f"trial {found.a}", "b": f"trial {found.b}", "neither": "neither"}
    if len(found.leads) == 1:
        return f"{who[found.leads[0].who]} at every {step} both reported"
    if len(found.leads) > 4:
        last = found.leads[-1]
        shares = {k: sum(1 for _, x, y in found.curve if _ahead(found, x, y) == k) for k in ("a", "b")}
        return (
            f"{len(found.leads) - 1} changes of the lead: {who['a']} at {shares['a']} and {who['b']} at {shares['b']} of "
            f"{len(found.curve)} {step}s; {who[last.who]} since {step} {last.first}"
        )
    parts = [
        f"{who[x.who]} " + (f"from {step} {x.first} to {x.last}" if x.last > x.first else f"at {step} {x.first}")
        for x in found.leads[:-1]
    ]
    return ", ".join([*parts, f"{who[found.leads[-1].who]} since {step} {found.leads[-1].first}"])


def _ahead(found: Difference, x: float, y: float) -> str:
    a, b = found.goal.score(x), found.goal.score(y)
    return "b" if b < a else "a" if a < b else ""


def _next(study: Study, found: Difference, places: tuple[Path, str | None]) -> list[str]:
    """Return the command that would tell more, or that goes on with the better one."""
    if found.worth.better is None and found.changes:
        id = found.b if found.worth.gain >= 0 else found.a
        if study.trials[id].parent is not None:  # its configuration alone is not what trained it
            return ["what trained it, step by step:", shown.again(f"schedule {study.name} {id}", *places)]
        words = [f"whet study enqueue {study.name} --again", *shown.settings(study.trials[id].params.items())]
        return ["to know more, repeat a configuration:", *shown.continued(words)]
    best = found.b if found.worth.gain >= 0 else found.a
    return [shown.again(f"show {study.name} {best}", *places)]

"""`whet study front`: the trials of a study with several goals that no other beats in all of them."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whet.cli import options as o
from whet.cli.study import shown
from whet.cli.study.shown import StudyName, cell, short, trial_json

if TYPE_CHECKING:
    from whet.tune.pareto import Advance
    from whet.tune.trial import Trials

__all__ = ["add"]


def add(verbs: typer.Typer) -> None:
    """Add the verb."""
    verbs.command("front", epilog="Example: whet study front digits --reference accuracy=0 --reference parameters=1e6")(
        front
    )


def front(
    study: StudyName,
    reference: Annotated[
        list[str] | None,
        typer.Option("--reference", metavar="GOAL=VALUE", help="What of a goal is just worth nothing, one for each: what the hypervolume goes up to."),
    ] = None,
    runs: o.Runs = Path("runs"),
    store: o.Store = None,
    json: o.Json = False,
) -> int:  # fmt: skip
    """Show the trials that no other beats in every goal.

    They are trained as far as any, and keep the bounds. The hypervolume is how much they beat up to the reference, by default a tenth of
    the range beyond the worst of the study: give one to compare studies.
    """
    from whet.cli.screen import Screen, emit_json
    from whet.recipe.words import configured, counted, traded, unit
    from whet.tune.pareto import advance, reported, targets

    with shown.opened(runs, store, study) as opened:
        trials, found = opened.trials, opened.front
        reached = advance(trials, _corner(trials, reference))
        names = [g.name for g in targets(trials)]
        if json:
            emit_json({
                "study": study, "goals": [str(g) for g in trials.goals], "reference": dict(reached.reference),
                "hypervolume": _last(reached), "volumes": [list(v) for v in reached.volumes],
                "trials": [
                    {**trial_json(t), "keeps": trials.keeps(t), "goals": dict(zip(names, reported(trials, t), strict=True))}
                    for t in found
                ],
            })  # fmt: skip
            return 0
        screen = Screen()
        if len(names) == 1:
            said = f"one goal, {trials.goals[0]}: {shown.again(f'best {study}', runs, store)}"
        else:
            said = traded(trials)
        screen.block("front", textwrap.wrap(said, 70))
        if reached.volumes and (len(names) > 1 or reference):  # of one goal it says nothing that the value does not
            corner = ", ".join(f"{k} {cell(counted(v))}" for k, v in reached.reference.items())
            screen.block("", textwrap.wrap(f"hypervolume {cell(_last(reached))} up to {corner}", 70))
        head = ["trial", *(short(n, 12) for n in names), unit(opened), "configuration", "note"]
        rows = [
            [str(t.id), *(cell(counted(v)) for v in reported(trials, t)), str(t.step), configured(t.params),
             short(" ".join([*(f"#{g}" for g in t.tags), t.note]), 14)]
            for t in found
        ]  # fmt: skip
        shown.table(head, rows, cut="configuration")
        next_ = f"show {study} {found[len(found) // 2].id}" if found else f"show {study}"
        screen.block("next", [shown.again(next_, runs, store)])
    return 0


def _last(reached: Advance) -> float:
    return reached.volumes[-1][1] if reached.volumes else 0.0


def _corner(trials: Trials, given: list[str] | None) -> dict[str, float] | None:
    """Return the reference that was given, None when none was; raise UsageError when one is missing or cannot be read."""
    from whet.errors import UsageError, nearest
    from whet.tune.pareto import targets

    if not given:
        return None
    names, found = [g.name for g in targets(trials)], {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in names:
            raise UsageError(f"--reference {text}: no such goal.{nearest(name, names)} Allowed: {', '.join(names)}.")
        if name in found:
            raise UsageError(f"--reference {text}: {name} is given twice. Give it once.")
        try:
            found[name] = float(value)
        except ValueError:
            raise UsageError(f"--reference {text}: must be GOAL=NUMBER. Use e.g. --reference {name}=1.") from None
        if not math.isfinite(found[name]):
            raise UsageError(f"--reference {text}: must be a finite number. Use e.g. --reference {name}=1.")
    if missing := [n for n in names if n not in found]:
        raise UsageError(f"--reference: {' and '.join(missing)} missing. Give one for each of {', '.join(names)}.")
    return found

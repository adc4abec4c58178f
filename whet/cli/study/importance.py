"""`whet study importance`: which hyperparameters matter, which do not, and of which one cannot tell."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whet.cli import options as o
from whet.cli.study import shown
from whet.cli.study.shown import GoalName, StudyName

if TYPE_CHECKING:
    from whet.tune.importance.result import Importance

__all__ = ["add"]

_PAIRS = 8
_PAGE_CURVES = 12


def add(verbs: typer.Typer) -> None:
    """Add the verb."""
    epilog = "Examples: whet study importance digits; whet study importance digits --top 0.1 --pairs; whet study importance digits --goal latency"
    verbs.command("importance", epilog=epilog)(importance)


def importance(
    study: StudyName,
    top: Annotated[
        float | None, typer.Option("--top", metavar="SHARE", help="What matters among the best share of the trials only, e.g. 0.1.")
    ] = None,
    goal: GoalName = "",
    pairs: bool = typer.Option(False, "--pairs", help="What two do together, beyond what each does alone."),
    to: Annotated[
        Path | None, typer.Option("-o", "--to", metavar="FILE", help="An .html file with the curves (default: none is written).")
    ] = None,
    force: bool = typer.Option(False, "--force", help="Replace the file of -o when it is there."),
    runs: o.Runs = Path("runs"),
    store: o.Store = None,
    json: o.Json = False,
) -> int:  # fmt: skip
    """Say which hyperparameters matter, and which do not.

    The share of what the metric varies over the whole space that is due to each, by functional ANOVA of a random forest grown on the trials, whatever made them.
    """
    from whet.cli.screen import Screen, emit_json
    from whet.errors import StudyError, UsageError
    from whet.report.importance import sentence
    from whet.tune.importance import importance as measure

    if top is not None and not 0.0 < top < 1.0:
        raise UsageError(f"--top {top:g}: must be above 0 and below 1. Use e.g. --top 0.1 for the best tenth.")
    if to is not None:
        shown.check_page(to, force)
    with shown.opened(runs, store, study) as opened:
        try:
            found = measure(shown.viewed(opened.trials, goal), top=top, pairs=pairs)
        except StudyError as e:
            raise StudyError(f"study '{study}': {e}") from None
    if to is not None:
        _write(study, found, to)
    if json:
        emit_json({"study": study, **found.json(), "path": None if to is None else str(to)})
        return 0
    screen = Screen()
    screen.block("matters", textwrap.wrap(sentence(found), 70))
    for line in _known(found):
        screen.block("", textwrap.wrap(line, 70))
    if found.predicts:
        _table(found)
    if found.predicts and found.pairs:
        print()
        _joint(found)
    if to is not None:
        screen.block("", [str(to)])
    screen.block("next", [shown.again(f"plot {study}{f' --goal {goal}' if goal else ''}", runs, store)])
    return 0


def _known(found: Importance) -> list[str]:
    """Return what is to be known of the figures: what they stand on, and what they leave out."""
    from whet.report.marks import shown as shown_share
    from whet.report.quantity import count, show

    lines = [f"{count(found.trials, 'trial')}; the model predicts R2 {found.r2:.2f} of trials not shown to it"]
    if found.pulled is not None:
        lines.append(f"what is worse than {found.goal.name} {show(found.pulled)} counts as that")
    if found.partial:
        lines.append(f"{found.partial} not trained to the end: with the value they are forecast to end with")
    if found.inherited:
        lines.append(f"{found.inherited} left out: they went on from weights of another configuration")
    if found.failed:
        lines.append(f"{found.failed} failed: it knows nothing of them")
    # of shares that are not shown nothing more is said
    for share in sorted({p.exists for p in found.parts if found.predicts and p.exists < 1.0}, reverse=True):
        names = ", ".join(p.name for p in found.parts if p.exists == share)
        lines.append(f"in {shown_share(share)} of the space only, and counted so: {names}")
    return lines


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"


def _table(found: Importance) -> None:
    head = ["dimension", "alone %", "from", "to", "in all", "chance", "said"]
    rows = [
        [
            p.name, _percent(p.alone.value), _percent(p.alone.low), _percent(p.alone.high), _percent(p.total.value),
            _percent(p.chance) if found.predicts else "-", p.verdict,
        ]
        for p in found.parts
    ]  # fmt: skip
    shown.table(head, rows, cut="dimension")


def _joint(found: Importance) -> None:
    head = ["together", "%", "from", "to"]
    rows = [
        [" and ".join(p.names), _percent(p.share.value), _percent(p.share.low), _percent(p.share.high)]
        for p in found.pairs[:_PAIRS]
    ]
    left = found.pairs[_PAIRS:]
    if left:
        rows.append(
            [
                f"{len(left)} more {'pair' if len(left) == 1 else 'pairs'}",
                _percent(sum(p.share.value for p in left)),
                "-",
                "-",
            ]
        )
    rows.append(["three or more", _percent(found.rest or 0.0), "-", "-"])
    shown.table(head, rows, cut="together")


def _write(study: str, found: Importance, path: Path) -> None:
    """Write the page."""
    from whet.recipe.words import count
    from whet.report import Report, write_html
    from whet.report.importance import importance_section

    section = importance_section(found, curves=_PAGE_CURVES)
    write_html(Report(study, (section,), f"{found.goal}, {count(found.trials, 'trial')}"), path)

"""`whet study plot`: pictures of what a model expects of a study."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whet.cli import options as o
from whet.cli.study import shown
from whet.cli.study.shown import GoalName, StudyName

if TYPE_CHECKING:
    from whet.journal.store import Store
    from whet.tune.landscape import Landscape
    from whet.tune.slice import Slice
    from whet.tune.study import Study

__all__ = ["add"]

_DRAWN = 12  # slices that are drawn; --json has all
_SIDE = 41  # values of each axis of a map


def add(verbs: typer.Typer) -> None:
    """Add the verb."""
    verbs.command("plot", epilog="Examples: whet study plot digits; whet study plot digits --x lr --y width")(plot)


def plot(
    study: StudyName,
    x: Annotated[
        str, typer.Option("--x", metavar="NAME", help="A dimension of the map (default: the one it expects to differ most along).")
    ] = "",
    y: Annotated[str, typer.Option("--y", metavar="NAME", help="The other one (default: the next).")] = "",
    around: Annotated[
        str, typer.Option("--around", metavar="TRIAL", help="Whose other values are kept: a trial's number, best, next.")
    ] = "best",
    goal: GoalName = "",
    to: Annotated[
        Path | None, typer.Option("-o", "--to", metavar="FILE", help="An .html file (default: plot.html beside the report).")
    ] = None,
    force: bool = typer.Option(False, "--force", help="Replace the file of -o when it is there."),
    runs: o.Runs = Path("runs"),
    store: o.Store = None,
    json: o.Json = False,
) -> int:  # fmt: skip
    """Plot what a model expects, and what it would try next.

    Slices along each dimension and a map over two. The model is that of --search gp, fitted to the trials, whatever made them. Where zoom, evolution or a portfolio made them: its passes, who is whose child, who proposed what. With --json the values; a file then only with -o.
    """
    from whet.cli.screen import Screen, emit_json
    from whet.recipe.words import count
    from whet.report import write_html
    from whet.report.study import went

    kept = shown.place(runs, store)
    if to is not None:
        shown.check_page(to, force)
    with shown.opened(runs, store, study) as opened:
        found = _fitted(opened, around, goal)
        names = _map(found, x, y)
        slices = found.slices()
        map = found.slice(*names, points=_SIDE) if names else None
        path = to if to is not None or json else _beside(kept, study)
        way = [p.json() for p in went(opened.trials)] if json else []
        report = None if path is None else _report(opened, found, slices[:_DRAWN], map)
    if path is not None and report is not None:
        write_html(report, path)
    if json:
        emit_json({
            "study": study, **found.json(), "slices": [s.json() for s in slices], "map": None if map is None else map.json(),
            "went": way, "path": None if path is None else str(path),
        })  # fmt: skip
        return 0
    assert report is not None
    screen = Screen()
    section = report.sections[0]
    screen.block("plot", textwrap.wrap(section.sentence, 70))
    drawn = count(min(len(slices), _DRAWN), "slice") + (f", maps over {' and '.join(names)}" if names else "")
    screen.block("", textwrap.wrap(f"{drawn}, through {found.origin.removesuffix(',')}", 70))
    for more in report.sections[1].blocks if report.sections[1].name == "went" else ():
        screen.block("", textwrap.wrap(more.title, 70))
    screen.block("", [str(path)])
    if found.next is not None:
        words = [f"whet study enqueue {study}{shown.where(runs, store)}", *shown.settings(found.next.items())]
        screen.block("next", ["what the model would try:", *shown.continued(words)])
    else:
        screen.block("next", [shown.again(f"best {study}", runs, store)])
    return 0


def _beside(kept: Store, study: str) -> Path:
    """Return where the page lies beside the study's report."""
    folder = kept.files(study)
    assert folder is not None  # a study that can be opened by name has a database
    return folder / "plot.html"


def _fitted(study: Study, around: str, goal: str) -> Landscape:
    """Return the model of the study, its own where it has one."""
    from whet import seed
    from whet.errors import StudyError
    from whet.tune.landscape import landscape
    from whet.tune.search.gp import GP

    trials = shown.viewed(study.trials, goal)
    where: Any = around if around in ("best", "next") else shown.pick(study, around, "next").id
    own = study.searcher if isinstance(study.searcher, GP) else None
    rng = seed.rng(study.seed, len(trials), 0, "propose")  # the study's own for its next trial
    try:
        return landscape(trials, around=where, search=own, rng=rng)
    except StudyError as e:
        raise StudyError(f"study '{study.name}': {e}") from None


def _map(found: Landscape, x: str, y: str) -> tuple[str, ...]:
    """Return the names of the dimensions of the map, none when there is only one dimension."""
    from whet.errors import StudyError, UsageError

    given: list[str] = []
    for flag, name in (("--x", x), ("--y", y)):
        if name:
            try:
                given.append(found.find(name))
            except StudyError as e:
                raise UsageError(f"{flag} {str(e).replace('as around', 'as --around')}") from None
    if len(given) == 2 and given[0] == given[1]:
        others = ", ".join(n for n in found.weights if n != given[0]) or "none"
        raise UsageError(f"--y {y}: is --x too. Give another one: {others}.")
    if len(found.weights) < 2:
        if given:
            raise UsageError(
                f"--{'x' if x else 'y'} {given[0]}: a map needs two dimensions, and there is only this one."
            )
        return ()
    rest = [n for n in found.weights if n not in given]
    return (given[0] if x else rest.pop(0), given[-1] if y else rest.pop(0))


def _report(study: Study, found: Landscape, slices: tuple[Slice, ...], map: Slice | None) -> Any:
    """Return the page."""
    from whet.recipe.words import count, dealt
    from whet.report import Report
    from whet.report.block import Section
    from whet.report.folds import in_folds
    from whet.report.importance import weighed
    from whet.report.landscape import landscape_section
    from whet.report.listing import started, trial_table
    from whet.report.study import went

    sections = [landscape_section(found, slices, map=map, whole=True, matter=weighed(found.trials))]
    if plots := went(study.trials):
        sections.append(Section("went", "How the search went", "", tuple(plots)))
    sections.append(Section("trials", "The trials", "", (trial_table(study.trials),)))
    n = count(started(study.trials), "trial")
    page = Report(
        study.name, tuple(sections), f"{found.trials.goal} over {count(len(study.space.dims), 'dimension')}, {n}"
    )
    return in_folds(page, k, study.space) if (k := dealt(study)) else page

"""`whet study replay` and `whet study fsck`: is what a study's journal and files say still true."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from whet.cli import options as o
from whet.errors import harmless

__all__ = ["add"]

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="The study's name.")]
Studies = Annotated[list[str] | None, typer.Argument(metavar="STUDY", help="Which studies (default: all).")]
_PAUSE = 0.1  # seconds between two pictures of how far it is
_SHOWN = 20  # differences or findings of one kind, before the rest is only counted


def add(verbs: typer.Typer) -> None:
    """Add the verbs to those of `whet study`."""
    verbs.command("replay", epilog="Example: whet study replay digits")(replay)
    verbs.command("fsck", epilog="Example: whet study fsck --repair")(fsck)


def replay(
    study: StudyName,
    runs: o.Runs = Path("runs"),
    store: o.Store = None,
    cold: bool = typer.Option(False, "--cold", help="Rebuild the strategies for every decision: slow, sees more."),
    all: bool = typer.Option(False, "--all", help="Every difference, not only the first 20."),
    plain: o.Plain = False,
    json: o.Json = False,
) -> int:
    """Make every decision of a study again, and compare.

    Each is made from what the journal says had been seen then. Exit code 1 when one differs.
    """
    from whet import __version__
    from whet.cli.screen import Screen, emit_json
    from whet.cli.study.shown import place
    from whet.tune.replay import Replay

    journal = place(runs, store).journal(study, create=False)
    try:
        redone = Replay(journal.read(), cold=cold)
    finally:
        journal.close()
    screen = Screen(plain=plain, quiet=json)
    screen.show(_progress("replay", redone, len(redone.events)))
    found = redone.differences
    other = f"it was begun by whet {redone.version}, this is {__version__}: strategies may decide otherwise"
    other = other if found and redone.version != __version__ else ""
    if json:
        emit_json({"name": study, **redone.json(), "note": other})
        return int(bool(found))
    print(harmless(str(redone)))
    shown = found if all else found[:_SHOWN]
    for difference in shown:
        print(harmless(str(difference)))
    if len(found) > len(shown):
        print(f"... {len(found) - len(shown):,} more: --all")
    if other:
        print(f"note: {other}")
    return int(bool(found))


def _progress(step: str, passed: Iterable[int], total: int) -> Generator[Any, None, None]:
    """Yield now and then how far a pass over `total` events is."""
    return _stages(step, (("", n, total) for n in passed), "events")


def fsck(
    studies: Studies = None,
    runs: o.Runs = Path("runs"),
    store: o.Store = None,
    repair: bool = typer.Option(False, "--repair", help="Remove files no event names, and leases that hold nothing."),
    plain: o.Plain = False,
    json: o.Json = False,
) -> int:
    """Verify studies: their events, checkpoints, leases and files.

    Checkpoints are read and compared with what was written; files that belong to nothing are found. Exit code 1 when something is broken (a FAIL). Nothing is changed without --repair, and no event ever.
    """
    from whet.cli.screen import Screen, emit_json
    from whet.cli.study.shown import place
    from whet.recipe.words import size
    from whet.tune.fsck import Fsck

    began = time.monotonic()
    looked = Fsck(place(runs, store), studies or (), repair)
    screen = Screen(plain=plain, quiet=json)
    screen.show(_stages("fsck", looked))
    if json:
        emit_json(looked.json())
        return int(looked.failed)
    held = f" ({size(looked.bytes)})" if looked.bytes else ""
    _wrapped(f"{looked}{held}, in {time.monotonic() - began:.1f} s")
    for found in (*looked.findings, *looked.done):
        _wrapped(str(found))
    if repair and not looked.done:
        print("nothing to repair")
    return int(looked.failed)


def _wrapped(text: str) -> None:
    """Print a text on as many lines as it needs; paths stay whole."""
    for line in textwrap.wrap(text, 80, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False):
        print(harmless(line))


def _stages(step: str, stages: Iterable[tuple[str, int, int]], noun: str = "") -> Generator[Any, None, None]:
    """Yield now and then how far each stage is: what, how much is done, of how much."""
    from whet.recipe.block import Progress

    stage, began, shown = "", time.monotonic(), 0.0
    for what, n, total in stages:
        now = time.monotonic()
        if what != stage:
            stage, began = what, now
        if now - shown < _PAUSE:
            continue
        shown = now
        left = (now - began) * (total - n) / n if n else None
        yield Progress(step, n / max(1, total), f"{what} {n:,}".strip(), f"{total:,} {noun}".strip(), left)

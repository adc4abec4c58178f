"""`whet study rename` and `delete`."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whet.cli import options as o
from whet.cli.study import shown
from whet.cli.study.shown import StudyName

if TYPE_CHECKING:
    from whet.journal.event import Journal
    from whet.journal.store import Store

__all__ = ["add"]


def add(verbs: typer.Typer) -> None:
    """Add the verbs."""
    verbs.command("rename", epilog="Example: whet study rename digits digits-old")(rename)
    verbs.command("delete", epilog="Example: whet study delete digits-old --yes")(delete)


def rename(
    study: StudyName,
    new: Annotated[str, typer.Argument(metavar="NEW", help="What it is to be called.")],
    runs: o.Runs = Path("runs"),
    store: o.Store = None,
    json: o.Json = False,
) -> int:
    """Give a study another name: in the database, and its folder. Refused while a process works on it."""
    from whet.cli.screen import Screen, emit_json
    from whet.errors import UsageError
    from whet.journal.store import check_name

    kept = shown.place(runs, store)
    check_name(new)
    with shown.opened(runs, store, study) as opened:
        _idle(opened.journal, study)
    database = kept.database()
    if new in {n for n, _ in database.studies()}:
        raise UsageError(f"{new}: there is a study of this name. Give another, or delete that one first.")
    before, after = kept.files(study), kept.files(new)
    # the folder goes first: cut off between the two, the same command goes on where it stopped
    moved = _move(before, after)
    try:
        database.rename(study, new)
    except BaseException:
        if moved:
            _move(after, before)
        raise
    if json:
        emit_json({"study": new, "before": study, "folder": str(after) if after and after.exists() else None})
        return 0
    screen = Screen()
    screen.block("renamed", [f"{study} is {new} now" + (f", in {after}" if after and after.exists() else "")])
    screen.block("next", [shown.again(f"show {new}", runs, store), f"to go on with it, give --name {new}"])
    return 0


def _move(before: Path | None, after: Path | None) -> bool:
    from whet.errors import UsageError

    if before is None or after is None or not before.exists():
        return False
    if after.exists():
        raise UsageError(f"{after}: is in the way. Move or delete it, or give another name.")
    before.rename(after)
    return True


def delete(
    study: StudyName,
    yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask."),
    runs: o.Runs = Path("runs"),
    store: o.Store = None,
    json: o.Json = False,
) -> int:
    """Delete a study with all its files. Asks on a terminal; refused while a process works on it."""
    from whet.cli.screen import Screen, emit_json
    from whet.errors import UsageError
    from whet.recipe.words import count, size, unit

    kept = shown.place(runs, store)
    with shown.opened(runs, store, study) as opened:
        _idle(opened.journal, study)
        trials, epochs, step = len(opened.trials), opened.spent.steps or 0, unit(opened)
    folder = kept.files(study)
    bytes_ = _bytes(folder)
    goes = f"{count(trials, 'trial')}, {count(epochs, step)}, {size(bytes_)} of files"
    if not yes:
        if json or not sys.stdin.isatty():
            raise UsageError(f"delete {study}: {goes} would be gone for good. Say --yes to delete them.")
        print(f"{study}: {goes} will be gone for good.", file=sys.stderr)
        print("delete them? [y/N] ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline()
        if answer.strip().lower() not in ("y", "yes"):
            print("" if answer.endswith("\n") else "\n", "whet: nothing was deleted", sep="", file=sys.stderr)
            return 1
    _forget(kept, study, folder)
    if json:
        emit_json({"study": study, "trials": trials, "epochs": epochs, "bytes": bytes_})
        return 0
    screen = Screen()
    screen.block("deleted", [f"{study}: {goes}"])
    screen.block("next", [shown.again("list", runs, store)])
    return 0


def _forget(kept: Store, study: str, folder: Path | None) -> None:
    kept.database().delete(study)
    if folder is not None and folder.is_dir():
        shutil.rmtree(folder)


def _bytes(folder: Path | None) -> int:
    if folder is None or not folder.is_dir():
        return 0
    return sum(p.lstat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink())


def _idle(journal: Journal, study: str) -> None:
    """Raise UsageError when a process works on the study: one of this machine that lives, or another that shows it."""
    from whet.errors import UsageError
    from whet.journal.process import dead, process_id
    from whet.tune.claim import BEAT

    def refuse(worker: str) -> None:
        host, _, pid, *_ = [*worker.split("/"), "", ""]
        raise UsageError(
            f"study '{study}': process {pid} on {host} works on it. Stop it first (Ctrl-C), then do this again."
        )

    leases = journal.leases()
    far = {}
    for lease in leases.values():
        if process_id(lease.worker) is None:
            far[lease.trial] = lease
        elif not dead(lease.worker):
            refuse(lease.worker)
    if far:  # whether a process of another machine lives shows in its beat only
        until = time.monotonic() + 2.5 * BEAT
        while time.monotonic() < until:
            time.sleep(0.1)
            for lease in journal.leases().values():
                if lease.trial in far and lease != far[lease.trial]:
                    refuse(lease.worker)

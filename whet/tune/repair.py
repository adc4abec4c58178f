"""Repairing a study's store: leases that hold nothing, and files that no event names, are removed.

Each is decided inside a write transaction, so that nothing a worker has just written is taken for a leftover.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from whet.journal.event import Writer
from whet.tune.book import Book
from whet.tune.inventory import busy

__all__ = ["Removed", "drop_idle", "remove"]

_BATCH = 200  # files removed in one transaction


@dataclass(frozen=True)
class Removed:
    """What was removed: how many files, of how many bytes; busy: the trials whose files stay, for somebody works on them."""

    files: int
    bytes: int
    busy: Sequence[int] = ()


def drop_idle(book: Book) -> list[int]:
    """Drop the leases on trials that are not running; return their ids.

    >>> from whet.journal.memory import MemoryJournal
    >>> drop_idle(Book(MemoryJournal("s")))
    []
    """

    def drop(w: Writer) -> list[int]:
        idle = sorted(t for t in w.leases() if t not in book.history.open)
        for trial in idle:
            w.drop(trial)
        return idle

    return book.change(drop)


def remove(book: Book, folder: Path, files: Sequence[tuple[int, str]]) -> Removed:
    """Remove those `files` (trial, name) of a folder that no event names and whose trial nobody works on.

    >>> from whet.journal.memory import MemoryJournal
    >>> remove(Book(MemoryJournal("s")), Path("."), [])
    Removed(files=0, bytes=0, busy=[])
    """
    removed = size = 0
    left: set[int] = set()

    def some(w: Writer, batch: Sequence[tuple[int, str]]) -> None:
        nonlocal removed, size  # no worker can take a lease, or name a file, until this transaction ends
        leases = w.leases()
        named = {c[1] for p in book.history.progress for c in p.checkpoints}
        for trial, file in batch:
            if busy(leases, trial):
                left.add(trial)
            elif file not in named and (folder / file).exists():
                size += (folder / file).stat().st_size
                (folder / file).unlink(missing_ok=True)
                removed += 1

    for i in range(0, len(files), _BATCH):
        batch = files[i : i + _BATCH]
        book.change(lambda w, batch=batch: some(w, batch))  # type: ignore[misc]
    return Removed(removed, size, sorted(left))

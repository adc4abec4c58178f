"""A study's book: its journal and the trials folded from it, read and written together.

Whatever is decided is decided inside a transaction with the history up to date; what fails leaves no trace in either.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from whet.journal.event import Event, Journal, Writer
from whet.tune.history import History
from whet.tune.trial import Trials

__all__ = ["Book"]


class Book:
    """The journal of a study and its history; `lock` keeps the threads of one process apart.

    >>> from whet.journal.memory import MemoryJournal
    >>> book = Book(MemoryJournal("s"))
    >>> with book.writing() as w:
    ...     event = book.append(w, "recorded", None, {"topic": "note", "data": {}})
    >>> book.history.seq
    1
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.lock = threading.RLock()
        self.history = History()
        self.reload()

    def reload(self) -> None:
        """Fold the journal anew."""
        self.history = History()
        self.history.apply(self.journal.read())

    def sync(self) -> History:
        """Take in what other processes wrote; return the history."""
        with self.lock:
            self.history.apply(self.journal.read(self.history.seq))
            return self.history

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """Hold the write lock, with the history up to date."""
        seen = None
        try:
            with self.lock, self.journal.write() as w:
                self.history.apply(w.read(self.history.seq))
                seen = self.history.seq
                yield w
        except BaseException:
            if seen is not None and self.history.seq > seen:
                self.reload()  # the history took in what was not written after all
            raise

    def append(self, w: Writer, kind: str, trial: int | None, data: Mapping[str, Any]) -> Event:
        """Append an event inside a transaction and take it in."""
        event = w.append(kind, trial, data)
        self.history.apply([event])
        return event

    def at(self, seq: int) -> Trials:
        """Return the trials as they were after event `seq`."""
        if self.history.seq == seq:
            return self.history.moment()
        past = History()
        past.apply(e for e in self.journal.read() if e.seq <= seq)
        return past.moment()

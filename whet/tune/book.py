"""A study's book: its journal and the trials folded from it, read and written together.

Whatever is decided is decided inside a transaction with the history up to date; what fails leaves no trace in either.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from whet.errors import LostConnection, Rewound, StudyError
from whet.journal.event import Event, Journal, Writer
from whet.journal.process import anew_in_child
from whet.tune.history import History
from whet.tune.trial import Trials

__all__ = ["Book"]

T = TypeVar("T")
_AGAIN = 5  # times a transaction is done again whose database was lost in the middle


class Book:
    """The journal of a study and its history; `lock` keeps the threads of one process apart.

    >>> from whet.journal.memory import MemoryJournal
    >>> book = Book(MemoryJournal("s"))
    >>> book.change(lambda w: book.append(w, "recorded", None, {"topic": "note", "data": {}})).seq
    1
    >>> book.history.seq
    1
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.history = History()
        self._torn = False  # whether the history may hold what was never written
        self.anew()
        anew_in_child(self)
        self.reload()

    def anew(self) -> None:
        """Begin afresh in a process that was forked: another thread may have held the lock there."""
        self.lock = threading.RLock()

    def reload(self) -> None:
        """Fold the journal anew."""
        history = History()
        collecting = gc.isenabled()
        gc.disable()  # millions of small objects, and none of them garbage
        try:
            for page in self.journal.pages(brief=True):
                history.apply(page)
        finally:
            if collecting:
                gc.enable()
        if self.history.terms is not None and history.terms is None:
            raise StudyError(f"study '{self.journal.name}': was deleted while this process had it open.")
        self.history, self._torn = history, False

    def sync(self) -> History:
        """Take in what other processes wrote; return the history."""
        with self.lock:
            if self._torn:
                self.reload()
            try:
                self.history.apply(self.journal.read(self.history.seq))
            except Rewound:
                self.reload()
            return self.history

    def _catch_up(self) -> None:
        """Take in what others wrote while one of them is in the way: so much less to do with the lock held."""
        self.history.apply(self.journal.read(self.history.seq))

    @contextmanager
    def _writing(self) -> Iterator[Writer]:
        seen = None
        with self.lock:
            if self._torn:
                self.reload()
            try:
                with self.journal.write(self._catch_up) as w:
                    self.history.apply(w.read(self.history.seq))
                    seen = self.history.seq
                    yield w
            except BaseException as e:
                if isinstance(e, Rewound) or (seen is not None and self.history.seq > seen):
                    # the history took in what was not written after all, or is no more
                    self._torn = True  # until it is read anew, even if that fails now: the database may be away
                    self.reload()
                raise

    def change(self, act: Callable[[Writer], T]) -> T:
        """Do `act` in a transaction, with the history up to date and the write lock held; return its result.

        A database that is lost in the middle has written nothing of it: then `act` is done again, so it must depend on
        nothing but the history; what it changes beside goes into `Writer.after`.
        """
        for _ in range(_AGAIN):
            try:
                with self._writing() as w:
                    return act(w)
            except (LostConnection, Rewound):
                continue
        with self._writing() as w:
            return act(w)

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
        for page in self.journal.pages():
            past.apply(e for e in page if e.seq <= seq)
            if past.seq >= seq:
                break
        return past.moment()

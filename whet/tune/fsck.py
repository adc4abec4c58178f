"""Verifying a store: its log, the checkpoints its studies name, leases, and files that belong to nothing.

Looking changes nothing and may be done while workers run. Repairing (`whet.tune.repair`) removes files that no event names
and leases that hold nothing. Events are never changed.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from whet.errors import StoreError, WhetError, one_line
from whet.finding import Finding, Severity
from whet.journal.event import Event, Journal
from whet.journal.process import dead
from whet.journal.store import Store
from whet.tune.book import Book
from whet.tune.history import History
from whet.tune.inventory import Inventory, busy, leftovers
from whet.tune.legal import breaches
from whet.tune.repair import drop_idle, remove

__all__ = ["Fsck", "fsck"]

_EVERY = 500  # events between two signs of life
_OLD = 3600.0  # seconds after which a half-made database is nobody's


def fsck(store: Store | str, names: Sequence[str] = (), *, repair: bool = False) -> Fsck:
    """Verify the studies `names` of a store (all when empty); return what was found.

    repair: remove files that nobody names, and leases that hold nothing. Raises StoreError when there is no such store,
    StudyError when it has no such study.

    >>> import whet
    >>> with whet.Study(whet.Space(x=whet.Float(0, 1)), store="s.db", name="s") as study:
    ...     study.tell(study.ask(), 0.5)
    >>> print(fsck("s.db"))
    clean: 1 study, 1 trial, 4 events, 0 checkpoints
    """
    looked = Fsck(store, names, repair=repair)
    for _ in looked:
        pass
    return looked


@dataclass
class Fsck:
    """The verification of a store. Iterate to do it: it yields (what is looked at, how much of it is done, of how much).

    findings: what is wrong; done: what a repair did, and what it left and why; the rest counts what was verified.
    """

    store: Store | str
    names: Sequence[str] = ()
    repair: bool = False
    findings: list[Finding] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    studies: int = 0
    trials: int = 0
    events: int = 0
    checkpoints: int = 0
    bytes: int = 0

    @property
    def failed(self) -> bool:
        """Whether something is wrong that must not be."""
        return any(f.severity is Severity.FAIL for f in self.findings)

    def __iter__(self) -> Iterator[tuple[str, int, int]]:
        from whet.journal.integrity import unsound

        def broken(text: str, where: str = "database") -> None:
            self._add("LOG", "FAIL", where, {}, text, "restore a backup")

        store = self.store = Store.of(self.store)
        try:
            database = store.database()
            known = [name for name, _ in database.studies()]
        except StoreError as e:
            if "malformed" not in str(e) and "not a database" not in str(e):
                raise
            broken(f"the database cannot be opened: {e}")
            return
        for name in self.names:
            store.journal(name, create=False).close()  # or an error that names those there are
        yield "database", 0, 1
        for text in unsound(database):
            broken(f"the database is damaged: {one_line(text)}")
        for name in dict.fromkeys(self.names) or known:
            try:
                yield from self._study(store, name)
            except StoreError as e:
                if "malformed" not in str(e):
                    raise
                broken(f"cannot be read ({e})", f"study {name}")
        if not self.names:
            self._folders(store, set(known))

    def _add(self, code: str, severity: str, where: str, evidence: dict[str, Any], message: str, fix: str) -> None:
        self.findings.append(Finding(code, Severity(severity), where, evidence, message, fix))

    def _study(self, store: Store, name: str) -> Iterator[tuple[str, int, int]]:
        self.studies += 1
        place = store.files(name)
        folder = place / "checkpoints" if place else None
        journal = store.journal(name, create=False)
        try:
            # files, then leases, then events: a file a worker is writing is seen as one, or is named by now
            before = {n for of in leftovers(folder, History()).values() for n in of} if folder else set()
            leases = journal.leases()
            history = History()
            whole = yield from self._log(journal, name, history)
            self.trials += len(history.trials)
            if not whole or history.terms is None:
                return
            if folder is not None:
                yield from self._files(journal, name, folder, history)
                self._left(name, folder, before, history, {t for t in leases if busy(leases, t)})
            self._leases(name, history, leases)
            if self.repair:
                self._mend(store, journal, name, folder)
        finally:
            journal.close()

    def _log(self, journal: Journal, name: str, history: History) -> Generator[tuple[str, int, int], None, bool]:
        """Fold the events; return whether all of them could be."""
        from whet.journal.integrity import last_unreadable  # SQLAlchemy, which only a database needs

        def fail(seq: int, trial: int | None, text: str) -> None:
            where = f"study {name}, event {seq}" + ("" if trial is None else f" (trial {trial})")
            self._add(
                "LOG", "FAIL", where, {"seq": seq}, one_line(text).rstrip("."), "restore a backup of the database"
            )

        yield f"log of {name}", 0, 1
        try:
            events: list[Event] = journal.read()
        except (ValueError, TypeError, RecursionError, StoreError):
            seq, why = last_unreadable(journal)
            fail(seq, None, f"cannot be decoded ({why}), so nothing of this study can be read")
            return False
        if not events:
            self._add("LOG", "INFO", f"study {name}", {}, "was never begun: it has no events", "run it, or delete it")
            return True
        for i, event in enumerate(events):
            if i % _EVERY == 0:
                yield f"log of {name}", i, len(events)
            try:
                if event.seq == history.seq + 1:
                    for difference in breaches(history, event):
                        fail(event.seq, event.trial, f"{difference.what}: {difference.recorded} where only "
                             f"{difference.redone} can be")  # fmt: skip
                history.apply([event])
            except (WhetError, LookupError, TypeError, ValueError, AttributeError, AssertionError) as e:
                text = str(e) if isinstance(e, WhetError) else f"cannot be read ({type(e).__name__} {e})"
                fail(event.seq, event.trial, f"{text}; the {len(events) - i - 1:,} events after it were not looked at")
                return False
            self.events += 1
        return True

    def _files(self, journal: Journal, name: str, folder: Path, history: History) -> Iterator[Any]:
        created = next(iter(journal.read()[:1]), None)
        lenient = created is not None and int(created.data.get("format", 1)) < 2
        shelf = Inventory(folder, history, lenient)
        total = sum(len(p.checkpoints) for p in history.progress)
        for i, _ in enumerate(shelf):
            yield f"checkpoints of {name}", i, total
        if shelf.bad:
            now = History()
            now.apply(journal.read())
            shelf.forget(now)
        self.checkpoints += shelf.good
        self.bytes += shelf.bytes
        self.findings += shelf.findings(name)

    def _left(self, name: str, folder: Path, before: set[str], history: History, working: set[int]) -> None:
        """Note the files that nobody names, of trials that nobody works on."""
        left = {t: names for t, names in leftovers(folder, history).items() if t not in working}
        files = {file for names in left.values() for file in names if file in before}
        if not files:
            return
        size = sum((folder / f).stat().st_size for f in files if (folder / f).exists())
        n = len(files)
        self._add(
            "LEFT", "INFO", f"study {name}", {"files": n, "bytes": size, "examples": sorted(files)[:3]},
            f"{n:,} file{'' if n == 1 else 's'} ({size:,} bytes) that no event names, as a killed worker leaves them",
            "whet study fsck --repair",
        )  # fmt: skip

    def _leases(self, name: str, history: History, leases: Any) -> None:
        idle = sorted(t for t in leases if t not in history.open)
        if idle:
            self._add(
                "LEASE", "WARN", f"study {name}", {"trials": idle},
                f"leases on trials that are not running: {_few(idle)}", "whet study fsck --repair",
            )  # fmt: skip
        gone = sorted(t for t, lease in leases.items() if t in history.open and dead(lease.worker))
        if gone:
            self._add(
                "LEASE", "INFO", f"study {name}", {"trials": gone},
                f"the worker of trial {_few(gone)} is gone; the lease stays, to count how often that happens",
                "run the study: whoever asks next goes on with it",
            )  # fmt: skip

    def _folders(self, store: Store, known: set[str]) -> None:
        """Note folders of studies that are not in the store, and databases that were never finished."""
        from whet.journal.integrity import neighbours

        place = store.files("study")
        if place is None or not place.parent.is_dir():
            return
        others = neighbours(store)
        for path in sorted(place.parent.iterdir()):
            if (path / "checkpoints").is_dir() and path.name not in known and path.name not in others:
                size = sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
                self._add(
                    "FOLDER", "WARN", str(path), {"bytes": size},
                    f"{size:,} bytes of a study that is not in {store.path or 'the database'}",
                    f"delete it by hand when its models are not wanted: rm -r {path}",
                )  # fmt: skip
        for path in place.parent.glob(".new-*.db*"):
            if time.time() - path.stat().st_mtime > _OLD:
                if self.repair:
                    path.unlink(missing_ok=True)
                    self.done.append(f"removed {path}, a database whose making was cut off")
                else:
                    self._add(
                        "LEFT", "INFO", str(path), {}, "a database whose making was cut off", "whet study fsck --repair"
                    )

    def _mend(self, store: Store, journal: Journal, name: str, folder: Path | None) -> None:
        """Remove what nobody names and leases that hold nothing."""
        from whet.journal.integrity import neighbours

        book = Book(journal)
        for trial in drop_idle(book):
            self.done.append(f"study {name}: dropped the lease on trial {trial}, which is not running")
        self._gone("LEASE", Severity.WARN, name)
        files = [(t, f) for t, of in leftovers(folder, book.history).items() for f in of] if folder else []
        if not files or folder is None:
            return
        beside = neighbours(store)
        if other := beside.get(name) or beside.get("*"):
            self.done.append(
                f"study {name}: left {len(files):,} files: {other} may have a study of this name and folder"
            )
            return
        gone = remove(book, folder, files)
        if gone.files:
            self.done.append(f"study {name}: removed {gone.files:,} files that no event names ({gone.bytes:,} bytes)")
        if gone.busy:
            self.done.append(f"study {name}: left the files of trial {_few(gone.busy)}: somebody works on it")
        self._gone("LEFT", Severity.INFO, name)

    def _gone(self, code: str, severity: Severity, name: str) -> None:
        """Forget a finding that was put right."""
        self.findings = [f for f in self.findings if (f.code, f.severity, f.where) != (code, severity, f"study {name}")]

    def json(self) -> dict[str, Any]:
        """Return the outcome as JSON values."""
        return {
            "clean": not any(f.severity is not Severity.INFO for f in self.findings),
            "studies": self.studies, "trials": self.trials, "events": self.events, "checkpoints": self.checkpoints,
            "bytes": self.bytes, "findings": [f.json() for f in self.findings], "done": list(self.done),
        }  # fmt: skip

    def __str__(self) -> str:
        counts = [
            f"{self.studies:,} stud{'y' if self.studies == 1 else 'ies'}", _count(self.trials, "trial"),
            _count(self.events, "event"), _count(self.checkpoints, "checkpoint"),
        ]  # fmt: skip
        by = {s: sum(f.severity is s for f in self.findings) for s in Severity}
        wrong = ", ".join(f"{by[s]:,} {s}" for s in (Severity.FAIL, Severity.WARN) if by[s])
        return f"{wrong or 'clean'}: {', '.join(counts)}"


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _few(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids[:5])) + (f" and {len(ids) - 5:,} more" if len(ids) > 5 else "")

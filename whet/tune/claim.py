"""Who works on which trial: taking a lease, keeping it alive, and adopting the trial of a worker that disappeared.

Whether a worker lives is judged on the observer's own monotonic clock: a lease whose beat has not moved for `LAPSE`
seconds of watching is lapsed, and one whose process on this machine is gone lapses at once. The wall clock plays no part.
Of a worker whose owner lives it is the owner that says what became of its trial: only the owner knows what it died of.

The environment variable WHET_LAPSE sets `LAPSE` in seconds, for tests; all processes of a study must agree on it.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from whet.errors import StoreError
from whet.execute.memory import Meter
from whet.journal.event import Journal, Lease, Writer
from whet.journal.process import anew_in_child, dead, who
from whet.units import parse_duration

__all__ = ["CHANCES", "Claims", "worker_name"]

LAPSE = parse_duration(os.environ.get("WHET_LAPSE", "30") + "s", "WHET_LAPSE")  # without a beat: others take over
BEAT = LAPSE / 15  # seconds between beats
GONE = "gone"  # the worker of a lease whose owner says that it lapsed
# Times a trial may be begun without getting further, for a lost worker or another transient cause. Three were too few: when
# something kills a process every few seconds for 30 minutes, one trial in 16,000 met it three times before its first report.
CHANCES = 5


def worker_name() -> str:
    """Return a name for a worker in this process: what `who` says, a part of its own, and its owner when it has one.

    >>> worker_name() == worker_name()
    False
    """
    owner = os.environ.get("WHET_WORKER", "")
    return f"{who()}#{uuid.uuid4().hex[:8]}" + (f"@{owner}" if owner else "")


def vanished(lease: Lease) -> bool:
    """Return whether the worker of a lease is known to be gone, and nobody else is to say what becomes of its trial."""
    if lease.worker == GONE:
        return True
    owner = lease.worker.partition("@")[2]
    return dead(lease.worker) and (not owner or dead(owner))


class Claims:
    """The leases of one opened study; `worker` is who has them."""

    def __init__(self, journal: Journal, worker: str) -> None:
        self._journal = journal
        self._losses = 0  # how often the database was lost
        self._begin(worker)
        anew_in_child(self)

    def _begin(self, worker: str) -> None:
        self.worker = worker
        self._mine: dict[int, float] = {}  # trial -> when its current stretch began (monotonic)
        self._meters: dict[int, Meter] = {}
        self._watched: dict[int, tuple[Lease, float]] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def anew(self) -> None:
        """Be another worker in a process that was forked: the leases, and the thread that beats, stay where they were."""
        self._begin(worker_name())

    def take(self, w: Writer, trial: int, lapses: int = 0) -> None:
        """Take the lease on `trial` inside the transaction `w`."""
        w.take(trial, self.worker, lapses)
        w.after(lambda: self._taken(trial))

    def _taken(self, trial: int) -> None:
        self._mine[trial] = time.monotonic()
        if self._journal.durable and self._thread is None:
            # a weak reference: a study that is dropped without close() must not be kept alive by its own heart
            args = (weakref.ref(self), self._stop)
            self._thread = threading.Thread(target=_beat, args=args, daemon=True, name="whet-heartbeat")
            self._thread.start()

    def drop(self, w: Writer, trial: int) -> None:
        """End the lease on `trial` inside the transaction `w`, when it is this worker's."""
        if self.holds(w, trial):
            w.drop(trial)
        w.after(lambda: self.let_go(trial))

    def let_go(self, trial: int) -> None:
        """Take `trial` for no longer this worker's, whatever its lease says."""
        self._mine.pop(trial, None)
        self._meters.pop(trial, None)

    def forget(self, trial: int) -> None:
        """Hand `trial` back without a transaction of somebody else's; what cannot be written now is found at the next asking."""
        self._mine.pop(trial, None)
        try:
            with self._journal.write() as w:
                self.drop(w, trial)
        except StoreError:
            pass

    def holds(self, w: Writer, trial: int) -> bool:
        """Return whether the lease on `trial` is this worker's."""
        lease = w.leases().get(trial)
        return lease is not None and lease.worker == self.worker

    def still(self, trial: int) -> bool:
        """Return whether the lease on `trial` is this worker's, as far as can be told without a transaction."""
        lease = self._journal.leases().get(trial)
        return lease is not None and lease.worker == self.worker

    def forgive(self, w: Writer, trial: int) -> None:
        """Forget how often `trial` lost its worker: it got further (inside the transaction `w`)."""
        lease = w.leases().get(trial)
        if lease is not None and lease.lapses:
            w.take(trial, lease.worker)

    def start_clock(self, trial: int) -> None:
        """Begin to time the next stretch of `trial`."""
        self._mine[trial] = time.monotonic()
        self._meters[trial] = Meter()

    def measured(self, trial: int) -> dict[str, float]:
        """Return the seconds and the peak of memory of the current stretch of `trial`; nothing for one not begun here."""
        return self._meters[trial].read() if trial in self._meters else {}

    def lap(self, trial: int) -> float:
        """Return the seconds since the last report of `trial` (or since it was given out), and begin anew."""
        now = time.monotonic()
        before = self._mine.get(trial, now)
        if trial in self._mine:
            self._mine[trial] = now
        return round(now - before, 6)

    def adopt(
        self,
        open: Collection[int],
        change: Callable[[Callable[[Writer], int | None]], int | None],
        give_up: Callable[[Writer, int, int], None],
    ) -> int | None:
        """Take over one of the `open` trials that has no living worker; return its id, or None.

        A trial that has lost its worker `CHANCES` times without getting further is given up instead.
        """
        others = sorted(set(open) - self._mine.keys())
        if not others:
            return None
        if (losses := getattr(self._journal, "losses", 0)) != self._losses:
            self._losses = losses  # the database was away: that nobody's beat moved meanwhile says nothing
            self._watched.clear()
        seen = self._journal.leases()  # a look that disturbs nobody: mostly all are in good hands
        if all(t in seen and seen[t].worker != self.worker and not self._lapsed(seen[t]) for t in others):
            return None

        def write(w: Writer) -> int | None:
            leases = w.leases()
            for trial in others:
                lease = leases.get(trial)
                own = lease is not None and lease.worker == self.worker  # could not be handed back
                if trial not in open or (lease is not None and not own and not self._lapsed(lease)):
                    continue
                lapses = 0 if lease is None else lease.lapses + (not own)
                if lapses >= CHANCES:
                    give_up(w, trial, lapses)
                    w.drop(trial)
                    continue
                self.take(w, trial, lapses)
                return trial
            return None

        return change(write)

    def _lapsed(self, lease: Lease) -> bool:
        if vanished(lease):
            return True
        seen = self._watched.get(lease.trial)
        if seen is None or seen[0] != lease:
            self._watched[lease.trial] = (lease, time.monotonic())
            return False
        return time.monotonic() - seen[1] > LAPSE

    def hand_back(
        self,
        w: Writer,
        workers: Collection[str],
        open: Collection[int],
        error: Mapping[str, Any] | None,
        *,
        transient: bool,
    ) -> dict[int, int]:
        """End the leases of the processes named `workers`; return those of the `open` trials to fail, with their lapses.

        Without an error they were ended on purpose: that is no lapse. After a transient one a trial has its chances.
        """
        failing: dict[int, int] = {}
        for lease in w.leases().values():
            if lease.worker.split("#")[0] not in workers:
                continue
            lapses = lease.lapses + 1
            if error is not None and transient and lapses < CHANCES and lease.trial in open:
                w.take(lease.trial, GONE, lease.lapses)
                continue
            w.drop(lease.trial)
            if error is not None and lease.trial in open:
                failing[lease.trial] = lapses
        return failing

    def orphans(self, open: Iterable[int]) -> set[int]:
        """Return those of the `open` trials that nobody works on, as far as can be told at once."""
        leases = self._journal.leases()
        return {id for id in open if id not in leases or vanished(leases[id])}

    def beat(self) -> None:
        """Show that this worker lives."""
        if self._mine:
            self._journal.beat(self.worker)

    def release(self) -> None:
        """Hand every lease back."""
        if self._mine:
            with self._journal.write() as w:
                for trial in list(self._mine):
                    self.drop(w, trial)

    def close(self) -> None:
        """Stop beating and hand every lease back."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=5)
        self.release()


def _beat(claims: weakref.ref[Claims], stop: threading.Event) -> None:
    while not stop.wait(BEAT):
        alive = claims()
        if alive is None:
            return
        try:
            alive.beat()
        except (StoreError, MemoryError):
            pass  # a full disk, a long lock, a trial at its limit: the next beat may pass, and others judge a lapse
        del alive

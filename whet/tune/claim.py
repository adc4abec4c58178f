"""Who works on which trial: taking a lease, keeping it alive, and adopting the trial of a worker that disappeared.

Whether a worker lives is judged on the observer's own monotonic clock: a lease whose beat has not moved for `LAPSE`
seconds of watching is lapsed, and one whose process on this machine is gone lapses at once. The wall clock plays no part.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterable

from whet.errors import StoreError
from whet.journal.event import Journal, Lease, Writer
from whet.journal.process import dead, process_id

__all__ = ["CHANCES", "Claims"]

BEAT = 2.0  # seconds between beats
LAPSE = 30.0  # seconds without a beat before another worker takes over
CHANCES = 3  # times a trial may be begun without getting further, for a lost worker or another transient cause


class Claims:
    """The leases of one opened study."""

    def __init__(self, journal: Journal, worker: str) -> None:
        self._journal = journal
        self._worker = worker
        self._mine: dict[int, float] = {}  # trial -> when its current stretch began (monotonic)
        self._watched: dict[int, tuple[Lease, float]] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self, w: Writer, trial: int, lapses: int = 0) -> None:
        """Take the lease on `trial` inside the transaction `w`."""
        w.take(trial, self._worker, lapses)
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
        self._mine.pop(trial, None)

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
        return lease is not None and lease.worker == self._worker

    def forgive(self, w: Writer, trial: int) -> None:
        """Forget how often `trial` lost its worker: it got further (inside the transaction `w`)."""
        lease = w.leases().get(trial)
        if lease is not None and lease.lapses:
            w.take(trial, lease.worker)

    def start_clock(self, trial: int) -> None:
        """Begin to time the next stretch of `trial`."""
        self._mine[trial] = time.monotonic()

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
        seen = self._journal.leases()  # a look that disturbs nobody: mostly all are in good hands
        if all(t in seen and seen[t].worker != self._worker and not self._lapsed(seen[t]) for t in others):
            return None

        def write(w: Writer) -> int | None:
            leases = w.leases()
            for trial in others:
                lease = leases.get(trial)
                own = lease is not None and lease.worker == self._worker  # could not be handed back
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
        if dead(lease.worker):
            return True
        seen = self._watched.get(lease.trial)
        if seen is None or seen[0] != lease:
            self._watched[lease.trial] = (lease, time.monotonic())
            return False
        return time.monotonic() - seen[1] > LAPSE

    def hand_back(self, w: Writer, pids: Iterable[int]) -> None:
        """End the leases of other processes of this machine, inside the transaction `w`: that is no lapse of theirs."""
        gone = set(pids)
        for lease in w.leases().values():
            if process_id(lease.worker) in gone:
                w.drop(lease.trial)

    def orphans(self, open: Iterable[int]) -> set[int]:
        """Return those of the `open` trials that nobody works on, as far as can be told at once."""
        leases = self._journal.leases()
        return {id for id in open if id not in leases or dead(leases[id].worker)}

    def beat(self) -> None:
        """Show that this worker lives."""
        if self._mine:
            self._journal.beat(self._worker)

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
        except StoreError:
            pass  # a full disk or a long lock: the next beat may pass, and a lapse is judged by others
        del alive

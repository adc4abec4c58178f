"""Workers that each open the study themselves: started, watched, replaced when they die."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from whet.errors import StoreError, StudyError, UsageError
from whet.execute import Message, Workers, refer
from whet.execute.process import died_of
from whet.journal.store import Store
from whet.tune import claim
from whet.tune.budget import Budget
from whet.tune.ending import say_used_up
from whet.tune.failure import died, failures, insist
from whet.tune.loop import Running, Spending, check_ends, interruptible
from whet.tune.streak import Streak

__all__ = ["Crew", "plain", "run_workers"]

_DEATHS = 4  # of each worker on average, without the study getting further, after which a run gives up

_LOOK = 0.25  # seconds between two looks whether anything works still

_GRACE, _SHARE = 5.0, 0.05  # seconds, and share of a budget in time, that a step may take beyond it


class Crew:
    """The workers of one run of a study in other processes: started, watched, replaced when they die.

    objective: {"ref": "file.py:name"} for a function, or with "given": {...} for one that makes the objective. Iterate
    over `watch` to wait; it yields now and then so that the owner may draw a picture of how far things are.

    What a worker died of decides what becomes of its trial: it fails at once of what the configuration would do again
    (a crash of the interpreter, its memory), and is taken up again after anything else.
    """

    def __init__(self, study: Running, objective: Mapping[str, Any], limits: Budget, pool: Workers) -> None:
        check_store(study.store, pool)
        self._study, self._limits, self.pool = study, limits, pool
        self.spending = Spending(study, limits)
        self._streak, self._looked = Streak(study, limits), time.monotonic()
        self.given_up = False  # as every trial failed
        self.error: str | None = None
        self._bug = ""  # the traceback, when it is no user's mistake
        self._payload = {
            "failed": failures(study.trials),  # before this run: they do not count against it
            "store": plain(study.store), "name": study.name,
            "objective": dict(objective), "threads": pool.threads, "memory": pool.memory,
            "trials": limits.trials, "steps": limits.steps, "cost": limits.cost,
        }  # fmt: skip
        self._busy = set(range(pool.workers))
        self._new: set[int] = set()  # those that were replaced and have not said anything yet
        self._done = False  # a worker found nothing left to do
        self._deaths = self._seq = 0
        self._stopped = False
        self._hearts: dict[int, tuple[Any, float]] = {}  # worker -> what its lease looked like, and since when
        self._listened = time.monotonic()
        for i in range(pool.workers):
            self._call(i)

    def _call(self, worker: int) -> None:
        self.pool.call(worker, "whet.tune.working:work", self._payload)

    def watch(self, every: float = 0.1, stopping: Callable[[], bool] = lambda: False) -> Iterator[Message | None]:
        """Yield messages (or None, at least every `every` seconds) until all workers are done."""
        try:
            while self._busy:
                if not self._stopped and (stopping() or self.spending.over):
                    self._stop()
                self._see()
                if self._late():
                    self._abandon()
                self._listen()
                message = self.pool.get(every)
                if message is not None:
                    self._take(message)
                if self._done and self._busy <= self._new:
                    self._busy.clear()  # nothing is left for those that still wait to be started
                yield message
            self._see(last=True)  # workers end by themselves where nothing ever worked
        finally:
            self.spending.close()

    def check(self) -> None:
        """Raise what ended the workers' work: StudyError, or RuntimeError with its traceback when it is a bug of ours."""
        if self.error is not None:
            raise RuntimeError(f"in a worker:\n{self._bug}") if self._bug else StudyError(self.error)

    def _stop(self) -> None:
        self._stopped = True
        self.pool.stop()

    def _see(self, *, last: bool = False) -> None:
        """End the work when nothing works any more; `last`: however little time has gone by since the last look."""
        if self._stopped or (not last and time.monotonic() - self._looked < _LOOK):
            return
        self._looked = time.monotonic()
        if self._streak.over():
            self.given_up = self._streak.hopeless
            if self._streak.why:
                self._fail(self._streak.why)
            self._stop()

    def _late(self) -> bool:
        """Return whether workers are in the middle of a long step well after the time was up.

        Before the first value of the study they are let finish it: otherwise nothing would ever come of a short budget.
        """
        seconds = self._limits.seconds
        if not self._stopped or seconds is None or self.spending.update() < seconds + max(_GRACE, _SHARE * seconds):
            return False
        return self._study.trials.best is not None

    def _abandon(self) -> None:
        """End the workers; what they trained since their last checkpoint is lost, and trained again by the next run."""
        names = self.pool.names()
        self.pool.kill()
        self._study.hand_back(names)
        self._busy.clear()

    def _listen(self) -> None:
        """End the workers whose hearts stopped: suspended ones, say, which nobody else would ever end.

        A little before other workers would take over: what the owner ends, the owner says what becomes of.
        """
        now = time.monotonic()
        if now - self._listened < claim.BEAT:
            return
        self._listened = now
        leases = {lease.worker.split("#")[0]: lease for lease in self._study.journal.leases().values()}
        names, before = self.pool.names(), self._hearts
        self._hearts = {}
        for i in (i for i in self._busy if self.pool.active(i)):
            sign, same = (names[i], leases.get(names[i])), before.get(i)
            self._hearts[i] = same if same is not None and same[0] == sign else (sign, now)
            # without a lease it may be busy with what it does after its verdict; but not for ever when all is done
            patience = claim.LAPSE - 2 * claim.BEAT if sign[1] is not None else 10 * claim.LAPSE
            if now - self._hearts[i][1] > patience and (sign[1] is not None or self._done):
                self.pool.end(i, "its worker hung: its lease did not beat any more")

    def _take(self, message: Message) -> None:
        worker = message.worker
        self._new.discard(worker)
        if message.kind == "exit":
            self._mourn(worker, message.data)
        elif worker not in self._busy:
            return
        elif message.kind == "result":
            if not self._stopped and (message.data["stale"] or message.data["stopped"]):
                if message.data["stale"]:
                    self._replace(worker)
                self._call(worker)
                return
            self._done = True
            self._busy.discard(worker)
        elif message.kind == "error":
            self._busy.discard(worker)
            self._fail(str(message.data["error"]))
            if not self._bug:
                self._bug = "" if message.data.get("known") else str(message.data.get("traceback", ""))

    def _fail(self, error: str) -> None:
        if self.error is None:
            self.error = error
        self._stop()

    def _mourn(self, worker: int, end: Mapping[str, Any]) -> None:
        """Say what becomes of the trial of a worker that died, and replace it."""
        error, transient = died(end, memory=self.pool.memory, stall=self.pool.stall)
        self._study.hand_back([end["name"]], error, transient=transient)
        if worker not in self._busy:
            return
        # a trial that kills its workers fails after a few of them, and that is an event
        seq = self._study.trials.seq
        self._deaths = self._deaths + 1 if seq == self._seq else 1
        self._seq = seq
        if not self._stopped and self._deaths > _DEATHS * self.pool.workers:
            last = end.get("why") or died_of(end.get("code"))
            self._fail(
                f"study '{self._study.name}': {self._deaths} workers died one after the other, the last of {last}."
            )
        if self._stopped:
            self._busy.discard(worker)
            return
        self._replace(worker)
        self._call(worker)

    def _replace(self, worker: int) -> None:
        self._new.add(worker)
        self.pool.restart(worker)


def check_store(store: Store, pool: Workers) -> None:
    """Raise UsageError for a store that workers elsewhere cannot open."""
    if store.url is None:
        raise UsageError(
            'study: workers in other processes need a store they can open. Give store="sqlite:///study.db", or workers=1 alone.'
        )
    if pool.remote and store.path is not None:
        raise UsageError(
            f"study: {store.path} is an SQLite file, which works on one machine only, and the cluster has others. Use a "
            "PostgreSQL store."
        )


def plain(store: Store) -> dict[str, Any]:
    """Return the store's fields as JSON."""
    values = {f.name: getattr(store, f.name) for f in fields(store) if f.init}
    return {k: str(v) if isinstance(v, Path) else v for k, v in values.items()}


def _let_go(study: Running, names: list[str]) -> None:
    try:
        study.hand_back(names)
    except StoreError:
        pass  # what is raised now says more; the leases lapse by themselves


def run_workers(study: Running, objective: Callable[..., Any], limits: Budget, start: Callable[..., Workers]) -> None:
    """Run in the workers that `start` starts, which find the objective by name."""
    check_ends(study, limits)
    reference = {"ref": refer(objective)}
    if study.store.url is None:
        raise UsageError(
            'study: workers in other processes need a store they can open. Give store="sqlite:///study.db", or workers=1 alone.'
        )
    names: list[str] = []
    try:
        with start() as pool, interruptible() as asked:
            crew = Crew(study, reference, limits, pool)
            for _ in crew.watch(stopping=asked.is_set):
                names = pool.names()
    except BaseException:
        _let_go(study, names)  # nobody is left to say what became of their trials
        raise
    crew.check()
    if asked.is_set():
        raise KeyboardInterrupt
    insist(study.name, study.trials)
    say_used_up(study, limits)

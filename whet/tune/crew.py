"""Worker processes that each open the study themselves: started, watched, restarted when they die."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from whet.errors import StudyError, UsageError
from whet.execute import Message, Pool, refer
from whet.tune.budget import Budget
from whet.tune.failure import insist
from whet.tune.loop import Running, Spending, check_ends, interruptible

__all__ = ["Crew", "run_processes"]

_DEATHS = 4  # of each worker on average, without the study getting further, after which a run gives up

_GRACE, _SHARE = 5.0, 0.05  # seconds, and share of a budget in time, that a step may take beyond it


class Crew:
    """The workers of one run of a study in other processes: started, watched, restarted when they die.

    objective: {"ref": "file.py:name"} for a function, or with "given": {...} for one that makes the objective. Iterate
    over `watch` to wait; it yields now and then so that the owner may draw a picture of how far things are.
    """

    def __init__(self, study: Running, objective: Mapping[str, Any], limits: Budget, pool: Pool) -> None:
        if study.store.url is None:
            raise UsageError(
                'study: workers in other processes need a store they can open. Give store="sqlite:///study.db", or workers=1.'
            )
        self._study, self._limits, self.pool = study, limits, pool
        self.spending = Spending(study, limits)
        self.error: str | None = None
        self._bug = ""  # the traceback, when it is no user's mistake
        self._payload = {
            "store": study.store.url, "durability": study.store.durability, "name": study.name,
            "objective": dict(objective), "threads": pool.threads,
            "trials": limits.trials, "steps": limits.steps, "cost": limits.cost,
        }  # fmt: skip
        self._busy = set(range(pool.workers))
        self._deaths = self._seq = 0
        self._stopped = False
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
                if self._late():
                    self._abandon()
                message = self.pool.get(every)
                if message is not None:
                    self._take(message)
                yield message
        finally:
            self.spending.close()

    def check(self) -> None:
        """Raise what ended the workers' work: StudyError, or RuntimeError with its traceback when it is a bug of ours."""
        if self.error is not None:
            raise RuntimeError(f"in a worker:\n{self._bug}") if self._bug else StudyError(self.error)

    def _stop(self) -> None:
        self._stopped = True
        self.pool.stop()

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
        pids = self.pool.pids()
        self.pool.kill()
        self._study.hand_back(pids)
        self._busy.clear()

    def _take(self, message: Message) -> None:
        if message.worker not in self._busy:
            return
        if message.kind == "result":
            self._busy.discard(message.worker)
        elif message.kind == "error":
            self._busy.discard(message.worker)
            if self.error is None:
                self.error = str(message.data["error"])
                self._bug = "" if message.data.get("known") else str(message.data.get("traceback", ""))
            self._stop()
        elif message.kind == "exit":
            # a trial that kills its workers fails after a few of them, and that is an event
            seq = self._study.trials.seq
            self._deaths = self._deaths + 1 if seq == self._seq else 1
            self._seq = seq
            if not self._stopped and self._deaths > _DEATHS * self.pool.workers:
                self.error = f"study '{self._study.name}': {self._deaths} workers died one after the other, the last with {_code(message.data)}."
                self._stop()
            if self._stopped:
                self._busy.discard(message.worker)
                return
            self.pool.restart(message.worker)
            self._call(message.worker)


def _code(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def run_processes(study: Running, objective: Callable[..., Any], limits: Budget, workers: int) -> None:
    """Run in `workers` processes that find the objective by name."""
    if not isinstance(workers, int) or workers < 1:
        raise UsageError(f"workers must be a whole number of at least 1, got {workers!r}.")
    if os.environ.get("WHET_WORKER"):
        raise UsageError('study.run: called again inside a worker. Put the call under `if __name__ == "__main__":`.')
    check_ends(study, limits)
    reference = {"ref": refer(objective)}
    if study.store.url is None:
        raise UsageError(
            'study: workers > 1 need a store they can open. Give store="sqlite:///study.db", or workers=1.'
        )
    with Pool(workers) as pool, interruptible() as asked:
        crew = Crew(study, reference, limits, pool)
        for _ in crew.watch(stopping=asked.is_set):
            pass
    crew.check()
    if asked.is_set():
        raise KeyboardInterrupt
    insist(study.name, study.trials)

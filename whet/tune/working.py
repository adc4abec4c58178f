"""One worker process of a study: what `whet.tune.crew` has its processes run, by name."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from whet.execute import resolve
from whet.execute.memory import held, limited
from whet.journal.store import Store
from whet.tune import loop
from whet.tune.budget import Budget
from whet.tune.failure import HOPELESS, failures, hopeless, out_of_memory
from whet.tune.study import Study

__all__ = ["Bench", "work"]

# What libraries say when an allocation of theirs failed; it may have other causes where memory is not limited.
_STARVED = ("could not create a primitive", "could not execute a primitive", "can't start new thread")


class Bench:
    """Where a worker process trains: each trial is marked for the owner, and held to its memory.

    stale: whether the process is to be replaced by a fresh one. It is after an allocation that failed, since libraries
    may be left half-way then, and when trials that ended left more behind than one may take.
    """

    def __init__(self, link: Any, memory: int | None) -> None:
        self.stale = False
        self._link, self._memory = link, memory
        self._trials = self._floor = 0

    def stopping(self) -> bool:
        """Return whether the work is to end; asked between two steps, so it also tells the owner that there was one."""
        self._link.further()
        return self.stale or self._link.stopping

    def wrap(self, objective: Callable[..., Any]) -> Callable[..., Any]:
        """Return the objective, marked and limited."""

        @functools.wraps(objective)
        def watched(*args: Any) -> Any:
            self._link.begin()
            try:
                with limited(self._memory):
                    return objective(*args)
            except SystemExit as e:  # the owner counts how often a trial ends its worker
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(e.code if isinstance(e.code, int) else 1)
            except Exception as e:
                starved = self._memory is not None and str(e).startswith(_STARVED)
                self.stale = self.stale or starved or out_of_memory(e)
                if starved:
                    raise MemoryError(f"{type(e).__name__}: {e}") from e
                raise
            finally:
                self._link.end()
                self._weigh()

        return watched

    def _weigh(self) -> None:
        """See how much the trials that ended have left behind; what the first one left are imports, mostly."""
        if self._memory is None or (now := held()) is None:
            return
        self._trials += 1
        if self._trials == 1:
            self._floor = now.own
        self.stale = self.stale or now.own - self._floor > self._memory


def work(payload: Mapping[str, Any], link: Any) -> dict[str, Any]:
    """Be one worker of a study: open it, and ask and train until told to stop. Called by name in a worker process."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(payload["threads"])
    target = resolve(payload["objective"]["ref"])
    objective = target(**payload["objective"]["given"]) if "given" in payload["objective"] else target
    limits = Budget(payload["trials"], payload["steps"], None, payload["cost"])
    bench = Bench(link, payload["memory"])
    with Study.open(Store(**payload["store"]), payload["name"]) as study:

        def stopping() -> bool:  # quick trials are many before the owner looks
            trials = study.trials
            return bench.stopping() or (hopeless(trials) and failures(trials) - payload["failed"] >= HOPELESS)

        loop.drive(study, bench.wrap(objective), limits, stopping)
    return {"worker": study.worker, "stale": bench.stale, "stopped": link.stopping}

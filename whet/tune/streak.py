"""Failures in a row: when a search in which nothing works any more is given up, and how that is found out.

A run of failures alone says little: half of a space may be too large for the memory, and a search by rows is in such a part for
long. So the last configuration that worked is run once more, as a control: when it fails too, it is no configuration's fault.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from whet.errors import Rewound, one_line
from whet.journal.event import Event, Journal
from whet.tune.budget import Budget
from whet.tune.failure import HOPELESS, hopeless
from whet.tune.guess import CONTROL
from whet.tune.space import Params
from whet.tune.trial import State, Trial, Trials

__all__ = ["Streak"]

_CHANCE = 1e-4  # of so many failures in a row, below which the control is run
_WORKED = (State.DONE, State.STOPPED, State.PAUSED)


class Watched(Protocol):
    """What this needs of a study."""

    name: str
    journal: Journal

    @property
    def trials(self) -> Trials:
        """All trials as they are now."""
        ...

    @property
    def spent(self) -> Budget:
        """What the study has spent so far."""
        ...

    def records(self, topic: str) -> list[Mapping[str, Any]]:
        """Return the records of a topic."""
        ...

    def enqueue(self, params: Params, *, note: str = "", tags: Sequence[str] = (), again: bool = False) -> Trial:
        """Put a configuration before everything else."""
        ...


class Streak:
    """The trials that failed one after the other since this run of a study began, in the order in which they ended.

    What failed before the run does not count: what it failed of may be mended. A trial that is told, stopped or paused ends a
    streak. With 12 failures or more, whose chance is below 1e-4 when each fails as often as trials did before (Laplace's rule: 1 failure
    and 1 success beside those seen), the configuration that worked last is enqueued; when its trial fails within the same streak, `why`
    is the reason to give up.

    >>> import whet
    >>> study = whet.Study(whet.Space(x=whet.Float(0, 1)), search="random").run(lambda p: p["x"], trials=30)
    >>> streak = Streak(study, Budget(100))
    >>> for _ in range(13):
    ...     study.fail(study.ask(), "the disk is full"); streak.look()
    >>> study.trials[42].params == study.trials[29].params, streak.why.partition(",")[0]
    (True, "study 'study': 13 trials failed in a row")
    """

    def __init__(self, study: Watched, limits: Budget) -> None:
        self._study, self._limits = study, limits
        self.why = ""
        self._begin()

    def _begin(self) -> None:
        before = self._study.trials
        self._seq = before.seq
        self._worked = sum(t.state in _WORKED for t in before)
        self._failed = sum(t.state is State.FAILED for t in before)  # those of the streak not included
        self._all = self._row = 0  # failures of this run; of them, in a row now
        self._control: int | None = None
        self._asked = False

    @property
    def hopeless(self) -> bool:
        """Whether 12 trials of this run failed, and none of the study ever had a value."""
        return self._all >= HOPELESS and hopeless(self._study.trials)

    def look(self) -> None:
        """Take in what happened since; enqueue the control when it is due."""
        if self.why:
            return
        try:
            self._take(self._study.journal.read(self._seq))
        except Rewound:  # the database lost its last moments: what they held is not known
            self._begin()
        if self._control is None and not self._asked and self._strange() and self._room():
            self._asked = True
            self._enqueue()

    def over(self) -> bool:
        """Look, and return whether the search is to be given up."""
        self.look()
        return bool(self.why) or self.hopeless

    def _take(self, events: Iterable[Event]) -> None:
        for event in events:
            self._seq, data = event.seq, event.data
            if event.kind == "told" or (event.kind == "reported" and data.get("verdict", "GO") != "GO"):
                self._worked += 1
                self._failed += self._row
                self._row, self._control, self._asked = 0, None, False
            elif event.kind == "enqueued" and CONTROL in data.get("tags", ()):
                self._control = event.trial  # another process may have enqueued it
            elif event.kind == "failed" and not data["transient"] and data["error"]["type"] != "UsedUp":
                self._all += 1
                self._row += 1
                if event.trial == self._control and not self.why:
                    self.why = self._reason(data["error"])

    def _strange(self) -> bool:
        """Return whether so many failures in a row are unlikely, as often as trials failed before."""
        if self._row < HOPELESS or not self._worked:
            return False
        share = (self._failed + 1) / (self._failed + self._worked + 2)
        return self._row * math.log(share) < math.log(_CHANCE)

    def _room(self) -> bool:
        """Return whether one more trial may start, and it is the search that is on."""
        races = self._study.records("race")
        most = self._limits.trials
        return not (races and races[-1]["on"]) and (most is None or (self._study.spent.trials or 0) < most)

    def _enqueue(self) -> None:
        # what went on from another trial's weights is more than its configuration
        known = [t for t in self._study.trials if t.state in _WORKED and t.params and t.parent is None]
        if known:
            last = known[-1]
            note = f"trial {last.id} again, to see whether it still works: {self._row} trials failed in a row"
            self._study.enqueue(last.params, note=note, tags=(CONTROL,), again=True)

    def _reason(self, error: Mapping[str, Any]) -> str:
        text = f"{error['type']}: {one_line(error['message'])[:300].rstrip('.')}"
        return (
            f"study '{self._study.name}': {self._row} trials failed in a row, the last one with a configuration that had worked "
            f"(trial {self._control}: {text}). Mend what broke and run it again: it goes on from here."
        )

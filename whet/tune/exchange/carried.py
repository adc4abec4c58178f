"""A study as a value, on its way from one place to another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from whet.errors import StudyError
from whet.journal.store import Store, check_name
from whet.tune import ending
from whet.tune.account import Account
from whet.tune.imported import sound
from whet.tune.schedule import rebuild as rebuild_schedule
from whet.tune.search import rebuild as rebuild_search
from whet.tune.space import Space
from whet.tune.trial import Trial, Trials

if TYPE_CHECKING:
    from whet.tune.study import Study

__all__ = ["Carried"]


@dataclass(frozen=True)
class Carried:
    """A study read from elsewhere.

    source: where from, in words; search and schedule: {"name", "options"} as the journal records them, None for "auto";
    accounts: the work on each trial, by id; records: (topic, data) of its recipe; like: the earlier studies that it learns from; said: what was decided on the way;
    lost: what could not be carried over.

    >>> from whet.tune.space import Float
    >>> from whet.tune.trial import State
    >>> done = Trial(0, {"x": 0.5}, State.DONE, value=1.0)
    >>> study = Carried("by hand", Space(x=Float(0, 1)), ("min loss",), trials=(done,)).study(None, "mine")
    >>> study.best.value
    1.0
    """

    source: str
    space: Space
    goals: tuple[str, ...]
    steps: int = 1
    trials: tuple[Trial, ...] = ()
    seed: int = 0
    search: Mapping[str, Any] | None = None
    schedule: Mapping[str, Any] | None = None
    accounts: Mapping[int, Account] = field(default_factory=dict)
    records: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    like: tuple[Trials, ...] = ()
    said: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    def study(self, store: Store | str | None, name: str, *, search: str = "", schedule: str = "") -> Study:
        """Return a new study `name` of `store` that holds it, to be gone on with; search and schedule replace its own.

        Raises StudyError when the name is taken, StudyError or SpaceError, naming the trial, when one does not fit.
        """
        from whet.tune.study import Study

        check_name(name)
        for t in self.trials:
            sound(t, self.space, self.steps)  # all of it before anything is written
        study = Study(
            self.space, goal=list(self.goals), steps=self.steps, seed=self.seed, store=store, name=name,
            search=search or (rebuild_search(self.search) if self.search else "auto"),
            like=self.like, schedule=schedule or (rebuild_schedule(self.schedule) if self.schedule else "auto"),
        )  # fmt: skip
        try:
            if len(study.trials):
                raise StudyError(f"study '{name}': exists already, with {len(study.trials)} trials. Give another name.")
            study.add(self.trials, accounts=self.accounts)
            for topic, data in self.records:
                if topic != "searched":  # of a budget that was spent there: what came from elsewhere costs nothing here
                    study.record(topic, data)
            ending.end_race(study)  # nobody is in the middle of one here
            lines = [f"{len(self.trials)} trials from {self.source}", *self.said, *self.lost]
            study.record("imported", {"source": self.source, "lines": lines})
        except BaseException:
            study.close()
            raise
        return study

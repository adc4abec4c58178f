"""The study: the record of many trials, and the only orchestrator of search.

Every decision is made from a prefix of the journal and written with the number of that prefix, so any process can redo
it. A study holds no state of its own that matters: closing it, killing it, or opening it ten times changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from functools import cache
from typing import TYPE_CHECKING, Any

from whet.execute import place
from whet.journal.store import Store
from whet.stop import Stop
from whet.tune import crew, ending, guess, imported, loop
from whet.tune.account import Account, accounts
from whet.tune.asking import Asking
from whet.tune.book import Book
from whet.tune.budget import Budget
from whet.tune.claim import Claims, worker_name
from whet.tune.failure import winner
from whet.tune.keeping import Keeping, Saved, files_of
from whet.tune.like import gather
from whet.tune.pareto import front
from whet.tune.schedule import rebuild as rebuild_schedule
from whet.tune.search import rebuild as rebuild_search
from whet.tune.space import Params, Space
from whet.tune.strategy import Scheduler, Searcher
from whet.tune.telling import Telling, number
from whet.tune.terms import check_new, offer, recorded_terms, settle
from whet.tune.trial import Idle, Trial, Trials, Verdict

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Study"]


class Study:
    """The search for the best configuration of `space`, trial by trial, on record.

    goal: "min NAME" or "max NAME" of the reported value, or a list that also has bounds ("latency <= 5"); search and
    schedule: a name or an object ("auto": `whet.tune.search.auto.Auto`, and by `steps` and goals freeze-thaw, hyperband, asha or full); steps: the most steps
    (epochs) of a trial; store: a URL, a path or a `Store`, None for memory; name: which study in the store; like: earlier
    studies to learn from (names in the same store, studies, or "all" that overlap), kept as they are when this one begins.

    Opening a study that exists goes on with it; another space, goal, steps, seed, strategy or `like` is refused (StudyError).

    >>> import whet
    >>> study = whet.Study(whet.Space(x=whet.Float(-1, 1)), goal="min loss", search="random", seed=1)
    >>> for _ in range(20):
    ...     trial = study.ask()
    ...     study.tell(trial, trial.params["x"] ** 2)
    >>> study.best.value < 0.05
    True
    """

    def __init__(
        self,
        space: Space,
        *,
        goal: str | list[str] = "min loss",
        search: str | Searcher = "auto",
        schedule: str | Scheduler = "auto",
        steps: int = 1,
        seed: int = 0,
        store: Store | str | None = None,
        name: str | None = None,
        like: str | Study | Trials | Sequence[str | Study | Trials] = (),
    ) -> None:
        wanted = offer(space, goal, search=search, schedule=schedule, steps=steps, seed=seed, like=like)
        self.store = Store.of(store)
        self.name = name or "study"
        earlier = cache(lambda: gather(like, wanted.terms.space, self.store, self.name))
        check_new(wanted, self.store, self.name, earlier)  # what is wrong is said before there is a study
        self.journal = self.store.journal(self.name)
        try:
            self._book = Book(self.journal)
            agreed = settle(self._book, self.name, wanted, earlier)
        except BaseException:
            self.journal.close()
            raise
        self.searcher, self.scheduler, terms = agreed.searcher, agreed.scheduler, agreed.terms
        self.space, self.goals, self.steps, self.seed = terms.space, terms.goals, terms.steps, terms.seed
        self.files = files_of(self.store, self.name, self.journal.uid)
        self.keeping = Keeping(self._book, self.scheduler, self.files, self.store.quota)
        self._claims = Claims(self.journal, worker_name())
        self._asking = Asking(self._book, self._claims, self.searcher, self.scheduler, keeping=self.keeping)
        self._telling = Telling(self._book, self._claims, self.scheduler, self.keeping)
        self._closed = False

    @classmethod
    def open(cls, store: Store | str, name: str) -> Study:
        """Return the study `name` of `store` as it was created; raise StudyError when there is none.

        >>> Study.open("sqlite:////nowhere/at/all.db", "digits")
        Traceback (most recent call last):
        ...
        whet.errors.StoreError: /nowhere/at/all.db: no such study database. Run `whet run` or `whet tune` first, or check the path.
        """
        store = Store.of(store)
        with closing(store.journal(name, create=False)) as journal:
            t = recorded_terms(journal)
        return cls(
            t.space, goal=[str(g) for g in t.goals], steps=t.steps, seed=t.seed, store=store, name=name,
            search=rebuild_search(t.search), schedule=rebuild_schedule(t.schedule),
        )  # fmt: skip

    @property
    def worker(self) -> str:
        """The name of this worker: another one in a process that was forked."""
        return self._claims.worker

    # -- asking and telling

    def ask(self) -> Trial | Idle:
        """Return the next trial to train, or Idle.WAIT (others must report first) or Idle.DONE (nothing is left).

        A paused trial comes back with its curve: train it on from `trial.step`. A trial whose worker disappeared
        comes back the same way.
        """
        return self._asking.next(Budget())

    def ask_within(self, budget: Budget) -> Trial | Idle:
        """Return what `ask` does, starting no trial beyond `budget.trials` in the whole study."""
        return self._asking.next(budget)

    def report(
        self, trial: Trial | int, step: int, value: float, *, cost: float | None = None, **metrics: float
    ) -> Verdict:
        """Record the value after `step` steps; return what becomes of the trial.

        PAUSE and STOP are final for now: no `tell` after them. A value that is not finite makes the trial FAILED. A
        step that was reported before only adds its cost. A report for a trial that another worker has taken over, or
        that is closed, gets STOP. cost: in your unit, by default the number of steps since the last report.

        Raises StudyError for a step outside 1 to `steps`.
        """
        return self._telling.report(number(trial), step, value, cost=cost, metrics=metrics, checkpoint=None)

    def note_report(
        self, trial: int, step: int, value: float, *, cost: float | None, metrics: Mapping[str, float], checkpoint: Saved | None
    ) -> Verdict:  # fmt: skip
        """Record a report together with the checkpoint that belongs to it."""
        return self._telling.report(trial, step, value, cost=cost, metrics=metrics, checkpoint=checkpoint)

    def tell(self, trial: Trial | int, value: float, **metrics: float) -> None:
        """Record the final value of a trial and close it (FAILED when the value is not finite).

        Raises StudyError when the trial is not running: paused, stopped, closed already, or taken over.
        """
        self._telling.tell(number(trial), value, metrics)

    def fail(self, trial: Trial | int, error: str | BaseException, *, transient: bool = False) -> None:
        """Record that a trial failed, and close it: failures are data, the study goes on.

        transient: it was not the configuration's fault (a worker was killed, a connection lost); the trial goes back
        and is tried again, until it failed so 5 times without getting further.
        """
        self._telling.fail(number(trial), error, transient=transient)

    def enqueue(self, params: Params, *, note: str = "", tags: Sequence[str] = (), again: bool = False) -> Trial:
        """Put a person's guess before everything else; what it leaves out is filled in. Return the WAITING trial.

        Raises SpaceError when a name or value is not in the space, StudyError when a trial has the same configuration
        and `again` does not ask for a repetition.
        """
        return guess.enqueue(self._book, params, note=note, tags=tags, again=again)

    def add(self, trials: Sequence[Trial], *, accounts: Mapping[int, Account] | None = None) -> list[Trial]:
        """Take in trials made elsewhere, all or none, for searchers to learn from: they cost nothing of the budget.

        Return them with the ids they have here. accounts: the work on each, by the id it had. Raises SpaceError or
        StudyError, naming the trial, when one does not fit.
        """
        return imported.add(self._book, trials, accounts or {})

    def annotate(self, trial: Trial | int, *, note: str | None = None, tags: list[str] | None = None) -> Trial:
        """Set a trial's note or tags (what is None stays); return the trial."""
        return self._telling.annotate(number(trial), note, tags)

    def record(self, topic: str, data: Mapping[str, Any]) -> int:
        """Append a record of the recipe to the journal; return how many there are of this topic now."""
        event = {"topic": topic, "data": dict(data)}
        self._book.change(lambda w: self._book.append(w, "recorded", None, event))
        return sum(t == topic for t, _ in self._book.history.records)

    def records(self, topic: str) -> list[Mapping[str, Any]]:
        """Return the records of one topic, oldest first."""
        return [d for t, d in self._book.sync().records if t == topic]

    # -- looking

    @property
    def trials(self) -> Trials:
        """All trials as they are now, those of other processes included."""
        with self._book.lock:
            return self._book.sync().moment()

    @property
    def best(self) -> Trial:
        """The best at the highest step any reached, of those that keep the goal's bounds; raise StudyError when none has a value."""
        return winner(self.name, self.trials)

    @property
    def front(self) -> Trials:
        """The trials that no other beats in every goal, see `whet.tune.pareto.front`; none before one reported them all."""
        return front(self.trials)

    @property
    def spent(self) -> Budget:
        """What the study has spent so far: trials started, steps trained, seconds of work, cost."""
        h = self._book.sync()
        return Budget(h.started, h.steps, self.journal.spent(), h.cost)

    def checkpoints(self, trial: int) -> list[tuple[int, str]]:
        """Return (step, file name) of the checkpoints a trial can go on from, the latest last."""
        return self._book.history.checkpoints(trial)

    @property
    def interrupted(self) -> set[int]:
        """The ids of running trials that nobody works on: whoever runs the study next goes on with them."""
        return self._claims.orphans(self._book.sync().open)

    def frame(self) -> pd.DataFrame:
        """Return the trials as a table: id, state, value, step, cost, who worked on it and when, `params.*`, `metrics.*`."""
        from whet.tune.frame import frame

        return frame(self.trials, accounts(self.journal.read()))

    # -- running

    def run(
        self,
        objective: Callable[..., Any],
        *,
        trials: int | None = None,
        budget: Budget | str | float | None = None,
        workers: int = 1,
        stop: Stop | str | None = None,
        on: str = "auto",
        memory: int | str | None = None,
        gpus: float | str | None = None,
        stall: float | str | None = None,
    ) -> Study:
        """Search until the budget is spent, or `stop` says so; return the study.

        objective: `f(params, run)` that iterates its `Attempt` and reports, or `f(params)` that returns the value;
        trials and budget: totals of the study over all processes and starts, e.g. "10m", "200trials", "500epochs";
        stop: a criterion over trials, such as "target 0.99 | patience 50" or "gain", see `whet.stop`; on: "processes"
        of this machine, "ray" or "ray://HOST:PORT" ("auto": one worker without the limits that follow
        trains in this process); their store must be one they can open and the objective importable. memory: the most
        a trial may take, e.g. "4GB"; gpus: of each worker; stall: the longest time between two reports, e.g. "30m".

        Raises StudyError when every trial failed, or nothing works any more (`whet.tune.streak`): the same call goes on. Ctrl-C finishes the current step; a second one stops at once.
        """
        limits = Budget.of(budget).both(Budget.of(None if trials is None else f"{trials}trials"))
        start = place(on, workers, memory=memory, gpus=gpus, stall=stall)
        ending.begin(self, stop)
        ending.announce(self)
        self._claims.release()  # what was asked for by hand and not closed: the run goes on with it
        if start is None:
            loop.run_inline(self, objective, limits)
        else:
            crew.run_workers(self, objective, limits, start)
        return self

    def holds(self, trial: Trial | int) -> bool:
        """Return whether the trial is running and this study's to report on: not closed, and not taken over."""
        return self._telling.holds(number(trial))

    def release(self, trial: Trial | int) -> None:
        """Hand a running trial back: any worker may go on with it from its last checkpoint."""
        self._book.change(lambda w: self._claims.drop(w, number(trial)))

    def hand_back(self, workers: Collection[str], error: Any = None, *, transient: bool = False) -> None:
        """Hand back the trials of other processes, by name; with an error (type, message, traceback) they fail of it."""
        self._telling.hand_back(workers, error, transient=transient)

    def close(self) -> None:
        """Hand back what is running and let go of the store; the study can be opened again."""
        with self._book.lock:
            if not self._closed:
                self._closed = True
                self._claims.close()
                self.journal.close()

    def __enter__(self) -> Study:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<study '{self.name}': {self.trials!r}, {' '.join(str(g) for g in self.goals)}>"

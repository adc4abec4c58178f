"""The study: the record of many trials, and the only orchestrator of search.

Every decision is made from a prefix of the journal and written with the number of that prefix, so any process can redo
it. A study holds no state of its own that matters: closing it, killing it, or opening it ten times changes nothing.
"""

from __future__ import annotations

import sys
import threading
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from whet import seed as streams
from whet.errors import StudyError
from whet.execute import resolve
from whet.journal.checkpoint import Files
from whet.journal.event import FORMAT, Event, Writer
from whet.journal.process import who
from whet.journal.store import Store
from whet.tune import claim, loop
from whet.tune.budget import Budget
from whet.tune.history import History, Terms, configuration, with_point
from whet.tune.propose import propose
from whet.tune.schedule import describe as describe_schedule
from whet.tune.schedule import rebuild as rebuild_schedule
from whet.tune.schedule import scheduler
from whet.tune.search import describe as describe_search
from whet.tune.search import rebuild as rebuild_search
from whet.tune.search import searcher
from whet.tune.space import Params, Space
from whet.tune.strategy import Resume, Scheduler, Searcher, Start
from whet.tune.terms import check_same
from whet.tune.trial import Idle, Point, State, Trial, Trials, Verdict, parse_goals

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Study"]


class Study:
    """The search for the best configuration of `space`, trial by trial, on record.

    goal: "min NAME" or "max NAME" of the reported value, or a list that also has bounds ("latency <= 5"); search and
    schedule: a name or an object ("auto": Sobol points; halving when trials have several steps); steps: the most steps
    (epochs) of a trial; store: a URL, a path or a `Store`, None for memory; name: which study in the store.

    Opening a study that exists goes on with it; another space, goal, steps, seed or strategy is refused (StudyError).

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
    ) -> None:
        if not isinstance(space, Space):
            raise StudyError(f"study: space must be a Space, got {type(space).__name__}. Use Space(lr=Float(...), ...).")
        if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
            raise StudyError(f"study: steps must be a whole number of at least 1, got {steps!r}.")
        self.store = Store.of(store)
        self.name = name or "study"
        self.space, self.steps, self.seed = space, steps, int(seed)
        self.goals = parse_goals(goal)
        self.worker = f"{who()}#{uuid.uuid4().hex[:8]}"
        asked = {"search": search if isinstance(search, str) else "", "schedule": schedule if isinstance(schedule, str) else ""}
        self.searcher = searcher(search, space, steps, seed=self.seed)
        self.scheduler = scheduler(schedule, space, steps, seed=self.seed)
        terms = Terms(
            space, self.goals, steps, self.seed, describe_search(self.searcher), describe_schedule(self.scheduler), asked
        )  # fmt: skip
        self._lock = threading.RLock()
        self.journal = self.store.journal(self.name)
        self._reload()
        try:
            self._agree(terms)
        except BaseException:
            self.journal.close()
            raise
        folder = self.store.files(self.name)
        self.files = Files(folder / "checkpoints" if folder else None, sync=self.store.durability == "power")
        self._claims = claim.Claims(self.journal, self.worker)
        self._closed = False
        self._last: Trials | None = None  # the prefix of the last start: what its proposal is made from

    @classmethod
    def open(cls, store: Store | str, name: str) -> Study:
        """Return the study `name` of `store` as it was created; raise StudyError when there is none.

        >>> Study.open("sqlite:////nowhere/at/all.db", "digits")
        Traceback (most recent call last):
        ...
        whet.errors.StoreError: /nowhere/at/all.db: no such study database. Run `whet run` or `whet tune` first, or check the path.
        """
        store = Store.of(store)
        journal = store.journal(name, create=False)
        try:
            history = History()
            history.apply(journal.read()[:1])
        finally:
            journal.close()
        if (t := history.terms) is None:
            raise StudyError(f"study '{name}': it was never begun. Run it with its task first.")
        return cls(
            t.space, goal=[str(g) for g in t.goals], steps=t.steps, seed=t.seed, store=store, name=name,
            search=rebuild_search(t.search), schedule=rebuild_schedule(t.schedule),
        )  # fmt: skip

    # -- the journal

    def _reload(self) -> None:
        self._history = History()
        self._history.apply(self.journal.read())

    def _agree(self, terms: Terms) -> None:
        with self._transaction() as w:
            if self._history.terms is None:
                from whet import __version__

                data = {
                    "format": FORMAT, "version": __version__, "space": terms.space.json(), "steps": terms.steps,
                    "goals": [str(g) for g in terms.goals], "seed": terms.seed, "search": terms.search,
                    "schedule": terms.schedule, "asked": terms.asked,
                }  # fmt: skip
                self._append(w, "created", None, data)
        recorded = self._history.terms
        assert recorded is not None
        check_same(self.name, recorded, terms)
        # the recorded strategies count: "auto" may mean something else in a later version
        if terms.search != recorded.search:
            self.searcher = rebuild_search(recorded.search)
        if terms.schedule != recorded.schedule:
            self.scheduler = rebuild_schedule(recorded.schedule)

    @contextmanager
    def _transaction(self) -> Iterator[Writer]:
        """Hold the write lock, with the history up to date; what fails leaves no trace in either."""
        seen = None
        try:
            with self._lock, self.journal.write() as w:
                self._history.apply(w.read(self._history.seq))
                seen = self._history.seq
                yield w
        except BaseException:
            if seen is not None and self._history.seq > seen:
                self._reload()
            raise

    def _append(self, w: Writer, kind: str, trial: int | None, data: Mapping[str, Any]) -> Event:
        event = w.append(kind, trial, data)
        self._history.apply([event])
        return event

    def _sync(self) -> History:
        self._history.apply(self.journal.read(self._history.seq))
        return self._history

    # -- asking

    def ask(self) -> Trial | Idle:
        """Return the next trial to train, or Idle.WAIT (others must report first) or Idle.DONE (nothing is left).

        A paused trial comes back with its curve: train it on from `trial.step`. A trial whose worker disappeared
        comes back the same way.
        """
        return self.ask_within(Budget())

    def ask_within(self, budget: Budget) -> Trial | Idle:
        """Return what `ask` does, starting no trial beyond `budget.trials` in the whole study."""
        with self._lock:
            while True:
                h = self._sync()
                adopted = self._claims.adopt(h.open, self._transaction, self._give_up)
                if adopted is not None:
                    return self._ready(adopted)
                moment = h.moment()
                decision = self._decide(moment)
                if isinstance(decision, Resume):
                    if self._resume(decision.id, moment.seq):
                        return self._ready(decision.id)
                    continue
                if isinstance(decision, Idle) or not self._room(budget):
                    done = decision is Idle.DONE or not h.open
                    return Idle.DONE if done else Idle.WAIT
                started = self._start(decision, moment.seq, budget)
                if started is not None:
                    return self._ready(started)

    def _decide(self, moment: Trials) -> Start | Resume | Idle:
        if self._history.waiting:
            return Start()  # a person's guess goes first
        return self.scheduler.pick(moment, streams.rng(self.seed, moment.seq, "pick"))

    def _room(self, budget: Budget) -> bool:
        """Return whether one more trial may be started."""
        h = self._history
        if budget.trials is not None and h.started >= budget.trials:
            return False
        if h.waiting:
            return True
        sizes = [self.space.size, getattr(self.searcher, "size", lambda _: None)(self.space)]
        most = min((s for s in sizes if s is not None), default=None)
        pending = sum(not p.proposed for p in h.progress)
        return most is None or len(h.keys) + pending < most

    def _resume(self, id: int, picked: int) -> bool:
        with self._transaction() as w:
            if self._history.trials[id].state is not State.PAUSED:
                return False
            self._append(w, "resumed", id, {"seen": picked})
            self._claims.take(w, id)
        return True

    def _start(self, start: Start, picked: int, budget: Budget) -> int | None:
        with self._transaction() as w:
            h = self._history
            if not self._room(budget):
                return None
            id = h.waiting[0] if h.waiting else len(h.trials)
            self._last = h.moment()
            data: dict[str, Any] = {"seen": h.seq}
            if picked != h.seq:
                data["picked"] = picked
            if start.params is not None:
                data["params"] = dict(start.params)
            if start.parent is not None:
                data["parent"] = list(start.parent)
            if start.origin:
                data["origin"] = dict(start.origin)
            self._append(w, "asked", id, data)
            self._claims.take(w, id)
        return id

    def _ready(self, id: int) -> Trial:
        """Return trial `id` with a complete configuration, proposing one when it has none."""
        h = self._history
        moment = None if h.progress[id].proposed else self._at(h.progress[id].seen)
        while moment is not None:
            seen = moment.seq
            proposal, draw = propose(
                self.searcher, moment, id, h.progress[id].given, lambda key, seen=seen: h.keys.get(key, seen + 1) <= seen, self.seed
            )  # fmt: skip
            data = {"params": dict(proposal.params), "origin": dict(proposal.origin), "seen": seen, "draw": draw}
            with self._transaction() as w:
                # another worker may have taken the same configuration in the meantime: then look again
                if h.seq == seen or h.keys.get(configuration(proposal.params), 0) <= seen:
                    self._append(w, "proposed", id, data)
                    break
            moment = h.moment()
        self._claims.start_clock(id)
        return self._history.trials[id]

    def _at(self, seq: int) -> Trials:
        """Return the trials as they were after event `seq`."""
        if self._last is not None and self._last.seq == seq:
            return self._last
        past = History()
        past.apply(e for e in self.journal.read() if e.seq <= seq)
        return past.moment()

    def _give_up(self, w: Writer, id: int, times: int) -> None:
        error = {"type": "WorkerLost", "message": f"its worker disappeared {times} times", "traceback": ""}
        self._append(w, "failed", id, {"error": error, "transient": False})

    # -- telling

    def report(self, trial: Trial | int, step: int, value: float, *, cost: float | None = None, **metrics: float) -> Verdict:
        """Record the value after `step` steps; return what becomes of the trial.

        PAUSE and STOP are final for now: no `tell` after them. A value that is not finite makes the trial FAILED. A
        step that was reported before only adds its cost. A report for a trial that another worker has taken over, or
        that is closed, gets STOP. cost: in your unit, by default the number of steps since the last report.

        Raises StudyError for a step outside 1 to `steps`.
        """
        return self.note_report(_id(trial), step, value, cost, metrics, None)

    def note_report(
        self, trial: int, step: int, value: float, cost: float | None, metrics: Mapping[str, float], checkpoint: str | None
    ) -> Verdict:
        """Record a report together with the checkpoint that belongs to it."""
        now = self._known(trial)
        if not isinstance(step, int) or not 1 <= step <= self.steps:
            raise StudyError(f"trial {trial}: step must be a whole number from 1 to {self.steps}, got {step!r}.")
        if step <= now.step:
            return self._repeat(trial, step, 1.0 if cost is None else float(cost))
        cost = float(step - now.step) if cost is None else float(cost)
        seconds = self._claims.lap(trial)
        value = float(value)
        with self._transaction() as w:
            if not self._mine(w, trial):
                return Verdict.STOP
            if not np.isfinite(value):
                error = {"type": "NotFinite", "message": f"{self._goal_name} is {value} at step {step}", "traceback": ""}
                data = {"error": error, "transient": False, "step": step, "cost": cost}
                self._append(w, "failed", trial, data)
                self._claims.drop(w, trial)
                return Verdict.STOP
            point = Point(step, value, cost, {k: float(v) for k, v in metrics.items()})
            verdict = Verdict.GO
            if step < self.steps:
                judged = with_point(self._history.trials[trial], point)
                verdict = self.scheduler.judge(judged, self._history.moment(instead=judged))
            data = {
                "step": step, "value": value, "cost": cost, "metrics": dict(point.metrics), "verdict": verdict.value,
                "seen": self._history.seq, "seconds": seconds,
            }  # fmt: skip
            if checkpoint is not None:
                data["checkpoint"] = checkpoint
            self._append(w, "reported", trial, data)
            if verdict is not Verdict.GO:
                self._claims.drop(w, trial)
        if checkpoint is not None:
            self._tidy(trial)
        return verdict

    def _repeat(self, trial: int, step: int, cost: float) -> Verdict:
        with self._transaction() as w:
            if not self._mine(w, trial):
                return Verdict.STOP
            self._append(w, "repeated", trial, {"step": step, "cost": cost})
        return Verdict.GO

    def tell(self, trial: Trial | int, value: float, **metrics: float) -> None:
        """Record the final value of a trial and close it (FAILED when the value is not finite).

        Raises StudyError when the trial is not running: paused, stopped, closed already, or taken over.
        """
        id, value = _id(trial), float(value)
        self._known(id)
        if not np.isfinite(value):
            return self.fail(id, f"{self._goal_name} is {value}")
        with self._transaction() as w:
            self._running(w, id)
            self._append(w, "told", id, {"value": value, "metrics": {k: float(v) for k, v in metrics.items()}})
            self._claims.drop(w, id)

    def fail(self, trial: Trial | int, error: str | BaseException, *, transient: bool = False) -> None:
        """Record that a trial failed, and close it: failures are data, the study goes on.

        transient: it was not the configuration's fault (a worker was killed, a connection lost); the trial goes back
        and is tried again, at most 3 times.
        """
        id = _id(trial)
        self._known(id)
        with self._transaction() as w:
            self._running(w, id)
            again = transient and self._history.progress[id].strikes < claim.CHANCES
            self._append(w, "failed", id, {"error": describe_error(error), "transient": again})
            self._claims.drop(w, id)

    def enqueue(self, params: Params, *, note: str = "") -> Trial:
        """Put a person's guess before everything else; what it leaves out is filled in. Return the WAITING trial.

        Raises SpaceError when a name or value is not in the space.
        """
        self.space.fill(params, streams.rng(self.seed, "check"))
        with self._transaction() as w:
            id = len(self._history.trials)
            self._append(w, "enqueued", id, {"params": dict(params), "note": note})
        return self._history.trials[id]

    def annotate(self, trial: Trial | int, *, note: str | None = None, tags: list[str] | None = None) -> Trial:
        """Set a trial's note or tags (what is None stays); return the trial."""
        id = _id(trial)
        self._known(id)
        with self._transaction() as w:
            now = self._history.trials[id]
            data = {"note": now.note if note is None else note, "tags": list(now.tags if tags is None else tags)}
            self._append(w, "noted", id, data)
        return self._history.trials[id]

    def record(self, topic: str, data: Mapping[str, Any]) -> int:
        """Append a record of the recipe to the journal; return how many there are of this topic now."""
        with self._transaction() as w:
            self._append(w, "recorded", None, {"topic": topic, "data": dict(data)})
        return sum(t == topic for t, _ in self._history.records)

    def records(self, topic: str) -> list[Mapping[str, Any]]:
        """Return the records of one topic, oldest first."""
        with self._lock:
            return [d for t, d in self._sync().records if t == topic]

    # -- looking

    @property
    def trials(self) -> Trials:
        """All trials as they are now, those of other processes included."""
        with self._lock:
            return self._sync().moment()

    @property
    def best(self) -> Trial:
        """The best trial not failed at the highest step any reached; raise StudyError when there is none yet."""
        trials = self.trials
        if (best := trials.best) is None:
            raise StudyError(f"study '{self.name}': no trial has a value yet ({len(trials)} trials). {loop.commonest(trials)}")
        return best

    @property
    def spent(self) -> Budget:
        """What the study has spent so far: trials started, steps trained, seconds of work, cost."""
        with self._lock:
            h = self._sync()
            return Budget(h.started, h.steps, self.journal.spent(), h.cost)

    def checkpoints(self, trial: int) -> list[tuple[int, str]]:
        """Return (step, file name) of the checkpoints a trial can go on from, the latest last."""
        own = list(self._history.progress[trial].checkpoints)
        if not own and (parent := self._history.trials[trial].parent) is not None:
            own = [c for c in self._history.progress[parent[0]].checkpoints if c[0] == parent[1]]
        return own

    def frame(self) -> pd.DataFrame:
        """Return the trials as a table: id, state, value, step, cost, note, error, `params.*` and `metrics.*`."""
        from whet.tune.frame import frame

        return frame(self.trials)

    # -- running

    def run(
        self,
        objective: Callable[..., Any],
        *,
        trials: int | None = None,
        budget: Budget | str | float | None = None,
        workers: int = 1,
    ) -> Study:
        """Search until the budget is spent; return the study.

        objective: `f(params, run)` that iterates its `Attempt` and reports, or `f(params)` that returns the value;
        trials and budget: totals of the study over all processes and starts, e.g. "10m", "200trials", "500epochs";
        workers: processes to train in; with more than one the store must be a file and the objective importable.

        Raises StudyError when every trial failed. Ctrl-C finishes the current step; a second one stops at once.
        """
        limits = Budget.of(budget).both(Budget.of(None if trials is None else f"{trials}trials"))
        if workers == 1:
            loop.run_inline(self, objective, limits)
        else:
            loop.run_processes(self, objective, limits, workers)
        return self

    def release(self, trial: Trial | int) -> None:
        """Hand a running trial back: any worker may go on with it from its last checkpoint."""
        with self._transaction() as w:
            self._claims.drop(w, _id(trial))

    def close(self) -> None:
        """Hand back what is running and let go of the store; the study can be opened again."""
        with self._lock:
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

    # -- inside

    @property
    def _goal_name(self) -> str:
        return self.goals[0].name

    def _known(self, id: int) -> Trial:
        with self._lock:
            if id >= len(self._history.trials):
                self._sync()
            return self._history.moment().get(id) if id >= len(self._history.trials) or id < 0 else self._history.trials[id]

    def _mine(self, w: Writer, id: int) -> bool:
        return id in self._history.open and self._claims.holds(w, id)

    def _running(self, w: Writer, id: int) -> None:
        if not self._mine(w, id):
            state = self._history.trials[id].state
            why = "it was taken over by another worker" if state is State.RUNNING else f"it is {state}"
            raise StudyError(f"trial {id}: cannot be closed: {why}. Only a trial that `ask` gave you and is running can.")

    def _tidy(self, id: int) -> None:
        """Delete checkpoints that nothing can want: all but the last two of a trial, and those the scheduler keeps."""
        names = self._history.progress[id].checkpoints
        if len(names) > 2:
            kept = self.scheduler.keep(self._history.moment())
            for step, name in names[:-2]:
                if (id, step) not in kept:
                    self.files.remove(name)
            self._history.progress[id].checkpoints = tuple(c for c in names[:-2] if (id, c[0]) in kept) + names[-2:]


def _id(trial: Trial | int) -> int:
    if isinstance(trial, Idle):
        raise StudyError(f"{trial}: no trial was given. Check what ask() returned: wait on WAIT, end on DONE.")
    return trial.id if isinstance(trial, Trial) else int(trial)


def describe_error(error: str | BaseException) -> dict[str, Any]:
    """Return what the journal keeps of an error: its type, message and traceback."""
    if isinstance(error, str):
        return {"type": "Failed", "message": error, "traceback": ""}
    memory = isinstance(error, MemoryError) or "out of memory" in str(error).lower() or "can't allocate" in str(error).lower()
    return {
        "type": "OutOfMemory" if memory else type(error).__name__,
        "message": str(error) or type(error).__name__,
        "traceback": "".join(traceback.format_exception(error))[-8000:],
    }


def work(payload: Mapping[str, Any], link: Any) -> dict[str, Any]:
    """Be one worker of a study: open it, and ask and train until told to stop. Called by name in a worker process."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(payload["threads"])
    target = resolve(payload["objective"]["ref"])
    objective = target(**payload["objective"]["given"]) if "given" in payload["objective"] else target
    limits = Budget(payload["trials"], payload["steps"], None, payload["cost"])
    with Study.open(Store(payload["store"], payload["durability"]), payload["name"]) as study:
        link.emit({"began": study.worker})
        loop.drive(study, objective, limits, lambda: link.stopping)
    return {"worker": study.worker}

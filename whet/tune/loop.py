"""Running a study here: one trial after the other, until a limit is reached."""

from __future__ import annotations

import inspect
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from whet.errors import CheckpointError, StoreError, StudyError, UsageError
from whet.journal.event import Journal
from whet.journal.store import Store
from whet.tune.attempt import Attempt, Desk
from whet.tune.budget import Budget
from whet.tune.ending import Ending, note_end, say_used_up, until
from whet.tune.failure import insist
from whet.tune.space import Params, Space
from whet.tune.spending import Spending
from whet.tune.strategy import Searcher
from whet.tune.streak import Streak
from whet.tune.telling import real
from whet.tune.trial import Bound, Goal, Idle, Trial, Trials, Verdict

__all__ = ["Running", "Spending", "check_ends", "drive", "interruptible", "run_inline", "train"]

_POLL = 0.05
_TAKEN = {"self", "trial", "value"}  # what `tell` has parameters for
_CROWD = 1000  # more workers than any study has: nearer to a limit than this, those at work are counted


class Running(Desk, Protocol):
    """What running needs of a study (`whet.tune.study.Study` is one)."""

    name: str
    space: Space
    searcher: Searcher
    store: Store
    journal: Journal
    goals: tuple[Goal | Bound, ...]

    @property
    def worker(self) -> str:
        """The name of this worker."""
        ...

    @property
    def trials(self) -> Trials:
        """All trials as they are now."""
        ...

    @property
    def spent(self) -> Budget:
        """What the study has spent so far."""
        ...

    @property
    def interrupted(self) -> set[int]:
        """The running trials that nobody works on."""
        ...

    def ask_within(self, budget: Budget) -> Trial | Idle:
        """Return the next trial."""
        ...

    def tell(self, trial: Trial | int, value: float, **metrics: float) -> None:
        """Close a trial."""
        ...

    def fail(self, trial: Trial | int, error: str | BaseException, *, transient: bool = False) -> None:
        """Record a failure."""
        ...

    def record(self, topic: str, data: Mapping[str, Any]) -> int:
        """Append a record."""
        ...

    def records(self, topic: str) -> list[Mapping[str, Any]]:
        """Return the records of a topic."""
        ...

    def enqueue(self, params: Params, *, note: str = "", tags: Sequence[str] = (), again: bool = False) -> Trial:
        """Put a configuration before everything else."""
        ...

    def holds(self, trial: Trial | int) -> bool:
        """Return whether the trial is running and this worker's."""
        ...

    def release(self, trial: Trial | int) -> None:
        """Hand a trial back."""
        ...

    def hand_back(self, workers: Collection[str], error: Any = None, *, transient: bool = False) -> None:
        """Hand back the trials of processes that ended, or fail them."""
        ...


def train(
    study: Running, trial: Trial, objective: Callable[..., Any], stopping: Callable[[], bool] = lambda: False
) -> None:
    """Train one trial as far as it goes: until its verdict, its last step, or a request to stop."""
    attempt = Attempt(study, trial, stopping=stopping)
    try:
        result = objective(attempt.params, attempt) if _takes_run(objective) else objective(attempt.params)
        if attempt.verdict is not Verdict.GO:
            return
        if attempt.interrupted:
            return study.release(trial)
        value, metrics = _value(study, trial.id, result)
    except Exception as e:
        if isinstance(e, StoreError) or (isinstance(e.__cause__, OSError) and isinstance(e, CheckpointError)):
            _hand_back(study, trial)  # the disk's fault: the trial goes on when there is room again
            raise
        failure = e
        return _close(study, trial, lambda: study.fail(trial, failure))
    except BaseException:  # Ctrl-C, exit: not the trial's fault
        _hand_back(study, trial)
        raise
    if value is None and (now := study.trials[trial.id]).value is not None and now.step:
        value = now.value
    if value is None:
        kind = type(result).__name__
        error = f"the objective returned {kind} and reported nothing. Return or report a number."
        _close(study, trial, lambda: study.fail(trial, error))
    else:
        told = value
        if (attempt.ended or attempt.remains is not None) and not metrics:
            metrics = _measured(attempt, told)
        if attempt.ended and study.holds(trial):
            note_end(study, trial.id, attempt.ended, attempt.ended_at)
        _close(study, trial, lambda: study.tell(trial, told, **metrics))


def _measured(attempt: Attempt, value: float) -> dict[str, float]:
    """Return the metrics that were reported with `value`: at the step that remains, the last one if none is known, else where it was reached first."""
    same = [p for p in attempt.curve if p.value == value]
    if not same:
        return {}
    remains = attempt.curve[-1].step if attempt.remains is None else attempt.remains
    return dict(next((p for p in same if p.step == remains), same[0]).metrics)


def _close(study: Running, trial: Trial, act: Callable[[], None]) -> None:
    """Close a trial, unless another worker has taken it over in the meantime."""
    try:
        act()
    except StudyError:
        if study.holds(trial):
            raise


def _hand_back(study: Running, trial: Trial) -> None:
    try:
        study.release(trial)
    except StoreError:
        pass  # what is raised now says more; the lease lapses by itself


def _takes_run(objective: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(objective).parameters.values()
    except (TypeError, ValueError):
        return True
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    # a second parameter that has a value of its own is the user's, unless that is None: f(params, run=None)
    second = places[1:2]
    return any(p.default in (p.empty, None) or p.name == "run" for p in second) or any(
        p.kind is p.VAR_POSITIONAL for p in parameters
    )


def _value(study: Running, id: int, result: Any) -> tuple[float | None, dict[str, float]]:
    if isinstance(result, Mapping):
        name = study.goals[0].name
        if name not in result:
            raise StudyError(
                f"objective: returned {sorted(map(str, result))}, but the goal is {name}. Return it under that name."
            )
        numbers = {str(k): real(id, str(k), v) for k, v in result.items()}
        value = numbers.pop(name)
        if taken := _TAKEN & numbers.keys():
            raise StudyError(
                f"objective: a metric cannot be called {' or '.join(sorted(taken))}. Return it under another name."
            )
        return value, numbers
    if isinstance(result, bool) or result is None:
        return None, {}
    try:
        return float(result), {}
    except (TypeError, ValueError):
        return None, {}


def drive(
    study: Running,
    objective: Callable[..., Any],
    limits: Budget,
    stopping: Callable[[], bool],
    *,
    streak: Streak | None = None,
) -> None:
    """Ask and train until nothing is left, a limit or the study's criterion is reached, or `stopping` says so.

    streak: what sees that nothing works any more, where no other process does; then StudyError is raised.
    """
    ending = Ending(study)

    def enough() -> bool:
        return stopping() or ending.reached() or _spent(study, limits)

    while not enough():
        ending.look()
        trial = study.ask_within(limits)
        if trial is Idle.DONE:
            return
        if isinstance(trial, Idle):
            time.sleep(_POLL)
            continue
        train(study, trial, objective, enough)
        if streak is not None and streak.over():
            if streak.why:
                raise StudyError(streak.why)
            return


def _spent(study: Running, limits: Budget) -> bool:
    """Return whether the limits leave no room for one more step, those that others are in the middle of included.

    A step in the making counts as one step, and costs what a step has cost so far on average.
    """
    if limits.steps is None and limits.cost is None:
        return False
    spent = study.spent
    steps, cost = spent.steps or 0, spent.cost or 0.0
    mean = cost / steps if steps else 0.0
    others = 0
    if not _below(limits, steps + _CROWD, cost + _CROWD * mean):  # near the end: look who else is at work
        resting = study.interrupted
        others = sum(
            lease.worker != study.worker and lease.trial not in resting for lease in study.journal.leases().values()
        )
    return not _below(limits, steps + others, cost + others * mean)


def _below(limits: Budget, steps: float, cost: float) -> bool:
    return (limits.steps is None or steps < limits.steps) and (limits.cost is None or cost < limits.cost)


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Make the first Ctrl-C set an event and the second one raise KeyboardInterrupt."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def handle(signum: int, frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def check_ends(study: Running, limits: Budget) -> None:
    """Raise UsageError when a run would never end."""
    if until(study) not in ("", "never"):
        return
    if not limits and study.space.size is None and getattr(study.searcher, "size", lambda _: None)(study.space) is None:
        raise UsageError(f'study "{study.name}": would run for ever. Give trials=100 or budget="10m".')


def run_inline(study: Running, objective: Callable[..., Any], limits: Budget) -> None:
    """Run in this process; the first Ctrl-C ends it after the current step and is raised again at the end."""
    check_ends(study, limits)
    spending = Spending(study, limits)
    try:
        with interruptible() as asked:
            streak = Streak(study, limits)
            drive(study, objective, limits, lambda: asked.is_set() or spending.over, streak=streak)
        if asked.is_set():
            raise KeyboardInterrupt
    finally:
        spending.close()
    insist(study.name, study.trials)
    say_used_up(study, limits)

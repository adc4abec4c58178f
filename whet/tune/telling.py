"""Telling what became of a trial: reports and their verdicts, final values, failures."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from numbers import Integral
from typing import Any

from whet.errors import StudyError, one_line
from whet.journal.checkpoint import Files
from whet.journal.event import Writer
from whet.tune import claim
from whet.tune.book import Book
from whet.tune.failure import describe
from whet.tune.history import with_point
from whet.tune.strategy import Scheduler
from whet.tune.trial import Idle, Point, State, Trial, Verdict

__all__ = ["Telling", "number", "real"]


def number(trial: Trial | int) -> int:
    """Return a trial's id; raise StudyError for an Idle, which is no trial.

    >>> number(Trial(3)), number(3)
    (3, 3)
    """
    if isinstance(trial, Idle):
        raise StudyError(f"{trial}: no trial was given. Check what ask() returned: wait on WAIT, end on DONE.")
    return trial.id if isinstance(trial, Trial) else int(trial)


class Telling:
    """Takes in what a worker says of its trials."""

    def __init__(self, book: Book, claims: claim.Claims, scheduler: Scheduler, files: Files) -> None:
        self._book, self._claims, self._scheduler, self._files = book, claims, scheduler, files

    def known(self, id: int) -> Trial:
        """Return the trial; raise StudyError when there is none."""
        with self._book.lock:
            if not 0 <= id < len(self._book.history.trials):
                self._book.sync()
            trials = self._book.history.trials
            return trials[id] if 0 <= id < len(trials) else self._book.history.moment().get(id)

    def report(
        self,
        id: int,
        step: int,
        value: float,
        *,
        cost: float | None,
        metrics: Mapping[str, float],
        checkpoint: str | None,
    ) -> Verdict:
        """Record a report and judge it."""
        now, book = self.known(id), self._book
        steps = self._steps
        if not isinstance(step, (int, Integral)) or isinstance(step, bool) or not 1 <= step <= steps:
            raise StudyError(f"trial {id}: step must be a whole number from 1 to {steps}, got {step!r}.")
        step, value = int(step), real(id, self._goal, value)
        if cost is not None and not 0 <= (cost := real(id, "cost", cost)) < math.inf:
            raise StudyError(f"trial {id}: cost must be a number of at least 0, got {cost}.")
        if step <= now.step:
            return self._repeat(id, step, 1.0 if cost is None else cost)
        cost = float(step - now.step) if cost is None else cost
        point = Point(step, value, cost, {k: real(id, k, v) for k, v in metrics.items()})
        seconds = self._claims.lap(id)
        with book.writing() as w:
            if not self._mine(w, id):
                return Verdict.STOP
            if not math.isfinite(value):
                others = [k for k, v in point.metrics.items() if not math.isfinite(v)]
                also = f", and so is {' and '.join(others)}" if others else ""
                error = self._cause(id, self._not_finite(f"{value} at step {step}{also}"))
                book.append(w, "failed", id, {"error": error, "transient": False, "step": step, "cost": cost})
                self._claims.drop(w, id)
                return Verdict.STOP
            verdict = Verdict.GO
            if step < steps:
                judged = with_point(book.history.trials[id], point)
                verdict = self._scheduler.judge(judged, book.history.moment(instead=judged))
            data = {
                "step": step, "value": value, "cost": cost, "metrics": dict(point.metrics), "verdict": verdict.value,
                "seen": book.history.seq, "seconds": seconds,
            }  # fmt: skip
            if checkpoint is not None:
                data["checkpoint"] = checkpoint
            book.append(w, "reported", id, data)
            if verdict is Verdict.GO:
                self._claims.forgive(w, id)
            else:
                self._claims.drop(w, id)
        if checkpoint is not None:
            self._tidy(id)
        return verdict

    def _repeat(self, id: int, step: int, cost: float) -> Verdict:
        with self._book.writing() as w:
            if not self._mine(w, id):
                return Verdict.STOP
            self._book.append(w, "repeated", id, {"step": step, "cost": cost})
        return Verdict.GO

    def tell(self, id: int, value: float, metrics: Mapping[str, float]) -> None:
        """Close a trial with its final value."""
        self.known(id)
        value = real(id, self._goal, value)
        data = {"value": value, "metrics": {k: real(id, k, v) for k, v in metrics.items()}}
        with self._book.writing() as w:
            self._running(w, id)
            if math.isfinite(value):
                self._book.append(w, "told", id, data)
            else:
                self._book.append(
                    w, "failed", id, {"error": self._cause(id, self._not_finite(value)), "transient": False}
                )
            self._claims.drop(w, id)

    def fail(self, id: int, error: str | BaseException, *, transient: bool) -> None:
        """Record a failure; after a transient one the trial is tried again, unless it is the third in a row."""
        self.known(id)
        with self._book.writing() as w:
            self._running(w, id)
            again = transient and self._book.history.progress[id].strikes + 1 < claim.CHANCES
            self._book.append(w, "failed", id, {"error": self._cause(id, describe(error)), "transient": again})
            self._claims.drop(w, id)

    def hand_back(self, workers: Collection[str], error: Mapping[str, Any] | None, *, transient: bool) -> None:
        """End the leases of other processes, by name; with an error fail their trials, after a transient one at the third."""
        with self._book.writing() as w:
            failing = self._claims.hand_back(w, workers, self._book.history.open, error, transient=transient)
            for id, lapses in failing.items():
                times = f", {lapses} times" if transient else ""
                cause = {**(error or {}), "message": f"{(error or {}).get('message', '')}{times}"}
                self._book.append(w, "failed", id, {"error": cause, "transient": False})

    def annotate(self, id: int, note: str | None, tags: list[str] | None) -> Trial:
        """Set a trial's note or tags (what is None stays); return the trial."""
        self.known(id)
        with self._book.writing() as w:
            now = self._book.history.trials[id]
            data = {"note": now.note if note is None else note, "tags": list(now.tags if tags is None else tags)}
            self._book.append(w, "noted", id, data)
            return self._book.history.trials[id]

    @property
    def _steps(self) -> int:
        terms = self._book.history.terms
        return terms.steps if terms else 1

    @property
    def _goal(self) -> str:
        terms = self._book.history.terms
        return terms.goals[0].name if terms else "value"

    def _not_finite(self, value: object) -> dict[str, str]:
        return {"type": "NotFinite", "message": f"{self._goal} is {value}", "traceback": ""}

    def _cause(self, id: int, error: Mapping[str, Any]) -> dict[str, Any]:
        """Return an error with what the attempt cost: seconds, and its peak of memory."""
        return {**error, **self._claims.measured(id)}

    def holds(self, id: int) -> bool:
        """Return whether the trial is running and its lease this worker's."""
        self.known(id)
        with self._book.writing() as w:
            return self._mine(w, id)

    def _mine(self, w: Writer, id: int) -> bool:
        return id in self._book.history.open and self._claims.holds(w, id)

    def _running(self, w: Writer, id: int) -> None:
        if not self._mine(w, id):
            state = self._book.history.trials[id].state
            why = "it was taken over by another worker" if state is State.RUNNING else f"it is {state}"
            raise StudyError(
                f"trial {id}: cannot be closed: {why}. Only a trial that `ask` gave you and is running can."
            )

    def _tidy(self, id: int) -> None:
        """Delete checkpoints that nothing can want: all but the last two of a trial, and those the scheduler keeps."""
        progress = self._book.history.progress[id]
        names = progress.checkpoints
        if len(names) > 2:
            kept = self._scheduler.keep(self._book.history.moment())
            for step, name in names[:-2]:
                if (id, step) not in kept:
                    self._files.remove(name)
            progress.checkpoints = tuple(c for c in names[:-2] if (id, c[0]) in kept) + names[-2:]


def real(id: int, name: str, value: Any) -> float:
    """Return `value` as a float; raise StudyError, naming the trial and the metric, when it is no number.

    >>> real(0, "loss", "low")
    Traceback (most recent call last):
    ...
    whet.errors.StudyError: trial 0: loss must be one number, got 'low' (str).
    """
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor of several values
        kind, shown = type(value).__name__, one_line(repr(value))[:80]
        raise StudyError(f"trial {id}: {name} must be one number, got {shown} ({kind}).") from None

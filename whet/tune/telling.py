"""Telling what became of a trial: reports and their verdicts, final values, failures."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from numbers import Integral
from typing import Any

from whet.errors import StudyError, one_line
from whet.journal.event import Writer
from whet.tune import claim
from whet.tune.book import Book
from whet.tune.draft import Draft
from whet.tune.failure import describe
from whet.tune.guess import RERACE
from whet.tune.history import with_point
from whet.tune.keeping import Keeping, Saved
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


_STATES = {Verdict.GO: State.RUNNING, Verdict.PAUSE: State.PAUSED, Verdict.STOP: State.STOPPED}


class Telling:
    """Takes in what a worker says of its trials."""

    def __init__(self, book: Book, claims: claim.Claims, scheduler: Scheduler, keeping: Keeping) -> None:
        self._book, self._claims, self._scheduler, self._keeping = book, claims, scheduler, keeping

    def known(self, id: int) -> Draft:
        """Return the trial as the fold has it; raise StudyError when there is none."""
        with self._book.lock:
            if not 0 <= id < len(self._book.history.progress):
                self._book.sync()
            drafts = self._book.history.progress
            if not 0 <= id < len(drafts):
                self._book.history.moment().get(id)  # says which there are
            return drafts[id]

    def report(
        self,
        id: int,
        step: int,
        value: float,
        *,
        cost: float | None,
        metrics: Mapping[str, float],
        checkpoint: Saved | None,
    ) -> Verdict:
        """Record a report and judge it."""
        before = self.known(id).step
        steps = self._steps
        if not isinstance(step, (int, Integral)) or isinstance(step, bool) or not 1 <= step <= steps:
            raise StudyError(f"trial {id}: step must be a whole number from 1 to {steps}, got {step!r}.")
        step, value = int(step), real(id, self._goal, value)
        if cost is not None and not 0 <= (cost := real(id, "cost", cost)) < math.inf:
            raise StudyError(f"trial {id}: cost must be a number of at least 0, got {cost}.")
        if step <= before:
            return self._repeat(id, step, 1.0 if cost is None else cost)
        numbers = {k: real(id, k, v) for k, v in metrics.items()}
        seconds = self._claims.lap(id)
        spent = {} if math.isfinite(value) else self._claims.measured(id)
        old: list[str] = []

        def write(w: Writer) -> Verdict:
            old.clear()
            now = self._held(w, id)
            if now is None:
                return Verdict.STOP
            paid = float(step - now.step) if cost is None else cost
            if not math.isfinite(value):
                others = [k for k, v in numbers.items() if not math.isfinite(v)]
                also = f", and so is {' and '.join(others)}" if others else ""
                error = self._not_finite(f"{value} at step {step}{also}")
                old.extend(self._fail(w, id, error | spent, {"step": step, "cost": paid}))
                old.extend([checkpoint.name] if checkpoint else [])  # no event will name it
                return Verdict.STOP
            verdict = Verdict.GO
            judged = with_point(now.trial, Point(step, value, paid, numbers))
            if step < steps and RERACE not in judged.tags:
                verdict = self._scheduler.judge(judged, self._book.history.moment(instead=judged))
            # what has its usual value is left out: a study of millions of reports is read quicker (see `Event`)
            data: dict[str, Any] = {"step": step, "value": value, "seconds": seconds}
            if cost is not None and cost != step - now.step:
                data["cost"] = cost
            if numbers:
                data["metrics"] = numbers
            if verdict is not Verdict.GO:
                data["verdict"] = verdict.value
            if checkpoint is not None:
                data |= {"checkpoint": checkpoint.name, "bytes": checkpoint.bytes}
                after = replace(judged, state=_STATES[verdict])
                old.extend(self._keeping.outdated(after, (step, checkpoint.name)))
                if old:
                    data["dropped"] = list(old)
            self._book.append(w, "reported", id, data)
            if verdict is not Verdict.GO:
                self._claims.drop(w, id)
            elif w.leases()[id].lapses:
                self._claims.forgive(w, id)
            return verdict

        verdict = self._book.change(write)
        self._keeping.remove(old)
        return verdict

    def _repeat(self, id: int, step: int, cost: float) -> Verdict:
        def write(w: Writer) -> Verdict:
            if self._held(w, id) is None:
                return Verdict.STOP
            self._book.append(w, "repeated", id, {"step": step, "cost": cost})
            return Verdict.GO

        return self._book.change(write)

    def tell(self, id: int, value: float, metrics: Mapping[str, float]) -> None:
        """Close a trial with its final value."""
        self.known(id)
        value = real(id, self._goal, value)
        numbers = {k: real(id, k, v) for k, v in metrics.items()}
        spent = self._claims.measured(id)

        def write(w: Writer) -> list[str]:
            self._running(w, id)
            if not math.isfinite(value):
                return self._fail(w, id, self._not_finite(value) | spent)
            self._book.append(w, "told", id, {"value": value, "metrics": numbers})
            self._claims.drop(w, id)
            return []

        self._keeping.remove(self._book.change(write))

    def fail(self, id: int, error: str | BaseException | Mapping[str, Any], *, transient: bool) -> None:
        """Record a failure; after a transient one the trial is tried again, unless it has used up its chances."""
        self.known(id)
        described = (dict(error) if isinstance(error, Mapping) else describe(error)) | self._claims.measured(id)

        def write(w: Writer) -> list[str]:
            self._running(w, id)
            if transient and self._book.history.progress[id].strikes + 1 < claim.CHANCES:
                self._book.append(w, "failed", id, {"error": described, "transient": True})
                self._claims.drop(w, id)
                return []
            return self._fail(w, id, described)

        self._keeping.remove(self._book.change(write))

    def _fail(self, w: Writer, id: int, error: Mapping[str, Any], more: Mapping[str, Any] | None = None) -> list[str]:
        """Close a trial as failed; return the names of the checkpoints that go with it."""
        old = self._keeping.outdated(replace(self._book.history.trials[id], state=State.FAILED))
        data = {"error": error, "transient": False, **(more or {}), **({"dropped": old} if old else {})}
        self._book.append(w, "failed", id, data)
        self._claims.drop(w, id)
        return old

    def hand_back(self, workers: Collection[str], error: Mapping[str, Any] | None, *, transient: bool) -> None:
        """End the leases of other processes, by name; with an error fail their trials, after a transient one when its chances are used up."""

        def write(w: Writer) -> list[str]:
            old: list[str] = []
            failing = self._claims.hand_back(w, workers, self._book.history.open, error, transient=transient)
            for id, lapses in failing.items():
                times = f", {lapses} times" if transient else ""
                old += self._fail(w, id, {**(error or {}), "message": f"{(error or {}).get('message', '')}{times}"})
            return old

        self._keeping.remove(self._book.change(write))

    def annotate(self, id: int, note: str | None, tags: list[str] | None) -> Trial:
        """Set a trial's note or tags (what is None stays); return the trial."""
        self.known(id)

        def write(w: Writer) -> Trial:
            now = self._book.history.progress[id]
            data = {"note": now.note if note is None else note, "tags": list(now.tags if tags is None else tags)}
            self._book.append(w, "noted", id, data)
            return now.trial

        return self._book.change(write)

    @property
    def _steps(self) -> int:
        terms = self._book.history.terms
        return terms.steps if terms else 1

    @property
    def _goal(self) -> str:
        terms = self._book.history.terms
        return terms.goals[0].name if terms else "value"

    def _not_finite(self, value: object) -> dict[str, Any]:
        return {"type": "NotFinite", "message": f"{self._goal} is {value}", "traceback": ""}

    def holds(self, id: int) -> bool:
        """Return whether the trial is running and its lease this worker's."""
        return self._book.change(lambda w: self._held(w, id) is not None)

    def _held(self, w: Writer, id: int) -> Draft | None:
        """Return the trial when it is running and this worker's, else None.

        Its lease may be this worker's while it has no configuration: a crash of the database lost the end of the record. Then it is
        let go, and who asks next gives it one.
        """
        draft = self._book.history.progress[id] if id in self._book.history.open else None
        if draft is not None and draft.state is State.RUNNING and self._claims.holds(w, id):
            return draft
        w.after(lambda: self._claims.let_go(id))
        return None

    def _running(self, w: Writer, id: int) -> None:
        if self._held(w, id) is None:
            state = self._book.history.progress[id].state
            why = "it was taken over by another worker" if state is State.RUNNING else f"it is {state}"
            raise StudyError(
                f"trial {id}: cannot be closed: {why}. Only a trial that `ask` gave you and is running can."
            )


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

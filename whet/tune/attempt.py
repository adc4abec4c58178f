"""One stretch of one trial: what an objective is handed beside its configuration."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from whet.errors import CheckpointError, StudyError, one_line
from whet.tune.codec import pack, unpack
from whet.tune.goal import Bound, Goal
from whet.tune.keeping import Keeping, Saved
from whet.tune.trial import Point, State, Trial, Verdict

__all__ = ["Attempt"]


class Desk(Protocol):
    """The part of a study an attempt needs: where to report, and which checkpoints there are."""

    steps: int
    goals: tuple[Goal | Bound, ...]
    keeping: Keeping

    def checkpoints(self, trial: int) -> list[tuple[int, str]]:
        """Return (step, file name) of the trial's checkpoints, the latest last."""
        ...

    def note_report(
        self,
        trial: int,
        step: int,
        value: float,
        *,
        cost: float | None,
        metrics: dict[str, float],
        checkpoint: Saved | None,
    ) -> Verdict:
        """Record a report and return its verdict."""
        ...


class Attempt:
    """The steps a trial has still to do, one at a time, and where to report each.

    Iterate it: it yields the numbers of the steps to train, from where the trial stands until the verdict is no longer
    GO. `load` returns the state of the last checkpoint, or None when the trial starts afresh; `report` records the
    value after the current step, with a state to go on from; `curve` has the points so far, and `end` closes the trial
    before its last step, for criteria of `whet.stop`. `gradient` says whether the searcher wants one. Without states a trial that was paused or interrupted
    starts again at step 1: the points it already has stand, and the cost of repeating them is counted.

    >>> import whet
    >>> def objective(params, run):
    ...     total = run.load() or 0
    ...     for step in run:
    ...         total += params["x"]
    ...         run.report(total, total)
    >>> study = whet.Study(whet.Space(x=whet.Float(0, 1)), goal="max total", schedule="full", steps=3, seed=0)
    >>> study.run(objective, trials=2).best.step
    3
    """

    def __init__(self, desk: Desk, trial: Trial, *, stopping: Callable[[], bool] = lambda: False) -> None:
        self.trial = trial
        self.params = dict(trial.params)
        self.verdict = Verdict.GO
        self.interrupted = False
        self.ended = ""
        self.ended_at = 0
        self.remains: int | None = None  # the step whose weights the model was given back at the end
        self.curve: list[Point] = list(trial.curve)
        self._desk = desk
        self._stopping = stopping
        self._start = 0  # the step the state in hand stands at
        self._spoilt = False  # whether a checkpoint was passed over
        self._step: int | None = None
        self._reported = False

    @property
    def id(self) -> int:
        """The trial's number."""
        return self.trial.id

    @property
    def gradient(self) -> str:
        """How a task's run is to find the gradient that the searcher goes by, "" when it goes by none: then there is none to report."""
        return str(getattr(getattr(self._desk, "searcher", None), "gradient", ""))

    @property
    def steps(self) -> int:
        """The most steps a trial of this study may do."""
        return self._desk.steps

    @property
    def goals(self) -> tuple[Goal | Bound, ...]:
        """What the study goes by: the first goal is the value to report, the others are metrics to report beside it."""
        return tuple(self._desk.goals)

    @property
    def over(self) -> bool:
        """Whether no further step is to be trained; for loops that are another's and cannot iterate this.

        A request to stop counts, and is noted as by iterating.
        """
        if self.verdict is not Verdict.GO or self.ended or self.last >= self.steps:
            return True
        self.interrupted = self.interrupted or self._stopping()
        return self.interrupted

    @property
    def last(self) -> int:
        """The last step that was done, in this attempt or before it."""
        return self._step or self._start

    @property
    def complete(self) -> bool:
        """Whether the last step was done and reported."""
        return self._reported and self.last >= self.steps

    def load(self) -> Any | None:
        """Return the state of the latest checkpoint that is whole, or None when there is none.

        A damaged checkpoint is skipped with a warning and the one before it used.
        """
        if self._step is not None:
            raise StudyError(f"trial {self.id}: load() after the first step. Call it before the loop.")
        for step, name in reversed(self._desk.checkpoints(self.id)):
            try:
                state = unpack(self._desk.keeping.load(name))
            except CheckpointError as e:
                self._spoilt = True
                warnings.warn(f"trial {self.id}: {e} Using the one before it.", RuntimeWarning, stacklevel=2)
                continue
            self._start = step
            return state
        return None

    def __iter__(self) -> Iterator[int]:
        self._desk.keeping.check()
        known = self.trial.step
        own = self.trial.parent is None or known > self.trial.curve[0].step
        if known > self._start and not own and not self._spoilt:
            warnings.warn(
                "a trial that was to go on from another's weights trains from step 1: that one left no state there. "
                "Give one to run.report(value, state) at every step, begin with what run.load() returns, and have room for them.",
                RuntimeWarning,
                stacklevel=2,
            )
        elif known > self._start and not self._spoilt:
            # the same text for every trial: Python shows a warning once
            warnings.warn(
                "a paused trial trains its first steps again: it did not go on from a state. "
                "Give one to run.report(value, state), and begin with what run.load() returns.",
                RuntimeWarning,
                stacklevel=2,
            )
        while not self.over:
            self._step, self._reported = self.last + 1, False
            yield self._step
        self._reported = self._reported or self._start >= self.steps  # nothing was left to do

    def report(
        self,
        value: float,
        state: Any = None,
        *,
        cost: float | None = None,
        gradient: dict[str, float] | None = None,
        **metrics: float,
    ) -> Verdict:
        """Record the value after the current step; return whether to go on (iteration ends by itself when not).

        state: what `load` returns if the trial is resumed: a tree of dicts, lists, numbers, text, arrays and tensors;
        cost: what the step cost in your unit (default: 1); gradient: d value / d parameter, for
        searchers that follow gradients; metrics: other numbers, by name.

        Raises CheckpointError when the state holds something else, StudyError outside the loop.
        """
        if self._step is None or self._reported:
            why = "outside its loop" if self._step is None else f"a second time for step {self._step}"
            raise StudyError(f"trial {self.id}: report() {why}. Report once inside `for step in run:`.")
        checkpoint = None
        if state is not None:
            checkpoint = self._desk.keeping.save(self.id, self._step, pack(state))
        numbers = metrics | {f"gradient.{k}": v for k, v in (gradient or {}).items()}
        self.verdict = self._desk.note_report(
            self.id, self._step, value, cost=cost, metrics=numbers, checkpoint=checkpoint
        )
        self._reported = True
        if self._step > (self.curve[-1].step if self.curve else 0):
            self.curve.append(Point(self._step, float(value), 1.0 if cost is None else cost, metrics))
        return self.verdict

    def end(self, why: str) -> None:
        """End the trial before its last step, for the reason `why`: no further step is handed out.

        The trial counts as done, at its last step, with the value the objective returns (the last reported one when it
        returns none): return that of the state that remains. The reason is kept in the journal.

        >>> import whet
        >>> from whet.stop import Patience
        >>> def objective(params, run):
        ...     stop = Patience(2)
        ...     for step in run:
        ...         run.report(abs(step - 3))
        ...         if why := stop(run.curve):
        ...             run.end(why)
        ...     return min(point.value for point in run.curve)
        >>> study = whet.Study(whet.Space(x=whet.Float(0, 1)), schedule="full", steps=9).run(objective, trials=1)
        >>> study.best.value, study.spent.steps, study.records("ended")[0]["why"]
        (0.0, 5, 'no improvement on 0 (step 3) in 2 points')
        """
        self.ended = one_line(str(why)) or "ended"
        begun = self._step is not None and not self._reported
        self.ended_at = self.last - begun  # the last step that was done

    def __repr__(self) -> str:
        return f"<attempt at trial {self.id}, step {self.last} of {self.steps}>"


def finished(trial: Trial) -> bool:
    """Return whether nothing is left to do for the trial."""
    return trial.state in (State.DONE, State.STOPPED, State.FAILED)

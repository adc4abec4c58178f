"""What every hook does, whatever the framework: report, stop, save, go back to the best weights."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from whet.errors import DivergedError, MissingExtra, StudyError, UsageError, nearest
from whet.stop import Stop, best, divergence, parse
from whet.tune.goal import Goal, parse_goals
from whet.tune.trial import Point

__all__ = ["Follow", "Followed", "Stretch", "Trained", "missing"]


class Stretch(Protocol):
    """What a hook needs of the `run` that an objective is handed; `whet.tune.attempt.Attempt` is one."""

    curve: list[Point]
    ended: str
    remains: int | None

    @property
    def goals(self) -> tuple[Any, ...]: ...
    @property
    def over(self) -> bool: ...
    @property
    def last(self) -> int: ...
    @property
    def steps(self) -> int: ...
    def load(self) -> Any | None: ...
    def __iter__(self) -> Iterator[int]: ...
    def report(self, value: float, state: Any = None, /, *, cost: float | None = None, **metrics: float) -> Any: ...
    def end(self, why: str, /) -> None: ...


class Trained(Protocol):
    """A training in a framework's hands."""

    def state(self) -> Any:
        """Return all that is needed to go on from here: a tree of numbers, text, arrays and tensors."""

    def restore(self, state: Any) -> None:
        """Go on from a state, in a training that was built afresh."""

    def weights(self) -> Any:
        """Return copies of the weights."""

    def put(self, weights: Any) -> None:
        """Set the weights."""


_TAKEN = ("self", "trial", "state", "value", "cost", "gradient")  # what `report` and `tell` have parameters for


class Follow:
    """The part of a hook that knows no framework. One validation is one step of the trial.

    run: what the objective was handed, or None outside a study; goal: the metric that is reported and its direction, as
    for a study ("min val_loss"), None: the study's; stop: a criterion or its text (see `whet.stop`); save: whether the state
    goes into the study at every step, so that a paused trial goes on instead of starting again.

    points: what was validated, what was before a resume included, at a cost of 1 each as in a study; why: the reason when
    `stop` ended it, else "". A `time` written as text counts the seconds of training, those before a resume included.
    """

    def __init__(self, run: Stretch | None, goal: str | None, stop: Stop | str | None, save: bool) -> None:
        self.run, self.save = run, save
        self.goal = _goal(run, goal)
        self.points: list[Point] = list(run.curve) if run is not None else []
        self.why = ""
        self._failed = False
        if isinstance(stop, str):
            stop = parse(stop, self.goal.better, clock=self._spent, start=0.0)
        self._stop = stop
        self._best: tuple[int, Any] | None = None  # the step of the best point and the weights there
        self._back: Point | None = None  # the point whose weights were put back
        self._steps: Iterator[int] | None = None
        self._open: int | None = (
            None  # the step that is being trained; one that was begun is reported, whatever is asked
        )
        self._trained: Trained | None = None
        self._seconds, self._began = 0.0, math.nan  # of training before a resume, and since when this one trains
        self._closed = False

    @property
    def best(self) -> Point | None:
        """The first point with the best finite value."""
        found = best(self.points, self.goal.better)
        return found if isinstance(found, Point) else None

    @property
    def value(self) -> float | None:
        """The value of the weights that the model has: what an objective returns. None when nothing was validated."""
        if self._back is not None:
            return self._back.value
        return self.points[-1].value if self.points else None

    def begin(self, trained: Trained) -> bool:
        """Take in a training before its first step, and go on from the trial's checkpoint; return whether anything is left to do."""
        if self._trained is not None:
            raise UsageError("hook: was used for a training already. Make one for each training.")
        self._trained = trained
        if self.run is None:
            self._began = time.monotonic()
            return True
        state = self.run.load()
        # the points of the training that is gone on with: without its state, or with one before a damaged one, the others come again
        self.points = [p for p in self.points if p.step <= self.run.last]
        if state is not None:
            self._restore(trained, state)
        self._began = time.monotonic()
        self._steps = iter(self.run)
        self._ask()  # a criterion that was met just before an interruption
        return self._further()

    def _restore(self, trained: Trained, state: Any) -> None:
        if not isinstance(state, Mapping) or "training" not in state:
            raise UsageError(
                "hook: the trial's checkpoint is none of a hook's, so nothing can go on from it. Use a new study, or the "
                "objective that wrote it."
            )
        trained.restore(state["training"])
        self._seconds = float(state.get("seconds", 0.0))
        if self._stop is None or self.best is None:
            return
        kept = state.get("best")
        if self.best is self.points[-1]:
            self._best = self.best.step, trained.weights()
        elif kept is not None and kept["step"] == self.best.step:
            self._best = self.best.step, kept["weights"]

    def point(self, metrics: Mapping[str, Any]) -> bool:
        """Take in a validation's metrics; return whether to train on.

        Raises UsageError when the goal's metric is not among them.
        """
        numbers = _numbers(metrics)
        if self.goal.name not in numbers:
            raise UsageError(
                f"hook: the training reports no {self.goal.name}, got {', '.join(sorted(numbers)) or 'no metrics at all'}."
                f'{nearest(self.goal.name, numbers)} Name one of them: goal="{self.goal.better} NAME".'
            )
        value = numbers.pop(self.goal.name)
        numbers = {k: v for k, v in numbers.items() if k not in _TAKEN}
        step = self.points[-1].step + 1 if self.points else 1
        if self._steps is not None:
            if self._open is None:  # the framework trained on
                return False
            step = self._open
        self.points.append(Point(step, value, 1.0, numbers))
        if self._stop is not None and self.best is self.points[-1] and self._trained is not None:
            self._best = step, self._trained.weights()
        if self.run is not None:
            self._open = None
            self.run.report(value, self._state(step), **numbers)
            if not math.isfinite(value):  # the trial has failed
                return False
        self._ask()
        return self._further()

    def close(self) -> None:
        """Take in that the training ended: by `stop` (the best weights come back), the study's verdict, or by itself.

        Raises DivergedError when a `diverged` ended it within a study, StudyError when nothing was validated.
        """
        if self._closed or self._trained is None:
            return
        self._closed = True
        if self._failed and self.run is not None:
            raise DivergedError(self.why)
        if self.why and not self._failed and self._best is not None and self.best is not None:
            if self._best[0] == self.best.step:  # it is not where `stop` is new to a trial
                self._trained.put(self._best[1])
                self.back(self.best)
        run = self.run
        if run is None and self._stop is not None and not self.points:
            warnings.warn(
                "hook: the training ended and nothing was validated, so `stop` was never asked. Give it validation data.",
                RuntimeWarning,
                stacklevel=3,
            )
        if run is None or self._open is None:
            return
        if not self.points:
            raise StudyError("hook: the training ended and nothing was validated. Give it validation data.")
        run.end(f"the training ended by itself after {self.points[-1].step} of {run.steps} steps")

    def back(self, point: Point) -> None:
        """Take in that the model has the weights of an earlier point again."""
        self._back = point
        if self.run is not None:
            self.run.remains = point.step

    def _further(self) -> bool:
        """Return whether to train on, and begin the next step if so."""
        if self._steps is not None and not self._failed:
            self._open = next(self._steps, None)
            return self._open is not None
        return not self.why

    def _state(self, step: int) -> Any:
        if not self.save or self._trained is None:
            return None
        state = {"training": self._trained.state()}
        if self._stop is not None:
            state["seconds"] = self._spent()
        if self._best is not None and self._best[0] != step:
            state["best"] = {"step": self._best[0], "weights": self._best[1]}
        return state

    def _spent(self) -> float:
        """Return the seconds of training until now."""
        return self._seconds + (0.0 if math.isnan(self._began) else time.monotonic() - self._began)

    def _ask(self) -> None:
        why = self._stop(self.points) if self._stop is not None and self.points else None
        if not why or self._stop is None:
            return
        failure = divergence(self._stop, self.points)
        self.why, self._failed = failure or why, failure is not None
        if self.run is not None and not self._failed and not self.run.over:
            self.run.end(self.why)


class Followed:
    """What every hook tells of its training; `_follow` is its `Follow`.

    >>> class Hook(Followed):
    ...     def __init__(self):
    ...         self._follow = Follow(None, "min loss", None, True)
    >>> Hook().value, Hook().points, Hook().why
    (None, [], '')
    """

    _follow: Follow

    @property
    def value(self) -> float | None:
        """The value of the weights that the model has: what an objective returns. None when nothing was validated."""
        return self._follow.value

    @property
    def best(self) -> Point | None:
        """The first point with the best finite value."""
        return self._follow.best

    @property
    def points(self) -> list[Point]:
        """What was validated, what was before a resume included."""
        return self._follow.points

    @property
    def why(self) -> str:
        """The reason when `stop` ended the training, else ""."""
        return self._follow.why


def _goal(run: Stretch | None, text: str | None) -> Goal:
    own = run.goals[0] if run is not None else None
    asked = parse_goals(text)[0] if text is not None else own
    if not isinstance(asked, Goal):  # the first is never a bound
        raise UsageError('hook: outside a study it needs the goal, e.g. goal="min val_loss".')
    if own is not None and asked.better != own.better:
        raise UsageError(
            f'hook: the goal "{asked}" has not the direction of the study\'s, "{own}". Make them the same.'
        )
    return asked


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return what is one number, under its name as text."""
    found = {}
    for name, value in metrics.items():
        if isinstance(value, str):
            continue
        try:
            # `item`: of arrays and tensors of one element, those too that float() refuses or warns of
            found[str(name)] = float(value.item() if hasattr(value, "item") else value)
        except (TypeError, ValueError, RuntimeError, OverflowError):
            continue
    return found


def missing(module: str, package: str, error: ImportError) -> MissingExtra:
    """Return the error of a hook whose framework is not installed."""
    return MissingExtra(
        f"whet.train.hooks.{module}: needs {package}, which cannot be imported ({error}). Install it: pip install {package}"
    )

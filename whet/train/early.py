"""A training that ends when a criterion says so, and goes back to its best point."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from whet.stop import Better, Stop, best, divergence, parse
from whet.train.run import Run  # noqa: F401  (the doctest)
from whet.tune.trial import Goal, Point

__all__ = ["Early", "Training"]


class Training(Protocol):
    """What can be trained step by step and put back: a `whet.train.run.Run`, or several workers that train together."""

    goal: Goal

    @property
    def over(self) -> bool:
        """Whether a value that is not finite has ended it."""

    @property
    def outputs(self) -> np.ndarray | None:
        """Validation outputs of the last evaluation."""

    @outputs.setter
    def outputs(self, values: np.ndarray | None) -> None: ...

    def __iter__(self) -> Iterator[Point]:
        """Train on; yield a point after each epoch."""

    def evaluate(self) -> dict[str, float]:
        """Measure, and set `outputs`."""

    def state(self) -> dict[str, Any]:
        """Return all that is needed to go on from here."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to an earlier state."""


R = TypeVar("R", bound=Training)


class Early(Generic[R]):
    """Iterate a run until `stop` says so; then its model is that of the best point, not of the last.

    stop: a criterion, its text (see `whet.stop.parse`; the direction is the goal's), or None; resume: what `state`
    returned. A point without a cost counts as a cost of 1, the epoch, as in a study; `time` counts the seconds of training
    since the first point, those before a resume included.

    why: the reason when it was stopped, else ""; failed: whether a `diverged` was part of it, when nothing is restored;
    points: the points so far; best: the best of them, or None.

    The best point is taken whatever the reason was: what remains is the model one would choose looking back. A run that
    goes to its last step without being stopped keeps its last model.

    >>> import torch
    >>> from torch import nn
    >>> from whet.data.split import Data, Split
    >>> from whet.task import Task
    >>> class Lines(Task):
    ...     def data(self, params):
    ...         x = torch.linspace(-1, 1, 64)[:, None]
    ...         return Data(Split(x[::2], 3 * x[::2, 0]), Split(x[1::2], 3 * x[1::2, 0]), kind="regression")
    ...     def model(self, params):
    ...         return nn.Linear(1, 1)
    >>> early = Early(Run(Lines(), {"lr": 0.1, "batch": 4}, steps=50), "target 0.5")
    >>> [point.step for point in early] == list(range(1, early.best.step + 1))
    True
    >>> early.why.endswith("reached the target 0.5"), early.run.evaluate()["rmse"] == early.best.value
    (True, True)
    """

    def __init__(self, run: R, stop: Stop | str | None, *, resume: Mapping[str, Any] | None = None) -> None:
        self.run = run
        self.points: list[Point] = []
        self.why = ""
        self.failed = False
        self._better: Better = run.goal.better
        self._best: dict[str, Any] | None = None  # the run's state at the best point, with its outputs
        self._seconds, self._began = 0.0, math.nan
        if resume is not None:
            self.points = [Point(int(s), float(v), float(c), dict(m)) for s, v, c, m in resume["points"]]
            self._best, self._seconds = resume["best"], float(resume["seconds"])
            self.why, self.failed = str(resume["why"]), bool(resume["failed"])
            if self._best is None and not self.why and self.points:
                self._best = {**run.state(), "outputs": None}  # the run stands at its best point
        if isinstance(stop, str):
            stop = parse(stop, self._better, clock=self._spent, start=0.0)
        self.stop = stop

    @property
    def best(self) -> Point | None:
        """The first point with the best finite value."""
        found = best(self.points, self._better)
        return found if isinstance(found, Point) else None

    def __iter__(self) -> Iterator[Point]:
        """Train on; yield each point. The point that ends it is yielded too, with the best model in place already."""
        if self.why:
            return
        self.begin()
        for point in self.run:
            self.take(point)
            yield point
            if self.why:
                return

    def begin(self) -> None:
        """Count seconds of training from now on; for one who trains the run otherwise than by iterating."""
        self._began = time.monotonic()

    def take(self, point: Point) -> None:
        """Take in a point that the run stands at, and set `why` when it is to end; then the best model is in place."""
        self.points.append(point if point.cost else replace(point, cost=1.0))
        if self.stop is not None:
            if self.best is self.points[-1]:
                self._best = {**self.run.state(), "outputs": self.run.outputs}
            self._ask(self.stop)

    def _ask(self, stop: Stop) -> None:
        why = stop(self.points)
        if not why or self.run.over:
            return
        failure = divergence(stop, self.points)
        self.why, self.failed = failure or why, failure is not None
        if not self.failed and self._best is not None and self.best is not self.points[-1]:
            self.run.restore(self._best)
            self.run.outputs = self._best["outputs"]
            if self.run.outputs is None:
                self.run.evaluate()

    def _spent(self) -> float:
        return self._seconds + (0.0 if math.isnan(self._began) else time.monotonic() - self._began)

    def state(self) -> dict[str, Any] | None:
        """Return what a resume needs beside the run's own state, or None when there is no criterion."""
        if self.stop is None:
            return None
        current = bool(self.points) and self.best is self.points[-1]
        keep = None if self.why or current else self._best  # the run's own state is the best one then
        return {
            "points": [[p.step, p.value, p.cost, dict(p.metrics)] for p in self.points], "best": keep,
            "seconds": self._spent(), "why": self.why, "failed": self.failed,
        }  # fmt: skip

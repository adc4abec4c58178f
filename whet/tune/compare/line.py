"""The best value so far of one study, over what it spent: a fold over its journal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from whet.journal.event import Event
from whet.tune.goal import Bound, Goal

__all__ = ["Line", "line"]


@dataclass(frozen=True)
class Line:
    """Where the best value so far improved, of one study.

    at: (m,) what was spent when it did, rising; score: (m,) the best score from there on, lower is better whatever the goal; spent: all
    that the study spent, which may be more than `at[-1]`; ended: whether it had nothing left to try, so that more budget would change nothing.

    >>> done = Line((1, 4), (0.5, 0.25), 9, True)
    >>> done.scores([0, 1, 3, 4, 100]).tolist()
    [inf, 0.5, 0.5, 0.25, 0.25]
    """

    at: tuple[int, ...]
    score: tuple[float, ...]
    spent: int
    ended: bool

    def scores(self, places: Sequence[float] | np.ndarray) -> np.ndarray:
        """Return the best score after each of `places`, inf before the first value."""
        known = np.array([math.inf, *self.score])
        found: np.ndarray = known[np.searchsorted(np.asarray(self.at, float), np.asarray(places, float), side="right")]
        return found


def line(
    events: Iterable[Event], goals: Sequence[Goal | Bound], steps: int, *, by: str = "epochs", ended: bool = False
) -> Line:
    """Return the line of a study with trials of at most `steps` steps from its events.

    by: what is counted, "epochs" (steps of training) or "trials" (those that said something or failed). Every report counts, of trials
    that were paused or stopped too; one of a trial that failed later does not, nor one that breaks a bound among the goals.

    >>> told = [Event(i + 1, "told", i, {"value": v, "metrics": {}}) for i, v in enumerate([3.0, 5.0, 1.0])]
    >>> line(told, [Goal("loss", "min")], 2)
    Line(at=(2, 6), score=(3.0, 1.0), spent=6, ended=False)
    """
    events = list(events)
    failed = {e.trial for e in events if e.kind == "failed" and not e.data["transient"]}
    goal, bounds = goals[0], [g for g in goals if isinstance(g, Bound)]
    assert isinstance(goal, Goal)
    reached: dict[int, int] = {}  # trial -> the step it stands at
    seen: set[int] = set()  # trials that count
    said: dict[int, Mapping[str, Any]] = {}
    epochs, best = 0, math.inf
    at: list[int] = []
    score: list[float] = []
    for e in events:
        if e.trial is None or e.kind not in ("asked", "reported", "repeated", "told", "failed"):
            continue
        if e.kind == "repeated":
            epochs += 1
            continue
        if e.kind == "asked":
            if e.data.get("parent"):
                reached[e.trial] = int(e.data["parent"][1])
            continue
        if e.kind == "failed":
            if e.trial in failed:
                seen.add(e.trial)
                epochs += max(0, int(e.data.get("step", 0)) - reached.get(e.trial, 0))
            continue
        before = reached.get(e.trial, 0)
        metrics = dict(e.data.get("metrics") or {})
        if e.kind == "reported":
            step = int(e.data["step"])
        else:  # one that never reported was trained to the end all the same
            step = before if e.trial in said else steps
            metrics = {**said.get(e.trial, {}), **metrics}
        epochs += max(0, step - before)
        reached[e.trial] = max(step, before)
        said[e.trial] = metrics
        seen.add(e.trial)
        value = float(e.data["value"])
        if e.trial in failed or not all(b.holds({**metrics, goal.name: value}) for b in bounds):
            continue
        if goal.score(value) < best:
            best, place = goal.score(value), epochs if by == "epochs" else len(seen)
            if at and at[-1] == place:
                score[-1] = best
            else:
                at.append(place)
                score.append(best)
    return Line(tuple(at), tuple(score), epochs if by == "epochs" else len(seen), ended)

"""Trials as values: what a study has seen so far, frozen, and all that a strategy is ever handed."""

from __future__ import annotations

import bisect
import enum
import math
import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, overload

from whet.errors import StudyError
from whet.tune.space import Params, Space

__all__ = ["Bound", "Goal", "Idle", "Point", "State", "Trial", "Trials", "Verdict", "parse_goals"]


class State(enum.StrEnum):
    """Where a trial stands. WAITING: enqueued or asked for, its configuration not complete yet."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    DONE = "DONE"
    STOPPED = "STOPPED"
    FAILED = "FAILED"


class Verdict(enum.Enum):
    """What becomes of a trial after a report: train on, pause (it may be resumed), or stop for good."""

    GO = "GO"
    PAUSE = "PAUSE"
    STOP = "STOP"


class Idle(enum.Enum):
    """What `ask` says when there is no trial to run: wait for others to report, or be done."""

    WAIT = "WAIT"
    DONE = "DONE"


@dataclass(frozen=True)
class Goal:
    """A metric to minimise or maximise. Scores are lower-is-better whatever the direction.

    >>> Goal("accuracy", "max").score(0.9)
    -0.9
    """

    name: str
    better: Literal["min", "max"]

    def score(self, value: float) -> float:
        """Return `value` turned so that lower is better; a value that is not finite is worst (inf)."""
        if not math.isfinite(value):
            return math.inf
        return value if self.better == "min" else -value

    def __str__(self) -> str:
        return f"{self.better} {self.name}"


@dataclass(frozen=True)
class Bound:
    """A condition on a reported metric, such as latency <= 5.

    >>> Bound("latency", "<=", 5.0).holds({"latency": 4.0})
    True
    """

    name: str
    op: Literal["<=", ">=", "<", ">"]
    limit: float

    def holds(self, metrics: Mapping[str, float]) -> bool:
        """Return whether the metric was reported and meets the bound."""
        compare = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}[self.op]
        return self.name in metrics and bool(compare(metrics[self.name], self.limit))

    def __str__(self) -> str:
        return f"{self.name} {self.op} {self.limit:g}"


def parse_goals(goal: str | Sequence[str]) -> tuple[Goal | Bound, ...]:
    """Return the goals written as "min loss", "max accuracy" or "latency <= 5"; the first is what is reported.

    Raises StudyError when one cannot be read, or the first is a bound.

    >>> [str(g) for g in parse_goals(["max accuracy", "latency <= 5"])]
    ['max accuracy', 'latency <= 5']
    """
    found: list[Goal | Bound] = []
    texts = [goal] if isinstance(goal, str) else list(goal)
    for text in texts:
        if m := re.fullmatch(r"\s*(min|max)\s+([^\s<>=]+)\s*", str(text)):
            found.append(Goal(m[2], "min" if m[1] == "min" else "max"))
        elif m := re.fullmatch(r"\s*([^\s<>=]+)\s*(<=|>=|<|>)\s*([-+.\deE]+)\s*", str(text)):
            try:
                found.append(Bound(m[1], m[2], float(m[3])))  # type: ignore[arg-type]
            except ValueError:
                raise StudyError(f'goal "{text}": {m[3]!r} is not a number. Use e.g. "latency <= 5".') from None
        else:
            raise StudyError(f'goal "{text}": cannot be read. Use "min NAME", "max NAME" or "NAME <= NUMBER".')
    if not found or not isinstance(found[0], Goal):
        raise StudyError(f'goal {texts}: the first must be "min NAME" or "max NAME": it is the value that is reported.')
    if len({g.name for g in found if isinstance(g, Goal)}) < sum(isinstance(g, Goal) for g in found):
        raise StudyError(f"goal {texts}: a metric is named twice. Name every metric once.")
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Point:
    """One report: the value after `step` steps, what it cost since the last one, and other metrics."""

    step: int
    value: float
    cost: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trial:
    """One training of one configuration; a frozen value.

    id: 0, 1, 2 ... in the order of asking; params: the configuration (partial while WAITING); curve: the reports;
    value: the told value, else the last reported, else None; parent: (trial, step) whose weights it went on from;
    origin: how it was proposed; error: {"type", "message", "traceback", ...} when FAILED; cost: all that was spent on
    it, work that had to be repeated included; tags and note: the person's.
    """

    id: int
    params: Params = field(default_factory=dict)
    state: State = State.WAITING
    curve: tuple[Point, ...] = ()
    value: float | None = None
    parent: tuple[int, int] | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None
    cost: float = 0.0
    tags: tuple[str, ...] = ()
    note: str = ""

    @property
    def step(self) -> int:
        """The last step reported, 0 when there is none."""
        return self.curve[-1].step if self.curve else 0

    def at(self, step: int) -> Point | None:
        """Return the point at `step`, or None when that step was not reported."""
        i = bisect.bisect_left(self.curve, step, key=lambda p: p.step)
        return self.curve[i] if i < len(self.curve) and self.curve[i].step == step else None


class Trials(Sequence[Trial]):
    """All trials of a study at one moment: immutable, and all a strategy ever sees.

    space, goals, steps: the study's; seq: how many events of the journal it reflects; like: the trials of earlier
    studies to learn from. Index and id are the same number.

    `lineage` is the same object for all moments of one opened study, and `changed(seq)` names what happened since an
    earlier one: what a strategy needs to keep a cache up to date. While a report is judged, the judged trial is already
    in its place though its event is not written yet: `changed` names it, and names it again at the next moment, when
    its state is settled. So a cache takes in a changed trial anew, whatever it knew of it.
    """

    __slots__ = ("_ahead", "_log", "_trials", "goals", "like", "lineage", "seq", "space", "steps")

    def __init__(
        self,
        trials: Sequence[Trial],
        *,
        space: Space,
        goals: tuple[Goal | Bound, ...] = (Goal("loss", "min"),),
        steps: int = 1,
        seq: int = 0,
        like: Sequence[Trials] = (),
        log: list[tuple[int, int]] | None = None,
        ahead: int | None = None,
    ) -> None:
        self._trials = tuple(trials)
        self.space, self.goals, self.steps, self.seq, self.like = space, goals, steps, seq, tuple(like)
        self.lineage: object = log
        self._log = log
        self._ahead = ahead

    @property
    def goal(self) -> Goal:
        """The first goal: the direction of the reported value."""
        first = self.goals[0]
        assert isinstance(first, Goal)
        return first

    def get(self, id: int) -> Trial:
        """Return the trial with this id; raise StudyError when there is none."""
        if not 0 <= id < len(self._trials):
            have = f"have 0 to {len(self._trials) - 1}" if self._trials else "there are no trials yet"
            raise StudyError(f"trial {id}: no such trial; {have}.")
        return self._trials[id]

    def changed(self, since: int) -> list[int]:
        """Return the ids of the trials that events after `since` touched, each once, in order of first touch."""
        if self._log is None:
            return list(range(len(self._trials)))
        start = bisect.bisect_right(self._log, since, key=lambda e: e[0])
        end = bisect.bisect_right(self._log, self.seq, key=lambda e: e[0])
        ids = dict.fromkeys(id for _, id in self._log[start:end])
        if self._ahead is not None:
            ids[self._ahead] = None
        return list(ids)

    def reach(self, trial: Trial) -> int:
        """Return the step `trial` counts as having reached: all of them when it was told to be done."""
        return max(self.steps, trial.step) if trial.state is State.DONE else trial.step

    @property
    def best(self) -> Trial | None:
        """The best value among trials not failed at the highest step any of them reached; None when there is none."""
        sound = [t for t in self._trials if t.value is not None and t.state is not State.FAILED]
        top = max((self.reach(t) for t in sound), default=0)
        score = self.goal.score
        return min(
            (t for t in sound if self.reach(t) == top), key=lambda t: (score(t.value or 0.0), t.id), default=None
        )

    def __len__(self) -> int:
        return len(self._trials)

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._trials)

    @overload
    def __getitem__(self, index: int) -> Trial: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Trial, ...]: ...
    def __getitem__(self, index: int | slice) -> Trial | tuple[Trial, ...]:
        return self._trials[index]

    def __repr__(self) -> str:
        best = self.best
        return f"<{len(self)} trials, best {best.value if best else None}>"

"""Trials as values: what a study has seen so far, frozen, and all that a strategy is ever handed."""

from __future__ import annotations

import enum
import itertools
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from whet.errors import StudyError
from whet.tune.curve import Curve as Curve
from whet.tune.curve import Point as Point
from whet.tune.goal import Bound as Bound
from whet.tune.goal import Goal as Goal
from whet.tune.goal import parse_goals as parse_goals
from whet.tune.space import Params, Space

__all__ = [
    "Bound", "Curve", "Goal", "Idle", "Log", "Point", "State", "Trial", "Trials", "Verdict", "parse_goals",
]  # fmt: skip


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
    curve: Curve = field(default_factory=Curve)  # any sequence of points may be given
    value: float | None = None
    parent: tuple[int, int] | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None
    cost: float = 0.0
    tags: tuple[str, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        if type(self.curve) is not Curve:
            object.__setattr__(self, "curve", Curve(self.curve))

    @property
    def step(self) -> int:
        """The last step reported, 0 when there is none."""
        return self.curve.last

    def at(self, step: int) -> Point | None:
        """Return the point at `step`, or None when that step was not reported."""
        i = self.curve.place(step)
        return self.curve[i] if i < len(self.curve) and self.curve[i].step == step else None


class Log:
    """Which trial each event touched, in order: what `Trials.changed` looks up. It only grows.

    >>> log = Log([(2, 0), (3, 1), (5, 0)])
    >>> log.touched(2, 5), len(log)
    ([1, 0], 5)
    """

    __slots__ = ("ids",)

    def __init__(self, entries: Iterable[tuple[int, int]] = ()) -> None:
        self.ids = array("q")  # by event, the first being number 1; -1 for one that touched no trial
        for seq, id in entries:
            self.append(seq, id)

    def append(self, seq: int, id: int) -> None:
        """Add that event `seq`, which comes after all that are known, touched trial `id`."""
        self.ids.extend([-1] * (seq - 1 - len(self.ids)))
        self.ids.append(id)

    def touched(self, after: int, upto: int) -> list[int]:
        """Return the trials that events after one and up to another touched, each once, in order of first touch."""
        return [id for id in dict.fromkeys(self.ids[max(0, after) : max(0, upto)]) if id >= 0]

    def __len__(self) -> int:
        return len(self.ids)


CHUNK = 64  # trials that moments of a study share or copy together

Chunks = tuple[tuple[Trial, ...], ...]


class Trials(Sequence[Trial]):
    """All trials of a study at one moment: immutable, and all a strategy ever sees.

    space, goals, steps: the study's; seq: how many events of the journal it reflects; like: the trials of earlier
    studies to learn from, each in its own space; name: the study's, of an earlier one. Index and id are the same number,
    but for a part of the trials, such as `Study.front`, in which `get` finds them by id.

    `lineage` is the same object for all moments of one opened study, and `changed(seq)` names what happened since an
    earlier one: what a strategy needs to keep a cache up to date. While a report is judged, the judged trial is already
    in its place though its event is not written yet: `changed` names it, and names it again at the next moment, when
    its state is settled. So a cache takes in a changed trial anew, whatever it knew of it.

    The trials are held in chunks that moments share, so that a moment costs little however many trials there are.
    """

    __slots__ = ("_ahead", "_chunks", "_log", "_n", "goals", "like", "lineage", "name", "seq", "space", "steps")

    def __init__(
        self,
        trials: Sequence[Trial] | Chunks,
        *,
        space: Space,
        goals: tuple[Goal | Bound, ...] = (Goal("loss", "min"),),
        steps: int = 1,
        seq: int = 0,
        like: Sequence[Trials] = (),
        name: str = "",
        log: Log | None = None,
        ahead: int | None = None,
    ) -> None:
        if isinstance(trials, tuple) and trials and isinstance(trials[0], tuple):
            self._chunks: Chunks = trials  # cut into chunks already
        else:
            plain: tuple[Trial, ...] = tuple(trials)  # type: ignore[arg-type]
            self._chunks = tuple(plain[i : i + CHUNK] for i in range(0, len(plain), CHUNK))
        self._n = (len(self._chunks) - 1) * CHUNK + len(self._chunks[-1]) if self._chunks else 0
        self.space, self.goals, self.steps, self.seq, self.like = space, goals, steps, seq, tuple(like)
        self.name = name
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
        if 0 <= id < self._n and self[id].id == id:
            return self[id]
        if (found := next((t for t in self if t.id == id), None)) is not None:
            return found
        have = f"have 0 to {self._n - 1}" if self._n else "there are no trials yet"
        raise StudyError(f"trial {id}: no such trial; {have}.")

    def changed(self, since: int) -> list[int]:
        """Return the ids of the trials that events after `since` touched, each once, in order of first touch."""
        if self._log is None:
            return list(range(self._n))
        ids = self._log.touched(since, self.seq)
        if self._ahead is not None and self._ahead not in ids:
            ids.append(self._ahead)
        return ids

    def reach(self, trial: Trial) -> int:
        """Return the step `trial` counts as having reached: all of them when it was told to be done."""
        return max(self.steps, trial.step) if trial.state is State.DONE else trial.step

    def measured(self, trial: Trial) -> Mapping[str, float]:
        """Return what `trial` last said by name: the metrics of its last report, and its value by the name of the first goal."""
        metrics = trial.curve[-1].metrics if trial.curve else {}
        return metrics if trial.value is None else {**metrics, self.goal.name: trial.value}

    def keeps(self, trial: Trial) -> bool:
        """Return whether what `trial` last said keeps every bound among the goals."""
        bounds = [g for g in self.goals if isinstance(g, Bound)]
        if not bounds:
            return True
        said = self.measured(trial)
        return all(b.holds(said) for b in bounds)

    def inherits(self, trial: Trial) -> bool:
        """Return whether a trial went on from weights that another configuration trained, so that its value is not what its own one comes to.

        >>> said = [(0.1, None), (0.1, (0, 2)), (0.2, (1, 4))]
        >>> trials = Trials([Trial(i, {"lr": lr}, parent=p) for i, (lr, p) in enumerate(said)], space=Space(), steps=9)
        >>> [trials.inherits(t) for t in trials]
        [False, False, True]
        """
        params = trial.params
        while (parent := trial.parent) is not None:
            trial = self.get(parent[0])
            if trial.params != params:
                return True
        return False

    @property
    def contenders(self) -> list[Trial]:
        """The trials that `best` is chosen from: not failed, at the highest step any of them reached, in order of id.

        With bounds among the goals these are the trials whose last report keeps all of them, unless none does.
        """
        sound = [t for t in self if t.value is not None and t.state is not State.FAILED]
        if any(isinstance(g, Bound) for g in self.goals):
            sound = [t for t in sound if self.keeps(t)] or sound
        top = max((self.reach(t) for t in sound), default=0)
        return [t for t in sound if self.reach(t) == top]

    @property
    def best(self) -> Trial | None:
        """The best value among the `contenders`, the first of equals; None when there is none."""
        score = self.goal.score
        return min(self.contenders, key=lambda t: (score(t.value or 0.0), t.id), default=None)

    def __len__(self) -> int:
        return self._n

    def __iter__(self) -> Iterator[Trial]:
        return itertools.chain.from_iterable(self._chunks)

    @overload
    def __getitem__(self, index: int) -> Trial: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Trial, ...]: ...
    def __getitem__(self, index: int | slice) -> Trial | tuple[Trial, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(self._n)))
        if index < 0:
            index += self._n
        if not 0 <= index < self._n:
            raise IndexError(f"trial {index} of {self._n}")
        return self._chunks[index // CHUNK][index % CHUNK]

    def __repr__(self) -> str:
        best = self.best
        return f"<{len(self)} trials, best {best.value if best else None}>"

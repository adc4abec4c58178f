"""The fold: events of a journal in, trials out. The only place that knows what an event does to a trial."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from whet.errors import StudyError
from whet.journal.event import Event
from whet.tune.imported import revived
from whet.tune.space import Space
from whet.tune.trial import Bound, Goal, Point, State, Trial, Trials, parse_goals

__all__ = ["History", "Progress", "Terms", "configuration"]


def configuration(params: Mapping[str, Any]) -> str:
    """Return a key that two configurations share when they are the same.

    >>> configuration({"a": 1, "b": 2.0}) == configuration({"b": 2.0, "a": 1})
    True
    """
    return json.dumps(dict(params), sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class Terms:
    """What a study was created with."""

    space: Space
    goals: tuple[Goal | Bound, ...]
    steps: int
    seed: int
    search: Mapping[str, Any]
    schedule: Mapping[str, Any]
    asked: Mapping[str, str]

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Terms:
        """Return the terms that a "created" event holds."""
        return cls(
            Space.from_json(data["space"]), parse_goals(data["goals"]), data["steps"], data["seed"],
            data["search"], data["schedule"], data["asked"],
        )  # fmt: skip


@dataclass
class Progress:
    """What is known of one trial beside the trial itself.

    seen: the event up to which its proposal looks (its own asking); given: its parameters that were set before the searcher was asked;
    checkpoints: (step, file name) of each it reported; strikes: transient failures since its last report.
    """

    seen: int = 0
    proposed: bool = False
    reported: bool = False
    given: Mapping[str, Any] | None = None
    checkpoints: tuple[tuple[int, str], ...] = ()
    strikes: int = 0


class History:
    """The trials of a study, kept up to date event by event.

    started: how many trials were given to workers; steps, cost: what all of them spent; open: the ids of trials that
    a worker has or should have; keys: when (seq) each configuration was first proposed.
    """

    def __init__(self) -> None:
        self.seq = 0
        self.terms: Terms | None = None
        self.trials: list[Trial] = []
        self.progress: list[Progress] = []
        self.records: list[tuple[str, Mapping[str, Any]]] = []
        self.open: set[int] = set()
        self.waiting: list[int] = []
        self.keys: dict[str, int] = {}
        self.started = 0
        self.steps = 0
        self.cost = 0.0
        self._log: list[tuple[int, int]] = []

    def apply(self, events: Iterable[Event]) -> None:
        """Take in the next events, in order; raise StudyError when one is missing."""
        for event in events:
            if event.seq != self.seq + 1:
                raise StudyError(f"journal: event {self.seq + 1} is missing (next is {event.seq}). Restore a backup.")
            if event.kind == "created":
                self.terms = Terms.of(event.data)
            elif event.kind == "recorded":
                self.records.append((event.data["topic"], event.data["data"]))
            elif event.trial is not None:
                self._log.append((event.seq, event.trial))
                self._trial(event, event.trial, event.data)
            self.seq = event.seq

    def _trial(self, event: Event, id: int, data: Mapping[str, Any]) -> None:
        if id == len(self.trials):
            self.trials.append(Trial(id))
            self.progress.append(Progress())
        trial, progress = self.trials[id], self.progress[id]
        match event.kind:
            case "enqueued":
                trial = replace(trial, params=data["params"], note=data["note"], origin={"search": "enqueue"})
                progress.given = data["params"]
                self.waiting.append(id)
            case "imported":
                trial = self._imported(revived(id, data), progress)
            case "asked":
                progress.seen = event.seq
                if id in self.waiting:
                    self.waiting.remove(id)
                if data.get("params") is not None:
                    progress.given = data["params"]
                if data.get("parent"):
                    parent = (int(data["parent"][0]), int(data["parent"][1]))
                    point = self.trials[parent[0]].at(parent[1])
                    curve = () if point is None else (replace(point, cost=0.0),)
                    trial = replace(trial, parent=parent, curve=curve, value=point.value if point else None)
                if data.get("origin"):
                    trial = replace(trial, origin={**trial.origin, **data["origin"]})
                self.started += 1
                self.open.add(id)
            case "proposed":
                origin = {**trial.origin, **data["origin"]}
                trial = replace(trial, params=data["params"], origin=origin, state=State.RUNNING)
                progress.proposed = True
                self.keys.setdefault(configuration(data["params"]), event.seq)
            case "resumed":
                trial = replace(trial, state=State.RUNNING)
                self.open.add(id)
            case "reported":
                trial = self._reported(trial, progress, data)
            case "repeated":
                self._spent(1, data["cost"])
                trial = replace(trial, cost=trial.cost + data["cost"])
            case "told":
                trial = replace(self._told(trial, progress, data), state=State.DONE, value=data["value"])
                self.open.discard(id)
            case "failed" if data["transient"]:
                progress.strikes += 1
            case "failed":
                self._spent(data.get("step", trial.step) - trial.step, data.get("cost", 0.0))
                cost = trial.cost + data.get("cost", 0.0)
                trial = replace(trial, state=State.FAILED, error=data["error"], cost=cost)
                self.open.discard(id)
                if id in self.waiting:
                    self.waiting.remove(id)
            case "noted":
                trial = replace(trial, note=data["note"], tags=tuple(data["tags"]))
            case _:
                raise StudyError(
                    f"journal: unknown event {event.kind!r}. It may be from a newer version of whet: upgrade."
                )
        self.trials[id] = trial

    def _imported(self, trial: Trial, progress: Progress) -> Trial:
        if trial.state is State.WAITING:
            progress.given = trial.params or None
            self.waiting.append(trial.id)
            return trial
        progress.proposed, progress.reported = True, bool(trial.curve)
        if trial.params:
            self.keys.setdefault(configuration(trial.params), self.seq + 1)
        if trial.state is State.RUNNING:  # nobody works on it: whoever asks next goes on with it
            self.open.add(trial.id)
        return trial

    @property
    def _steps(self) -> int:
        return self.terms.steps if self.terms else 1

    def _spent(self, steps: int, cost: float) -> None:
        self.steps += steps
        self.cost += cost

    def _told(self, trial: Trial, progress: Progress, data: Mapping[str, Any]) -> Trial:
        if trial.step >= self._steps:  # no second point: what was measured at the end joins the last one
            last = trial.curve[-1]
            return replace(trial, curve=(*trial.curve[:-1], replace(last, metrics={**last.metrics, **data["metrics"]})))
        # a trial that never reported was trained to the end all the same
        steps = 0 if progress.reported else self._steps - trial.step
        self._spent(steps, float(steps))
        point = Point(self._steps, data["value"], float(steps), data["metrics"])
        return replace(trial, curve=(*trial.curve, point), cost=trial.cost + steps)

    def _reported(self, trial: Trial, progress: Progress, data: Mapping[str, Any]) -> Trial:
        self._spent(data["step"] - trial.step, data["cost"])
        trial = with_point(trial, Point(data["step"], data["value"], data["cost"], data["metrics"]))
        progress.reported, progress.strikes = True, 0
        if data.get("checkpoint"):
            progress.checkpoints = (*progress.checkpoints, (data["step"], data["checkpoint"]))
        if data["verdict"] != "GO":
            trial = replace(trial, state=State.PAUSED if data["verdict"] == "PAUSE" else State.STOPPED)
            self.open.discard(trial.id)
        return trial

    def checkpoints(self, id: int) -> list[tuple[int, str]]:
        """Return (step, file name) of the checkpoints trial `id` can go on from, the latest last."""
        own = list(self.progress[id].checkpoints)
        if not own and (parent := self.trials[id].parent) is not None:
            own = [c for c in self.progress[parent[0]].checkpoints if c[0] == parent[1]]
        return own

    def moment(self, *, like: tuple[Trials, ...] = (), instead: Trial | None = None) -> Trials:
        """Return the trials as they are now; `instead` stands in the place of the trial with its id, to be judged."""
        assert self.terms is not None
        trials: list[Trial] = self.trials
        if instead is not None:
            trials = list(trials)
            trials[instead.id] = instead
        return Trials(
            trials, space=self.terms.space, goals=self.terms.goals, steps=self.terms.steps, seq=self.seq, like=like,
            log=self._log, ahead=None if instead is None else instead.id,
        )  # fmt: skip


def with_point(trial: Trial, point: Point) -> Trial:
    """Return the trial with one more report."""
    return replace(trial, curve=(*trial.curve, point), value=point.value, cost=trial.cost + point.cost)

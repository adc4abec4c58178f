"""A schedule of hyperparameters: which configuration each step of a training has; what a population finds, and a run can follow."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from whet.errors import UsageError
from whet.tune.space import Params
from whet.tune.trial import Point, Trials

__all__ = ["Plan", "Stretch", "ancestry", "lived"]

_FORMAT = 1


class Stretch(NamedTuple):
    """Steps with one configuration: from `first` to `last`, both included; trial: whose they were, None for nobody's.

    >>> Stretch(1, 4, {"lr": 0.1}).last
    4
    """

    first: int
    last: int
    params: Params
    trial: int | None = None


@dataclass(frozen=True)
class Plan:
    """Stretches that follow each other from step 1; the last one goes on after its end.

    steps: how long the training was to be; seed: of the training whose curve it was, None for any; origin: where it came
    from, as small JSON: study, trial, goal, value, and the seed of its task.

    Raises UsageError when there is no stretch, or they leave out steps.

    >>> plan = Plan((Stretch(1, 4, {"lr": 0.1}), Stretch(5, 9, {"lr": 0.02})), steps=9)
    >>> [plan.at(step)["lr"] for step in (1, 4, 5, 9, 12)]
    [0.1, 0.1, 0.02, 0.02, 0.02]
    >>> Plan.from_json(json.loads(json.dumps(plan.json()))) == plan
    True
    """

    stretches: tuple[Stretch, ...]
    steps: int
    seed: int | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.stretches:
            raise UsageError("schedule: has no stretches. Give at least one, with first 1.")
        if self.stretches[0].first != 1:
            raise UsageError(f"schedule: must begin with step 1, begins with {self.stretches[0].first}.")
        for a, b in pairwise(self.stretches):
            if b.first != a.last + 1 or a.last < a.first:
                raise UsageError(
                    f"schedule: steps {a.first} to {a.last} are followed by {b.first} to {b.last}. Let none be left out."
                )

        if (end := self.stretches[-1]).last < end.first:
            raise UsageError(
                f"schedule: steps {end.first} to {end.last} end before they begin. Let last be at least {end.first}."
            )

    def at(self, step: int) -> Params:
        """Return the configuration that `step` (1, 2, ...) is trained with."""
        return next((s.params for s in self.stretches if step <= s.last), self.stretches[-1].params)

    def changed(self) -> tuple[str, ...]:
        """Return the names of what has more than one value over the steps.

        >>> Plan((Stretch(1, 2, {"a": 1, "b": 2}), Stretch(3, 4, {"a": 1, "b": 3})), steps=4).changed()
        ('b',)
        """
        names = dict.fromkeys(n for s in self.stretches for n in s.params)
        return tuple(n for n in names if len({repr(s.params.get(n)) for s in self.stretches}) > 1)

    def json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        rows = [{"first": s.first, "last": s.last, "trial": s.trial, "params": dict(s.params)} for s in self.stretches]
        return {"schedule": _FORMAT, **self.origin, "steps": self.steps, "training": self.seed, "stretches": rows}

    @classmethod
    def from_json(cls, data: Any) -> Plan:
        """Return the plan that `json` wrote; raise UsageError when it is none."""
        try:
            if data["schedule"] != _FORMAT:
                raise UsageError(
                    f"schedule: of format {data['schedule']!r}, this version of whet reads {_FORMAT}. Upgrade whet."
                )
            rows = data["stretches"]
            stretches = tuple(Stretch(int(r["first"]), int(r["last"]), dict(r["params"]), r.get("trial")) for r in rows)
            seed, steps = data.get("training"), int(data["steps"])
            if not (seed is None or isinstance(seed, int)) or steps < 1:
                raise ValueError(f"training {seed!r}, steps {steps}")
            if not isinstance(data.get("seed", 0), int):
                raise ValueError(f"seed {data['seed']!r}")
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            if isinstance(e, UsageError):
                raise
            raise UsageError(
                f"schedule: is not one ({type(e).__name__}: {e}). Make it with `whet study schedule STUDY --out FILE`."
            ) from None
        known = {k: v for k, v in data.items() if k not in ("schedule", "steps", "training", "stretches")}
        return cls(stretches, steps, seed, known)

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Return the plan in a file; raise UsageError when there is none."""
        try:
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except OSError as e:
            raise UsageError(
                f"--schedule {path}: cannot be read ({e.strerror or e}). Give a file of `whet study schedule`."
            ) from None
        except ValueError as e:
            if isinstance(e, UsageError):
                raise UsageError(f"--schedule {path}: {str(e).removeprefix('schedule: ')}") from None
            raise UsageError(f"--schedule {path}: is no JSON ({e}). Give a file of `whet study schedule`.") from None


def ancestry(trials: Trials, id: int) -> tuple[Stretch, ...]:
    """Return who trained each step that trial `id` stands on, from its oldest ancestor to itself.

    >>> from whet.tune.space import Space
    >>> from whet.tune.trial import Trial
    >>> old = Trial(0, {"lr": 0.1}, curve=(Point(1, 3.0), Point(2, 2.0), Point(3, 2.5)))
    >>> child = Trial(1, {"lr": 0.2}, curve=(Point(2, 2.0, 0.0), Point(3, 1.0)), parent=(0, 2))
    >>> [(s.trial, s.first, s.last, s.params["lr"]) for s in ancestry(Trials([old, child], space=Space(), steps=3), 1)]
    [(0, 1, 2, 0.1), (1, 3, 3, 0.2)]
    """
    found: list[Stretch] = []
    trial = trials.get(id)
    last = trial.step
    while True:
        first = 1 if trial.parent is None else trial.parent[1] + 1
        if first <= last or not found:  # one that has not reported since it was copied has no steps of its own
            found.append(Stretch(first, max(first, last), dict(trial.params), trial.id))
        if (parent := trial.parent) is None:
            return tuple(reversed(found))
        trial, last = trials.get(parent[0]), parent[1]


def lived(trials: Trials, stretches: Sequence[Stretch]) -> list[Point]:
    """Return the reports of a lineage: of each stretch those of its trial.

    >>> from whet.tune.space import Space
    >>> from whet.tune.trial import Trial
    >>> trials = Trials([Trial(0, curve=(Point(1, 3.0), Point(2, 2.0)))], space=Space(), steps=3)
    >>> [p.value for p in lived(trials, ancestry(trials, 0))]
    [3.0, 2.0]
    """
    return [
        p for s in stretches if s.trial is not None for p in trials.get(s.trial).curve if s.first <= p.step <= s.last
    ]

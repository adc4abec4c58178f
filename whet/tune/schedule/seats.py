"""Who sits where in a population: a seat is a line of trials, each of which took the place of the one before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from whet.tune.trial import Bound, Point, State, Trial, Trials

__all__ = ["Arrival", "Population", "populations"]

Key = tuple[bool, float, int]  # breaks a bound, score (lower is better), id: equal scores are ranked by age


class Arrival(NamedTuple):
    """A trial that got to a rung: its rank's key there, and the step it reported then, whose checkpoint may be copied.

    >>> Arrival((False, 0.5, 3), Trial(3), 4).id
    3
    """

    key: Key
    trial: Trial
    step: int

    @property
    def id(self) -> int:
        """The trial's number."""
        return self.trial.id


@dataclass(frozen=True)
class Population:
    """One population: its seats, and who got to which rung; rung r is at step r * every, the last one below `steps`.

    A trial gets to a rung with its first report at or past it; the report that a child has from its parent is not its own.

    >>> from whet.tune.space import Space
    >>> trials = Trials([Trial(0, state=State.STOPPED, curve=(Point(1, 0.5), Point(2, 0.4)))], space=Space(), steps=9)
    >>> [(r, [a.step for a in there]) for r, there in Population([[trials[0]]], trials, 2).rungs.items()]
    [(1, [2])]
    """

    seats: list[list[Trial]]
    trials: Trials = field(repr=False)
    every: int

    @cached_property
    def rungs(self) -> dict[int, list[Arrival]]:
        """Who got to each rung, the best first, whatever became of them later."""
        found: dict[int, list[Arrival]] = {}
        for seat in self.seats:
            for trial in seat:
                for rung, point in self.arrivals(trial):
                    found.setdefault(rung, []).append(Arrival(self._key(trial, point), trial, point.step))
        for there in found.values():
            there.sort(key=lambda a: a.key)
        return found

    def arrivals(self, trial: Trial) -> list[tuple[int, Point]]:
        """Return the rungs a trial got to by itself, each with the report it got there with."""
        last = (self.trials.steps - 1) // self.every
        found, before = [], 0
        for i, point in enumerate(trial.curve):
            rung = min(point.step // self.every, last)
            if i > 0 or trial.parent is None:
                found += [(r, point) for r in range(before + 1, rung + 1)]
            before = max(before, rung)
        return found

    def rung(self, trial: Trial) -> int:
        """Return the last rung at or below the step where a trial stands."""
        return min(trial.step // self.every, (self.trials.steps - 1) // self.every)

    def able(self, rung: int, most: int) -> list[Arrival]:
        """Return those of the best `most` at a rung that others may copy, the best first: who failed later is nobody's model.

        Nor is one that was at its end there, which has no weights to go on from, or none that a criterion lets train on.
        """
        there = self.rungs.get(rung, [])[:most]
        return [a for a in there if a.trial.state is not State.FAILED and a.step < self._end(a.trial)]

    def _end(self, trial: Trial) -> int:
        """Return the step at which there is nothing left to train: that of the last report, when a trial was told done well before the last step."""
        steps, curve = self.trials.steps, trial.curve
        if trial.state is State.DONE and len(curve) > 1 and not curve[-1].cost and curve[-1].step == steps:
            last = curve[-2].step
            return last if steps - last >= self.every else steps
        return steps

    def _key(self, trial: Trial, point: Point) -> Key:
        goals = self.trials.goals
        said = {**point.metrics, self.trials.goal.name: point.value}
        breaks = not all(g.holds(said) for g in goals if isinstance(g, Bound))
        return breaks, self.trials.goal.score(point.value), trial.id


def populations(trials: Trials, size: int, every: int) -> list[Population]:
    """Return the populations of a study, the oldest first: each takes in `size` trials, and what replaces them.

    A trial whose origin says which other one it replaces takes that one's seat; every other trial, a person's guess
    among them, takes the next free one.
    """
    rows: list[list[list[Trial]]] = []
    seats: dict[int, list[Trial]] = {}
    for trial in trials:
        said = trial.origin.get("population")
        seat = seats.pop(said.get("replaces", -1), None) if isinstance(said, Mapping) else None
        if seat is None:
            if not rows or len(rows[-1]) == size:
                rows.append([])
            seat = []
            rows[-1].append(seat)
        seat.append(trial)
        seats[trial.id] = seat  # by who sits there now: nobody is replaced twice
    return [Population(row, trials, every) for row in rows]

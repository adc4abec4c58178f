"""Population-based training: members that train side by side; the poor ones go on from a good one's weights, with other rates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from whet.errors import StudyError
from whet.tune.domain import Float, Int
from whet.tune.schedule.explore import explore, live
from whet.tune.schedule.seats import Arrival, populations
from whet.tune.schedule.seats import Population as Members
from whet.tune.space import Space
from whet.tune.strategy import Resume, Start
from whet.tune.trial import Idle, State, Trial, Trials, Verdict

__all__ = ["Population"]

_OPEN = frozenset({State.WAITING, State.RUNNING, State.PAUSED})
_INTERVALS = 10  # of a training, when no interval is given
_VAIN = 5  # children in a row in one seat that failed before a report of their own, after which it stays empty


class Turn(NamedTuple):
    """What there is to do for a seat, the least of several first: the furthest behind, then the best so far."""

    step: int
    vacant: int  # 1 where somebody is to be replaced: later, more others have got to the same rung
    score: float
    id: int  # of who sits there, or the number of an empty seat
    said: Start | Resume | None  # None: the seat is to be given to a child


@dataclass(frozen=True)
class Population:
    """Train `size` members; who is among the poorest at a rung is stopped, and a child of one of the best takes the place.

    Jaderberg et al., "Population Based Training of Neural Networks", 2017, with truncation selection: the child goes on
    from the good one's checkpoint with its configuration, of which the domains marked live are perturbed, or drawn
    anew. Nobody waits for others: a member is compared when it reports at a rung, with those that got there before.
    What differs:

    - members are compared, and copied, at the same step, so one that is slow is not taken for one that is poor, and all
      members together train `size` times the steps of one;
    - who goes on first is who is furthest behind, the best first. With fewer workers than members these are paused in
      turns; one that would be the very next goes straight on;
    - a member that failed is replaced the same way; before its first rung by a new configuration of the searcher;
    - each copy is a trial of its own, whose origin has "population": the member it `replaces`, and what was `copied`. When
      all members have ended, another population begins.

    size: members, >= 2; interval: steps between two rungs (None: a tenth of a training); share: of the population that
    is replaced at a rung, and that is copied, above 0 and at most 0.5; factors: what a value is multiplied by, one of
    them; resample: the chance that it is drawn anew instead; explore: "perturb" (these two), or "model", the values that a
    Gaussian process expects most of (PB2, see `whet.tune.schedule.bandit`), perturbed while there is too little to see.
    Raises StudyError when they are not in these ranges.

    >>> made = Population(size=4)
    >>> isinstance(made.pick(Trials([], space=Space(lr=Float(0, 1, live=True)), steps=9), np.random.default_rng(0)), Start)
    True
    """

    size: int = 8
    interval: int | None = None
    share: float = 0.25
    factors: tuple[float, ...] = (0.8, 1.25)
    resample: float = 0.1
    explore: str = "perturb"

    def __post_init__(self) -> None:
        for name, value, low in (("size", self.size, 2), ("interval", self.interval or 1, 1)):
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise StudyError(
                    f"population: {name} must be a whole number >= {low}, got {value!r}. Use e.g. Population()."
                )
        for name, part, fits, said in (
            ("share", self.share, lambda v: 0 < v <= 0.5, "above 0 and at most 0.5"),
            ("resample", self.resample, lambda v: 0 <= v <= 1, "from 0 to 1"),
        ):
            if not _number(part) or not fits(part):
                raise StudyError(f"population: {name} must be {said}, got {part!r}. Use e.g. Population().")
        given = self.factors
        if not isinstance(given, (list, tuple)) or not given or not all(_number(f) and f > 0 for f in given):
            raise StudyError(f"population: factors must be numbers above 0, got {given!r}. Use e.g. (0.8, 1.25).")
        if self.explore not in ("perturb", "model"):
            raise StudyError(f'population: explore must be "perturb" or "model", got {self.explore!r}.')
        object.__setattr__(self, "factors", tuple(map(float, given)))  # a record has a list

    @property
    def one_goal(self) -> bool:
        """Members are compared by the first goal alone, so a study with several is refused."""
        return True

    def check(self, space: Space, steps: int) -> None:
        """Raise StudyError where there is nothing a population could do: no live domain, or a training of one step."""
        if {"rule", "workers"} <= set(space.names):
            raise StudyError(
                "population: a trial that several workers train (rule and workers in the space) cannot go on from "
                "another's state with other values. Take rule and workers out of the space, or use asha."
            )
        if steps < 2:
            raise StudyError("population: a trial has one step, so nobody can be copied on the way. Give more steps.")
        if not live(space):
            numbers = dict.fromkeys(d.name for d in space.dims if isinstance(d.domain, (Float, Int)))
            which = f" Of the numbers {', '.join(numbers)}," if numbers else " The space has no numbers;"
            raise StudyError(
                "population: no domain is marked live, so nothing may change while training goes on."
                f"{which} mark rates, decays and the like: lr=Float(1e-4, 1e-1, log=True, live=True)."
            )

    def every(self, steps: int) -> int:
        """Return the steps between two rungs of trials of at most `steps` steps.

        >>> Population().every(27), Population().every(4), Population(interval=5).every(27)
        (3, 1, 5)
        """
        return self.interval or max(1, round(steps / _INTERVALS))

    def pick(self, trials: Trials, rng: np.random.Generator) -> Start | Resume | Idle:
        """Return what to do for the seat that is furthest behind; WAIT when all members are running.

        That is Resume of a paused member, or Start: of a new member, or of a child where one is to be replaced.
        """
        rows = self._rows(trials)
        for p, members in enumerate(rows):
            if turn := min(self._turns(members, p, last=p == len(rows) - 1), key=lambda t: t[:4], default=None):
                return self._child(members, p, turn.id, rng) if turn.said is None else turn.said
        if any(seat[-1].state in _OPEN for members in rows for seat in members.seats):
            return Idle.WAIT
        return self._new(len(rows), 0)

    def finish(self, trials: Trials) -> Resume | Idle:
        """Return what to do in place of a Start when no more trials may start: bring the members there are to the end."""
        waiting = [t for t in trials if t.state is State.PAUSED]
        if waiting:
            return Resume(min(waiting, key=lambda t: (t.step, t.id)).id)
        return Idle.WAIT if any(t.state in _OPEN for t in trials) else Idle.DONE

    def judge(self, trial: Trial, trials: Trials) -> Verdict:
        """Return STOP at a rung for one of the poorest; PAUSE there when another member comes first; else GO."""
        every = self.every(trials.steps)
        before = trial.curve[-2].step if len(trial.curve) > 1 else 0
        if trial.step >= trials.steps or trial.step // every == before // every:
            return Verdict.GO
        rows = self._rows(trials)
        p, members = next((p, m) for p, m in enumerate(rows) if any(t.id == trial.id for s in m.seats for t in s))
        arrived = members.arrivals(trial)
        if not arrived or arrived[-1][1].step != trial.step:
            return Verdict.GO
        rung = arrived[-1][0]
        there = members.rungs[rung]
        rank = next(i for i, a in enumerate(there) if a.id == trial.id)
        better = [a for a in members.able(rung, self._most(len(there))) if a.key[:2] < there[rank].key[:2]]
        if better and rank >= len(there) - math.floor(self.share * len(there)):
            return Verdict.STOP
        mine = Turn(trial.step, 0, trials.goal.score(trial.curve[-1].value), trial.id, None)
        others = self._turns(members, p, last=p == len(rows) - 1)
        return Verdict.PAUSE if any(t[:4] < mine[:4] for t in others) else Verdict.GO

    def keep(self, trials: Trials) -> set[tuple[int, int]]:
        """Return the last checkpoint of every open member, what its parent gave it, and those that a child may yet begin with.

        The latter are of the best at every rung that a member may still be replaced at.
        """
        kept: set[tuple[int, int]] = set()
        for t in trials:
            if t.state in _OPEN and t.curve:
                # a child without a report of its own stands on its parent's checkpoint
                born = t.parent is not None and len(t.curve) == 1
                kept.add(t.parent if born and t.parent is not None else (t.id, t.step))
        rows = self._rows(trials)
        for p, members in enumerate(rows):
            behind = [
                members.rung(s[-1])
                for s in members.seats
                if s[-1].state is not State.DONE and not self._lost(members, s[-1])
            ]
            if p == len(rows) - 1 and len(members.seats) < self.size:
                behind.append(0)
            for rung in range(max(1, min(behind, default=trials.steps)), (trials.steps - 1) // members.every + 1):
                kept |= {(a.id, a.step) for a in members.able(rung, self._most(self.size))}
        return kept

    # -- what is known of the populations

    def _rows(self, trials: Trials) -> list[Members]:
        return populations(trials, self.size, self.every(trials.steps))

    def _most(self, n: int) -> int:
        """Return how many of `n` at a rung may be copied."""
        return max(1, math.floor(self.share * n))

    def _lost(self, members: Members, trial: Trial) -> bool:
        """Return whether a seat stays empty: who sat there got somewhere, and all whom a child could copy there failed, or its last children did at once."""
        rung = members.rung(trial)
        closed = trial.state in (State.STOPPED, State.FAILED)
        return closed and rung > 0 and (not self._models(members, trial) or self._vain(members, trial))

    def _vain(self, members: Members, trial: Trial) -> bool:
        """Return whether the last children in a trial's seat all failed before a report of their own: another one would cost no step, and have no end."""
        seat = next(s for s in members.seats if s[-1].id == trial.id)
        last = seat[-_VAIN:]
        return len(last) == _VAIN and all(
            t.state is State.FAILED and t.parent is not None and t.step <= t.parent[1] for t in last
        )

    def _models(self, members: Members, trial: Trial) -> list[Arrival]:
        """Return those whom a child that replaces `trial` may copy."""
        rung = members.rung(trial)
        there = members.rungs.get(rung, [])
        return [a for a in members.able(rung, self._most(len(there))) if a.id != trial.id]

    def _turns(self, members: Members, p: int, *, last: bool) -> Iterator[Turn]:
        """Yield what there is to do for each seat that nobody is at work for."""
        score = members.trials.goal.score
        for m, seat in enumerate(members.seats):
            t = seat[-1]
            if t.state is State.PAUSED:
                yield Turn(t.step, 0, score(t.curve[-1].value) if t.curve else 0.0, t.id, Resume(t.id))
            elif t.state in (State.STOPPED, State.FAILED) and not self._lost(members, t):
                rung = members.rung(t)
                anew = None if rung else self._new(p, m, replaces=t.id)
                yield Turn(rung * members.every, 1, 0.0, t.id, anew)
        if last and len(members.seats) < self.size:
            yield Turn(0, 1, 0.0, len(members.trials), self._new(p, len(members.seats)))

    def _new(self, p: int, member: int, **more: int) -> Start:
        return Start(origin={"population": {"population": p, "member": member, **more}})

    def _child(self, members: Members, p: int, replaces: int, rng: np.random.Generator) -> Start:
        member = next(m for m, seat in enumerate(members.seats) if seat[-1].id == replaces)
        models = self._models(members, members.trials[replaces])
        good = models[int(rng.integers(len(models)))]
        params = None
        if self.explore == "model":
            from whet.tune.schedule.bandit import advise  # it loads SciPy

            params = advise(members, good, rng)
        if params is None:
            space = members.trials.space
            params = explore(space, good.trial.params, rng, factors=self.factors, resample=self.resample)
        said = {"population": p, "member": member, "replaces": replaces, "copied": good.id}
        return Start(params, (good.id, good.step), {"search": "population", "population": said})


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)

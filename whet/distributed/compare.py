"""Rules side by side on simulated workers: the same task, the same seeds, the same delays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, NamedTuple

from whet.distributed.delays import Delays, Network
from whet.distributed.named import parse_rule
from whet.distributed.simulate import Simulation
from whet.task import Task
from whet.tune.space import Params
from whet.tune.trial import Point

__all__ = ["Case", "Outcome", "Summary", "compare", "summary"]


class Case(NamedTuple):
    """What is simulated: a rule by name, how many workers, which seed."""

    rule: str
    workers: int
    seed: int


@dataclass(frozen=True)
class Outcome:
    """What became of a case: its points (a point's cost is virtual seconds), the mean staleness, what was refused.

    complete: whether every epoch was trained, and ended in finite numbers.
    """

    case: Case
    points: tuple[Point, ...]
    staleness: float
    refused: Mapping[str, int]
    complete: bool

    def json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        curve = [{"epoch": p.step, "value": p.value, "seconds": p.cost, **p.metrics} for p in self.points]
        return {
            **self.case._asdict(), "staleness": self.staleness, "refused": dict(self.refused), "complete": self.complete,
            "curve": curve,
        }  # fmt: skip


def cases(rules: Sequence[str], workers: Sequence[int], seeds: Sequence[int]) -> list[Case]:
    """Return every case; of one worker the rules that only wait or compensate are the same, so one of them is enough."""
    return [Case(r, w, s) for w in workers for r in rules for s in seeds]


def compare(
    task: Task, params: Params, *, rules: Sequence[str], workers: Sequence[int], seeds: Sequence[int] = (0,),
    steps: int | None = None, delays: Delays | None = None, network: Network | None = None,
    shuffle: str = "global", tell: Callable[[Case, Point], None] = lambda case, point: None,
) -> Iterator[Outcome]:  # fmt: skip
    """Simulate each rule with each number of workers from each seed; yield the outcomes one by one.

    rules: names, as `whet.distributed.named.parse_rule` takes them; tell: called with every point. Everything else is as
    in `Simulation`. Raises UsageError before anything is simulated when a rule cannot be read.
    """
    made = {name: parse_rule(name) for name in rules}
    for case in cases(rules, workers, seeds):
        simulation = Simulation(
            task, params, rule=made[case.rule], workers=case.workers, steps=steps, seed=case.seed, delays=delays,
            network=network, shuffle=shuffle,
        )  # fmt: skip
        points = []
        for point in simulation:
            points.append(point)
            tell(case, point)
        server = simulation.server
        pushes = sum(server.staleness.values())
        mean = sum(k * v for k, v in server.staleness.items()) / pushes if pushes else math.nan
        complete = len(points) == simulation.run.steps and not simulation.run.over
        yield Outcome(case, tuple(points), mean, dict(server.refused), complete)


class Summary(NamedTuple):
    """A rule with so many workers, over its seeds.

    value: the mean of the last values that are finite, spread: their standard deviation (nan for one seed); seconds: virtual, of
    the whole training; updates; staleness; n: seeds, diverged: how many of them ended before the last epoch.
    """

    rule: str
    workers: int
    value: float
    spread: float
    seconds: float
    updates: float
    staleness: float
    n: int
    diverged: int


def summary(outcomes: Sequence[Outcome]) -> list[Summary]:
    """Return one line for each rule and number of workers, in the order in which they came.

    >>> def ended(seed, value, complete=True):
    ...     return Outcome(Case("sync", 2, seed), (Point(1, value, 3.0, {"updates": 9.0}),), 0.0, {}, complete)
    >>> s, = summary([ended(0, 0.5), ended(1, 0.7), ended(2, float("nan"), False)])
    >>> s.value, round(s.spread, 3), s.seconds, s.n, s.diverged
    (0.6, 0.141, 3.0, 3, 1)
    """
    groups: dict[tuple[str, int], list[Outcome]] = {}
    for o in outcomes:
        groups.setdefault((o.case.rule, o.case.workers), []).append(o)
    found = []
    for (rule, workers), own in groups.items():
        ends = [o.points[-1] for o in own if o.complete]
        values = [p.value for p in ends]
        found.append(Summary(
            rule, workers, fmean(values) if values else math.nan, stdev(values) if len(values) > 1 else math.nan,
            fmean(p.cost for p in ends) if ends else math.nan,
            fmean(dict(p.metrics)["updates"] for p in ends) if ends else math.nan,
            fmean(o.staleness for o in own), len(own), len(own) - len(ends),
        ))  # fmt: skip
    return found

"""Rules side by side on simulated workers: the same task, the same seeds, the same delays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypedDict, Unpack

from whet.distributed.delays import Delays, Network
from whet.distributed.failures import Failure
from whet.distributed.named import parse_rule
from whet.distributed.rule import Rule
from whet.distributed.simulate import Simulation
from whet.errors import UsageError
from whet.task import Task
from whet.tune.space import Params
from whet.tune.trial import Point

__all__ = ["SEQUENTIAL", "Case", "Outcome", "Setting", "compare"]

SEQUENTIAL = (
    "sequential"  # the baseline: one worker of speed 1, with nothing to wait for; it takes the steps of a `Run`
)


class Case(NamedTuple):
    """What is simulated: a rule by name, how many workers, which seed."""

    rule: str
    workers: int
    seed: int


class Setting(TypedDict, total=False):
    """What else a `Simulation` takes, the same for all cases. shares: of the workers, where they are not equal."""

    steps: int | None
    delays: Delays | None
    network: Network | None
    failures: Sequence[Failure]
    shuffle: str
    shares: Sequence[int]


@dataclass(frozen=True)
class Outcome:
    """What became of a case: its points (a point's cost is virtual seconds), the mean staleness, what was refused.

    complete: whether every epoch was trained, and ended in finite numbers; died: whether it ended before because all workers had died; histogram: how often each number of updates lay
    between a pull and its push; own: the hyperparameters it had of its own.
    """

    case: Case
    points: tuple[Point, ...]
    staleness: float
    refused: Mapping[str, int]
    complete: bool
    histogram: Mapping[int, int] = field(default_factory=dict)
    own: Mapping[str, Any] = field(default_factory=dict)
    died: bool = False

    def json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        curve = [{"epoch": p.step, "value": p.value, "seconds": p.cost, **p.metrics} for p in self.points]
        return {
            **self.case._asdict(), "staleness": self.staleness, "refused": dict(self.refused), "complete": self.complete, "died": self.died,
            "own": dict(self.own), "histogram": {str(k): v for k, v in sorted(self.histogram.items())}, "curve": curve,
        }  # fmt: skip


def cases(rules: Sequence[str], workers: Sequence[int], seeds: Sequence[int], *, baseline: bool = False) -> list[Case]:
    """Return every case, the baseline's first."""
    first = [Case(SEQUENTIAL, 1, s) for s in seeds] if baseline else []
    return first + [Case(r, w, s) for w in workers for r in rules for s in seeds]


def compare(
    task: Task, params: Params, *, rules: Sequence[str], workers: Sequence[int], seeds: Sequence[int] = (0,),
    own: Mapping[tuple[str, int], Params] | None = None, baseline: bool = False,
    tell: Callable[[Case, Point], object] = lambda case, point: None,
    watch: Callable[[Case, float], object] = lambda case, epochs: None,
    stopping: Callable[[], bool] = lambda: False, **setting: Unpack[Setting],
) -> Iterator[Outcome]:  # fmt: skip
    """Simulate each rule with each number of workers from each seed; return the outcomes one by one, as they are asked for.

    rules: names, as `whet.distributed.named.parse_rule` takes them; own: changes of `params` by rule and number of workers, such as
    a learning rate of its own; baseline: begin with sequential SGD, the rule `SEQUENTIAL` with one worker of speed 1 that has no network, no
    stragglers and no failures; tell: called with every point; watch: called after every event with the epochs done;
    stopping: asked after every event, the case at hand is left out when it says yes. Everything else is as in `Simulation`.

    Raises UsageError, before anything is simulated, for a rule that cannot be read, more workers than there are batches,
    a straggler or a failure of a worker that there never is, failures of one worker that overlap, and shares that are not one for each
    worker; TaskError for a task that workers cannot share (`whet.distributed.fit`).

    >>> from whet.tasks import resolve
    >>> found = compare(resolve("diabetes"), {"lr": 0.01, "net": "linear"}, rules=["async"], workers=[1], baseline=True, steps=2)
    >>> a, b = (o.points[-1].value for o in found); a == b
    True
    """
    check(task, params, rules, workers, **setting)
    listed = cases(rules, workers, seeds, baseline=baseline)
    own = own or {}

    def outcomes() -> Iterator[Outcome]:
        for case in listed:
            changes = dict(own.get((case.rule, case.workers), {}))
            simulation = simulated(task, {**params, **changes}, case, **setting)
            points = []
            for point in simulation.beats():
                watch(case, simulation.server.epochs)
                if point is not None:
                    points.append(point)
                    tell(case, point)
                if stopping():
                    return
            yield ended(case, simulation, points, changes)

    return outcomes()


def simulated(task: Task, params: Params, case: Case, **setting: Unpack[Setting]) -> Simulation:
    """Return the simulation of a case, without failures of workers that it has not; the baseline's has one worker of speed 1 with nothing to wait for."""
    if case.rule == SEQUENTIAL:
        delays = replace(setting.get("delays") or Delays(), stragglers=None)
        setting = {**setting, "delays": delays, "network": None, "failures": (), "shuffle": "global", "shares": ()}
    failures = [f for f in setting.get("failures", ()) if f.worker < case.workers]
    return Simulation(
        task, params, rule=_rule(case.rule), workers=setting.get("shares") or case.workers, seed=case.seed, steps=setting.get("steps"),
        delays=setting.get("delays"), network=setting.get("network"), failures=failures,
        shuffle=setting.get("shuffle", "global"),
    )  # fmt: skip


def _rule(name: str) -> Rule:
    return parse_rule("async" if name == SEQUENTIAL else name)


def ended(case: Case, simulation: Simulation, points: Sequence[Point], own: Params) -> Outcome:
    """Return what became of a simulation that has come to its end."""
    server = simulation.server
    pushes = sum(server.staleness.values())
    mean = sum(k * v for k, v in server.staleness.items()) / pushes if pushes else math.nan
    complete = len(points) == simulation.run.steps and not simulation.run.over
    return Outcome(
        case, tuple(points), mean, dict(server.refused), complete, dict(server.staleness), dict(own), simulation.died
    )


def check(task: Task, params: Params, rules: Sequence[str], workers: Sequence[int], **setting: Unpack[Setting]) -> None:
    """Raise UsageError for what cannot be simulated, for any of the rules and numbers of workers."""
    for name in rules:
        _rule(name)
    most, shares = max(workers), setting.get("shares", ())
    for count in workers if shares else ():
        if count != len(shares):
            raise UsageError(f"shares: {len(shares)} of them for {count} workers. Give one for each worker.")
    stragglers = (setting.get("delays") or Delays()).stragglers or {}
    for what, numbers in (("straggler", stragglers), ("fail", [f.worker for f in setting.get("failures", ())])):
        for worker in numbers:
            if not 0 <= worker < most:
                raise UsageError(
                    f"{what}: there is no worker {worker} among {most}: they are 0 to {most - 1}. Give one of these."
                )
    alone: Setting = {**setting, "failures": (), "shares": ()}
    for name in dict.fromkeys((*rules, SEQUENTIAL)):
        simulated(task, params, Case(name, 1, 0), **alone)
    for count in workers:
        simulated(task, params, Case(rules[0], count, 0), **setting)

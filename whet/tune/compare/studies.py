"""The studies of a comparison: one for each strategy and seed, in one store, each gone on with until its budget is spent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from whet.errors import StudyError
from whet.journal.event import Event
from whet.journal.store import Store
from whet.tune import ending, loop
from whet.tune.budget import Budget
from whet.tune.compare.line import Line, line
from whet.tune.compare.result import Comparison
from whet.tune.compare.strategies import Strategy
from whet.tune.failure import commonest, hopeless
from whet.tune.goal import Bound, Goal, parse_goals
from whet.tune.space import Space
from whet.tune.streak import Streak
from whet.tune.study import Study

__all__ = ["Plan", "Through", "begun", "carry", "inline", "over"]

_TOPIC = "searched"
_RECORDED = {
    "reference": "the task",
    "data": "the data",
    "source": "where they are from",
    "stop": "when a trial ends (--stop)",
}  # of a task


@dataclass(frozen=True)
class Plan:
    """What is compared on what.

    strategies: the baseline first; seeds: of the studies, and of what they train; limits: of each study; about: seed -> what is recorded of
    the task, so that another one is not taken for it.
    """

    space: Space
    goal: str | list[str]
    steps: int
    strategies: tuple[Strategy, ...]
    seeds: tuple[int, ...]
    limits: Budget
    store: Store
    about: Callable[[int], Mapping[str, Any]] | None = None
    name: str = ""

    @property
    def each(self) -> list[tuple[Strategy, int]]:
        """Every study, seed by seed, so that what is interrupted has whole seeds."""
        return [(s, seed) for seed in self.seeds for s in self.strategies]

    @property
    def by(self) -> str:
        """What is counted: trials where they have one step, else epochs."""
        return "trials" if self.steps == 1 else "epochs"

    @property
    def goals(self) -> tuple[Goal | Bound, ...]:
        """The goals, read."""
        return parse_goals(self.goal)

    def study(self, strategy: Strategy, seed: int) -> Study:
        """Return a study, new or as it stands; raise StudyError when there is one of the same name about something else."""
        name = f"{strategy.key}.{seed}"
        study = Study(
            self.space, goal=self.goal, search=strategy.seeded(seed), schedule=strategy.schedule, steps=self.steps, seed=seed,
            store=self.store, name=name,
        )  # fmt: skip
        try:
            if self.about is not None:
                now, known = dict(self.about(seed)), study.records("task")
                if not known:
                    study.record("task", now)
                elif dict(known[-1]) != now:
                    differs = [w for k, w in _RECORDED.items() if known[-1].get(k) != now.get(k)]
                    raise StudyError(
                        f"study '{name}': {' and '.join(differs)}: not the same as when it began. Give another --name, or start over with --fresh."
                    )
        except BaseException:
            study.close()
            raise
        return study

    def line(self, events: Sequence[Event]) -> Line:
        """Return the line of a study from its events."""
        ended = next((e.data["data"]["left"] for e in events[::-1] if _is_end(e)), True) is False
        return line(events, self.goals, self.steps, by=self.by, ended=ended)

    def read(self, strategy: Strategy, seed: int) -> list[Event]:
        """Return the events of a study that is in the store."""
        with closing(self.store.journal(f"{strategy.key}.{seed}", create=False)) as journal:
            return list(journal.read())


@dataclass
class Through:
    """What is known of the studies while they go on: the lines of those that are through, and how far the others said that they are."""

    plan: Plan
    lines: dict[tuple[str, int], Line] = field(default_factory=dict)
    now: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # by name of the study
    failing: str = ""  # what trials failed of in a study without a value

    def take(self, strategy: Strategy, seed: int, events: Sequence[Event], failing: str = "") -> None:
        """Take in a study that is through; raise StudyError when as many as there are strategies have no value at all."""
        self.lines[strategy.name, seed] = self.plan.line(events)
        self.now.pop(f"{strategy.key}.{seed}", None)
        self.failing = failing or self.failing
        if len(self.lines) >= len(self.plan.strategies) and not any(x.at for x in self.lines.values()):
            raise StudyError(f"compare: no trial of {len(self.lines)} studies had a value. {self.failing}".rstrip())

    @property
    def share(self) -> float:
        """How much of the whole is done, as far as it can be told, from 0 to 1."""
        limits = self.plan.limits
        most = limits.steps or (limits.trials or 0) * self.plan.steps
        half = sum(min(1.0, float(x["steps"]) / most) for x in self.now.values()) if most else 0.5 * len(self.now)
        return min(1.0, (len(self.lines) + half) / max(1, len(self.plan.each)))

    @property
    def standing(self) -> str:
        """The strategies by their mean rank over the seeds that all are through with, "" before the second."""
        found = self.result
        if len(found.seeds) < 2:
            return ""
        ranked = sorted(zip(found.lines, found.ranks()[:, :, 0].mean(1), strict=True), key=lambda x: float(x[1]))
        return "ranks so far: " + ", ".join(f"{n} {r:.1f}" for n, r in ranked[:5])

    @property
    def result(self) -> Comparison:
        """The comparison over the seeds that every strategy is through with."""
        plan = self.plan
        done = tuple(s for s in plan.seeds if all((x.name, s) in self.lines for x in plan.strategies))
        lines = {x.name: tuple(self.lines[x.name, s] for s in done) for x in plan.strategies}
        goal = plan.goals[0]
        assert isinstance(goal, Goal)
        return Comparison(goal, plan.by, done, lines, len(plan.seeds), plan.name)


def over(events: Sequence[Event], limits: Budget) -> bool:
    """Return whether a study ran to the end of `limits`, or of limits at least as wide in every respect that these have."""
    return any(_covers(Budget(**e.data["data"]["limits"]), limits) for e in events if _is_end(e))


def _is_end(e: Event) -> bool:
    return e.kind == "recorded" and e.data["topic"] == _TOPIC


def _covers(known: Budget, now: Budget) -> bool:
    pairs = [(getattr(known, f.name), getattr(now, f.name)) for f in fields(Budget)]
    return all(have is None or (want is not None and want <= have) for have, want in pairs)


def carry(
    study: Study,
    objective: Callable[..., Any],
    limits: Budget,
    stopping: Callable[[], bool],
    *,
    told: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> bool:
    """Go on with a study in this process until its limits are reached; return False when `stopping` ended it before.

    told: called with how far it is, once a second at most.
    """
    spending, last, asked = loop.Spending(study, limits), 0.0, False

    def enough() -> bool:
        nonlocal last, asked
        if time.monotonic() - last >= 1.0:
            last = time.monotonic()
            told({"study": study.name, "steps": study.spent.steps or 0, "trials": study.spent.trials or 0})
        asked = asked or stopping()
        return asked or spending.over

    try:
        loop.drive(study, objective, limits, enough, streak=Streak(study, limits))
    finally:
        spending.close()
    if asked:
        return False
    if not over(list(study.journal.read()), limits):
        left = not ending.used_up(study) and not hopeless(study.trials)
        study.record(_TOPIC, {"limits": asdict(limits), "left": left})
    return True


def begun(plan: Plan, through: Through) -> list[tuple[Strategy, int]]:
    """Create every study that is not there, before any is gone on with, and return those that are not through.

    Raises StudyError when one of them is about something else.
    """
    if plan.store.url is None:  # in memory none outlives its closing
        return plan.each
    left = []
    for strategy, seed in plan.each:
        with plan.study(strategy, seed) as study:
            events = list(study.journal.read())
            if over(events, plan.limits):
                through.take(strategy, seed, events, commonest(study.trials))
            else:
                left.append((strategy, seed))
    return left


def inline(plan: Plan, objective: Callable[[int], Callable[..., Any]], through: Through) -> Iterator[None]:
    """Go on with every study in this process, one after the other; yield after each. Ctrl-C ends it after the current step."""
    left = begun(plan, through)
    with loop.interruptible() as asked:
        for strategy, seed in left:
            with plan.study(strategy, seed) as study:
                if not carry(study, objective(seed), plan.limits, asked.is_set):
                    break
                through.take(strategy, seed, list(study.journal.read()), commonest(study.trials))
            yield
    if asked.is_set():
        raise KeyboardInterrupt

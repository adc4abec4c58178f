"""Which strategies are compared: read from words or objects, each once, and every one tried on made-up values before any training."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from whet.errors import StudyError, UsageError, UsedUp, WhetError
from whet.tune.goal import Bound, Goal
from whet.tune.schedule import describe as describe_schedule
from whet.tune.schedule import scheduler
from whet.tune.search import describe as describe_search
from whet.tune.search import searcher
from whet.tune.space import Float, Int, Space
from whet.tune.strategy import Scheduler, Searcher
from whet.tune.study import Study
from whet.tune.trial import Idle, Verdict

__all__ = ["BASELINE", "Strategy", "check", "strategies"]

BASELINE = "random"
_EXAMPLES = {"search": "gp,tpe", "schedule": "full,asha"}
_TRIALS = 12  # trials with made-up values in which a strategy shows that it can do its work


@dataclass(frozen=True)
class Strategy:
    """One of those that are compared.

    name: what it is called in tables; key: what its studies are called, `key.SEED`; search, schedule: as `Study` takes them.
    """

    name: str
    key: str
    search: str | Searcher
    schedule: str | Scheduler

    def seeded(self, seed: int) -> str | Searcher:
        """Return the searcher of the study with this seed: an object with an option `seed` gets that of the study, as a name does."""
        if isinstance(self.search, str) or "seed" not in {f.name for f in dataclasses.fields(self.search)}:  # type: ignore[arg-type]
            return self.search
        return dataclasses.replace(self.search, seed=seed)  # type: ignore[type-var]


def strategies(
    search: str | Searcher | Sequence[str | Searcher], schedule: str | Scheduler | Sequence[str | Scheduler] = "auto"
) -> tuple[Strategy, ...]:
    """Return each searcher under each schedule, the baseline (random, under the first schedule) first, added where it is missing.

    search, schedule: names, with commas between them, or a list of names and objects.

    Raises UsageError for a name twice, an empty one, or nothing to compare the baseline with; StudyError for a name that there is not.

    >>> [s.name for s in strategies("gp,tpe")], [s.key for s in strategies("random", "full,asha")]
    (['random', 'gp', 'tpe'], ['random+full', 'random+asha'])
    """
    searches, schedules = _listed(search, "search"), _listed(schedule, "schedule")
    for s in searches:
        searcher(s, _SPACE, 2)
    for h in schedules:
        scheduler(h, _SPACE, 2)
    names = [_named(describe_search, s) for s in searches]
    times = [_named(describe_schedule, h) for h in schedules]
    for what, given in (("search", names), ("schedule", times)):
        if twice := sorted({n for n in given if given.count(n) > 1}):
            raise UsageError(f"{what} {twice[0]}: is given twice. Give every one once.")
    if BASELINE not in names:
        pairs = [(BASELINE, times[0], BASELINE, schedules[0])]
    else:
        pairs = []
    pairs += [(n, t, s, h) for n, s in zip(names, searches, strict=True) for t, h in zip(times, schedules, strict=True)]
    pairs.sort(key=lambda p: p[0] != BASELINE or p[1] != times[0])  # stable: the others stay in their order
    if len(pairs) < 2:
        raise UsageError(
            f"search {pairs[0][0]}: is alone, so there is nothing to compare it with. Name another, e.g. gp,tpe."
        )
    several = len(times) > 1
    return tuple(
        Strategy(f"{n}+{t}" if several else n, re.sub(r"[^\w.+@-]+", "-", f"{n}+{t}")[:90], s, h)
        for n, t, s, h in pairs
    )


_SPACE = Space(
    x=Float(0, 1, live=True)
)  # one that no scheduler refuses: what the real one lacks is for `check` to find


def _listed(given: Any, what: str) -> list[Any]:
    """Return names and objects one by one."""
    several = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    found = [
        w.strip() if isinstance(w, str) else w for g in several for w in (g.split(",") if isinstance(g, str) else [g])
    ]
    if not found or any(w == "" for w in found):
        raise UsageError(
            f"{what} {given!r}: has an empty name. Give names with commas between them, e.g. {_EXAMPLES[what]}."
        )
    return found


def _named(describe: Any, strategy: Any) -> str:
    """Return the name, and of an object the options that are not the usual ones."""
    if isinstance(strategy, str):
        return strategy
    told = describe(strategy)
    usual = {f.name: f.default for f in dataclasses.fields(strategy)}
    own = {k: v for k, v in told["options"].items() if k != "seed" and v != usual.get(k)}
    name = str(told["name"]).rpartition(":")[2]
    return name + (f"({','.join(f'{k}={v}' for k, v in own.items())})" if own else "")


def check(strategy: Strategy, space: Space, goal: str | list[str], steps: int) -> None:
    """Have a strategy make a few trials with made-up values, in memory; raise StudyError with its reason when it cannot.

    Gradients of the numbers, and the other goals' metrics, are made up as well.
    """
    numbers = [d.name for d in space.dims if isinstance(d.domain, (Float, Int))]
    try:
        with Study(space, goal=goal, search=strategy.seeded(0), schedule=strategy.schedule, steps=steps) as study:
            first, *others = study.goals
            assert isinstance(first, Goal)
            metrics = {f"gradient.{n}": 0.1 for n in numbers}
            metrics |= {g.name: g.limit if isinstance(g, Bound) else 0.5 for g in others if g.name != first.name}
            for k in range(_TRIALS):
                trial = study.ask()
                if isinstance(trial, Idle):  # nothing is left to try: that is no refusal
                    return
                value = 0.5 + 0.1 * float(np.cos(1.7 * k))
                for step in range(trial.step + 1, steps + 1):
                    if study.report(trial, step, value, **metrics) is not Verdict.GO:
                        break
                else:
                    study.tell(trial, value)
    except UsedUp:
        return
    except WhetError as e:
        raise StudyError(f"compare: {strategy.name} cannot search this: {e}") from e

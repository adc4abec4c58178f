"""Comparing strategies in a program: one call, and what came of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from whet.errors import TaskError, UsageError
from whet.execute import place, refer
from whet.journal.store import Store
from whet.tune.budget import Budget
from whet.tune.compare.crowd import crowd
from whet.tune.compare.result import Comparison
from whet.tune.compare.strategies import check, strategies
from whet.tune.compare.studies import Plan, Through, begun, inline
from whet.tune.loop import interruptible
from whet.tune.space import Space
from whet.tune.strategy import Scheduler, Searcher

__all__ = ["compare", "make_plan", "read_seeds"]

About = tuple[str, Callable[[int], Mapping[str, Any]] | None]

TRIALS = 30  # whole ones that the default budget of each study is for


def compare(
    objective: Any,
    space: Space | None = None,
    *,
    search: str | Searcher | Sequence[str | Searcher] = "auto",
    schedule: str | Scheduler | Sequence[str | Scheduler] = "auto",
    seeds: int | Sequence[int] = 10,
    goal: str | list[str] | None = None,
    steps: int | None = None,
    budget: Budget | str | float | None = None,
    workers: int = 1,
    store: Store | str | None = None,
) -> Comparison:
    """Compare strategies on one task: a study for each and each seed, held against random search with the same seeds.

    objective: a `Task`, or a function as `Study.run` takes it, with its `space`; search, schedule: names with commas between them, or
    lists of names and objects, each searcher under each schedule; random joins them where it is missing. seeds: how many, or which;
    goal, steps: as of a `Study`, a task's own when None; budget: of each study, 30 whole trials when None; workers: studies at a time, one
    process each. With a `store` studies are kept: the same call goes on where it was interrupted, with more seeds or strategies too.

    Before any of them begins, every strategy makes a few trials with made-up values, so that one that cannot search this space says so.
    Raises UsageError or StudyError for what cannot be compared; KeyboardInterrupt after the current step when interrupted.

    >>> import whet
    >>> space = whet.Space(x=whet.Float(-1, 1), y=whet.Float(-1, 1))
    >>> found = compare(lambda p: p["x"] ** 2 + 0.01 * p["y"], space, search="grid", seeds=8, budget="20trials")
    >>> len(found.seeds), found.baseline, found.against["grid"].verdict
    (8, 'random', 'better')
    """
    task = objective if hasattr(objective, "goals") and hasattr(objective, "model") else None
    if task is None and not callable(objective):
        raise UsageError(
            f"compare: the objective must be a Task or a function, got {objective!r}. Use e.g. whet.compare(f, space)."
        )
    if task is None and space is None:
        raise UsageError("compare: an objective that is a function needs its space. Use e.g. whet.compare(f, space).")
    if task is not None:
        if space is not None:
            raise UsageError(f"compare: {type(task).__name__} is a task, which has a space of its own. Leave it out.")
        space = task.space
        goal = [str(g) for g in task.goals(task.data(_middle(task)))] if goal is None else goal
        steps = task.steps if steps is None else steps
    assert space is not None
    plan = make_plan(
        space, "min loss" if goal is None else goal, 1 if steps is None else steps, search=search, schedule=schedule, seeds=seeds,
        budget=budget, store=store,
    )  # fmt: skip
    start = place("auto", workers)
    through = Through(plan)
    if start is None:
        for _ in inline(plan, _trained(task) if task is not None else lambda _: objective, through):
            pass
        return through.result
    given = _named(task, objective)
    if plan.store.url is None:
        raise UsageError(
            'compare: workers in other processes need a store they can open. Give store="sqlite:///compare.db", or workers=1.'
        )
    if not (left := begun(plan, through)):
        return through.result
    with start() as pool, interruptible() as asked:
        for _ in crowd(left, given, through, pool, stopping=asked.is_set):
            pass
    if asked.is_set():
        raise KeyboardInterrupt
    return through.result


def make_plan(
    space: Space, goal: str | list[str], steps: int, *, search: Any, schedule: Any = "auto", seeds: int | Sequence[int] = 10,
    budget: Budget | str | float | None = None, store: Store | str | None = None, about: About = ("", None),
) -> Plan:  # fmt: skip
    """Return what is compared, every strategy tried; raise UsageError or StudyError for what cannot be.

    about: the name of the task, and what is recorded of it with a seed.
    """
    if not isinstance(space, Space):
        raise UsageError(f"compare: space must be a Space, got {type(space).__name__}. Use Space(lr=Float(...), ...).")
    limits = Budget.of(budget) or (Budget(trials=TRIALS) if steps == 1 else Budget(steps=TRIALS * steps))
    plan = Plan(
        space, goal, steps, strategies(search, schedule), read_seeds(seeds), limits, Store.of(store), about[1], about[0]
    )
    for strategy in plan.strategies:
        check(strategy, space, goal, steps)
    return plan


def read_seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """Return the seeds one by one; raise UsageError for fewer than two, one twice, or what is no seed.

    >>> read_seeds(3), read_seeds([4, 2])
    ((0, 1, 2), (4, 2))
    """
    whole = isinstance(seeds, int) and not isinstance(seeds, bool)
    try:
        found = tuple(range(seeds)) if whole else tuple(seeds)  # type: ignore[arg-type]
    except TypeError:
        raise UsageError(f"seeds: must be a number of seeds or a list of them, got {seeds!r}. Use e.g. 10.") from None
    if wrong := [s for s in found if not isinstance(s, int) or isinstance(s, bool) or s < 0]:
        raise UsageError(f"seeds: each must be a whole number of at least 0, got {wrong[0]!r}. Use e.g. 10.")
    if twice := [s for s in found if found.count(s) > 1]:
        raise UsageError(f"seeds: {twice[0]} is given twice. Give every one once.")
    if len(found) < 2:
        raise UsageError(
            f"seeds: must be at least 2, got {seeds if whole else len(found)}. Use 10 to tell small differences."
        )
    return found


def _middle(task: Any) -> dict[str, Any]:
    own = getattr(task, "first", None)
    return dict(own) if own is not None else dict(task.space.decode([0.5] * len(task.space.dims)))


def _trained(task: Any) -> Callable[[int], Callable[..., Any]]:
    """Return how this process makes the objective of a seed: as workers do, for a task that they can make again."""
    from whet.tasks import reference
    from whet.tune.worker import objective, train_task

    stop = task.stop or ""
    try:
        known = reference(task)
    except TaskError:  # one that only this process can make
        pass
    else:
        return lambda seed: objective({**known, "seed": seed}, stop=stop)

    def made(seed: int) -> Callable[..., Any]:
        own = copy.copy(task)
        own.seed = seed

        def train(params: Any, run: Any) -> Any:
            own.steps = run.steps
            return train_task(own, params, run, stop=stop)

        return train

    return made


def _named(task: Any, objective: Any) -> Callable[[int], Mapping[str, Any]]:
    """Return how worker processes make the objective of a seed."""
    if task is None:
        ref = refer(objective)
        return lambda _: {"ref": ref}
    from whet.tasks import reference

    known, stop = reference(task), {"stop": task.stop} if task.stop else {}
    return lambda seed: {
        "ref": "whet.tune.worker:objective",
        "given": {"reference": {**known, "seed": seed}, **stop},
    }

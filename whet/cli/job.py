"""From a command's words to a `Job`, and the settings of one configuration."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whet.errors import SpaceError, StudyError, UsageError, WhetError, nearest
from whet.stop import parse
from whet.tune.budget import Budget, Price
from whet.tune.domain import same
from whet.tune.goal import parse_goals
from whet.tune.space import Params, Space

if TYPE_CHECKING:
    from whet.execute import Workers
    from whet.journal.store import Store
    from whet.recipe.job import Job
    from whet.task import Task

__all__ = ["check_words", "configuration", "goals", "make_job", "make_task", "optioned", "settings"]


def make_task(
    text: str,
    target: Sequence[str] | None,
    kind: str | None,
    seed: int,
    *,
    time: str | None = None,
    goal: Sequence[str] | None = None,
) -> Task:
    """Return the task that the words name; goal: words of `--goal`, in place of its own."""
    if seed < 0:
        raise UsageError(f"--seed: must be at least 0, got {seed}.")
    from whet.tasks import resolve

    return resolve(text, target=list(target) if target else None, kind=kind, seed=seed, time=time, goal=goals(goal))


@contextmanager
def optioned(*names: str) -> Iterator[None]:
    """Have a refusal of an argument that has one of these names say it of the option.

    >>> with optioned("seeds"):
    ...     raise UsageError("seeds: must be at least 2, got 1.")
    Traceback (most recent call last):
        ...
    whet.errors.UsageError: --seeds: must be at least 2, got 1.
    """
    try:
        yield
    except WhetError as e:
        if str(e).partition(":")[0].partition(" ")[0] not in names:
            raise
        raise type(e)(f"--{e}") from None


def goals(words: Sequence[str] | None) -> list[str]:
    """Return the goals that words of `--goal` name, apart at commas; raise UsageError when one cannot be read.

    >>> goals(["max accuracy, min latency", "latency<=5"])
    ['max accuracy', 'min latency', 'latency <= 5']
    """
    if not words:
        return []
    try:
        return [str(g) for g in parse_goals([part.strip() for word in words for part in word.split(",")])]
    except StudyError as e:
        raise UsageError(f"--{e}") from None


def check_words(
    *,
    budget: str | None,
    search: str,
    schedule: str,
    epochs: int | None,
    store: Store,
    stop: str | None = None,
    until: str | None = None,
    price: str | None = None,
    like: Sequence[str] | None = None,
    goal: Sequence[str] | None = None,
    folds: int | None = None,
) -> None:
    """Raise a WhetError for what is wrong whatever the task is, before anything is loaded or written."""
    from whet.tune.like import asked
    from whet.tune.schedule import refused, scheduler
    from whet.tune.search import searcher
    from whet.tune.space import Float

    Budget.of(budget).priced(price)
    if price is not None:
        Price.of(price)
    if stop is not None:
        parse(stop, what="--stop")
    if until is not None:
        parse(until, study=True, what="--until")
    if epochs is not None and epochs < 1:
        raise UsageError(f"--epochs: must be at least 1, got {epochs}.")
    if folds is not None:
        from whet.recipe.folds import check_words as check_folds

        check_folds(folds, search=search, schedule=schedule, price=price)
    asked(like or ())
    aims = parse_goals(goals(goal) or "min loss")
    space = Space(x=Float(0, 1, live=True))
    with optioned("search", "schedule"):
        searcher(search, space, 2)
        if why := refused(scheduler(schedule, space, 2, aims), aims):
            raise UsageError(why)
    store.names()  # what is no database of ours is said now


def make_job(
    task: Task,
    *,
    runs: Path,
    budget: str | None,
    workers: int,
    name: str,
    search: str,
    schedule: str,
    epochs: int | None,
    start: Callable[..., Workers] | None = None,
    store: Store | None = None,
    stop: str | None = None,
    until: str | None = None,
    price: str | None = None,
    like: Sequence[str] | None = None,
    rerace: float = 0.0,
    folds: int | None = None,
) -> Job:
    """Return the job."""
    from whet.recipe.job import Job

    return Job(
        task, runs=runs, budget=Budget.of(budget), workers=workers, name=name, search=search, schedule=schedule,
        steps=epochs, start=start, store=store, stop=stop, until=until, price=price,
        like=tuple(like or ()), rerace=rerace, folds=folds, command=shlex.join(["whet", *sys.argv[1:]]),
    )  # fmt: skip


def configuration(space: Space, start: Params, words: Sequence[str] | None) -> dict[str, Any]:
    """Return `start` with `NAME=VALUE` settings applied; what a setting switches on is taken from the middle.

    Raises UsageError for a setting that cannot be read, an unknown name or a value outside its domain.

    >>> from whet.tune.space import Choice, Float
    >>> space = Space(lr=Float(0, 1), net=Choice({"a": Space(x=Float(0, 1)), "b": Space(y=Float(0, 4))}))
    >>> configuration(space, {"lr": 0.5, "net": "a", "net.x": 0.1}, ["lr=0.25", "net=b"])
    {'lr': 0.25, 'net': 'b', 'net.y': 2.0}
    """
    import numpy as np

    given = settings(space, words)
    if not given:
        return dict(start)

    def fill(params: Params) -> dict[str, Any]:
        return space.fill(params, np.random.default_rng(0))

    try:
        fill(given)
    except SpaceError as e:
        raise UsageError(f"--set {e}") from None
    kept = dict(given)
    # what still exists of the start stays, a changed choice drops the old branch; then the middle of what is new
    middle = [(d.name, d.domain.decode(0.5)) for d in space.dims]
    for name, value in [*((n, v) for n, v in start.items() if n not in given), *middle]:
        if name not in kept:
            try:
                fill({**kept, name: value})
            except SpaceError:
                continue
            kept[name] = value
    return fill(kept)


def settings(space: Space, words: Sequence[str] | None) -> dict[str, Any]:
    """Return the values that `NAME=VALUE` words give; what is inside a branch may go by its last name.

    Raises UsageError for a word that cannot be read, or an unknown name; values are for the space to check.

    >>> from whet.tune.space import Choice, Float
    >>> settings(Space(lr=Float(0, 1), net=Choice({"a": Space(x=Float(0, 1))})), ["lr=1e-3", "x=.5"])
    {'lr': 0.001, 'net.x': 0.5}
    """
    given: dict[str, Any] = {}
    for setting in words or ():
        name, equals, text = setting.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--set {setting}: use NAME=VALUE, e.g. --set lr=1e-3.")
        name = name.strip()
        if name not in space.names:
            inner = [n for n in space.names if n.endswith("." + name)]
            name = inner[0] if len(inner) == 1 else name  # lr for optimizer.lr, where only one can be meant
        if name not in space.names:
            known = ", ".join(space.names) or "none"
            raise UsageError(
                f"--set {name}: no such hyperparameter.{nearest(name, [*space.names, *(n.rpartition('.')[2] for n in space.names)])} Allowed: {known}."
            )
        if name in given:
            raise UsageError(f"--set {name}: given twice. Give it once.")
        given[name] = _option(space, name, text.strip())
    return given


def _option(space: Space, name: str, text: str) -> Any:
    """Return the value that a word stands for: what it reads like, unless only the word itself is an option."""
    value = _value(text)
    if not isinstance(value, str):
        for dim in space.dims:
            if dim.name == name:
                options = getattr(dim.domain, "options", getattr(dim.domain, "values", ()))
                if text in options and not any(same(value, o) for o in options):
                    return text
    return value


def _value(text: str) -> Any:
    words = {"true": True, "false": False, "none": None, "null": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        value = json.loads(text)
    except ValueError:
        try:
            return float(text)  # 1e-3 and .5, which JSON may refuse
        except ValueError:
            return text
    return value if isinstance(value, (int, float, str)) else text

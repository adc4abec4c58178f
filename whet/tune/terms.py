"""Whether a study that is opened again is the same study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from whet.errors import StudyError
from whet.journal.event import FORMAT, Journal, Writer
from whet.journal.store import Store
from whet.tune.book import Book
from whet.tune.created import Terms
from whet.tune.earlier import recorded
from whet.tune.history import History
from whet.tune.like import ALL, asked
from whet.tune.schedule import describe as describe_schedule
from whet.tune.schedule import rebuild as rebuild_schedule
from whet.tune.schedule import refused, scheduler
from whet.tune.search import describe as describe_search
from whet.tune.search import rebuild as rebuild_search
from whet.tune.search import searcher
from whet.tune.space import Space
from whet.tune.strategy import Scheduler, Searcher
from whet.tune.trial import Trials, parse_goals
from whet.tune.wording import parted

__all__ = ["Agreement", "check_new", "check_same", "offer", "recorded_terms", "settle"]


@dataclass(frozen=True)
class Agreement:
    """What a study is created with, and the strategies that its terms describe."""

    terms: Terms
    searcher: Searcher
    scheduler: Scheduler


def offer(
    space: Space,
    goal: str | list[str],
    *,
    search: str | Searcher,
    schedule: str | Scheduler,
    steps: int,
    seed: int,
    like: Any = (),
) -> Agreement:
    """Return what a study would be created with; raise StudyError when an argument is not what it must be.

    like: what it asks for; the studies themselves are looked up when it is created.
    """
    if not isinstance(space, Space):
        raise StudyError(f"study: space must be a Space, got {type(space).__name__}. Use Space(lr=Float(...), ...).")
    if not isinstance(steps, (int, Integral)) or isinstance(steps, bool) or steps < 1:
        raise StudyError(f"study: steps must be a whole number of at least 1, got {steps!r}.")
    if not isinstance(seed, (int, Integral)) or isinstance(seed, bool):
        raise StudyError(f"study: seed must be a whole number, got {seed!r}.")
    steps, seed, goals = int(steps), int(seed), parse_goals(goal)
    what = searcher(search, space, steps, seed=seed)
    whole = schedule == "auto" and getattr(what, "whole", False)
    how = scheduler("full" if whole else schedule, space, steps, goals, seed=seed)
    given = {k: v if isinstance(v, str) else "" for k, v in (("search", search), ("schedule", schedule))}
    if names := asked(like):
        given["like"] = ",".join(n if isinstance(n, str) else n.name for n in names)
    terms = Terms(space, goals, steps, seed, describe_search(what), describe_schedule(how), given)
    if why := getattr(what, "refuses", lambda *_: "")(space, steps, terms.schedule["name"]):
        raise StudyError(why)
    return Agreement(terms, what, how)


def check_new(wanted: Agreement, store: Store, name: str, earlier: Callable[[], tuple[Trials, ...]]) -> None:
    """Raise StudyError when a study that does not exist yet cannot be begun: its scheduler cannot serve its goals, or an earlier study is none.

    One that exists can be opened, as it was begun by a version that did not refuse.
    """
    why, like = refused(wanted.scheduler, wanted.terms.goals), "like" in wanted.terms.asked
    if (why or like) and name not in store.names():
        if why:
            raise StudyError(why)
        earlier()


def settle(book: Book, name: str, wanted: Agreement, earlier: Callable[[], tuple[Trials, ...]]) -> Agreement:
    """Write the terms of a new study, or hold them against those of the one that exists; return what is recorded.

    What is recorded counts: "auto" may mean something else in a later version, names have an order, and the `earlier` studies that it
    learns from may have grown since.
    """
    terms = wanted.terms
    if book.history.terms is None:
        _begin(book, terms, [recorded(x, terms.space) for x in earlier()])
    known = book.history.terms
    assert known is not None
    check_same(name, known, terms)
    what = wanted.searcher if terms.search == known.search else rebuild_search(known.search)
    how = wanted.scheduler if terms.schedule == known.schedule else rebuild_schedule(known.schedule)
    return Agreement(known, what, how)


def recorded_terms(journal: Journal) -> Terms:
    """Return the terms of a study; raise StudyError when it was never begun."""
    history = History()
    history.apply(next(journal.pages(size=1), []))
    if history.terms is None:
        raise StudyError(f"study '{journal.name}': it was never begun. Run it with its task first.")
    return history.terms


def _begin(book: Book, terms: Terms, like: list[dict[str, Any]]) -> None:
    from whet import __version__

    data = {
        "format": FORMAT, "version": __version__, "space": terms.space.json(), "steps": terms.steps,
        "goals": [str(g) for g in terms.goals], "seed": terms.seed, "search": terms.search,
        "schedule": terms.schedule, "asked": terms.asked,
    } | ({"like": like} if "like" in terms.asked else {})  # fmt: skip

    def write(w: Writer) -> None:
        if book.history.terms is None:  # else another process was quicker
            book.append(w, "created", None, data)

    book.change(write)


def check_same(name: str, recorded: Terms, given: Terms) -> None:
    """Raise StudyError, naming the first difference, when `given` is not what the study was created with.

    A strategy given as "auto" fits whatever was recorded, and so do earlier studies given as "all", or not given.
    """
    differs = ""
    if _settled(recorded.space.json()) != _settled(given.space.json()):
        differs = f"another space ({parted(recorded.space, given.space) or 'its names have another order'})"
    elif recorded.goals != given.goals:
        differs = f"the goal {_texts(recorded.goals)}, not {_texts(given.goals)}"
    elif recorded.steps != given.steps:
        differs = f"{recorded.steps} step{'s' * (recorded.steps != 1)}, not {given.steps}"
    elif recorded.seed != given.seed:
        differs = f"seed {recorded.seed}, not {given.seed}"
    else:
        for what in ("search", "schedule"):
            have, want = getattr(recorded, what), getattr(given, what)
            if have != want and given.asked[what] != "auto":
                differs = f"{what} {_strategy(have)}, not {_strategy(want)}"
                break
        else:
            differs = _like_differs(recorded, given)
    if differs:
        raise StudyError(
            f"study '{name}': was created with {differs}. Use the same, another name, or start over (--fresh)."
        )


def _settled(space: Any) -> Any:
    """Return a space's JSON without what is marked live: values are the same, and what is recorded counts."""
    if isinstance(space, dict):
        return {k: _settled(v) for k, v in space.items() if not (k == "live" and v is True)}
    return [_settled(v) for v in space] if isinstance(space, list) else space


def _like_differs(recorded: Terms, given: Terms) -> str:
    wanted = given.asked.get("like", ALL)
    have = [x.name for x in recorded.like]
    if wanted == ALL or set(wanted.split(",")) == set(have):
        return ""
    return f"like {', '.join(have)}, not {wanted}" if have else f"nothing that it is like, not {wanted}"


def _texts(goals: object) -> str:
    return " and ".join(map(str, goals))  # type: ignore[call-overload]


def _strategy(described: object) -> str:
    d = dict(described)  # type: ignore[call-overload]
    return d["name"] + (str(d["options"]) if d.get("options") else "")

"""Whether a study that is opened again is the same study."""

from __future__ import annotations

from whet.errors import StudyError
from whet.journal.event import FORMAT, Writer
from whet.tune.book import Book
from whet.tune.history import Terms
from whet.tune.space import Space

__all__ = ["check_same", "settle"]


def settle(book: Book, name: str, terms: Terms) -> Terms:
    """Write the terms of a new study, or hold them against those of the one that exists; return what is recorded."""
    if book.history.terms is None:
        _begin(book, terms)
    recorded = book.history.terms
    assert recorded is not None
    check_same(name, recorded, terms)
    return recorded


def _begin(book: Book, terms: Terms) -> None:
    from whet import __version__

    data = {
        "format": FORMAT, "version": __version__, "space": terms.space.json(), "steps": terms.steps,
        "goals": [str(g) for g in terms.goals], "seed": terms.seed, "search": terms.search,
        "schedule": terms.schedule, "asked": terms.asked,
    }  # fmt: skip

    def write(w: Writer) -> None:
        if book.history.terms is None:  # else another process was quicker
            book.append(w, "created", None, data)

    book.change(write)


def check_same(name: str, recorded: Terms, given: Terms) -> None:
    """Raise StudyError, naming the first difference, when `given` is not what the study was created with.

    A strategy given as "auto" fits whatever was recorded.
    """
    differs = ""
    if recorded.space.json() != given.space.json():
        differs = f"another space ({_space_difference(recorded.space, given.space)})"
    elif recorded.goals != given.goals:
        differs = f"the goal {_texts(recorded.goals)}, not {_texts(given.goals)}"
    elif recorded.steps != given.steps:
        differs = f"{recorded.steps} steps, not {given.steps}"
    elif recorded.seed != given.seed:
        differs = f"seed {recorded.seed}, not {given.seed}"
    else:
        for what in ("search", "schedule"):
            have, want = getattr(recorded, what), getattr(given, what)
            if have != want and given.asked[what] != "auto":
                differs = f"{what} {_strategy(have)}, not {_strategy(want)}"
                break
    if differs:
        raise StudyError(
            f"study '{name}': was created with {differs}. Use the same, another name, or start over (--fresh)."
        )


def _texts(goals: object) -> str:
    return " and ".join(map(str, goals))  # type: ignore[call-overload]


def _strategy(described: object) -> str:
    d = dict(described)  # type: ignore[call-overload]
    return d["name"] + (str(d["options"]) if d.get("options") else "")


def _space_difference(a: Space, b: Space) -> str:
    for n in [*a, *(n for n in b if n not in a)]:
        if n not in b:
            return f"it has {n}={a[n]!r}"
        if n not in a:
            return f"it has no {n}"
        if a[n] != b[n]:
            return f"{n} is {a[n]!r} there, {b[n]!r} here"
    if a.constraints != b.constraints:
        return f"its constraints are {list(a.constraints)}"
    return "its names have another order"

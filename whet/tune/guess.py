"""A person's guess: what is enqueued, and whether it would only repeat what is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from whet import seed as streams
from whet.errors import StudyError
from whet.journal.event import Writer
from whet.tune.history import History, configuration
from whet.tune.space import Const, Params, Space
from whet.tune.trial import Trial

if TYPE_CHECKING:
    from whet.tune.book import Book

__all__ = ["enqueue", "repeats"]

_LISTED = 100_000  # the largest space in which it is known that a guess leaves nothing new


def enqueue(book: Book, params: Params, *, note: str, tags: Sequence[str], again: bool) -> Trial:
    """Append a guess to the study of `book`; return the WAITING trial.

    Raises SpaceError when it does not fit the space, StudyError when it repeats a trial and `again` is False.
    """
    terms = book.history.terms
    assert terms is not None
    terms.space.fill(params, streams.rng(terms.seed, "check"))
    data: dict[str, Any] = {"params": dict(params), "note": note}
    data |= ({"tags": list(tags)} if tags else {}) | ({"again": True} if again else {})

    def write(w: Writer) -> Trial:
        if not again and (why := repeats(book.history, params)):
            raise StudyError(f"configuration {dict(params)}: {why} Give another, or again=True to repeat it.")
        id = len(book.history.progress)
        book.append(w, "enqueued", id, data)
        return book.history.trials[id]

    return book.change(write)


def repeats(history: History, params: Params) -> str:
    """Return which trial a guess would repeat, in a sentence, or "" when it can be something new."""
    assert history.terms is not None
    space = history.terms.space
    whole = complete(space, params)
    if whole is not None:
        if (id := _holder(history, whole)) is None:
            return ""
        return f"trial {id} has it already ({_standing(history.trials[id])})."
    if space.size is None or space.size > _LISTED:
        return ""
    fits = [p for p in space.points() if covers(p, params)]
    if any(configuration(p) not in history.keys for p in fits):
        return ""
    return f"all {len(fits)} configurations that have these values were tried."


def complete(space: Space, params: Params) -> dict[str, Any] | None:
    """Return the one configuration that `params` can mean, or None when they leave something open.

    >>> from whet.tune.space import Int
    >>> complete(Space(a=Int(1, 3), b=Const(2)), {"a": 3}), complete(Space(a=Int(1, 3)), {})
    ({'a': 3, 'b': 2}, None)
    """
    found = space.fill(params, streams.rng(0, "check"))
    fixed = {n for n, d in _domains(space).items() if isinstance(d, Const)}
    return found if all(n in params or n in fixed for n in found) else None


def covers(params: Mapping[str, Any], given: Params) -> bool:
    """Return whether a configuration has all the given values.

    >>> covers({"a": 1, "b": 2}, {"b": 2})
    True
    """
    return all(k in params and params[k] == v for k, v in given.items())


def _domains(space: Space, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, domain in space.items():
        found[prefix + name] = domain
        for branch in getattr(domain, "branches", ()):
            found |= {} if branch is None else _domains(branch, f"{prefix}{name}.")
    return found


def _holder(history: History, params: Params) -> int | None:
    """Return the id of the trial that has, or as a waiting guess will have, this configuration."""
    key = configuration(params)
    assert history.terms is not None
    for id in history.waiting:
        given = history.progress[id].given
        whole = None if given is None else complete(history.terms.space, given)
        if whole is not None and configuration(whole) == key:
            return id
    if key not in history.keys:
        return None
    return next(t.id for t in history.trials if configuration(t.params) == key)


def _standing(trial: Trial) -> str:
    return trial.state.value + ("" if trial.value is None else f", {trial.value:.4g}")

"""A person's guess: what is enqueued, and whether it would only repeat what is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from whet import seed as streams
from whet.errors import StudyError
from whet.journal.event import Writer
from whet.tune.history import History
from whet.tune.space import Params
from whet.tune.trial import Trial
from whet.tune.whole import complete, configuration, covers

if TYPE_CHECKING:
    from whet.tune.book import Book

__all__ = ["CONTROL", "RERACE", "START", "enqueue", "repeats"]

START = "where to start"  # the note of a task's own first configuration, which is no person's guess
RERACE = (
    "rerace"  # the tag of a trial that is run again to know its configuration better: no schedule stops or pauses it
)
CONTROL = "control"  # the tag of a trial that has a configuration which worked before, to see whether it still does
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
    if any(history.taken(configuration(p)) is None for p in fits):
        return ""
    return f"all {len(fits)} configurations that have these values were tried, or are about to be."


def _holder(history: History, params: Params) -> int | None:
    """Return the id of the trial that has, or as a guess will have, this configuration."""
    key = configuration(params)
    if history.taken(key) is None:
        return None
    return next(d.id for d in history.progress if configuration(d.params) == key or _means(history, d.given, key))


def _means(history: History, given: Params | None, key: str) -> bool:
    assert history.terms is not None
    whole = complete(history.terms.space, given) if given else None
    return whole is not None and configuration(whole) == key


def _standing(trial: Trial) -> str:
    return trial.state.value + ("" if trial.value is None else f", {trial.value:.4g}")

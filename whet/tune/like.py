"""Which earlier studies a new one learns from: what `like` asks for, found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from whet.errors import StudyError, nearest
from whet.journal.store import Store
from whet.tune.book import Book
from whet.tune.earlier import inside
from whet.tune.overlap import shared
from whet.tune.space import Space
from whet.tune.told import told
from whet.tune.trial import Trials

__all__ = ["ALL", "asked", "gather"]

ALL = "all"
_STUDIES = 10  # of all that overlap, those with the most names in common, the latest first


def asked(like: Any) -> tuple[Any, ...]:
    """Return what `like` asks for, one by one, names apart at commas, each once; raise StudyError when it is no such thing.

    >>> asked("digits, wine"), asked(["all"]), asked(())
    (('digits', 'wine'), ('all',), ())
    """
    parts = [like] if isinstance(like, (str, Trials)) or not isinstance(like, Iterable) else list(like)
    found: dict[Any, None] = {}
    for part in parts:
        if isinstance(part, str):
            names = [n.strip() for n in part.split(",")]
            if not all(names):
                raise StudyError(f"like {part!r}: names no study. Give names of studies in the store, or {ALL!r}.")
            found |= dict.fromkeys(names)
        elif hasattr(part, "trials") or isinstance(part, Trials):
            found[part] = None
        else:
            raise StudyError(f"like: must be names of studies, or studies, got {part!r}. Use e.g. like='digits'.")
    if ALL in found and len(found) > 1:
        raise StudyError(f"like: {ALL!r} means every study, so it stands alone. Leave the others out, or {ALL!r}.")
    return tuple(found)


def gather(like: Any, space: Space, store: Store, name: str) -> tuple[Trials, ...]:
    """Return the trials of the studies that study `name` of `store`, over `space`, is to learn from.

    like: names of studies of the same store, or studies, or their trials; "all": every other study of the store with something in
    common (at most ten: those with the most names in common, then the latest), perhaps none.

    Raises StudyError for a name that is not there, is the study's own, or has nothing to say about `space`.
    """
    wanted = asked(like)
    if wanted == (ALL,):
        return _every(space, store, name)
    return tuple(_one(w, space, store, name) for w in wanted)


def _one(wanted: Any, space: Space, store: Store, name: str) -> Trials:
    if isinstance(wanted, str):
        trials = _read(wanted, store, name)
    else:
        trials = wanted if isinstance(wanted, Trials) else _named(wanted.trials, wanted.name)
    what = f"like {trials.name!r}" if trials.name else "like"
    if not shared(space, trials.space):
        theirs, here = (", ".join(d.name for d in s.dims) or "none" for s in (trials.space, space))
        raise StudyError(
            f"{what}: searches no hyperparameter that this study does. There: {theirs}; here: {here}. Name another, or leave it out."
        )
    if not told(trials):
        raise StudyError(f"{what}: has no trial with a value yet. Name another, or leave it out.")
    if not inside(trials, space):
        raise StudyError(
            f"{what}: none of its {len(told(trials))} trials with a value lies in this space. Name another, or leave it out."
        )
    return trials


def _read(wanted: str, store: Store, name: str) -> Trials:
    if wanted == name:
        raise StudyError(f"like {wanted!r}: is this study itself. Name an earlier one, or leave it out.")
    if store.url is None:
        raise StudyError(
            f"like {wanted!r}: a study in memory knows no others by name. Give the Study itself, or keep both in a store."
        )
    names = [n for n in store.names() if n != name]
    if wanted not in names:
        known = ", ".join(names) or "none yet"
        raise StudyError(f"like {wanted!r}: no such study in {store.where}.{nearest(wanted, names)} Studies: {known}.")
    journal = store.journal(wanted, create=False)
    try:
        history = Book(journal).history
    finally:
        journal.close()
    if history.terms is None:
        raise StudyError(f"like {wanted!r}: it was never begun. Name another, or leave it out.")
    return _named(history.moment(), wanted)


def _every(space: Space, store: Store, name: str) -> tuple[Trials, ...]:
    from whet.tune.terms import recorded_terms

    fits: list[tuple[int, int, str]] = []
    for place, other in enumerate(store.names() if store.url is not None else ()):
        if other == name:
            continue
        journal = store.journal(other, create=False)
        try:
            common = len(shared(space, recorded_terms(journal).space))
        except StudyError:  # it was never begun
            continue
        finally:
            journal.close()
        if common:
            fits.append((common, place, other))
    found: list[Trials] = []
    for _, _, other in sorted(fits, reverse=True):
        trials = _read(other, store, name)
        if inside(trials, space):
            found.append(trials)
            if len(found) == _STUDIES:
                break
    return tuple(found)


def _named(trials: Trials, name: str) -> Trials:
    return Trials(tuple(trials), space=trials.space, goals=trials.goals, steps=trials.steps, seq=trials.seq, name=name)

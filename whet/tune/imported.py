"""Trials that were made elsewhere: how the journal records one, and how a study takes them in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from whet import seed as streams
from whet.errors import SpaceError, StudyError
from whet.journal.event import Writer
from whet.tune.account import Account
from whet.tune.curve import Curve
from whet.tune.space import Space
from whet.tune.trial import Point, State, Trial

if TYPE_CHECKING:
    from whet.tune.book import Book

__all__ = ["add", "recorded", "revived"]


def recorded(trial: Trial) -> dict[str, Any]:
    """Return the data of the "imported" event of a trial.

    >>> revived(4, recorded(Trial(4, {"lr": 0.5}, State.DONE, value=1.0))).value
    1.0
    """
    return {
        "params": dict(trial.params), "state": trial.state.value, "value": trial.value,
        "curve": [[p.step, p.value, p.cost, dict(p.metrics)] for p in trial.curve], "cost": trial.cost,
        "parent": None if trial.parent is None else list(trial.parent), "error": trial.error and dict(trial.error),
        "tags": list(trial.tags), "note": trial.note, "origin": dict(trial.origin),
    }  # fmt: skip


def revived(id: int, data: Mapping[str, Any]) -> Trial:
    """Return the trial that an "imported" event, or an exported study, holds; what is left out is empty."""
    curve = Curve(Point(int(s), float(v), float(c), dict(m)) for s, v, c, m in data.get("curve", ()))
    cost = data.get("cost")
    parent = data.get("parent")
    return Trial(
        id, dict(data.get("params", {})), State(data["state"]), curve, data.get("value"),
        None if parent is None else (int(parent[0]), int(parent[1])), dict(data.get("origin", {})), data.get("error"),
        float(sum(p.cost for p in curve) if cost is None else cost), tuple(data.get("tags", ())), data.get("note", ""),
    )  # fmt: skip


def add(book: Book, trials: Iterable[Trial], accounts: Mapping[int, Account]) -> list[Trial]:
    """Append trials to the study of `book`, all or none, with the next free ids; return them as they are there.

    Raises StudyError or SpaceError, naming the trial, when one does not fit the study.
    """
    terms = book.history.terms
    assert terms is not None
    ready = [sound(t, terms.space, terms.steps) for t in trials]

    def write(w: Writer) -> list[Trial]:
        first = len(book.history.progress)
        places = {t.id: first + i for i, t in enumerate(ready)}
        for t in ready:
            parent = None if t.parent is None or t.parent[0] not in places else (places[t.parent[0]], t.parent[1])
            work = {"account": asdict(accounts[t.id])} if t.id in accounts else {}
            book.append(w, "imported", places[t.id], recorded(replace(t, parent=parent)) | work)
        return list(book.history.trials[first : first + len(ready)])

    return book.change(write)


def sound(trial: Trial, space: Space, steps: int) -> Trial:
    """Return `trial` with plain values in the order of the space; raise when it is none of a study of `steps` steps."""
    at = f"trial {trial.id}"
    try:
        if trial.state is State.WAITING:
            space.fill(trial.params, streams.rng(0, "check"))
            params = dict(trial.params)
        elif trial.params or trial.state is not State.FAILED:  # one may have failed before it had a configuration
            params = space.clean(trial.params)
        else:
            params = {}
    except SpaceError as e:
        raise SpaceError(f"{at}: {e}") from None
    last = 0
    for p in trial.curve:
        if not last < p.step <= steps:
            raise StudyError(f"{at}: its steps must rise from 1 to at most {steps}, got {p.step} after {last}.")
        if not math.isfinite(p.value) or not math.isfinite(p.cost):
            raise StudyError(f"{at}: step {p.step} has value {p.value} and cost {p.cost}; both must be finite.")
        last = p.step
    if trial.state is State.DONE and (trial.value is None or not math.isfinite(trial.value)):
        raise StudyError(f"{at}: it is DONE with the value {trial.value}. Give a finite one, or make it FAILED.")
    if trial.state is State.FAILED and trial.error is None:
        raise StudyError(f"{at}: it is FAILED without an error. Give one: type, message, traceback.")
    return replace(trial, params=params)

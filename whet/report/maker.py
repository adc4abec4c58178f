"""Who made each trial: a person, the task's own start, a re-race of the best, a check of what worked before, a searcher, or another tool before it was imported."""

from __future__ import annotations

from collections.abc import Sequence

from whet.report.quantity import clean
from whet.tune.guess import CONTROL, RERACE, START
from whet.tune.trial import Trial

__all__ = ["by_hand", "hands", "maker", "remark"]

_PERSON, _START, _AGAIN, _CHECK = "a person", "the task", "a re-race", "a check"


def maker(trial: Trial) -> str:
    """Return who made a trial, "" when that is not on record.

    >>> maker(Trial(0, origin={"search": "enqueue"})), maker(Trial(1, origin={"search": "auto", "with": "gp"}))
    ('a person', 'auto: gp')
    """
    search = trial.origin.get("search")
    if search == "enqueue":
        if RERACE in trial.tags:
            return _AGAIN
        if CONTROL in trial.tags:
            return _CHECK
        return _START if trial.note == START else _PERSON
    if not isinstance(search, str):
        return ""
    with_ = trial.origin.get("with")
    return f"{search}: {with_}" if isinstance(with_, str) else search


def by_hand(trial: Trial) -> bool:
    """Whether a person made the trial.

    >>> by_hand(Trial(0, origin={"search": "enqueue"})), by_hand(Trial(1, origin={"search": "gp"}))
    (True, False)
    """
    return maker(trial) == _PERSON


def hands(trials: Sequence[Trial]) -> int:
    """Return how many of the trials a person made.

    >>> hands([Trial(0, origin={"search": "enqueue"}), Trial(1)])
    1
    """
    return sum(map(by_hand, trials))


def remark(trial: Trial) -> str:
    """Return the tags and the note that a person gave a trial; the note of the task's own start is none.

    >>> remark(Trial(0, tags=("keep",), note="late, but steady"))
    '#keep late, but steady'
    """
    note = "" if trial.note == START else trial.note
    return clean(" ".join([*(f"#{t}" for t in trial.tags), *([note] if note else [])]))

"""What a strategy is: functions of values. It is handed trials, never the study that runs it.

A searcher says what to try, a scheduler how long to train it. Both are frozen values whose fields are their options:
that is what the journal records, and what another process rebuilds them from. They may keep caches, but a rebuilt one
must decide the same (`whet.testing` holds it to that).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from whet.tune.space import Params
from whet.tune.trial import Idle, Trial, Trials, Verdict

__all__ = ["Proposal", "Resume", "Scheduler", "Searcher", "Start"]


@dataclass(frozen=True)
class Proposal:
    """A configuration to try, and where it came from (small JSON, recorded in the journal).

    >>> Proposal({"lr": 0.1}, {"search": "random"}).params["lr"]
    0.1
    """

    params: Params
    origin: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Start:
    """Start a new trial.

    params: its configuration, or None to ask the searcher; parent: (trial id, step) whose weights it goes on from.

    >>> Start().params is None
    True
    """

    params: Params | None = None
    parent: tuple[int, int] | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Resume:
    """Go on with the paused trial `id`.

    >>> Resume(3).id
    3
    """

    id: int


@runtime_checkable
class Searcher(Protocol):
    """What to try. May also have `size(space) -> int | None`: how many different proposals it can make; `learns`, False when
    earlier studies (`Trials.like`) make no difference; `every_goal`, True when of several goals the first counts no more than the others (one that
    asks other searchers may have `by_first`, the names of those for which it counts alone);
    `whole`, True when it wants trials trained to their end; `refuses(space, steps, schedule) -> str`: why a study with it makes no sense; and
    `misses(trials) -> str`: what it needs that trials which ended did not report. Both say "" when all is well, else the line of the error.
    """

    def propose(self, trials: Trials, rng: np.random.Generator) -> Proposal:
        """Return the next configuration, given all trials so far; all randomness comes from `rng`."""
        ...


@runtime_checkable
class Scheduler(Protocol):
    """How long to train what is tried. May also have `finish(trials)`, asked in place of a Start when no more may start,
    `check(space, steps)`, which raises StudyError for a study that it makes no sense in, and `one_goal`, True when it cannot serve a study with several
    goals, which is then refused.
    """

    def pick(self, trials: Trials, rng: np.random.Generator) -> Start | Resume | Idle:
        """Return what a free worker does next: resume a paused trial, start one, wait, or end."""
        ...

    def judge(self, trial: Trial, trials: Trials) -> Verdict:
        """Return whether `trial`, which has just reported its last point, goes on; `trials` already hold that point."""
        ...

    def keep(self, trials: Trials) -> set[tuple[int, int]]:
        """Return the checkpoints, as (trial id, step), that a later decision may still want."""
        ...

"""A study that knew nothing of spaces becomes one: what the sources that are not our own have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from whet.errors import SpaceError
from whet.tune.account import Account
from whet.tune.curve import Curve
from whet.tune.exchange.branch import Shape, shape
from whet.tune.exchange.carried import Carried
from whet.tune.imported import sound
from whet.tune.space import Domain
from whet.tune.trial import Point, State, Trial

__all__ = ["Foreign", "carry", "finite"]


@dataclass
class Foreign:
    """One trial of another system; its parameters go by the names they had there.

    curve: (step, value, metrics), in order of step, finite; whole: whether it got as far as choosing every parameter.
    """

    number: int
    state: State
    params: dict[str, Any]
    value: float | None = None
    curve: list[tuple[int, float, Mapping[str, float]]] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    origin: dict[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    note: str = ""
    account: Account | None = None
    whole: bool = True


def finite(value: float | None) -> bool:
    """Return whether there is a value, and it is finite.

    >>> finite(None), finite(float("nan")), finite(0.0)
    (False, False, True)
    """
    return value is not None and math.isfinite(value)


def carry(
    source: str,
    trials: Sequence[Foreign],
    domains: Mapping[str, Domain],
    *,
    goals: Sequence[str],
    steps: int,
    said: Sequence[str] = (),
    lost: Sequence[str] = (),
) -> Carried:
    """Return the study that these trials make; parameters that only some have become branches where that is possible."""
    known = [t for t in trials if t.params]
    found = shape([t.params for t in known], [t.whole for t in known], domains)
    notes, missing = [*said, *found.said], list(lost)
    ready: list[Trial] = []
    work: dict[int, Account] = {}
    filled = 0
    for t in trials:
        params, added = _settled(found, t)
        filled += added
        made = _trial(len(ready), t, params, steps)
        try:
            made = sound(made, found.space, steps)
        except SpaceError as e:
            missing.append(f"trial {t.number}: {str(e).partition(': ')[2]}")
            continue
        if t.account is not None:
            work[made.id] = t.account
        ready.append(made)
    if filled:
        few = "1 trial" if filled == 1 else f"{filled} trials"
        notes.append(
            f"{few} ended before every parameter was chosen: the middle of its domain stands for what is missing"
        )
    return Carried(
        source, found.space, tuple(goals), steps, tuple(ready), accounts=work, said=tuple(notes), lost=tuple(missing)
    )


def _settled(found: Shape, t: Foreign) -> tuple[dict[str, Any], bool]:
    """Return the configuration under its new names, and whether something had to be put in that was never chosen."""
    if not t.params:
        return {}, False
    params = found.renamed(t.params)
    if t.state is State.WAITING:
        return params, False
    whole = found.filled(params)
    return whole, not t.whole and len(whole) > len(params)


def _trial(id: int, t: Foreign, params: dict[str, Any], steps: int) -> Trial:
    curve: list[Point] = []
    for step, value, metrics in t.curve:
        curve.append(Point(step, value, float(step - (curve[-1].step if curve else 0)), dict(metrics)))
    if not curve and t.state is State.DONE and finite(t.value):
        assert t.value is not None  # it was trained to the end all the same
        curve.append(Point(steps, t.value, float(steps), t.metrics))
    elif curve and t.metrics:
        last = curve[-1]
        curve[-1] = Point(last.step, last.value, last.cost, {**last.metrics, **t.metrics})
    origin = {**t.origin, **({"search": "enqueue"} if t.state is State.WAITING and params else {})}
    return Trial(
        id, params, t.state, Curve(curve), t.value if t.value is not None or not curve else curve[-1].value, None, origin,
        t.error, float(sum(p.cost for p in curve)), t.tags, t.note,
    )  # fmt: skip

"""Which trials say something of their configuration, and how many do not."""

from __future__ import annotations

import math
from dataclasses import replace

from whet.tune.trial import State, Trial, Trials

__all__ = ["own", "sound", "told"]


def told(trials: Trials) -> list[Trial]:
    """Return the trials that say something of their configuration: those with a value, unless they failed or others trained their weights too."""
    some = [t for t in trials if t.params and t.value is not None and t.state not in (State.FAILED, State.WAITING)]
    return [t for t in some if not trials.inherits(t)]


def own(trials: Trials) -> str:
    """Return in words what `told` leaves out of the trials with a value: " of their own (3 went on ...)", "" when nothing."""
    heirs = sum(t.value is not None and t.state is not State.FAILED and trials.inherits(t) for t in trials)
    which = "of its own" if len(told(trials)) == 1 else "of their own"
    return f" {which} ({heirs} went on from weights of another configuration)" if heirs else ""


def sound(trials: Trials) -> Trials:
    """Return the trials with those failed whose value is not finite, as a study would have them."""
    wrong = {t.id for t in trials if t.value is not None and not math.isfinite(t.value)}
    if not wrong:
        return trials
    mended = [replace(t, state=State.FAILED, value=None) if t.id in wrong else t for t in trials]
    return Trials(mended, space=trials.space, goals=trials.goals, steps=trials.steps, seq=trials.seq, like=trials.like)

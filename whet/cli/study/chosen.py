"""Which trials of a study are shown, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whet.tune.study import Study
    from whet.tune.trial import Trial, Trials

__all__ = ["filtered", "ordered"]

_SORTS = ("best", "id", "value", "step", "cost", "state")


def filtered(study: Study, states: Sequence[str] | None, tags: Sequence[str] | None) -> list[Trial]:
    """Return the trials in one of the states and with all of the tags; raise UsageError for a state or tag that is none."""
    from whet.errors import UsageError, nearest
    from whet.tune.trial import State

    trials, resting = study.trials, study.interrupted
    wanted = [s.upper() for s in states or ()]
    known = [*(s.value for s in State), "INTERRUPTED"]
    for s in states or ():
        if s.upper() not in known:
            raise UsageError(
                f"--state {s or repr(s)}: no such state.{nearest(s.upper(), known)} Allowed: {', '.join(known)}."
            )
    have = sorted({t for trial in trials for t in trial.tags})
    for name in tags or ():
        if name not in have:
            raise UsageError(
                f"--tag {name}: no trial has this tag.{nearest(name, have)} Tags: {', '.join(have) or 'none yet'}."
            )

    def like(t: Trial) -> bool:  # who is interrupted is RUNNING as well
        return not wanted or t.state.value in wanted or ("INTERRUPTED" in wanted and t.id in resting)

    return [t for t in trials if like(t) and all(g in t.tags for g in tags or ())]


def ordered(some: list[Trial], trials: Trials, key: str) -> list[Trial]:
    """Return some of the trials in the order of --sort; raise UsageError for what is no key."""
    from whet.errors import UsageError, nearest

    name, back = key.removeprefix("-"), key.startswith("-")
    names = [*_SORTS, *trials.space.names]
    if name not in names and len(inner := [n for n in names if n.endswith("." + name)]) == 1:
        name = inner[0]  # lr for optimizer.lr, as with --set
    if name not in names:
        raise UsageError(f"--sort {key or repr(key)}: no such key.{nearest(name, names)} Allowed: {', '.join(names)}.")

    def place(t: Trial) -> Any:
        return t.params.get(name) if name not in _SORTS else t.state.value if name == "state" else getattr(t, name)

    if name == "best":
        found = sorted(some, key=lambda t: (t.value is None, -trials.reach(t), trials.goal.score(t.value or 0.0), t.id))
        return found[::-1] if back else found
    # what has no such value comes last, whichever way round
    have, lack = [t for t in some if place(t) is not None], [t for t in some if place(t) is None]
    have.sort(key=lambda t: (isinstance(place(t), str), place(t)), reverse=back)
    return have + lack

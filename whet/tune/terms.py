"""Whether a study that is opened again is the same study."""

from __future__ import annotations

from whet.errors import StudyError
from whet.tune.history import Terms
from whet.tune.space import Space

__all__ = ["check_same"]


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
        raise StudyError(f"study '{name}': was created with {differs}. Use the same, another name, or start over (--fresh).")


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

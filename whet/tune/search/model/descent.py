"""Who is whose child in a study that evolved, as its trials recorded it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from whet.tune.trial import Trials

__all__ = ["Child", "children", "line"]


@dataclass(frozen=True)
class Child:
    """What a child recorded. parent: the trial it was made from; changed: the names of what was changed; generation: how many parents are before it."""

    parent: int
    changed: tuple[str, ...]
    generation: int


def children(trials: Trials) -> dict[int, Child]:
    """Return by trial what each child recorded ("evolution" of its origin), in order; what is no such record is left aside.

    >>> from whet.tune.space import Float, Space
    >>> from whet.tune.trial import Trial
    >>> said = [{}, {"parent": 0, "changed": ["x"]}, {"parent": 1, "changed": ["x"]}, {"parent": 9, "changed": []}]
    >>> done = [Trial(i, {"x": 0.5}, origin={"evolution": s}) for i, s in enumerate(said)]
    >>> {id: (c.parent, c.generation) for id, c in children(Trials(done, space=Space(x=Float(0, 1)))).items()}
    {1: (0, 1), 2: (1, 2)}
    """
    found: dict[int, Child] = {}
    for t in trials:
        said = t.origin.get("evolution")
        if not isinstance(said, Mapping):
            continue
        parent, changed = said.get("parent"), said.get("changed")
        if not isinstance(parent, int) or isinstance(parent, bool) or not 0 <= parent < t.id:
            continue
        if not isinstance(changed, (list, tuple)) or not all(isinstance(name, str) for name in changed):
            continue
        before = found[parent].generation if parent in found else 0
        found[t.id] = Child(parent, tuple(changed), before + 1)
    return found


def line(of: Mapping[int, Child], id: int) -> list[int]:
    """Return a trial's ancestors, the first one first, and the trial itself.

    >>> line({1: Child(0, ("x",), 1), 2: Child(1, ("x",), 2)}, 2)
    [0, 1, 2]
    """
    found = [id]
    while found[-1] in of:
        found.append(of[found[-1]].parent)
    return found[::-1]

"""Earlier studies that a study learns from, as its beginning records them: their trials, in short.

So every proposal can be made again when the other study has grown, moved or gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whet.tune.overlap import carried
from whet.tune.space import Space
from whet.tune.told import told
from whet.tune.trial import Curve, Point, State, Trial, Trials, parse_goals

__all__ = ["inside", "recorded", "revived"]

_TRIALS = 300  # of a study, the better half and an even choice of the rest
_FAILED = 100  # beside them, the latest that failed


def inside(trials: Trials, space: Space) -> list[Trial]:
    """Return those of them that lie in `space`."""
    return [t for t in told(trials) if carried(space, t.params) is not None]


def recorded(trials: Trials, space: Space) -> dict[str, Any]:
    """Return an earlier study as the "created" event of one over `space` holds it: of its trials those that lie in there.

    >>> from whet.tune.space import Float
    >>> space = Space(x=Float(0, 1))
    >>> done = Trials([Trial(0), Trial(1, {"x": 0.5}, State.DONE, value=2.0)], space=space, seq=9, name="old")
    >>> recorded(done, space)["trials"]
    [[1, {'x': 0.5}, 'DONE', 2.0, 0]]
    >>> revived(recorded(done, space))[0].origin
    {'trial': 1}
    """
    some = inside(trials, space)
    score = trials.goal.score
    if len(some) > _TRIALS:
        order = sorted(some, key=lambda t: (-trials.reach(t), score(t.value or 0.0), t.id))
        rest = order[_TRIALS // 2 :]
        more = _TRIALS - _TRIALS // 2
        some = order[: _TRIALS // 2] + [rest[i * (len(rest) - 1) // (more - 1)] for i in range(more)]
    failed = [t for t in trials if t.state is State.FAILED and t.params and carried(space, t.params) is not None]
    rows = [
        [t.id, dict(t.params), t.state.value, None if t.state is State.FAILED else t.value, t.step]
        for t in sorted([*some, *failed[-_FAILED:]], key=lambda t: t.id)
    ]
    return {
        "study": trials.name, "seq": trials.seq, "space": trials.space.json(), "goals": [str(g) for g in trials.goals],
        "steps": trials.steps, "trials": rows,
    }  # fmt: skip


def revived(data: Mapping[str, Any]) -> Trials:
    """Return the earlier study that `recorded` wrote; its trials are numbered anew, and say in their origin what they were."""
    found = []
    for i, (id, params, state, value, step) in enumerate(data["trials"]):
        known = State(state)
        curve = Curve([Point(step, value)]) if step and value is not None else Curve()
        error = {"type": "", "message": "", "traceback": ""} if known is State.FAILED else None
        found.append(Trial(i, params, known, curve, value, origin={"trial": id}, error=error))
    return Trials(
        found, space=Space.from_json(data["space"]), goals=parse_goals(data["goals"]), steps=data["steps"],
        seq=data["seq"], name=data["study"],
    )  # fmt: skip

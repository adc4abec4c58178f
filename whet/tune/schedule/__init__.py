"""How long to train what is tried: schedulers, by name or as objects.

| name | what it does |
|---|---|
| auto | `freeze-thaw` when a trial has at least 5 steps, `hyperband` when there are several goals too, `asha` from 2 steps on, else `full`; what it became is recorded |
| full | trains every trial to the end |
| median | stops a trial whose best is worse than the median of the others' running averages |
| asha | pauses trials at rungs and promotes the best third |
| hyperband | the same in several brackets, with later and later first rungs |
| freeze-thaw | forecasts the curves, and goes on with the trial that is most worth it |
| population | members share weights: poor ones copy a good one's and go on with other rates |
| race | a step is a fold: stops a trial that is worse than the best on the same folds, by a paired test |

Other packages add names as entry points of the group `whet.schedule`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from whet.tune.named import Names
from whet.tune.space import Space
from whet.tune.strategy import Scheduler
from whet.tune.trial import Bound, Goal

__all__ = ["NAMES", "describe", "rebuild", "refused", "scheduler"]

_CURVED = 5  # steps from which on curves are forecast

NAMES = Names(
    "schedule",
    "judge",
    {
        "full": "whet.tune.schedule.full:Full",
        "median": "whet.tune.schedule.median:Median",
        "asha": "whet.tune.schedule.asha:Asha",
        "hyperband": "whet.tune.schedule.hyperband:Hyperband",
        "freeze-thaw": "whet.tune.schedule.freezethaw:FreezeThaw",
        "population": "whet.tune.schedule.population:Population",
        "race": "whet.tune.schedule.race:Race",
    },
)


def scheduler(
    given: str | Mapping[str, Any] | Scheduler,
    space: Space,
    steps: int = 1,
    goals: Sequence[Goal | Bound] = (),
    *,
    seed: int = 0,
) -> Scheduler:
    """Return the scheduler that `given` names or records, or `given` itself when it is one.

    "auto" is `freeze-thaw` when there are at least 5 steps, so that a curve has some length to learn from; with several goals, which that cannot serve, `hyperband`; `asha` from 2 steps on, else `full`. `seed`, the study's, becomes the option `seed` of a scheduler given by
    name that has one. Raises StudyError when there is no such scheduler, or its `check(space, steps)` does.

    >>> from whet.tune.space import Float
    >>> space = Space(lr=Float(0, 1))
    >>> [scheduler("auto", space, steps=n) for n in (27, 3, 1)]
    [FreezeThaw(share=0.6, first=None), Asha(factor=3, first=1), Full()]
    """
    if isinstance(given, Mapping):
        return rebuild(given)
    made: Scheduler
    if not isinstance(given, str):
        made = NAMES.ready(given)
    else:
        name = given
        if given == "auto":
            several = sum(isinstance(g, Goal) for g in goals) > 1
            long = "hyperband" if several else "freeze-thaw"
            name = long if steps >= _CURVED else "asha" if steps > 1 else "full"
        made = NAMES.make(name, seed=seed)
    if callable(check := getattr(made, "check", None)):
        check(space, steps)
    return made


def refused(made: Scheduler, goals: Sequence[Goal | Bound]) -> str:
    """Return why a scheduler cannot serve a study with these goals, "" when it can.

    >>> from whet.tune.goal import parse_goals
    >>> refused(scheduler("freeze-thaw", Space(), 9), parse_goals(["min loss", "min ms", "ms <= 5"]))[:57]
    "schedule 'freeze-thaw': goes by one goal, got 2: min loss"
    """
    aims = [g for g in goals if isinstance(g, Goal)]
    if len(aims) < 2 or not getattr(made, "one_goal", False):
        return ""
    sign = "<=" if aims[-1].better == "min" else ">="
    return (
        f"schedule '{describe(made)['name']}': goes by one goal, got {len(aims)}: {' and '.join(map(str, aims))}. "
        f'Use asha, hyperband, median or full, or make the others bounds, such as "{aims[-1].name} {sign} 5".'
    )


def describe(strategy: Scheduler) -> dict[str, Any]:
    """Return {"name", "options"} of a scheduler, as the journal records it.

    >>> from whet.tune.schedule.full import Full
    >>> describe(Full())
    {'name': 'full', 'options': {}}
    """
    return NAMES.describe(strategy)


def rebuild(record: Mapping[str, Any]) -> Scheduler:
    """Return the scheduler that `describe` described.

    >>> rebuild({"name": "asha", "options": {"factor": 4, "first": 2}})
    Asha(factor=4, first=2)
    """
    return NAMES.rebuild(record)

"""What to try next: searchers, by name or as objects.

| name | what it does |
|---|---|
| auto | `gp` and `tpe` in turn, above 300 trials or with several steps a trial `tpe`; what it picked and why is in every trial |
| random | independent draws: the baseline of every comparison |
| sobol | evenly spread points |
| grid | every combination of a few values each |
| gp | where a Gaussian process expects the largest improvement |
| trego | as `gp`, in turn with steps within a trust region around the best |
| tpe | where good trials are dense beside all that were tried |
| forest | where a random forest does |
| cma | a cloud that moves and stretches towards what does well |
| zoom | coarse-to-fine passes over narrower and narrower ranges |
| evolution | children of the best recent trials, each with one change |
| policy | draws from a controller that is trained by policy gradient |
| hypergradient | down the gradient that trials report, from several starts |
| portfolio | several of these; who proposes next is drawn by what their proposals were worth |

Other packages add names as entry points of the group `whet.search`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from whet.tune.named import Names
from whet.tune.space import Space
from whet.tune.strategy import Searcher
from whet.tune.trial import Bound, Goal

__all__ = ["NAMES", "describe", "rebuild", "searcher"]

NAMES = Names(
    "search",
    "propose",
    {
        "auto": "whet.tune.search.auto:Auto",
        "random": "whet.tune.search.random:Random",
        "sobol": "whet.tune.search.sobol:Sobol",
        "grid": "whet.tune.search.grid:Grid",
        "gp": "whet.tune.search.gp:GP",
        "trego": "whet.tune.search.trego:TREGO",
        "tpe": "whet.tune.search.tpe:TPE",
        "forest": "whet.tune.search.forest:Forest",
        "cma": "whet.tune.search.cma:CMA",
        "zoom": "whet.tune.search.zoom:Zoom",
        "evolution": "whet.tune.search.evolution:Evolution",
        "policy": "whet.tune.search.policy:Policy",
        "hypergradient": "whet.tune.search.hypergradient:Hypergradient",
        "portfolio": "whet.tune.search.portfolio:Portfolio",
    },
)


def searcher(
    given: str | Mapping[str, Any] | Searcher,
    space: Space,
    steps: int = 1,
    goals: Sequence[Goal | Bound] = (),
    *,
    seed: int = 0,
) -> Searcher:
    """Return the searcher that `given` names or records, or `given` itself when it is one.

    `seed`, the study's, becomes the option `seed`
    of a searcher given by name that has one; an object or a record keeps its own. Raises StudyError when there is no such searcher.

    >>> from whet.tune.space import Float
    >>> searcher("auto", Space(lr=Float(0, 1)), seed=3)
    Auto(seed=3)
    """
    if isinstance(given, Mapping):
        return rebuild(given)
    if not isinstance(given, str):
        return NAMES.ready(given)
    return NAMES.make(given, seed=seed)


def describe(strategy: Searcher) -> dict[str, Any]:
    """Return {"name", "options"} of a searcher, as the journal records it.

    >>> from whet.tune.search.sobol import Sobol
    >>> describe(Sobol(seed=3))
    {'name': 'sobol', 'options': {'seed': 3}}
    """
    return NAMES.describe(strategy)


def rebuild(record: Mapping[str, Any]) -> Searcher:
    """Return the searcher that `describe` described.

    >>> rebuild({"name": "grid", "options": {"points": 3}})
    Grid(points=3)
    """
    return NAMES.rebuild(record)

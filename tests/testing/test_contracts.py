from __future__ import annotations

import pytest

from whet.testing import SCHEDULER, SEARCHER
from whet.tune.schedule.asha import Asha
from whet.tune.schedule.full import Full
from whet.tune.schedule.hyperband import Hyperband
from whet.tune.schedule.median import Median
from whet.tune.search.grid import Grid
from whet.tune.search.random import Random
from whet.tune.search.sobol import Sobol

SEARCHERS = [Random(), Sobol(), Sobol(seed=7), Grid(), Grid(points=2)]
SCHEDULERS = [Full(), Median(), Median(grace=0, least=1), Asha(), Asha(factor=2, first=2), Hyperband(), Hyperband(2, 2)]


@pytest.mark.parametrize("clause", SEARCHER, ids=lambda c: c.__name__)
@pytest.mark.parametrize("made", SEARCHERS, ids=repr)
def test_searcher(made, clause):
    clause(lambda: type(made)(**{f: getattr(made, f) for f in made.__dataclass_fields__}))


@pytest.mark.parametrize("clause", SCHEDULER, ids=lambda c: c.__name__)
@pytest.mark.parametrize("made", SCHEDULERS, ids=repr)
def test_scheduler(made, clause):
    clause(lambda: type(made)(**{f: getattr(made, f) for f in made.__dataclass_fields__}))

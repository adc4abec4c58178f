"""Contract suites: what any searcher or scheduler must do, ours or a plugin's.

A clause is a function that is given a way to make the strategy and raises AssertionError when it breaks a promise. In
a package that brings a searcher of its own, one test runs them all (pytest is not needed for it; a loop does as well):

    import pytest
    from whet.testing import SEARCHER

    @pytest.mark.parametrize("clause", SEARCHER, ids=lambda clause: clause.__name__)
    def test_contract(clause):
        clause(lambda: MySearcher(noise=0.1))

`assert_healthy(task)` fails a test with the findings of every check of a task.

`SCHEDULER` is the same for schedulers, `RULE` for rules of aggregation, `JOURNAL` for journals. `play` runs strategies against an objective in memory, with as many workers as one
likes and no clock, for tests of one's own; `Drill` has a rule and a server answer workers the same way.
"""

from __future__ import annotations

from whet.testing.drill import Drill, history
from whet.testing.health import assert_healthy
from whet.testing.journal import JOURNAL
from whet.testing.play import Decision, Play, play
from whet.testing.rule import RULE
from whet.testing.schedule import SCHEDULER
from whet.testing.search import SEARCHER
from whet.testing.spaces import SPACES

__all__ = [
    "JOURNAL", "RULE", "SCHEDULER", "SEARCHER", "SPACES", "Decision", "Drill", "Play", "assert_healthy", "history", "play",
]  # fmt: skip

"""Contract suites: what any searcher or scheduler must do, ours or a plugin's.

A clause is a function that is given a way to make the strategy and raises AssertionError when it breaks a promise. In
a package that brings a searcher of its own, one test runs them all (pytest is not needed for it; a loop does as well):

    import pytest
    from whet.testing import SEARCHER

    @pytest.mark.parametrize("clause", SEARCHER, ids=lambda clause: clause.__name__)
    def test_contract(clause):
        clause(lambda: MySearcher(noise=0.1))

`assert_healthy(task)` fails a test with the findings of every check of a task.

`SCHEDULER` is the same for schedulers, `JOURNAL` for journals. `play` runs strategies against an objective in memory, with as many workers as one
likes and no clock, for tests of one's own.
"""

from __future__ import annotations

from whet.testing.health import assert_healthy
from whet.testing.journal import JOURNAL
from whet.testing.play import Decision, Play, play
from whet.testing.schedule import SCHEDULER
from whet.testing.search import SEARCHER
from whet.testing.spaces import SPACES

__all__ = ["JOURNAL", "SCHEDULER", "SEARCHER", "SPACES", "Decision", "Play", "assert_healthy", "play"]

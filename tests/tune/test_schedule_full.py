from __future__ import annotations

import pytest

from whet.testing import SPACES, play
from whet.tune.schedule.full import Full
from whet.tune.search.random import Random
from whet.tune.trial import State, Verdict


@pytest.mark.parametrize("workers", [1, 3])
def test_every_trial_is_trained_to_the_end(workers):
    for seed in range(3):
        done = play(Random(), Full(), SPACES["mixed"], steps=5, starts=7, workers=workers, seed=seed)
        assert [(t.state, t.step) for t in done.trials] == [(State.DONE, 5)] * 7
        assert {d.said for d in done.decisions if d.asked == "judge"} == {Verdict.GO}
        assert Full().keep(done.trials) == set()

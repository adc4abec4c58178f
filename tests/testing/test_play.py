from __future__ import annotations

from dataclasses import dataclass

from whet.testing import SPACES, play
from whet.tune.search.random import Random
from whet.tune.strategy import Start
from whet.tune.study import Study
from whet.tune.trial import Idle, Verdict


@dataclass(frozen=True)
class Labels:
    """Starts trials with an origin of its own."""

    def pick(self, trials, rng):
        return Start(origin={"team": len(trials)}) if len(trials) < 3 else Idle.DONE

    def judge(self, trial, trials):
        return Verdict.GO

    def keep(self, trials):
        return set()


def test_the_origin_of_a_start_joins_that_of_the_proposal_as_in_a_study():
    played = play(Random(), Labels(), SPACES["line"])
    study = Study(SPACES["line"], search=Random(), schedule=Labels()).run(lambda params: 0.5, trials=9)
    for trials in (played.trials, study.trials):
        assert [dict(t.origin) for t in trials] == [{"search": "random", "team": i} for i in range(3)]

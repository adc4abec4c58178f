from __future__ import annotations

import numpy as np
import pytest

from whet import seed as streams
from whet.errors import StudyError
from whet.testing import SPACES, Play
from whet.tune.search.random import Random
from whet.tune.space import Int, Space
from whet.tune.trial import State


def test_a_proposal_is_one_draw_of_its_stream():
    for name in ("line", "mixed", "constrained"):  # "branches" has a prior
        space = SPACES[name]
        for seed in range(5):
            trials = Play(space).trials
            assert Random().propose(trials, streams.rng(seed)).params == space.sample(streams.rng(seed))


def test_values_are_spread_evenly():
    trials, made = Play(SPACES["line"]).trials, Random()
    for seed in range(2):
        rng = np.random.default_rng(seed)
        u = np.sort([(made.propose(trials, rng).params["x"] + 1) / 3 for _ in range(2000)])
        distance = np.abs(u - np.arange(1, 2001) / 2000).max()
        assert distance < 1.63 / np.sqrt(2000)  # Kolmogorov and Smirnov, 1 %


@pytest.mark.parametrize("seed", range(3))
def test_a_finite_space_is_used_up_exactly(seed):
    space = Space(a=Int(1, 300), b=Int(0, 1)).where("a <= 20 or b == 1")  # most draws of the last few are repetitions
    made, study, seen = Random(), Play(space), set()
    assert made.size(space) == 320
    for n in range(320):
        assert made.left(study.trials) == 320 - n
        id = study.ask()
        params = made.propose(study.trials, streams.rng(seed, id)).params
        study.set(id, params=params, state=State.RUNNING)
        seen.add((params["a"], params["b"]))
    assert len(seen) == 320
    with pytest.raises(StudyError, match="all 320 configurations were tried"):
        made.propose(study.trials, streams.rng(0))


def test_an_endless_space_has_no_size():
    study = Play(SPACES["line"])
    assert Random().size(study.space) is None
    assert Random().left(study.trials) is None

"""Where a searcher with a model looks: the rows that it asks the model for."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from whet import seed as streams
from whet.tune.search.model.guide import Guide
from whet.tune.space import Float, Space
from whet.tune.trial import State, Trial, Trials

SPACE = Space(**{f"x{i}": Float(0, 1) for i in range(8)})


def looked_at(n, *, sound=None, **options):
    """Return the rows that the model is asked for first when the trial of number n is proposed, and those of the best five."""
    rng = streams.rng(3)
    trials = [Trial(i, SPACE.sample(rng), State.DONE, value=float(i)) for i in range(n)]
    asked = []

    def worth(rows):
        asked.append(rows)
        return -rows.sum(1)

    worth.posterior, worth.record = SimpleNamespace(sound=sound), {}
    guide = Guide("gp", 3, 0, lambda *_: worth, **options)
    guide.propose(Trials([*trials, Trial(n)], space=SPACE), streams.rng(n))
    return asked[0], np.array([SPACE.encode(t.params) for t in trials[:5]])


def changed(rows, best):
    return (rows[:, None] != best[None]).sum(2).min(1)


def test_every_other_trial_is_looked_for_around_the_best():
    around, even = (changed(*looked_at(n, refine=True)) for n in (11, 12))
    assert np.mean(around <= 5) > 0.9  # moves of all numbers at once aside
    assert np.mean(even == 8) > 0.6
    assert np.mean(changed(*looked_at(11)) == 8) > 0.6


@pytest.mark.parametrize(("least", "times"), [(None, 1), (0.0, 1), (0.4, 5)])
def test_where_trials_fail_more_places_are_looked_at(least, times):
    sound = None if least is None else SimpleNamespace(least=least)
    few = len(looked_at(12, draws=100)[0])
    assert len(looked_at(12, sound=sound, draws=100, more=5)[0]) == few + 100 * (times - 1)

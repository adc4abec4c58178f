"""Which trials are good: by share, by weight, and by what they are forecast to end with."""

from __future__ import annotations

import warnings

import numpy as np

from whet.tune.search.model.seen import Seen
from whet.tune.search.model.split import split
from whet.tune.space import Float, Space
from whet.tune.trial import Curve, Point, State, Trial, Trials, parse_goals

LINE = Space(x=Float(0, 1))


def told(values, goal="min loss"):
    n = len(values)
    trials = [Trial(i, {"x": i / n}, State.DONE, value=float(v)) for i, v in enumerate(values)]
    return Trials(trials, space=LINE, goals=parse_goals(goal))


def parts(trials, share=0.25):
    return split(Seen().look(trials), share)


def test_the_best_share_is_good_and_weighs_by_how_much_better_it_is():
    found = parts(told([5, 0, 3, 4, 1, 6, 7, 8]))
    assert found.good.ravel().tolist() == [1 / 8, 4 / 8]
    assert found.gain.tolist() == [1.2, 0.8]  # 3 and 2 below the best bad one
    assert sorted(found.others.ravel()) == [i / 8 for i in (0, 2, 3, 5, 6, 7)]


def test_a_goal_to_maximise():
    assert parts(told([5, 0, 3, 4, 1, 6, 7, 8], "max score")).good.ravel().tolist() == [7 / 8, 6 / 8]


def test_values_that_are_all_the_same_weigh_the_same():
    found = parts(told([2] * 9))
    assert found.gain.tolist() == [1.0] * 3


def test_more_trials_than_can_be_looked_at():
    found = parts(told(np.arange(2000)[::-1]))
    assert len(found.good) == 50
    assert len(found.others) == 150
    assert found.good[0, 0] == 1999 / 2000
    assert found.others.max() == (1999 - 50) / 2000
    assert found.others.min() == 0  # the worst is among them
    assert found.counts.tolist() == [1950 / 150] * 150


def test_what_runs_is_not_good_and_never_left_out():
    trials = [*told(np.arange(500)), Trial(500, {"x": 0.123}, State.RUNNING), Trial(501)]
    found = parts(Trials(trials, space=LINE))
    assert len(found.others) == 151
    assert found.others[-1, 0] == 0.123
    assert found.counts[-1] == 1.0


def curve(x, values, state):
    points = [Point(s, v) for s, v in enumerate(values, 1)]
    return lambda i: Trial(i, {"x": x}, state, curve=Curve(points), value=values[-1])


def test_a_trial_that_was_not_trained_to_the_end_counts_as_it_is_forecast_to_end():
    """After one step the value of 0.2 is worse than the last ones of both others, but those began worse still."""
    ended = [curve(0.5 + 0.01 * i, [9, 6, 4, 3, 2, 1.5, 1.2, 1.1, 1.0 + 0.1 * i], State.DONE) for i in range(6)]
    early = [curve(0.2, [5, 2.5], State.PAUSED), curve(0.8, [9, 8.9], State.PAUSED)]
    trials = Trials([make(i) for i, make in enumerate([*ended, *early])], space=LINE, steps=9)
    found = parts(trials, share=0.5)
    assert 0.2 in found.good
    assert 0.8 in found.others


def test_the_largest_differences_there_are_make_no_warning():
    done = [Trial(i, {"x": i / 7}, State.DONE, value=1.7e308 * (-1) ** i) for i in range(8)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parts = split(Seen().look(Trials(done, space=Space(x=Float(0, 1)))), 0.5)
    assert parts.gain.tolist() == [1.0] * 4

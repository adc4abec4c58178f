"""Which trials are good: by share, by weight, and at the same step of training."""

from __future__ import annotations

import numpy as np
import pytest

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
    return split(Seen().look(trials), trials, share)


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


def staged(*makers, steps=9):
    return Trials([make(i) for i, make in enumerate(makers)], space=LINE, steps=steps)


def test_trials_are_compared_at_the_last_step_that_enough_have_reached():
    """After three steps, which three have reached: 0.1 is best there, though 0.2 has the best value of all after nine."""
    trials = staged(
        curve(0.1, [5, 4, 2.0], State.PAUSED),
        curve(0.2, [5, 4, 3.0, 2, 1, 1, 1, 1, 0.5], State.DONE),
        curve(0.3, [5, 4, 3.5], State.PAUSED),
        curve(0.4, [0.1], State.STOPPED),
    )
    found = parts(trials)
    assert found.good.ravel().tolist() == [0.1]
    assert sorted(found.others.ravel()) == [0.2, 0.3, 0.4]


@pytest.mark.parametrize(("n", "good"), [(2, [0.1]), (3, [0.9])])
def test_few_that_went_far_do_not_decide_alone(n, good):
    """With three (d + 2) at the last step they are compared there, with two everything is compared after one step."""
    done = [curve(0.9 - 0.01 * i, [7, 1.0 + i, *[1.0 + i] * 7], State.DONE) for i in range(n)]
    early = [curve(0.1 + 0.1 * i, [5 + i], State.PAUSED) for i in range(3)]
    assert parts(staged(*done, *early), share=0.1).good.ravel().tolist() == good


def test_at_most_half_of_those_compared_are_good():
    done = [curve(0.9 - 0.01 * i, [7, *[1.0 + i] * 8], State.DONE) for i in range(4)]
    early = [curve(0.01 * i, [5 + i], State.PAUSED) for i in range(40)]
    assert len(parts(staged(*done, *early), share=0.25).good) == 2


def test_a_trial_without_a_point_at_that_step_counts_by_its_last_before():
    def at(i):
        return Trial(i, {"x": 0.7}, State.DONE, curve=Curve([Point(2, 1.0), Point(9, 9.0)]), value=9.0)

    trials = staged(at, *[curve(0.1 * i, [5, 4, 2.0 + i], State.PAUSED) for i in range(1, 4)])
    assert parts(trials, share=0.1).good.ravel().tolist() == [0.7]

from __future__ import annotations

import math

import pytest

from whet.errors import StudyError
from whet.tune.space import Space
from whet.tune.trial import Bound, Goal, Log, Point, State, Trial, Trials, parse_goals


def test_goals_are_read():
    assert parse_goals("min loss") == (Goal("loss", "min"),)
    assert parse_goals(["max  accuracy ", "latency<=5", "size > -1e3"]) == (
        Goal("accuracy", "max"), Bound("latency", "<=", 5.0), Bound("size", ">", -1000.0),
    )  # fmt: skip
    assert parse_goals([str(g) for g in parse_goals(["min a", "max b", "c < 1.5"])]) == parse_goals(
        ["min a", "max b", "c < 1.5"]
    )


@pytest.mark.parametrize(
    "goal", ["", "loss", "minimise loss", "min", [], "latency <= 5", ["min a", "max a"], "a <= --5", "min a b", [3]]
)
def test_goals_that_cannot_be_read_are_refused_in_one_line(goal):
    with pytest.raises(StudyError, match="goal") as e:
        parse_goals(goal)
    assert len(str(e.value).splitlines()) == 1


def test_scores_are_lower_is_better():
    assert Goal("a", "max").score(2.0) == -2.0
    assert Goal("a", "min").score(2.0) == 2.0
    assert all(Goal("a", b).score(v) == math.inf for b in ("min", "max") for v in (math.nan, math.inf, -math.inf))
    bound = Bound("latency", "<=", 5.0)
    assert bound.holds({"latency": 5.0})
    assert not bound.holds({"latency": 5.1})
    assert not bound.holds({})


def made(*trials, goal="min loss", steps=9):
    return Trials(
        [Trial(i, {}, state, tuple(Point(s, v) for s, v in curve), value) for i, (state, curve, value) in enumerate(trials)],
        space=Space(), goals=parse_goals(goal), steps=steps,
    )  # fmt: skip


def test_the_best_is_the_best_not_failed_at_the_highest_step_reached():
    short = (State.PAUSED, [(1, 0.1)], 0.1)
    long = (State.STOPPED, [(1, 0.9), (3, 0.5)], 0.5)
    failed = (State.FAILED, [(1, 0.0), (9, 0.0)], 0.0)
    running = (State.RUNNING, [(1, 0.2), (3, 0.4)], 0.4)
    assert made().best is None
    assert made(failed, (State.WAITING, [], None)).best is None
    assert made(short, failed).best.id == 0
    assert made(short, long, failed).best.id == 1
    assert made(short, long, failed, running).best.id == 3
    assert made(short, long, running, goal="max loss").best.id == 1
    # told to be done: it counts as having done all the steps
    assert made(long, (State.DONE, [(1, 0.8)], 0.8)).best.id == 1
    assert made(long, (State.PAUSED, [(3, 0.5)], 0.5)).best.id == 0  # the older of equals


def test_trials_are_a_sequence_whose_index_is_the_id():
    trials = made((State.DONE, [(9, 1.0)], 1.0), (State.RUNNING, [(2, 1.0), (4, 1.0)], 1.0))
    assert len(trials) == 2
    assert trials[-1].id == 1
    assert [t.id for t in trials[0:]] == [0, 1]
    assert trials.get(1).step == 4
    assert trials[1].at(2) == Point(2, 1.0)
    assert trials[1].at(3) is None
    assert trials[1].at(5) is None
    assert Trial(0).step == 0
    for id in (-1, 2):
        with pytest.raises(StudyError, match="no such trial; have 0 to 1"):
            trials.get(id)


def test_changed_names_each_trial_once_up_to_this_moment():
    log = Log([(2, 0), (3, 1), (4, 0), (7, 2)])
    trials = Trials([Trial(0), Trial(1)], space=Space(), seq=5, log=log)
    assert [trials.changed(s) for s in (0, 2, 3, 4, 9)] == [[0, 1], [1, 0], [0], [], []]
    assert Trials([Trial(0), Trial(1)], space=Space(), seq=5, log=log, ahead=1).changed(3) == [0, 1]
    assert made((State.DONE, [], 1.0)).changed(99) == [0]


def test_what_breaks_a_bound_is_best_only_when_nothing_keeps_it():
    def trials(*measured, goals=("min loss", "m <= 8", "n > 0")):
        made = [
            Trial(i, {}, State.DONE, [Point(s, v, metrics=metrics) for s in range(1, step + 1)], v)
            for i, (step, v, metrics) in enumerate(measured)
        ]
        return Trials(made, space=Space(), goals=parse_goals(goals), steps=3)

    good, low = (3, 0.5, {"m": 8.0, "n": 1.0}), (1, 0.9, {"m": 1.0, "n": 1.0})
    over, unknown = (3, 0.1, {"m": 8.1, "n": 1.0}), (3, 0.2, {"m": 1.0})
    assert trials(good, over, unknown).best.id == 0
    assert trials(over, low).best.id == 1  # it went less far, but it is an answer
    assert trials(unknown, over).best.id == 1
    assert trials(good, over, goals=("min loss",)).best.id == 1
    assert [trials(good, over, unknown).keeps(t) for t in trials(good, over, unknown)] == [True, False, False]
    # the reported value may have a bound too
    assert trials(good, over, goals=("min loss", "loss >= 0.3")).best.id == 0

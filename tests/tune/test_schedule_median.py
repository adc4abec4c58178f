from __future__ import annotations

import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet import seed as streams
from whet.testing import SPACES, Play
from whet.tune.schedule.median import Median
from whet.tune.strategy import Resume, Start
from whet.tune.trial import State, Verdict

GO, STOP = Verdict.GO, Verdict.STOP


def history(curves, steps=10, goal="min loss"):
    study = Play(SPACES["line"], steps, goal)
    for curve in curves:
        id = study.ask()
        study.set(id, params={"x": 0.0}, state=State.RUNNING)
        for step, value in enumerate(curve, 1):
            study.report(id, step, value)
    return study


def judge(made, study, id, value):
    return made.judge(*study.ahead(id, study.trials[id].step + 1, value))


def test_by_hand():
    # running averages at step 3: 0.4, 0.7, 1.0, 1.3, 1.6; their median is 1.0
    others = [[0.6, 0.4, 0.2], [0.9, 0.7, 0.5], [1.2, 1.0, 0.8], [1.5, 1.3, 1.1], [1.8, 1.6, 1.4]]
    for best, verdict in ((1.01, STOP), (1.0, GO), (0.99, GO)):
        study = history([*others, [5.0, best]])
        assert judge(Median(), study, 5, 3.0) is verdict  # its best value counts, not its last
        study = history([*others, [5.0, 4.0]])
        assert judge(Median(), study, 5, best) is verdict


def test_an_even_number_of_others_has_the_mean_of_the_middle_two():
    others = [[1.0], [2.0], [4.0], [9.0]]
    made = Median(grace=0, least=4)
    assert judge(made, history([*others, []]), 4, 3.0) is GO
    assert judge(made, history([*others, []]), 4, 3.01) is STOP


def test_to_maximise():
    others = [[0.1], [0.2], [0.3]]
    made = Median(grace=0, least=3)
    assert judge(made, history([*others, []], goal="max accuracy"), 3, 0.21) is GO
    assert judge(made, history([*others, []], goal="max accuracy"), 3, 0.19) is STOP


def test_grace_least_and_the_last_step():
    others = [[1.0] * 10] * 5
    assert judge(Median(grace=3), history([*others, [9.0, 9.0]]), 5, 9.0) is GO
    assert judge(Median(grace=2), history([*others, [9.0, 9.0]]), 5, 9.0) is STOP
    assert judge(Median(), history([*others[:4], [9.0]]), 4, 9.0) is GO
    assert judge(Median(), history([*others, [9.0] * 9]), 5, 9.0) is GO


def test_stopped_trials_count_and_failed_ones_do_not():
    made = Median(least=3)
    for state, verdict in ((State.STOPPED, STOP), (State.PAUSED, STOP), (State.DONE, STOP), (State.FAILED, GO)):
        study = history([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [2.0]])
        assert judge(made, study, 3, 2.0) is STOP
        study.set(0, state=state)
        assert judge(made, study, 3, 2.0) is verdict


def test_interrupted_trials_are_taken_up_again():
    study = history([[1.0], [2.0]])
    study.set(1, state=State.PAUSED)
    made = Median()
    assert made.pick(study.trials, streams.rng(0)) == Resume(1)
    assert made.keep(study.trials) == {(0, 1), (1, 1)}
    study.set(1, state=State.STOPPED)
    assert isinstance(made.pick(study.trials, streams.rng(0)), Start)
    assert made.keep(study.trials) == {(0, 1)}


def definition(made, trial, trials):
    step, score = trial.step, trials.goal.score
    if step <= made.grace or step >= trials.steps:
        return GO
    averages = []
    for t in trials:
        if t.id != trial.id and t.state is not State.FAILED and t.step >= step:
            points = [p for p in t.curve if p.step <= step] or list(t.curve[:1])
            averages.append(sum(score(p.value) for p in points) / len(points))
    if len(averages) < made.least:
        return GO
    best = min(score(p.value) for p in trial.curve)
    return STOP if best > statistics.median(averages) else GO


@settings(max_examples=60, deadline=None)
@given(
    moves=st.lists(st.tuples(st.integers(0, 5), st.integers(-3, 3), st.integers(1, 3)), max_size=60),
    grace=st.integers(0, 2),
    least=st.integers(1, 4),
    goal=st.sampled_from(["min loss", "max score"]),
)
def test_any_history_is_decided_by_the_definition(moves, grace, least, goal):
    made, study = Median(grace, least), history([[]] * 6, 12, goal)
    for id, value, stride in moves:
        trial = study.trials[id]
        if trial.state is not State.RUNNING:
            continue
        step = trial.step + stride
        if step > 12:
            study.set(id, state=State.FAILED)
            continue
        judged, trials = study.ahead(id, step, value / 4)
        verdict = made.judge(judged, trials)
        assert verdict is definition(made, judged, trials)
        assert verdict is Median(grace, least).judge(judged, trials)
        study.report(id, step, value / 4, State.STOPPED if verdict is STOP else State.RUNNING)


@pytest.mark.parametrize("least", [1, 2])
def test_a_trial_is_not_compared_with_itself(least):
    # alone, or with one other: its own average would be the median
    study = history([[4.0, 1.0, 1.0], [5.0, 5.0]])
    assert judge(Median(least=least), study, 1, 5.0) is (STOP if least == 1 else GO)

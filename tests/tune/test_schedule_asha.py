from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet import seed as streams
from whet.testing import SPACES, Play, play
from whet.tune.schedule.asha import Asha
from whet.tune.search.random import Random
from whet.tune.strategy import Resume, Start
from whet.tune.trial import Idle, State, Verdict

GO, PAUSE = Verdict.GO, Verdict.PAUSE
STATES = {GO: State.RUNNING, PAUSE: State.PAUSED}


def start(study, n=1):
    ids = [study.ask() for _ in range(n)]
    for id in ids:
        study.set(id, params={"x": 0.0}, state=State.RUNNING)
    return ids


def report(made, study, id, step, value):
    """Judge a report, write it down, and return the verdict."""
    judged, trials = study.ahead(id, step, value)
    verdict = made.judge(judged, trials)
    study.report(id, step, value, STATES[verdict])
    return verdict


def pick(made, study):
    return made.pick(study.trials, streams.rng(0))


@pytest.mark.parametrize(
    ("made", "steps", "rungs"),
    [
        (Asha(), 27, (1, 3, 9, 27)),
        (Asha(), 9, (1, 3, 9)),
        (Asha(), 81, (1, 3, 9, 27, 81)),
        (Asha(), 1, (1,)),
        (Asha(), 2, (1, 2)),
        (Asha(), 30, (1, 3, 9, 30)),
        (Asha(), 100, (1, 3, 9, 27, 100)),
        (Asha(factor=4, first=2), 32, (2, 8, 32)),
        (Asha(factor=2), 10, (1, 2, 4, 10)),
        (Asha(first=50), 27, (27,)),
    ],
)
def test_rungs(made, steps, rungs):
    assert made.rungs(steps) == rungs


def test_promotions_by_hand_with_one_worker():
    # nine configurations with final losses v; factor 3; rungs 1, 3, 9. A trial is promotable when it is among the best
    # floor(n / 3) of its rung.
    v = [5, 4, 3, 9, 1, 8, 7, 2, 6]
    made, study, events = Asha(), Play(SPACES["line"], 9), []
    while True:
        said = pick(made, study)
        if isinstance(said, Start):
            if len(study.trials) == 9:
                break
            (id,) = start(study)
        else:
            id = said.id
            study.set(id, state=State.RUNNING)
            events.append(f"resume {id}")
        for step in range(study.trials[id].step + 1, 10):
            if report(made, study, id, step, v[id]) is PAUSE:
                events.append(f"pause {id}@{step}")
                break
    assert events == [
        "pause 0@1",  # n = 1, 2: floor(n / 3) = 0
        "pause 1@1",
        "pause 2@3",  # n = 3: trial 2 is the best of three, goes straight on to rung 3 and waits there alone
        "pause 3@1",
        "pause 4@3",  # n = 5: the best one is trial 4 now
        "pause 5@1",  # n = 6: the best two are 4 and 2, both gone on
        "pause 6@1",
        "pause 7@3",  # n = 8: the best two are 4 and 7. Rung 3 then has 2, 4, 7 ...
        "resume 4",  # ... and the best of those three is 4, trained to the end
        "pause 8@1",  # n = 9: the best three are 4, 7, 2
    ]
    assert [t.step for t in study.trials] == [1, 1, 3, 1, 9, 1, 1, 3, 1]
    assert made.finish(study.trials) is Idle.DONE


def test_promotions_by_hand_with_many_workers():
    made, study = Asha(), Play(SPACES["line"], 9)
    ids = start(study, 9)
    verdicts = [report(made, study, id, 1, value) for id, value in zip(ids, [9, 8, 7, 6, 5, 4, 3, 2, 1], strict=True)]
    # every third report finds a place for one more, and each value is the best so far
    # n:             1      2      3   4   5   6   7   8   9
    assert verdicts == [PAUSE, PAUSE, GO, GO, GO, GO, GO, GO, GO]
    assert isinstance(pick(made, study), Start)

    made, study = Asha(), Play(SPACES["line"], 9)
    ids = start(study, 9)
    verdicts = [report(made, study, id, 1, value) for id, value in zip(ids, [1, 2, 3, 4, 5, 6, 7, 8, 9], strict=True)]
    assert verdicts == [PAUSE] * 9
    resumed = []
    while isinstance(said := pick(made, study), Resume):
        resumed.append(said.id)
        study.set(said.id, state=State.RUNNING)
    assert resumed == [0, 1, 2]  # the best floor(9 / 3)
    assert isinstance(pick(made, study), Start)
    # two of them reach the next rung, where one more is needed
    assert [report(made, study, id, step, id + 1) for id in (2, 1) for step in (2, 3)] == [GO, PAUSE, GO, PAUSE]
    start(study, 3)
    assert report(made, study, 9, 1, 2.5) is GO  # n = 10: the best three are 0, 1 and 9; that 2 went on does not matter
    assert report(made, study, 10, 1, 2.7) is PAUSE  # n = 11: still three places
    assert report(made, study, 11, 1, 99) is PAUSE  # n = 12: the fourth place makes way for 10 ...
    assert pick(made, study) == Resume(10)
    assert [report(made, study, 9, step, 9) for step in (2, 3)] == [GO, PAUSE]  # the third in rung 3: 1 may go on ...
    assert pick(made, study) == Resume(1)  # ... and comes before 10, being in a higher rung


def test_the_highest_rung_comes_first():
    made, study = Asha(factor=2), Play(SPACES["line"], 4)
    for id, curve in enumerate([[1, 1], [2, 2], [3], [0.5], [4]]):
        start(study)
        for step, value in enumerate(curve, 1):
            study.report(id, step, value)
        study.set(id, state=State.PAUSED)
    # rung 1 has five (0.5 may go on), rung 2 has two (trial 0 may go on)
    assert pick(made, study) == Resume(0)
    study.set(0, state=State.RUNNING)
    assert pick(made, study) == Resume(3)


def test_a_trial_goes_on_only_where_it_would_be_the_next_to_be_resumed():
    made, study = Asha(factor=2), Play(SPACES["line"], 4)
    verdicts = [report(made, study, id, 1, value) for id, value in zip(start(study, 4), (2, 9, 9, 3), strict=True)]
    assert verdicts == [PAUSE] * 4  # two of four have a place, 0 and 3, but 0 waits and is better
    assert pick(made, study) == Resume(0)

    made, study = Asha(factor=2), Play(SPACES["line"], 4)
    for id in start(study, 2):
        for step in (1, 2):
            study.report(id, step, id + 1, State.PAUSED if step == 2 else State.RUNNING)
    start(study)
    assert report(made, study, 2, 1, 0.5) is PAUSE  # the best of rung 1, but trial 0 may go on from rung 2
    assert pick(made, study) == Resume(0)
    study.set(0, state=State.RUNNING)
    assert pick(made, study) == Resume(2)

    made, study = Asha(factor=2), Play(SPACES["line"], 4)
    first, cut, last = start(study, 3)
    report(made, study, first, 1, 5)
    study.set(cut, state=State.PAUSED)  # interrupted before its first step
    assert report(made, study, last, 1, 1) is PAUSE
    assert pick(made, study) == Resume(cut)
    study.set(cut, state=State.RUNNING)
    assert pick(made, study) == Resume(last)


def test_equal_values_are_ranked_by_age():
    made, study = Asha(), Play(SPACES["line"], 9)
    for id in start(study, 3):
        assert report(made, study, id, 1, 0.5) is PAUSE
    assert pick(made, study) == Resume(0)


def test_a_failed_trial_leaves_its_place_to_the_next():
    made, study = Asha(), Play(SPACES["line"], 9)
    for id, value in zip(start(study, 3), (1, 2, 3), strict=True):
        report(made, study, id, 1, value)
    study.set(0, state=State.RUNNING)
    assert isinstance(pick(made, study), Start)
    study.set(0, state=State.FAILED, error={"type": "RuntimeError", "message": ""})
    assert pick(made, study) == Resume(1)


def test_a_trial_that_fails_before_the_first_rung_counts_in_it():
    made, study = Asha(), Play(SPACES["line"], 9)
    for id in start(study, 3)[:2]:
        study.set(id, state=State.FAILED, error={"type": "MemoryError", "message": ""})
    assert report(made, study, 2, 1, 7.0) is GO  # the best of three
    only_failures = Play(SPACES["line"], 9)
    for id in start(only_failures, 6):
        only_failures.set(id, state=State.FAILED, error={"type": "MemoryError", "message": ""})
    assert isinstance(pick(made, only_failures), Start)


def test_steps_that_are_not_reported():
    made, study = Asha(), Play(SPACES["line"], 27)
    for id, value in zip(start(study, 3), (3, 2, 1), strict=True):
        verdict = report(made, study, id, 5, value)  # past the rungs 1 and 3 at once
        assert verdict is (GO if id == 2 else PAUSE)
    assert report(made, study, 2, 8, 0.5) is GO
    assert report(made, study, 2, 10, 0.4) is PAUSE  # past 9, where it is alone


def test_a_small_study_trains_one_trial_to_the_end():
    for starts in (1, 2, 4):
        done = play(Random(), Asha(), SPACES["mixed"], steps=27, starts=starts)
        assert sum(t.step == 27 for t in done.trials) == 1
        last = [t for t in done.trials if t.step == 27]
        first = {t.id: t.curve[0].value for t in done.trials}
        if starts < 3:  # nothing but `finish` promoted
            assert first[last[0].id] == min(first.values())


def test_finish_waits_for_those_that_run():
    made, study = Asha(), Play(SPACES["line"], 9)
    assert made.finish(study.trials) is Idle.DONE
    start(study, 2)
    report(made, study, 0, 1, 1.0)
    assert made.finish(study.trials) is Idle.WAIT
    report(made, study, 1, 1, 2.0)
    assert made.finish(study.trials) == Resume(0)
    study.ask({"search": "enqueue"})  # may wait for ever
    assert made.finish(study.trials) == Resume(0)
    study.ask()  # a worker is about to run it
    assert made.finish(study.trials) is Idle.WAIT


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("workers", [1, 4])
def test_twelve_trials_of_nine_steps(seed, workers):
    done = play(Random(), Asha(), SPACES["mixed"], steps=9, starts=12, workers=workers, seed=seed)
    assert len(done.trials) == 12
    steps = [t.step for t in done.trials]
    assert max(steps) == 9
    assert set(steps) <= {1, 3, 9}
    assert all([p.step for p in t.curve] == list(range(1, t.step + 1)) for t in done.trials)  # each epoch once
    # 12, 4 and 1 configurations at the least, few more for those promoted before better ones came
    assert 4 <= sum(s >= 3 for s in steps) <= 8
    assert {t.state for t in done.trials if t.step < 9} == {State.PAUSED}


def definition(made, trials):
    """Return what `pick` must say, worked out from the paper's definition without any cache."""
    rungs, factor = made.rungs(trials.steps), made.factor
    score = trials.goal.score

    def at(t, k):
        if t.state is State.FAILED:
            return math.inf if k == 0 or t.step >= rungs[k] else None
        points = [p for p in t.curve if p.step >= rungs[k]]
        return score(points[0].value) if points else None

    for t in trials:
        if t.state is State.PAUSED:
            steps = [0] + [p.step for p in t.curve]
            if not any(steps[-2:][0] < r <= steps[-1] for r in rungs[:-1]) or t.step >= rungs[-1] or len(steps) == 1:
                return Resume(t.id)
    for k in reversed(range(len(rungs) - 1)):
        ranked = sorted((at(t, k), t.id) for t in trials if at(t, k) is not None)
        for value, id in ranked[: len(ranked) // factor]:
            t = trials[id]
            if t.state is State.PAUSED and at(t, k + 1) is None and value < math.inf:
                return Resume(id)
    return Start()


@settings(max_examples=60, deadline=None)
@given(
    moves=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 4), st.integers(1, 4)), max_size=60),
    factor=st.integers(2, 4),
    first=st.integers(1, 3),
    steps=st.integers(1, 20),
)
def test_any_history_is_decided_by_the_definition(moves, factor, first, steps):
    made, study = Asha(factor, first), Play(SPACES["line"], steps, "max score")
    for which, value, stride in moves:
        said = pick(made, study)
        assert said == definition(made, study.trials)
        assert said == pick(Asha(factor, first), study)
        busy = [t.id for t in study.trials if t.state is State.RUNNING]
        if (len(busy) < 3 and which < 4) or not busy:
            if isinstance(said, Resume):
                study.set(said.id, state=State.RUNNING)
            else:
                start(study)
            continue
        id = busy[which % len(busy)]
        step = study.trials[id].step + stride
        if which == 7 and value == 0:
            study.set(id, state=State.FAILED, error={"type": "ValueError", "message": ""})
        elif which == 6 and value == 1:
            study.set(id, state=State.PAUSED)
        elif step >= steps:
            study.tell(id, float(value))
        else:
            judged, trials = study.ahead(id, step, float(value))
            verdict = made.judge(judged, trials)
            assert verdict is Asha(factor, first).judge(judged, trials)
            # GO at a rung exactly when a pause there would be followed by a resume of the same trial
            after = Play(SPACES["line"], steps, "max score")
            for t in study.trials:
                after.ask()
                after.set(t.id, state=t.state, curve=t.curve, value=t.value)
            after.report(id, step, float(value), State.PAUSED)
            arrived = any(
                judged.curve[-2].step < r <= step if len(judged.curve) > 1 else r <= step for r in made.rungs(steps)
            )
            same = definition(made, after.trials) == Resume(id)
            assert verdict is (GO if same or not arrived else PAUSE)
            study.report(id, step, float(value), STATES[verdict])


def test_checkpoints_of_closed_trials_are_let_go():
    done = play(Random(), Asha(), SPACES["mixed"], steps=9, starts=12, crash=0.05, seed=1)
    kept = Asha().keep(done.trials)
    assert kept == {(t.id, t.step) for t in done.trials if t.state is State.PAUSED}
    assert kept

from __future__ import annotations

import warnings

import numpy as np
import pytest

from whet import CheckpointError, Float, Space, State, Study, StudyError, Verdict
from whet.tune.attempt import Attempt

SPACE = Space(x=Float(0, 1))


def attempts(study):
    return Attempt(study, study.ask())


def test_it_yields_the_steps_that_are_left():
    study = Study(SPACE, schedule="full", steps=4)
    run = attempts(study)
    assert (run.id, run.steps, run.last) == (0, 4, 0)
    assert run.load() is None
    seen = []
    for step in run:
        seen.append(step)
        assert run.report(1 / step, {"at": step}, speed=2.0, gradient={"x": 0.5}) is Verdict.GO
        if step == 2:
            break
    assert seen == [1, 2]
    assert study.trials[0].curve[0].metrics == {"speed": 2.0, "gradient.x": 0.5}
    again = Attempt(study, study.trials[0])
    assert again.load() == {"at": 2}
    assert list(again) == [3, 4]


def test_it_ends_when_the_verdict_is_no_longer_go():
    study = Study(SPACE, schedule="asha", steps=9, search="random")
    lengths = []
    for _ in range(9):
        run = attempts(study)
        run.load()
        for step in run:
            run.report(step, {})
        lengths.append(run.last)
        if run.verdict is Verdict.GO:
            study.tell(run.id, 1.0)
    assert set(lengths) >= {1, 3}


def test_it_ends_on_request_between_steps():
    study = Study(SPACE, schedule="full", steps=9)
    run = Attempt(study, study.ask(), stopping=lambda: study.trials[0].step >= 3)
    for step in run:
        run.report(step)
    assert run.interrupted
    assert run.last == 3
    assert study.trials[0].state is State.RUNNING


def test_without_states_it_starts_over_and_says_so_once():
    study = Study(SPACE, schedule="full", steps=3)
    run = attempts(study)
    for step in run:
        run.report(step / 10)
        if step == 2:
            break
    again = Attempt(study, study.trials[0])

    def train():
        for _ in again:
            again.report(9.0)

    with pytest.warns(RuntimeWarning, match="trains its first steps again.* begin with what run.load") as caught:
        train()
    assert len(caught) == 1
    assert [p.value for p in study.trials[0].curve] == [0.1, 0.2, 9.0]
    assert study.spent.steps == 5


@pytest.mark.parametrize("store", [None, "file"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(store, tmp_path):
    study = Study(SPACE, schedule="full", steps=4, store=store and f"sqlite:///{tmp_path}/s.db")
    run = attempts(study)
    for step in run:
        run.report(step, {"w": np.full(50, step), "step": step})
        if step == 3:
            break
    names = [name for _, name in study.checkpoints(0)]
    if store:
        path = tmp_path / "study" / "checkpoints" / names[-1]
        data = path.read_bytes()
        for damaged in (data[:-10], data[:-4] + b"\1" + data[-3:], b""):
            path.write_bytes(damaged)
            with pytest.warns(RuntimeWarning, match="damaged.*the one before it"):
                state = Attempt(study, study.trials[0]).load()
            assert state["step"] == 2
            assert state["w"].tolist() == [2] * 50
    else:
        study.files._memory[names[-1]] = b"nothing"
    again = Attempt(study, study.trials[0])
    with pytest.warns(RuntimeWarning):
        assert again.load()["step"] == 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert next(iter(again)) == 3
    for _, name in study.checkpoints(0):
        study.files.remove(name)
    with pytest.warns(RuntimeWarning):
        assert Attempt(study, study.trials[0]).load() is None
    study.close()


def test_old_checkpoints_go_and_the_last_two_stay(tmp_path):
    study = Study(SPACE, schedule="full", steps=9, store=f"sqlite:///{tmp_path}/s.db")
    run = attempts(study)
    for step in run:
        run.report(step, {"step": step})
    assert [s for s, _ in study.checkpoints(0)] == [8, 9]
    assert len(list((tmp_path / "study" / "checkpoints").glob("*/*"))) == 2
    study.close()


def test_it_must_be_used_in_order():
    study = Study(SPACE, schedule="full", steps=3)
    run = attempts(study)
    with pytest.raises(StudyError, match="outside its loop"):
        run.report(1.0)
    for _ in run:
        with pytest.raises(StudyError, match="loss must be one number"):
            run.report("good")
        run.report(1.0)  # what was refused was no report
        with pytest.raises(StudyError, match="a second time for step 1"):
            run.report(1.0)
        with pytest.raises(StudyError, match="after the first step"):
            run.load()
        break


def test_a_state_that_cannot_be_written_is_named_by_its_path():
    study = Study(SPACE, schedule="full", steps=3)
    run = attempts(study)
    for _ in run:
        with pytest.raises(CheckpointError, match=r"a\.1|a\[1\]|a"):
            run.report(1.0, {"a": [1, object()]})
        break
    assert len(study.trials[0].curve) == 0


def test_a_child_begins_with_its_parents_state():
    from dataclasses import dataclass

    from whet import Start
    from whet.tune.schedule.full import Full

    @dataclass(frozen=True)
    class Breeds:
        def pick(self, trials, rng):
            return Start({"x": 0.5}, (0, 2)) if trials else Start()

        judge, keep = Full.judge, Full.keep

    study = Study(SPACE, schedule=Breeds(), steps=4)
    run = attempts(study)
    for step in run:
        run.report(step, {"trained": [0] * step})
        if step == 2:
            break
    child = attempts(study)
    assert child.load() == {"trained": [0, 0]}
    assert list(child) == [3, 4]

"""Checkpoints of a study: which are kept, which go, and that the record and the disk agree."""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest

from whet import Float, Idle, Space, State, StoreError, Study, Verdict
from whet.tune.attempt import Attempt
from whet.tune.schedule.full import Full

SPACE = Space(x=Float(0, 1))
SIZE = 1000


def state(fill=0):
    return {"w": np.full(SIZE, fill, np.uint8)}


def on_disk(study):
    return {f"{p.parent.name}/{p.name}" for p in study.files.folder.glob("*/*.safetensors")}


def named(study):
    return {n for t in study.trials for _, n in study._book.history.progress[t.id].checkpoints}


def agree(study):
    """The disk holds exactly what the journal names, and so does a process that reads the journal anew."""
    assert on_disk(study) == named(study) == set(study._book.history.stored)
    assert sum(study._book.history.stored.values()) == study.files.bytes()
    with Study.open(study.store, study.name) as again:
        assert again._book.history.stored == study._book.history.stored
        assert named(again) == named(study)
    return sorted(study._book.history.stored)


def steps(study, id):
    return [s for s, _ in study.checkpoints(id)]


def train(study, upto=None, trial=None):
    run = Attempt(study, study.ask() if trial is None else study.trials[trial])
    run.load()
    for step in run:
        run.report(run.params["x"] + 1 / step, state(step))
        if step == upto:
            break
    return run


@dataclass(frozen=True)
class KeepsFirst(Full):
    """A schedule that may always want the first step of every trial."""

    def keep(self, trials):
        return {(t.id, 1) for t in trials if t.curve}


@dataclass(frozen=True)
class StopsAtThree(Full):
    @cached_property
    def judged(self):
        return []

    def judge(self, trial, trials):
        return Verdict.STOP if trial.step == 3 else Verdict.GO


@pytest.fixture
def make(tmp_path):
    opened = []

    def make(schedule="full", quota=None, steps=6, **more):
        from whet import Store

        store = Store(f"{tmp_path}/s.db", quota=quota)
        opened.append(Study(SPACE, search="random", schedule=schedule, steps=steps, store=store, **more))
        return opened[-1]

    yield make
    for study in opened:
        study.close()


def test_an_open_trial_keeps_its_last_two_a_done_one_too(make):
    study = make()
    run = train(study, 4)
    assert steps(study, 0) == [3, 4]
    agree(study)
    for step in run:
        run.report(1.0, state(step))
    study.tell(run.id, 1.0)
    assert steps(study, 0) == [5, 6]
    agree(study)


def test_what_the_scheduler_keeps_stays(make):
    study = make(KeepsFirst())
    train(study, 5)
    assert steps(study, 0) == [1, 4, 5]
    study.fail(0, "broken")
    assert steps(study, 0) == [1]
    agree(study)


def test_a_stopped_trial_keeps_its_last_and_a_failed_one_none(make):
    study = make(StopsAtThree())
    train(study)
    assert study.trials[0].state is State.STOPPED
    assert steps(study, 0) == [3]
    train(study, 2)
    study.fail(1, "broken")
    assert steps(study, 1) == []
    run = train(study, 2)
    next(iter(run))
    run.report(float("nan"), state())
    assert study.trials[2].state is State.FAILED
    assert steps(study, 2) == []
    assert agree(study) == [study.checkpoints(0)[0][1]]


def test_the_same_state_twice_is_one_file(make):
    study = make()
    run = Attempt(study, study.ask())
    for step in run:
        run.report(1.0, {"same": 1})
        if step == 3:
            break
    assert steps(study, 0) == [2, 3]
    agree(study)


@pytest.mark.parametrize("schedule", ["full", "asha", "hyperband"])
def test_the_quota_holds_and_the_best_stays(schedule, make):
    size = len(make(name="probe").files.pack({"plain": 1})) + 3 * SIZE
    study = make(schedule, quota=5 * size, steps=9, name="q")
    best = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(40):
            trial = study.ask()
            if isinstance(trial, Idle):
                break
            run = Attempt(study, trial)
            run.load()
            for step in run:
                run.report(trial.params["x"] + 1 / step, state(step))
                assert study.files.bytes() <= 5 * size
            if run.verdict is Verdict.GO:
                study.tell(trial, trial.params["x"])
            agree(study)
            if schedule == "full":
                best = study.best
                assert steps(study, best.id)[-1:] == [9], "the best trial lost its checkpoint"
    assert len(study.trials) > 10
    if schedule == "full":
        assert any(e.kind == "collected" for e in study.journal.read())


def test_a_large_checkpoint_in_the_making_is_left_its_room(make):
    """While a worker writes a large one, another fills what is left with small ones."""
    quota = 100 * SIZE
    study = make(quota=quota, steps=90)
    other = make(quota=quota, steps=90)
    large, small = ({"w": np.zeros(n * SIZE, np.uint8)} for n in (30, 1))
    runs = [Attempt(s, s.ask()) for s in (study, other)]
    put, (a, _b) = study.files.put, map(iter, runs)
    for _ in range(2):
        next(a)
        runs[0].report(1.0, large)

    def slowly(*words):
        for _ in range(40):  # several trials, as only the last two of each stay
            trial = other.ask()
            run = Attempt(other, trial)
            for _ in run:
                run.report(1.0, small)
                if run.last == 2:
                    break
            other.tell(trial, 1.0)
        return put(*words)

    study.files.put = slowly
    next(a)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runs[0].report(1.0, large)
    assert quota / 2 < study.files.bytes() <= quota


def test_the_quota_holds_at_every_moment_with_workers_in_other_processes(make, capfd):
    """Watched from outside, as a person with `du` does."""
    from pathlib import Path

    from whet.execute import resolve
    from whet.tune.fsck import fsck

    work = resolve(f"{Path(__file__).with_name('processes_work.py')}:heavy")
    quota = 250_000
    study = make("asha", quota=quota, steps=9)
    study.store.files(study.name).mkdir(parents=True)
    seen, done = [0], threading.Event()

    def watch():
        before = {}
        while not done.wait(0.002):
            now = dict(_file(p) for p in study.store.files(study.name).rglob("*"))
            # what both looks saw was there between them; one look alone takes time, and counts files that follow each other
            seen.append(sum(size for file, size in now.items() if before.get(file) == size))
            before = now

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study.run(work, trials=16, workers=3)
    finally:
        done.set()
        thread.join()
    assert quota / 2 < max(seen) <= quota
    assert len(study.trials) == 16
    best = study.best
    kept = study.checkpoints(best.id)[-1][0]  # older than its last step only when a worker said that nothing more fits
    assert kept == best.step or "is full of checkpoints that may still be wanted" in capfd.readouterr().err
    assert any(e.kind == "collected" for e in study.journal.read())
    agree(study)
    assert not fsck(study.store, [study.name]).findings


def _file(path):
    try:
        found = path.stat()
        return (path, found.st_ino, found.st_mtime_ns), found.st_size if path.is_file() else 0
    except OSError:
        return path, 0


def test_without_room_the_study_goes_on_and_says_so(make):
    study = make(quota=100)
    with pytest.warns(RuntimeWarning, match="quota of 100 bytes is full"):
        run = train(study, 2)
    assert run.last == 2
    assert steps(study, 0) == []
    agree(study)


def test_kept_checkpoints_outlast_the_quota(make):
    study = make(KeepsFirst(), quota=8 * SIZE, steps=6)

    def several(n):
        for _ in range(n):
            run = train(study)
            study.tell(run.id, 1.0)

    several(3)
    with pytest.warns(RuntimeWarning, match="may still be wanted"):
        several(9)
    kept = [t.id for t in study.trials if 1 in steps(study, t.id)]
    assert kept == list(range(len(kept)))
    assert len(kept) >= 3
    assert study.files.bytes() <= 8 * SIZE


def test_what_a_killed_worker_left_goes_when_its_trial_is_taken_over(make):
    study = make()
    train(study, 2)
    study.files.write(0, 3, {"never": "reported"})
    (study.files.folder / "0" / ".part-x").write_bytes(b"half")
    study.release(0)
    assert study.ask().id == 0
    assert steps(study, 0) == [1, 2]
    agree(study)
    assert not list(study.files.folder.glob("*/.part-*"))


def test_a_damaged_checkpoint_is_passed_over(make):
    study = make()
    run = train(study, 3)
    path = study.files.folder / study.checkpoints(0)[-1][1]
    path.write_bytes(path.read_bytes()[:-1])
    again = Attempt(study, study.trials[run.id])
    with pytest.warns(RuntimeWarning, match="damaged"):
        assert again.load()["w"][0] == 2
    assert next(iter(again)) == 3


def test_a_worker_that_sees_another_folder_hands_the_trial_back(make, tmp_path):
    from whet import Store

    study = make(name="s")
    train(study, 2)
    study.release(0)

    def objective(params, run):
        run.load()
        raise AssertionError("it must not get here")

    elsewhere = Store(f"{tmp_path}/s.db", folder=str(tmp_path / "elsewhere"))
    with Study.open(elsewhere, "s") as other:
        with pytest.raises(StoreError, match=r"files are not here.*all workers share"):
            other.run(objective, trials=1)
        assert other.trials[0].state is State.RUNNING
        assert not other.journal.leases()
    trained = train(study, 4)
    assert trained.id == 0
    assert steps(study, 0) == [3, 4]
    # another study's folder is refused too, before anything is written into it
    one = make(name="one")
    train(one, 1)
    thief = Study(SPACE, search="random", schedule="full", steps=6, store=one.store, name="two")
    thief.files.folder = one.files.folder
    with pytest.raises(StoreError, match="belongs to another study"):
        train(thief, 1)
    thief.close()

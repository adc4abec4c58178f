"""What becomes of a trial whose worker really crashes, is killed, takes too much memory or hangs."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from whet import Int, Space, State, Study, StudyError, UsageError
from whet.execute import resolve
from whet.tune import claim

WORK = Path(__file__).with_name("crew_work.py")


def work(name):
    return resolve(f"{WORK}:{name}")


@pytest.fixture(autouse=True)
def flags(tmp_path, monkeypatch):
    """Return a folder in which objectives leave signs; afterwards no worker may be left."""
    folder = tmp_path / "flags"
    folder.mkdir()
    monkeypatch.setenv("WHET_TEST_FLAG", str(folder))
    yield folder
    left = [p for p in psutil.Process().children(recursive=True) if "whet.execute.child" in p.cmdline()]
    psutil.wait_procs(left, timeout=5)
    assert not [p for p in left if p.is_running()]


def new(folder, **options):
    """Return a study that tries k = 1, 2, 3."""
    return Study(
        **{
            "space": Space(k=Int(1, 3)),
            "search": "random",
            "schedule": "full",
            "steps": 3,
            "seed": 1,
            "store": f"sqlite:///{folder}/s.db",
            **options,
        }
    )


def check(study, bad=None):
    """Return the trial of k = 2 after seeing that the others ended well, once each, and that nobody holds anything."""
    by_k = {t.params["k"]: t for t in study.trials}
    assert sorted(t.params["k"] for t in study.trials) == [1, 2, 3]
    assert all(by_k[k].state is State.DONE for k in (1, 3))
    assert by_k[2].state is (State.DONE if bad is None else State.FAILED)
    assert (by_k[2].error or {}).get("type") == bad
    assert not study.journal.leases()
    assert study.spent.trials == 3
    assert not study.interrupted
    return by_k[2]


def measured(error):
    return error["seconds"] > 0 and 10_000_000 < error["memory"] < 100_000_000_000


def test_a_configuration_that_segfaults_fails_at_once_and_says_where(tmp_path, flags):
    with new(tmp_path) as study:
        study.run(work("segfaults"), workers=2)
        error = check(study, "Crashed").error
        assert error["message"] == "the interpreter died of SIGSEGV"
        assert "Fatal Python error: Segmentation fault" in error["traceback"]
        assert 'crew_work.py", line' in error["traceback"]
        assert "in segfaults" in error["traceback"]
        assert measured(error)
        assert (flags / "crashed").read_text() == "x", "it was tried again"
        (event,) = (e for e in study.journal.read() if e.kind == "failed")
        assert event.data["transient"] is False


@pytest.mark.parametrize(("name", "kind"), [("SIGABRT", "Crashed"), ("SIGTRAP", "Crashed"), ("SIGKILL", "WorkerLost")])
@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_worker_died_of_decides(name, kind, workers, tmp_path, flags):
    (flags / "signal").write_text(name)
    with new(tmp_path, steps=1) as study:
        study.run(work("dies_of_its_name"), workers=workers, on="processes")
        error = check(study, kind).error
        if kind == "Crashed":
            assert error["message"] == f"the interpreter died of {name}"
            assert "in dies_of_its_name" in error["traceback"]
        else:
            assert error["message"] == "its worker died of SIGKILL, 5 times"


@pytest.mark.soak
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", ["SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS"])
def test_every_signal_that_a_program_brings_upon_itself(name, workers, tmp_path, flags):
    test_what_a_worker_died_of_decides(name, "Crashed", workers, tmp_path, flags)


@pytest.mark.soak
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_every_signal_that_comes_from_outside(name, tmp_path, flags):
    (flags / "signal").write_text(name)
    with new(tmp_path, steps=1) as study:
        study.run(work("dies_of_its_name"), workers=1, on="processes")
        assert check(study, "WorkerLost").error["message"] == f"its worker died of {name}, 5 times"


@pytest.mark.parametrize("politely", [False, True])
def test_an_objective_that_exits_has_five_chances(politely, tmp_path, flags):
    if politely:
        (flags / "politely").touch()
    with new(tmp_path, steps=1) as study:
        study.run(work("exits"), workers=2)
        assert check(study, "WorkerLost").error["message"] == "its worker died of exit code 7, 5 times"
        assert (flags / "exited").read_text() == "xxxxx"


def test_a_trial_that_takes_too_much_memory_fails_and_its_worker_is_replaced(tmp_path, flags):
    with new(tmp_path) as study:
        study.run(work("hungry"), workers=1, memory="150MB")
        error = check(study, "OutOfMemory").error
        assert "in hungry" in error["traceback"]
        assert measured(error)
        assert error["memory"] > 100_000_000
        pids = [line.split() for line in (flags / "pids").read_text().splitlines()]
        assert [k for k, _ in pids].count("2") == 1, "it was tried again"
        at = [k for k, _ in pids].index("2")
        assert len({pid for _, pid in pids[: at + 1]}) == 1
        assert pids[at][1] not in {pid for _, pid in pids[at + 1 :]}


@pytest.mark.soak
def test_torch_is_held_to_the_limit_too(tmp_path):
    with new(tmp_path, steps=1) as study:
        study.run(work("hungry_torch"), workers=1, memory="150MB")
        by_k = {t.params["k"]: t for t in study.trials}
        assert by_k[2].error["type"] == "OutOfMemory"
        assert "allocate" in by_k[2].error["message"]


def test_a_library_that_says_otherwise_is_understood(tmp_path):
    with new(tmp_path, steps=1) as study:
        study.run(work("hungry_threads"), workers=1, memory="64MB")
        error = check(study, "OutOfMemory").error
        assert error["message"] == "RuntimeError: can't start new thread"
        assert "in hungry_threads" in error["traceback"]


def test_memory_that_no_allocation_limit_sees_is_watched(tmp_path, flags):
    with new(tmp_path, steps=1) as study:
        study.run(work("hungry_shared"), workers=2, memory="150MB")
        error = check(study, "OutOfMemory").error
        assert error["message"] == "it took more than its limit of 150 MB"
        assert 150_000_000 < error["memory"] < 600_000_000
        assert (flags / "shared").read_text() == "x", "it was tried again"


def test_a_worker_whose_trials_leave_too_much_behind_is_replaced(tmp_path, flags):
    with new(tmp_path, space=Space(k=Int(1, 8)), steps=1) as study:
        study.run(work("leaks"), workers=1, memory="60MB")
        assert all(t.state is State.DONE for t in study.trials)
        pids = (flags / "pids").read_text().split()
        assert len(pids) == 8
        assert max(map(pids.count, pids)) == 3  # the first trial's may be imports, then 40 MB, and 80 are too much


def test_a_trial_that_hangs_has_five_chances(tmp_path, flags):
    with new(tmp_path) as study:
        study.run(work("blocks"), workers=2, stall="1s")
        trial = check(study, "Stalled")
        assert trial.error["message"] == "it did not report for 1 s, 5 times"
        assert trial.step == 1  # what it reported stands
        assert (flags / "blocked").read_text() == "xxxxx"


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_a_suspended_worker_is_ended_and_its_trial_goes_on(workers, tmp_path, flags, monkeypatch):
    monkeypatch.setenv("WHET_LAPSE", "1.5")
    monkeypatch.setattr(claim, "LAPSE", 1.5)
    monkeypatch.setattr(claim, "BEAT", 0.1)
    with new(tmp_path) as study:
        study.run(work("stops_itself"), workers=workers, on="processes")
        assert check(study).step == 3
        assert not psutil.pid_exists(int((flags / "stopped").read_text()))
        assert (flags / "verdict").read_text() == "GO 3"  # from the checkpoint
        assert study.spent.steps == 9


def test_each_worker_sees_its_gpus_and_its_threads(tmp_path, flags, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-7a")
    monkeypatch.setattr("whet.execute.processes.cores", lambda: 4)  # two each
    with new(tmp_path, steps=1) as study:
        study.run(work("devices"), workers=2, gpus=1)
        lines = [line.split() for line in (flags / "devices").read_text().splitlines()]
        assert {(d, n) for _, d, n in lines} == {("4", "2"), ("GPU-7a", "2")}
        with pytest.raises(UsageError, match="2 workers need 4 GPUs, visible are 2"):
            study.run(work("devices"), workers=2, gpus=2)


@pytest.mark.parametrize("workers", [None, 1])
def test_a_failure_is_recorded_with_what_it_cost(workers, tmp_path):
    with new(tmp_path, steps=1) as study:
        with pytest.raises(Exception, match="ValueError: held"):
            study.run(work("fails_with_much"), trials=1, on="inline" if workers is None else "processes")
        error = study.trials[0].error
        assert error["type"] == "ValueError"
        assert error["memory"] > 150_000_000
        assert error["seconds"] > 0


def test_trials_that_all_fail_after_their_first_value_are_failures_too(tmp_path):
    with new(tmp_path) as study, pytest.raises(StudyError, match=r"all 3 trials failed.*ValueError: late"):
        study.run(work("fails_late"))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"memory": "much"}, 'memory "much": cannot be read'),
        ({"memory": "1MB"}, "must be at least 16 MB"),
        ({"stall": 0}, "must be above 0"),
        ({"stall": "30"}, "30 of what"),
        ({"gpus": -1}, "gpus: must be"),
        ({"on": "cloud"}, "on='cloud': no such place. Use processes, ray or ray://HOST:PORT"),
        ({"on": "proceses"}, "Did you mean 'processes'"),
        ({"on": "inline", "workers": 2}, 'on="inline": workers=2 need worker processes'),
        ({"on": "inline", "memory": "1GB"}, 'on="inline": memory, gpus and stall need worker processes'),
        ({"workers": True}, "workers must be"),
    ],
)
def test_where_trials_cannot_run_is_said_before_anything_starts(options, match, tmp_path):
    with new(tmp_path) as study:
        with pytest.raises(UsageError, match=match) as e:
            study.run(work("plain"), **options)
        assert len(str(e.value).splitlines()) == 1
        assert len(study.trials) == 0
    with pytest.raises(UsageError, match=r"need a store they can open"):
        Study(Space(k=Int(1, 3))).run(work("plain"), memory="1GB")


def test_an_owner_that_is_alive_decides_before_others_take_over(tmp_path, monkeypatch):
    """The lease of a dead worker stays its owner's business, unless the owner is gone as well."""
    url = f"sqlite:///{tmp_path}/s.db"
    monkeypatch.setenv("WHET_WORKER", claim.who())
    with new(tmp_path) as first:
        trial = first.ask()
        monkeypatch.delenv("WHET_WORKER")
        me = first.worker
        gone = me.replace(f"/{os.getpid()}/", "/999999999/", 1)
        assert gone.endswith("@" + claim.who())
        with Study.open(url, "study") as other:
            with first.journal.write() as w:
                w.take(trial.id, gone)
            assert other.interrupted == set()
            assert other.ask().id != trial.id
            with first.journal.write() as w:
                w.take(trial.id, gone.replace(f"@{claim.who()}", "@" + gone.split("#")[0]))
            assert other.interrupted == {trial.id}
            assert other.ask().id == trial.id

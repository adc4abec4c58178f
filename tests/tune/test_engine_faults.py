"""Interleavings of workers and failures of the disk that the engine must bear, each made to happen at a known place."""

from __future__ import annotations

import sqlite3

import pytest

from whet import Float, Idle, Int, Space, State, Store, StoreError, Study, StudyError, Verdict, WhetError
from whet.tune.budget import Budget
from whet.tune.replay import replay

SPACE = Space(x=Float(0, 1))


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/s.db"


def new(url, **options):
    given = {"search": "random", "schedule": "full", "seed": 1, "store": url, "name": "s"}
    return Study(**{"space": SPACE, **given, **options})


def test_a_trial_that_is_closed_meanwhile_is_not_taken_over(url):
    with new(url) as a, Study.open(url, "s") as b:
        trial = b.ask()
        look = a.journal.leases

        def late():
            a.journal.leases = look
            b.tell(trial, 1.0)
            return look()

        a.journal.leases = late
        mine = a.ask()
        assert (mine.id, mine.state) == (1, State.RUNNING), "it was given a trial that is DONE"
        assert set(look()) == {1}


def test_when_another_worker_takes_the_guess_the_scheduler_is_asked(url):
    with new(url, schedule="asha", steps=9) as a, Study.open(url, "s") as b:
        while len(a.trials) < 3:
            trial = a.ask()
            assert a.report(trial, 1, trial.params["x"]) is Verdict.PAUSE
        a.enqueue({})
        start = b._asking._start

        def late(*args):
            b._asking._start = start
            assert a.ask().id == 3
            return start(*args)

        b._asking._start = late
        b.ask()
        last = next(e for e in reversed(b.journal.read()) if e.kind in ("asked", "resumed"))
        assert last.kind == "resumed", "a trial was started though the best of three waits for its promotion"


def test_a_worker_of_a_deleted_study_writes_nothing_into_the_next(url):
    with new(url) as old:
        old.tell(old.ask(), 1.0)
        Store(url).database().delete("s")
        with new(url, seed=2) as fresh:
            for _ in range(4):
                fresh.tell(fresh.ask(), 2.0)
            with pytest.raises(WhetError):
                old.tell(old.ask(), 3.0)
            assert not replay(fresh.journal.read()).differences


def test_a_trial_whose_proposal_could_not_be_written_is_given_out_again(url):
    with new(url) as study:
        append = study.journal.append

        def fails_once(kind, *rest):
            if kind == "proposed":
                study.journal.append = append
                raise StoreError("no space on the disk")
            return append(kind, *rest)

        study.journal.append = fails_once
        with pytest.raises(StoreError):
            study.ask()
        assert study.ask_within(Budget(trials=1)).id == 0


def gives_up_on_the_first(study):
    """The searcher breaks every time, as a worker that is killed while it proposes does; the trial is given up."""
    study._book.change(lambda w: study._book.append(w, "asked", 0, {"seen": 1}))
    study._book.change(lambda w: study._asking._give_up(w, 0, 5))
    assert study.trials[0].state is State.FAILED


def tried(study):
    found = []
    while not isinstance(trial := study.ask(), Idle):
        study.tell(trial, 1.0)
        found.append(trial.params["k"])
    return sorted(found)


@pytest.mark.parametrize("search", ["sobol", "random", "grid"])
def test_a_trial_given_up_before_it_had_a_configuration_uses_none_up(search, url):
    with new(url, space=Space(k=Int(1, 3)), search=search) as study:
        gives_up_on_the_first(study)
        assert tried(study) == [1, 2, 3]


def test_two_databases_in_one_folder_do_not_share_the_files_of_a_study(tmp_path):
    def objective(params, run):
        for step in run:
            run.report(params["x"] + step, {"step": step})

    with new(f"sqlite:///{tmp_path}/a.db") as study:
        study.run(objective, trials=1)
        ours = sorted((tmp_path / "s").rglob("*"))
    with (
        new(f"sqlite:///{tmp_path}/b.db", seed=2) as other,
        pytest.raises(StoreError, match=r"belongs to another study.*give another --name"),
    ):
        other.run(objective, trials=1)
    assert sorted((tmp_path / "s").rglob("*")) == ours


def test_an_event_that_cannot_be_decoded_is_explained(url):
    with new(url) as study:
        study.tell(study.ask(), 1.0)
    with Store(url).database().connect() as c:
        c.exec_driver_sql("UPDATE events SET data = 'x' WHERE seq = 3")
    with pytest.raises(StoreError, match="event 3"):
        Study.open(url, "s")


@pytest.mark.parametrize("end", ["report", "tell", "fail"])
def test_a_worker_whose_configuration_a_crash_of_the_database_lost(url, tmp_path, end):
    """The record ends between the asking and the configuration, the lease is there: nothing is written of what nobody proposed."""
    with new(url, steps=3) as study:
        study.tell(study.ask(), 0.5)
        trial = study.ask()
        c = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
        assert c.execute("delete from events where kind = 'proposed' and trial = 1").rowcount == 1
        assert c.execute("select count(*) from leases").fetchone() == (1,)
        if end == "report":
            assert study.report(trial, 1, 0.3) is Verdict.STOP
        else:
            with pytest.raises(StudyError, match="cannot be closed: it is WAITING"):
                study.tell(trial, 0.3) if end == "tell" else study.fail(trial, "no room")
        assert not study.holds(trial)
        again = study.ask()
        assert (again.id, again.params) == (trial.id, trial.params), "whoever asks next has it"
        assert study.report(again, 1, 0.3) is Verdict.GO
        study.tell(again, 0.2)
        assert not replay(study.journal.read()).differences
        c.close()

"""Asking while others ask: no configuration twice, nothing left behind by what was not written, one worker a trial."""

from __future__ import annotations

import os
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from whet import Choice, Float, Idle, Int, Space, State, Study, StudyError
from whet.errors import LostConnection, StoreError
from whet.tune import claim
from whet.tune.replay import replay
from whet.tune.search.random import Random
from whet.tune.strategy import Proposal

SPACE = Space(k=Int(1, 3), c=Choice(["a", "b"]))


def meanwhile(study, act):
    """Do `act` while the next proposal of `study` is being made."""
    searcher = study.searcher

    class Interrupted:
        def propose(self, trials, rng):
            study._asking._searcher = searcher
            act()
            return searcher.propose(trials, rng)

        def left(self, trials):
            return searcher.left(trials)

    study._asking._searcher = Interrupted()


@dataclass(frozen=True)
class Stubborn(Random):
    """It always wants the same."""

    def propose(self, trials, rng):
        return Proposal({"k": 2, "c": "a"}, {"search": "stubborn"})


@pytest.fixture
def make(tmp_path):
    opened = []

    def make(search="random", space=SPACE, **more):
        given = {"schedule": "full", "store": f"{tmp_path}/s.db", "name": "s", **more}
        opened.append(Study(space, search=search, **given))
        return opened[-1]

    yield make
    for study in opened:
        study.close()


def sound(study):
    """No configuration twice, and every decision can be made again."""
    keys = Counter(repr(sorted(t.params.items())) for t in study.trials if t.state is not State.FAILED)
    assert max(keys.values()) == 1, keys
    redone = replay(study.journal.read())
    assert not redone.differences, redone.differences


def finish(*studies):
    """Ask, in turns, until nothing is left."""
    idle = 0
    while idle < len(studies):
        idle = 0
        for study in studies:
            trial = study.ask()
            if isinstance(trial, Idle):
                idle += 1
            else:
                study.tell(trial, 1.0)


def test_a_searcher_leaves_a_waiting_guess_alone(make):
    study = make(Stubborn())
    guess = study.enqueue({"k": 2, "c": "a"})
    one, two = study.ask(), study.ask()
    assert (one.id, dict(one.params)) == (guess.id, {"k": 2, "c": "a"})
    assert dict(two.params) != dict(one.params)


@pytest.mark.parametrize("when", ["enqueued", "asked"])
def test_a_guess_made_while_a_searcher_thinks_is_not_doubled(make, when):
    study = make()
    other = make()
    probe = make(Random(), name="probe", store=None)
    wanted = dict(probe.ask().params)

    def act():
        other.enqueue(wanted)
        if when == "asked":
            other.ask()

    meanwhile(study, act)
    assert dict(study.ask().params) != wanted
    study.tell(0, 1.0)
    if when == "asked":
        other.tell(1, 1.0)
    finish(study, other)
    assert sum(dict(t.params) == wanted for t in study.trials) == 1
    assert len(study.trials) == 6
    sound(study)


def test_the_same_guess_twice_is_refused_even_before_it_is_proposed(make):
    study = make()
    study.enqueue({"k": 1, "c": "b"})
    with pytest.raises(StudyError, match="trial 0 has it already"):
        study.enqueue({"k": 1, "c": "b"})
    study._asking._propose = lambda id: (_ for _ in ()).throw(StoreError("away"))
    with pytest.raises(StoreError):
        study.ask()  # asked for, and not proposed
    with pytest.raises(StudyError, match="trial 0 has it already"):
        study.enqueue({"k": 1, "c": "b"})
    study.enqueue({"k": 1, "c": "b"}, again=True)


def test_a_guess_for_which_nothing_is_left_is_closed_and_said_to_be(make):
    study, other = make(), make()
    others = [{"k": 1, "c": c} for c in "ab"]
    study.enqueue(others[0])
    study.tell(study.ask(), 1.0)
    guess = study.enqueue({"k": 1})  # (1, b) is left for it
    other.add([study.trials[0].__class__(0, others[1], State.DONE, value=1.0)])
    finish(study, other)
    closed = study.trials[guess.id]
    assert closed.state is State.FAILED
    assert closed.error["type"] == "UsedUp"
    assert "were tried" in closed.error["message"]
    assert len([t for t in study.trials if t.state is State.DONE]) == 6
    assert not study.journal.leases()
    sound(study)


def test_the_last_configuration_taken_by_a_guess_ends_the_study(make):
    study = make()
    other = make()
    for _ in range(5):
        study.tell(study.ask(), 1.0)
    (left,) = [p for p in SPACE.points() if p not in [dict(t.params) for t in study.trials]]
    meanwhile(study, lambda: other.enqueue(left))
    trial = study.ask()  # its own trial has nothing left: what it gets is the guess
    assert dict(trial.params) == left
    assert study.trials[5].error["type"] == "UsedUp"
    study.tell(trial, 1.0)
    assert study.ask() is other.ask() is Idle.DONE
    sound(study)


def test_a_guess_that_is_asked_for_takes_one_of_a_finite_space(make):
    study, other = make(), make()
    for _ in range(5):
        study.tell(study.ask(), 1.0)
    (left,) = [p for p in SPACE.points() if p not in [dict(t.params) for t in study.trials]]
    study.enqueue(left)
    seen = []
    name = study._asking._name
    study._asking._name = lambda *a: seen.append(other.ask()) or name(*a)
    trial = study.ask()
    assert seen == [Idle.WAIT]
    assert dict(trial.params) == left


def test_a_failed_trial_without_a_configuration_takes_none(make, monkeypatch):
    study = make()
    monkeypatch.setattr(claim, "CHANCES", 1)
    with study.journal.write() as w:
        w.read(study.trials.seq)
        w.append("asked", 0, {"seen": study.trials.seq})
        w.take(0, claim.GONE)
    trial = study.ask()
    assert study.trials[0].error["type"] == "WorkerLost"
    assert study._book.history.unproposed == 0
    study.tell(trial, 1.0)
    finish(study)
    assert len([t for t in study.trials if t.state is State.DONE]) == 6


def test_a_worker_that_hung_while_it_proposed_lets_its_trial_go(make, monkeypatch):
    study = make()
    other = make()

    def hang():
        monkeypatch.setattr(claim, "LAPSE", -1.0)
        other._claims._watched = {0: (study.journal.leases()[0], 0.0)}
        assert other.ask().id == 0
        monkeypatch.undo()

    meanwhile(study, hang)
    trial = study.ask()
    assert trial.id == 1
    assert other.holds(0)
    other.tell(0, 1.0)
    study.tell(1, 1.0)
    sound(study)


# -- a transaction that comes to nothing


@contextmanager
def losing(study, error, *, then=lambda: None):
    """Lose the connection at the end of the next transaction that writes events."""
    journal, commit = study.journal, study.journal._commit
    lost = []

    def lose():
        if journal._tx.made and not lost:
            lost.append(True)
            journal._tx, journal._end = None, 0
            journal._connection.roll_back()
            then()
            raise error
        commit()

    journal._commit = lose
    yield
    journal._commit = commit
    assert lost


def test_a_trial_whose_asking_was_lost_is_nobodys(make):
    study, other = make(space=Space(x=Float(0, 1))), make(space=Space(x=Float(0, 1)))
    with losing(study, LostConnection("away"), then=lambda: other.ask()):
        trial = study.ask()
    assert trial.id == 1
    assert set(study._claims._mine) == {1}
    other.close()
    assert study.ask().id == 0  # it may be taken over, though this process nearly had it
    sound(study)


def test_a_trial_that_could_not_be_closed_is_still_this_workers(make):
    study = make()
    trial = study.ask()
    with losing(study, StoreError("full")), pytest.raises(StoreError):
        study.tell(trial, 1.0)
    assert set(study._claims._mine) == {trial.id}
    assert study.trials[trial.id].state is State.RUNNING
    study.tell(trial, 1.0)
    assert not study._claims._mine


def test_what_was_not_written_is_forgotten_even_when_the_database_stays_away(make, monkeypatch):
    study, other = make(), make()
    pages = study.journal.pages

    def away(*_, **__):
        raise StoreError("away for long")

    study.journal.pages = away
    with losing(study, LostConnection("away")), pytest.raises(StoreError, match="for long"):
        study.ask()
    study.journal.pages = pages
    other.record("note", {"text": "an event with the number of the one that was lost"})
    assert len(study.trials) == 0
    assert study.ask().id == 0
    sound(study)


# -- threads and forks


def test_threads_of_one_study_get_different_trials(make):
    study = make(space=Space(x=Float(0, 1)), steps=3)
    got, errors = [], []

    def work():
        try:
            for _ in range(5):
                trial = study.ask()
                got.append(trial.id)
                for step in (1, 2, 3):
                    study.report(trial, step, 1.0)
                study.tell(trial, 1.0)
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors
    assert sorted(got) == list(range(20))
    assert all(t.state is State.DONE for t in study.trials)
    assert not study._claims._mine
    sound(study)


def test_a_forked_process_is_another_worker(make):
    study = make(space=Space(x=Float(0, 1)))
    trial = study.ask()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = "failed"
        try:
            own = study.ask()
            beats = study._claims._thread is not None and study._claims._thread.is_alive()
            said = f"{own.id} {study.holds(trial)} {beats}"
            study.tell(own, 2.0)
            study.close()
        finally:
            os.write(write, said.encode())
            os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    said = os.read(read, 100).decode()
    os.close(read)
    assert said == "1 False True"
    assert study.holds(trial), "the other process closed this one's trials"
    study.tell(trial, 1.0)
    assert [t.value for t in study.trials] == [1.0, 2.0]


def test_what_was_decided_from_a_history_that_is_folded_anew_is_decided_again():
    """A server that crashed may have lost what a decision had seen, so none is written on the word of the old history."""
    study = Study(Space(x=Float(0, 1)), search="random", schedule="full")
    book, asking, decided = study._book, study._asking, []
    decide, change = asking._decide, book.change

    def counted(*args):
        decided.append(book.history)
        return decide(*args)

    def folds_anew(act):
        book.change = change
        book.reload()
        return change(act)

    asking._decide, book.change = counted, folds_anew
    assert study.ask().id == 0
    assert len(decided) == 2
    assert decided[1] is book.history

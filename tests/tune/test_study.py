"""What the calls of a study mean."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest

from whet import (
    Choice,
    Float,
    Idle,
    Int,
    Ordered,
    Proposal,
    Space,
    SpaceError,
    Start,
    State,
    StoreError,
    Study,
    StudyError,
    Verdict,
)
from whet.tune import claim
from whet.tune.schedule.full import Full

SPACE = Space(x=Float(0, 1), o=Choice({"a": Space(y=Float(0, 1)), "b": None}))


@dataclass(frozen=True)
class Says:
    """Pauses at step 2 and stops at step 4."""

    def pick(self, trials, rng):
        return Full().pick(trials, rng)

    def judge(self, trial, trials):
        assert trials[trial.id] == trial, "the judged trial is in its place"
        return {2: Verdict.PAUSE, 4: Verdict.STOP}.get(trial.step, Verdict.GO)

    def keep(self, trials):
        return set()


def new(**options):
    return Study(SPACE, **{"search": "random", "schedule": "full", "steps": 5, "seed": 1, **options})


@pytest.fixture(params=["memory", "file"])
def make(request, tmp_path):
    made = []

    def make(**options):
        store = {} if request.param == "memory" else {"store": f"sqlite:///{tmp_path}/s{len(made)}.db"}
        made.append(new(**store, **options))
        return made[-1]

    yield make
    for study in made:
        study.close()


def test_a_verdict_is_carried_out(make):
    study = make(schedule=Says())
    t = study.ask()
    assert t.state is State.RUNNING
    assert t.curve == ()
    assert t.value is None
    assert study.report(t, 1, 0.9, width=3) is Verdict.GO
    assert study.report(t, 2, 0.8) is Verdict.PAUSE
    assert study.trials[0].state is State.PAUSED
    assert study.trials[0].value == 0.8
    for refused in (lambda: study.tell(t, 0.7), lambda: study.fail(t, "late")):
        with pytest.raises(StudyError, match="trial 0: cannot be closed: it is PAUSED"):
            refused()
    assert study.report(t, 3, 0.7) is Verdict.STOP  # a late report
    assert study.trials[0].step == 2
    again = study.ask()
    assert again.id == 0
    assert again.step == 2
    assert again.curve[0].metrics == {"width": 3.0}
    assert study.report(0, 3, 0.7) is Verdict.GO
    assert study.report(again, 4, 0.6) is Verdict.STOP
    assert study.trials[0].state is State.STOPPED
    with pytest.raises(StudyError, match="it is STOPPED"):
        study.tell(again, 0.5)
    assert study.ask().id == 1


def test_the_last_step_goes_and_tell_adds_no_second_point(make):
    study = make()
    t = study.ask()
    for step in range(1, 6):
        assert study.report(t, step, 1 / step, cost=2, speed=step) is Verdict.GO
    study.tell(t, 0.19, size=4)
    (done,) = study.trials
    assert done.state is State.DONE
    assert done.value == 0.19
    assert [p.step for p in done.curve] == [1, 2, 3, 4, 5]
    assert done.curve[-1].value == 0.2
    assert done.curve[-1].metrics == {"speed": 5.0, "size": 4.0}
    assert done.cost == 10.0
    assert (study.spent.trials, study.spent.steps, study.spent.cost) == (1, 5, 10.0)
    with pytest.raises(StudyError, match="it is DONE"):
        study.tell(t, 0.1)


def test_tell_alone_counts_as_all_the_steps_and_tell_early_only_as_those_reported(make):
    study = make()
    t = study.ask()
    study.tell(t, 0.5, size=4)
    assert study.trials[0].curve[-1].step == 5
    assert study.trials[0].curve[-1].metrics == {"size": 4.0}
    assert study.spent.steps == 5
    assert study.spent.cost == study.trials[0].cost == 5.0
    t = study.ask()
    study.report(t, 2, 0.5)
    study.tell(t, 0.4)
    assert [p.step for p in study.trials[1].curve] == [2, 5]
    assert study.spent.steps == 7
    assert study.trials[1].cost == 2.0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -np.inf])
def test_a_value_that_is_not_finite_fails_the_trial(make, value):
    study = make()
    t = study.ask()
    study.report(t, 1, 0.5)
    assert study.report(t, 3, value, cost=7) is Verdict.STOP
    t2 = study.ask()
    study.tell(t2, value)
    for trial in study.trials:
        assert trial.state is State.FAILED
        assert trial.error["type"] == "NotFinite"
        assert str(value) in trial.error["message"]
    assert study.trials[0].cost == 8.0
    assert study.spent.steps == 3
    with pytest.raises(StudyError, match="no trial has a value yet"):
        new().best


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda s, t: s.report(t, 0, 1.0), "step must be a whole number from 1 to 5, got 0"),
        (lambda s, t: s.report(t, 6, 1.0), "got 6"),
        (lambda s, t: s.report(t, 1.5, 1.0), "got 1.5"),
        (lambda s, t: s.report(t, True, 1.0), "got True"),
        (lambda s, t: s.report(t, 1, "good"), r"trial 0: loss must be one number, got 'good' \(str\)"),
        (lambda s, t: s.report(t, 1, np.ones(3)), "loss must be one number"),
        (lambda s, t: s.report(t, 1, 1.0, speed=None), "speed must be one number, got None"),
        (lambda s, t: s.report(t, 1, 1.0, cost=float("nan")), "cost must be a number of at least 0"),
        (lambda s, t: s.report(t, 1, 1.0, cost=-1), "cost must be a number of at least 0"),
        (lambda s, t: s.tell(t, None), "loss must be one number"),
        (lambda s, t: s.tell(t, 1.0, speed="x"), "speed must be one number"),
        (lambda s, t: s.tell(7, 1.0), "trial 7: no such trial; have 0 to 0"),
        (lambda s, t: s.tell(-1, 1.0), "no such trial"),
        (lambda s, t: s.report(Idle.DONE, 1, 1.0), "no trial was given"),
        (lambda s, t: s.annotate(3, note="x"), "no such trial"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line_and_changes_nothing(call, match):
    study = new()
    t = study.ask()
    before = study.journal.read()
    with pytest.raises(StudyError, match=match) as e:
        call(study, t)
    assert len(str(e.value).splitlines()) == 1
    assert study.journal.read() == before
    study.report(t, np.int64(1), np.float32(0.5), cost=np.float64(1))
    assert study.trials[0].curve[0].value == 0.5
    assert type(study.trials[0].step) is int


def test_a_step_that_is_repeated_costs_and_changes_nothing_else(make):
    study = make()
    t = study.ask()
    study.report(t, 1, 0.9)
    study.report(t, 2, 0.8)
    assert study.report(t, 1, 0.1) is Verdict.GO
    assert study.report(t, 2, 0.1, cost=4) is Verdict.GO
    now = study.trials[0]
    assert [p.value for p in now.curve] == [0.9, 0.8]
    assert now.cost == 7.0
    assert study.spent.steps == 4


def test_failures_keep_their_reason(make):
    study = make(steps=1)
    study.fail(study.ask(), "out of\nluck")
    try:
        raise MemoryError
    except MemoryError as e:
        study.fail(study.ask(), e)
    try:
        raise KeyError("missing")
    except KeyError as e:
        study.fail(study.ask(), e)
    study.fail(study.ask(), RuntimeError("CUDA out of memory. Tried to allocate"))
    assert [t.error["type"] for t in study.trials] == ["Failed", "OutOfMemory", "KeyError", "OutOfMemory"]
    assert "test_study.py" in study.trials[2].error["traceback"]
    with pytest.raises(StudyError, match="4 failed"):
        study.best


def test_a_transient_failure_is_tried_again_until_the_fifth_in_a_row(make):
    study = make()
    params = study.ask().params
    for _ in range(4):
        study.fail(0, "connection lost", transient=True)
        assert study.trials[0].state is State.RUNNING
        again = study.ask()
        assert again.id == 0
        assert again.params == params
    study.report(0, 1, 0.5)  # it got further: what was is forgiven
    for _ in range(4):
        study.fail(0, "connection lost", transient=True)
        assert study.ask().id == 0
    study.fail(0, "connection lost", transient=True)
    assert study.trials[0].state is State.FAILED
    assert study.trials[0].error["message"] == "connection lost"
    assert study.ask().id == 1
    assert study.spent.trials == 2


def test_a_guess_goes_first_and_is_filled_in(make):
    study = make(schedule=Says())
    study.report(study.ask(), 1, 0.5)
    study.report(0, 2, 0.5)  # paused: it would be resumed next
    guess = study.enqueue({"o.y": 0.25}, note="try this")
    assert guess.state is State.WAITING
    assert guess.params == {"o.y": 0.25}
    assert guess.id == 1
    whole = study.enqueue({"x": 0.5, "o": "b"})
    t = study.ask()
    assert t.id == 1
    assert t.note == "try this"
    assert t.params["o"] == "a"
    assert t.params["o.y"] == 0.25
    assert t.origin["search"] == "enqueue"
    SPACE.check(t.params)
    assert study.ask().params == {"x": 0.5, "o": "b"}
    assert whole.id == 2
    assert study.ask().id == 0
    # a repetition that a person asks for is a repetition, and nothing else is
    with pytest.raises(StudyError, match=r"trial 2 has it already \(RUNNING\).*again=True"):
        study.enqueue({"x": 0.5, "o": "b"})
    study.enqueue({"x": 0.5, "o": "b"}, again=True)
    assert study.ask().params == {"x": 0.5, "o": "b"}
    before = len(study.trials)
    for bad in ({"x": 3}, {"z": 1}, {"o": "b", "o.y": 0.1}, [1]):
        with pytest.raises(SpaceError):
            study.enqueue(bad)
    assert len(study.trials) == before


def test_a_guess_beyond_the_budget_does_not_keep_paused_trials_waiting():
    from whet.tune.budget import Budget

    study = new(schedule=Says())
    t = study.ask()
    study.report(t, 2, 0.5)
    study.enqueue({})
    assert study.ask_within(Budget(trials=1)).id == 0


def test_notes_and_tags(make):
    study = make()
    study.ask()
    assert study.annotate(0, note="odd").note == "odd"
    assert study.annotate(0, tags=["a", "b"]).tags == ("a", "b")
    assert study.trials[0].note == "odd"
    assert study.annotate(0, note="").tags == ("a", "b")


def test_records(make):
    study = make()
    assert [study.record("check", {"n": n}) for n in (1, 2)] == [1, 2]
    assert study.record("other", {"x": (1, np.float64(2))}) == 1
    assert study.records("check") == [{"n": 1}, {"n": 2}]
    assert study.records("other") == [{"x": [1, 2.0]}]
    assert study.records("z") == []


def test_a_finite_space_is_used_up_without_repetition(make):
    space = Space(k=Int(1, 3), b=Ordered([1, 2]))
    for search in ("random", "sobol", "grid"):
        study = Study(space, search=search, seed=3)
        study.enqueue({"k": 2})
        seen = []
        while not isinstance(t := study.ask(), Idle):
            seen.append((t.params["k"], t.params["b"]))
            if len(seen) % 2:
                study.tell(t, 1.0)
            else:
                study.fail(t, "no")
        assert t is Idle.DONE
        assert sorted(seen) == [(k, b) for k in (1, 2, 3) for b in (1, 2)]
        assert study.ask() is Idle.DONE


def test_several_hands_share_a_finite_space():
    study = Study(Space(k=Int(1, 5)), search="sobol")
    held = [study.ask() for _ in range(5)]
    assert len({t.params["k"] for t in held}) == 5
    assert study.ask() is Idle.WAIT
    for t in held:
        study.tell(t, 1.0)
    assert study.ask() is Idle.DONE


@dataclass(frozen=True)
class Breeds:
    """Each second trial goes on from the first at step 1, with a configuration of its own."""

    def pick(self, trials, rng):
        if trials and trials[0].step:
            return Start({"x": 0.125 * len(trials), "o": "b"}, (0, 1), {"by": "breeding"})
        return Start()

    def judge(self, trial, trials):
        return Verdict.GO

    def keep(self, trials):
        return {(0, 1)}


def test_a_child_begins_with_its_parents_point_at_no_cost(make):
    study = make(schedule=Breeds())
    study.report(study.ask(), 1, 0.5, cost=3, speed=2)
    study.report(0, 2, 0.4)
    child = study.ask()
    assert child.parent == (0, 1)
    assert child.params == {"x": 0.125, "o": "b"}
    assert child.origin["by"] == "breeding"
    assert [(p.step, p.value, p.cost, p.metrics) for p in child.curve] == [(1, 0.5, 0.0, {"speed": 2.0})]
    assert child.cost == 0
    assert child.value == 0.5
    study.report(child, 2, 0.3)
    assert study.trials[1].cost == 1.0
    assert study.spent.steps == 3
    # a guess that comes in meanwhile is a trial of its own
    study.enqueue({"x": 0.75, "o": "b"})
    guess = study.ask()
    assert guess.params["x"] == 0.75
    assert guess.parent is None
    assert guess.curve == ()


def test_the_table_of_trials(make):
    study = make(steps=1)
    study.tell(study.ask(), 0.5, size=3)
    study.fail(study.ask(), "bad luck")
    study.annotate(1, note="hm", tags=["a", "b"])
    study.enqueue({"x": 0.5})
    table = study.frame()
    assert len(table) == 3
    assert table["state"].tolist() == ["DONE", "FAILED", "WAITING"]
    assert table["error"][1] == "Failed: bad luck"
    assert table["tags"][1] == "a b"
    assert table["metrics.size"][0] == 3
    assert {"params.x", "params.o", "params.o.y"} <= set(table.columns)
    assert table["params.x"][2] == 0.5


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 0}, {"steps": 2.5}, {"steps": True}, {"seed": "x"}, {"seed": 1.5}, {"goal": "loss"}, {"search": "sobel"},
        {"schedule": "ashe"}, {"search": 3}, {"name": "a/b"}, {"name": "../up"},
    ],
)  # fmt: skip
def test_a_study_that_makes_no_sense_is_refused_and_leaves_nothing(options, tmp_path):
    with pytest.raises(StudyError) as e:
        Study(SPACE, **{"name": "s", **options}, store=f"sqlite:///{tmp_path}/s.db")
    assert len(str(e.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StudyError, match="must be a Space"):
        Study({"x": 1})


def test_another_study_of_the_same_name_is_refused_naming_what_differs(tmp_path):
    store = f"sqlite:///{tmp_path}/s.db"
    terms = {
        "goal": "min loss",
        "search": "random",
        "schedule": "asha",
        "steps": 9,
        "seed": 1,
        "store": store,
        "name": "s",
    }
    Study(SPACE, **terms).close()
    for other, match in [
        ({"goal": "max loss"}, "the goal min loss, not max loss"), ({"steps": 3}, "9 steps, not 3"), ({"seed": 2}, "seed 1, not 2"),
        ({"search": "sobol"}, "search random, not sobol"), ({"schedule": "full"}, "schedule asha.*, not full"),
    ]:  # fmt: skip
        with pytest.raises(StudyError, match=f"study 's': was created with {match}"):
            Study(SPACE, **{**terms, **other})
    for space, match in [
        (Space(x=Float(0, 2), o=SPACE["o"]), "x is a number from 0 to 1 there, from 0 to 2 here"),
        (Space(x=SPACE["x"]), "it has o, one of "), (Space(**SPACE, z=Int(1, 2)), "it has no z"), (SPACE.where("x < 0.5"), "its constraints: none; here x < 0.5"),
    ]:  # fmt: skip
        with pytest.raises(StudyError, match=f"another space .*{match}") as e:
            Study(space, **terms)
        assert len(str(e.value).splitlines()) == 1
    for auto in ({"search": "auto"}, {"schedule": "auto"}, {"search": "auto", "schedule": "auto"}):
        with Study(SPACE, **{**terms, **auto}) as study:
            assert type(study.searcher).__name__ == "Random"
            assert type(study.scheduler).__name__ == "Asha"
    with Study(Space(o=SPACE["o"], x=SPACE["x"]), **terms) as study:  # the recorded order counts
        assert list(study.space) == ["x", "o"]


def test_a_study_is_opened_as_it_was_created(tmp_path):
    store = f"sqlite:///{tmp_path}/s.db"
    with Study(SPACE, goal=["max f1", "size <= 3"], schedule="median", steps=4, seed=7, store=store, name="s") as study:
        study.report(study.ask(), 1, 0.5)
        want = study.trials[0]
    with Study.open(store, "s") as again:
        assert again.space == SPACE
        assert [str(g) for g in again.goals] == ["max f1", "size <= 3"]
        assert again.seed == 7
        assert again.steps == 4
        assert again.searcher == study.searcher
        assert again.scheduler == study.scheduler
        assert again.trials[0] == want
    with pytest.raises(StudyError, match=r"study 't': not in .*Studies: s"):
        Study.open(store, "t")
    with pytest.raises(StoreError, match="no such study database"):
        Study.open(f"sqlite:///{tmp_path}/t.db", "s")


def test_looking_needs_no_writing(tmp_path):
    store = f"sqlite:///{tmp_path}/s.db"
    with (
        Study(SPACE, store=store, name="s") as writer,
        writer.journal.write(),  # a writer holds the lock
        Study.open(store, "s") as reader,
    ):
        assert len(reader.trials) == 0


def test_a_proposal_that_fails_can_be_made_again():
    @dataclass(frozen=True)
    class Moody:
        def propose(self, trials, rng):
            if mood["bad"]:
                raise RuntimeError("not today")
            return searcher.propose(trials, rng)

    from whet.tune.search.random import Random

    searcher, mood = Random(), {"bad": True}
    study = Study(SPACE, schedule="full", seed=1)
    object.__setattr__(study, "searcher", Moody())
    study._asking._searcher = Moody()
    with pytest.raises(RuntimeError, match="not today"):
        study.ask()
    mood["bad"] = False
    assert study.ask().id == 0
    assert study.ask().id == 1


def test_a_guess_that_comes_in_while_the_scheduler_decides_is_left_as_it_is():
    came = []

    @dataclass(frozen=True)
    class Interrupted(Breeds):
        def pick(self, trials, rng):
            if trials and not came:
                came.append(study.enqueue({"x": 0.75, "o": "b"}))
            return super().pick(trials, rng)

    study = new()
    study._asking._scheduler = Interrupted()
    study.report(study.ask(), 1, 0.5)
    guess = study.ask()
    assert came
    assert guess.id == came[0].id
    assert guess.params["x"] == 0.75
    assert guess.parent is None


def test_what_fails_while_it_is_written_leaves_no_trace(make):
    study = make()
    t = study.ask()
    before, trials = study.journal.read(), tuple(study.trials)

    def broken(w):
        study._book.append(w, "told", t.id, {"value": 1.0, "metrics": {}})
        study._claims.drop(w, t.id)
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        study._book.change(broken)
    assert study.journal.read() == before
    assert tuple(study.trials) == trials
    study.tell(t, 0.5)  # the lease is still there
    assert study.trials[0].value == 0.5


@dataclass(frozen=True)
class Repeats:
    def propose(self, trials, rng):
        return Proposal({"x": 0.5, "o": "b"}, {"search": "repeats"})


def test_no_two_trials_have_the_same_configuration_whatever_the_searcher_says(make):
    study = make(search=Repeats())
    first, *others = (study.ask() for _ in range(4))
    assert first.params == {"x": 0.5, "o": "b"}
    assert first.origin == {"search": "repeats"}
    assert len({str(t.params) for t in (first, *others)}) == 4
    assert all(t.origin == {"search": "repeats", "instead": "random"} for t in others)
    finite = Study(Space(x=Ordered([0.5, 1.0]), o=Choice(["b", "c"])), search=Repeats())
    seen = [finite.ask().params for _ in range(4)]
    assert len({str(p) for p in seen}) == 4
    assert finite.ask() is Idle.WAIT


def test_a_lease_that_lives_is_not_stolen_and_one_that_lapsed_is(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(claim.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(claim, "dead", lambda name: False)  # as if on another machine
    monkeypatch.setattr(claim, "BEAT", 1e6)
    one = new(store=f"sqlite:///{tmp_path}/s.db")
    two = new(store=f"sqlite:///{tmp_path}/s.db")
    t = one.ask()
    one.report(t, 1, 0.5)
    for _ in range(4):  # two looks on for long, but the lease moves
        assert two.ask().id != 0
        now[0] += 0.9 * claim.LAPSE
        assert two.ask().id != 0
        one._claims.beat()
        two._claims.beat()
    assert two.ask().id != 0
    now[0] += 1.1 * claim.LAPSE
    two._claims.beat()
    taken = two.ask()
    assert taken.id == 0
    assert taken.step == 1
    assert one.report(t, 2, 0.4) is Verdict.STOP
    with pytest.raises(StudyError, match="taken over by another worker"):
        one.tell(t, 0.4)
    assert not one.holds(0)
    assert two.holds(0)
    assert two.report(0, 2, 0.4) is Verdict.GO
    one.close()
    assert two.report(0, 3, 0.4) is Verdict.GO  # the old holder took nothing with it
    two.close()


def test_a_trial_whose_workers_die_fails_at_the_fifth_unless_it_gets_further(tmp_path, monkeypatch):
    monkeypatch.setattr(claim, "dead", lambda name: True)
    monkeypatch.setattr(claim, "BEAT", 1e6)
    workers = [new(store=f"sqlite:///{tmp_path}/s.db") for _ in range(10)]
    workers[0].ask()
    assert [w.ask().id for w in workers[1:5]] == [0, 0, 0, 0]
    workers[4].report(0, 1, 0.5)
    assert [w.ask().id for w in workers[5:9]] == [0, 0, 0, 0]
    assert workers[9].ask().id == 1
    lost = workers[9].trials[0]
    assert lost.state is State.FAILED
    assert lost.error["type"] == "WorkerLost"
    assert "5 times" in lost.error["message"]
    assert workers[8].report(0, 2, 0.5) is Verdict.STOP
    for w in workers:
        w.close()


def test_closing_hands_back(tmp_path):
    one, two = (new(store=f"sqlite:///{tmp_path}/s.db") for _ in range(2))
    t = one.ask()
    one.close()
    one.close()
    assert two.ask().params == t.params
    with pytest.raises(StoreError):
        one.ask()
    two.close()


def test_a_value_that_is_not_finite_names_the_metrics_that_are_not_either():
    study = Study(Space(x=Float(0, 1)), goal="max accuracy", steps=3, seed=0)
    trial = study.ask()
    assert study.report(trial, 1, np.nan, train_loss=np.inf, rate=0.1) is Verdict.STOP
    assert study.trials[0].error["message"] == "accuracy is nan at step 1, and so is train_loss"


def test_who_waits_for_the_lock_takes_in_what_was_written_meanwhile(tmp_path):
    one, two = (new(store=f"sqlite:///{tmp_path}/s.db") for _ in range(2))
    mine, theirs = one.ask(), two.ask()
    one.report(mine, 1, 0.5)
    known, written = two._book.history.seq, one.trials.seq
    asked = threading.Thread(target=two.report, args=(theirs, 1, 0.5))  # which does not look before it wants the lock
    with one.journal.write():
        asked.start()
        until = time.monotonic() + 20
        while two._book.history.seq == known and time.monotonic() < until:
            time.sleep(0.005)
        seen = two._book.history.seq
    asked.join(20)
    assert seen == written > known, "it waited without looking"
    assert [t.value for t in two.trials] == [0.5, 0.5]
    one.close()
    two.close()

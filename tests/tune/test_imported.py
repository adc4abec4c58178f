"""Trials made elsewhere, and guesses that would repeat one."""

from __future__ import annotations

import math

import pytest

from whet import Choice, Const, Float, Idle, Int, Point, Space, SpaceError, State, Study, StudyError, Trial, Verdict
from whet.tune.account import Account, accounts
from whet.tune.curve import Curve
from whet.tune.history import History

SPACE = Space(x=Float(0, 1), k=Int(1, 9))
ERROR = {"type": "OutOfMemory", "message": "no", "traceback": "at line 1"}


def curve(*values):
    return Curve(Point(i, v, 1.0) for i, v in enumerate(values, 1))


def some():
    return [
        Trial(0, {"x": 0.1, "k": 1}, State.DONE, curve(3.0, 2.0, 1.0), 1.0, cost=3.0, tags=("a",), note="good"),
        Trial(1, {"x": 0.2, "k": 2}, State.STOPPED, curve(5.0), 5.0, cost=1.5),
        Trial(2, {"x": 0.3, "k": 3}, State.FAILED, error=ERROR, cost=0.5),
        Trial(3, {"x": 0.1, "k": 1}, State.DONE, curve(3.0, 2.0), 1.5, cost=2.0, parent=(0, 1)),
        Trial(4, {"k": 5}, State.WAITING, origin={"search": "enqueue"}),
        Trial(5, {"x": 0.4, "k": 4}, State.PAUSED, curve(4.0), 4.0, cost=1.0),
    ]


def test_what_is_added_is_there_as_it_was_and_costs_nothing(tmp_path):
    with Study(SPACE, steps=3, schedule="full", search="random", store=tmp_path / "a.db", name="s") as study:
        own = study.ask()
        study.tell(own, 9.0)
        work = {1: Account(10.0, 12.0, 2.0, ("host/boot/1/2",))}
        made = study.add(some(), accounts=work)
        assert [t.id for t in made] == [1, 2, 3, 4, 5, 6]
        assert made[3].parent == (1, 1)  # as its parent is called here
        assert made[0].curve == curve(3.0, 2.0, 1.0)
        assert (made[1].cost, made[2].error, made[0].tags, made[0].note) == (1.5, ERROR, ("a",), "good")
        assert study.spent.trials == 1
        assert study.spent.steps == 3
        assert study.best.value == 1.0
        assert accounts(study.journal.read())[2] == work[1]
        again = History()
        again.apply(study.journal.read())
        assert list(again.trials) == list(study.trials)
    with Study.open(tmp_path / "a.db", "s") as study:  # and it goes on: the guess first
        t = study.ask()
        assert (t.id, t.params["k"]) == (5, 5)
        assert study.report(t, 1, 0.5) is Verdict.GO


def test_a_trial_that_was_running_goes_to_whoever_asks_next():
    study = Study(SPACE, steps=3, schedule="full", search="random")
    study.add([Trial(0, {"x": 0.1, "k": 1}, State.RUNNING, curve(3.0), 3.0, cost=1.0)])
    assert study.interrupted == {0}
    t = study.ask()
    assert (t.id, t.step) == (0, 1)
    study.tell(t, 1.0)
    assert study.trials[0].state is State.DONE


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"params": {"x": 7, "k": 1}}, SpaceError, "trial 0: x: got 7"),
        ({"params": {"x": 0.5}}, SpaceError, "trial 0: k: missing"),
        ({"curve": curve(1.0, 2.0, 3.0, 4.0)}, StudyError, "at most 3, got 4"),
        ({"curve": Curve([Point(2, 1.0), Point(1, 1.0)])}, StudyError, "must rise from 1"),
        ({"curve": curve(math.nan)}, StudyError, "both must be finite"),
        ({"value": None}, StudyError, "it is DONE with the value None"),
        ({"state": State.FAILED}, StudyError, "FAILED without an error"),
    ],
)
def test_what_does_not_fit_is_refused_whole(change, error, said):
    study = Study(SPACE, steps=3)
    good = {"params": {"x": 0.5, "k": 1}, "state": State.DONE, "curve": curve(1.0), "value": 1.0}
    with pytest.raises(error, match=said):
        study.add([Trial(0, **{**good, **change})])
    with pytest.raises(error):
        study.add([Trial(1, **good), Trial(0, **{**good, **change})])
    assert len(study.trials) == 0


def test_searchers_do_not_try_again_what_was_added():
    space = Space(k=Int(1, 4))
    for search in ("random", "sobol", "grid"):
        study = Study(space, search=search)
        study.add([Trial(i, {"k": k}, State.DONE, value=1.0) for i, k in enumerate((2, 3))])
        seen = []
        while not isinstance(t := study.ask(), Idle):
            seen.append(t.params["k"])
            study.tell(t, 1.0)
        assert sorted(seen) == [1, 4], search


# -- guesses


def test_a_guess_that_repeats_a_trial_is_taken_only_when_that_is_meant():
    space = Space(k=Int(1, 2), o=Choice({"a": Space(c=Const(3), n=Int(1, 2)), "b": None}))
    study = Study(space, search="random")
    first = study.enqueue({"k": 1, "o": "b"}, tags=["mine"])
    assert first.tags == ("mine",)
    with pytest.raises(StudyError, match=r"trial 0 has it already \(WAITING\)"):
        study.enqueue({"o": "b", "k": 1})
    study.tell(study.ask(), 0.5)
    with pytest.raises(StudyError, match=r"trial 0 has it already \(DONE, 0\.5\).*again=True"):
        study.enqueue({"o": "b", "k": 1})
    study.enqueue({"k": 2, "o": "a", "o.n": 1})  # the constant is not left open
    with pytest.raises(StudyError, match="trial 1 has it already"):
        study.enqueue({"k": 2, "o": "a", "o.n": 1, "o.c": 3})
    assert study.enqueue({"k": 1, "o": "b"}, again=True).id == 2
    assert study.journal.read()[-1].data["again"] is True


def test_a_guess_that_leaves_only_what_was_tried_says_so():
    study = Study(Space(k=Int(1, 3), b=Int(1, 2)), search="grid")
    for b in (1, 2):
        study.enqueue({"k": 2, "b": b})
        study.tell(study.ask(), 0.5)
    with pytest.raises(StudyError, match="all 2 configurations that have these values were tried"):
        study.enqueue({"k": 2})
    study.enqueue({"k": 3})
    study.enqueue({"k": 3})  # two are left, and both are found
    assert sorted(study.ask().params["b"] for _ in range(2)) == [1, 2]


def test_a_guess_in_a_large_finite_space_finds_the_one_that_is_left():
    study = Study(Space(k=Int(1, 2), m=Int(1, 400)), search="random")
    study.add([Trial(i, {"k": 1, "m": m}, State.DONE, value=0.0) for i, m in enumerate(range(1, 400))])
    study.enqueue({"k": 1})
    assert study.ask().params == {"k": 1, "m": 400}

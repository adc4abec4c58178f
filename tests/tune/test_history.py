from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet import Float, Idle, Int, Space, State, Study, Verdict
from whet.errors import StudyError
from whet.journal.event import Event
from whet.tune.exchange.document import document, undocumented
from whet.tune.history import History
from whet.tune.replay import replay
from whet.tune.whole import configuration

SPACE = Space(x=Float(0, 1), k=Int(1, 9))


def folded(study, upto=None):
    history = History()
    history.apply(study.journal.read()[:upto])
    return history


@given(
    st.lists(st.sampled_from(["ask", "report", "tell", "fail", "flaky", "enqueue", "note", "nan"]), max_size=40),
    st.integers(0, 9),
)
@settings(max_examples=40)
def test_a_study_is_the_fold_of_its_journal_at_every_moment(acts, seed):
    study = Study(SPACE, steps=9, schedule="asha", search="random", seed=seed)
    mine = []
    for i, act in enumerate(acts):
        if act == "ask" and len(mine) < 4:
            trial = study.ask()
            if not isinstance(trial, Idle):
                mine.append(trial.id)
        elif act == "enqueue":
            study.enqueue({"k": 3})
        elif act == "note" and len(study.trials):
            study.annotate(0, tags=["seen"], note=str(i))
        elif mine:
            id = mine[i % len(mine)]
            if act == "report":
                step = min(9, study.trials[id].step + 1)
                if study.report(id, step, (i * 7 % 5) / step) is not Verdict.GO:
                    mine.remove(id)
            elif act in ("tell", "fail", "flaky", "nan"):
                if act == "tell":
                    study.tell(id, i / 7, other=1.0)
                elif act == "nan":
                    study.report(id, 9, float("nan")) if study.trials[id].step < 9 else study.tell(id, float("nan"))
                else:
                    study.fail(id, "broken", transient=act == "flaky")
                mine.remove(id)
        again = folded(study)
        assert tuple(again.trials) == tuple(study.trials)
        assert [t.id for t in study.trials] == list(range(len(study.trials)))
        assert again.open == study._book.history.open
        assert again.waiting == study._book.history.waiting
    spent = study.spent
    assert spent.cost == pytest.approx(sum(t.cost for t in study.trials))
    assert spent.trials == sum(e.kind == "asked" for e in study.journal.read())
    keys = [configuration(t.params) for t in study.trials if t.state is not State.WAITING]
    assert len(keys) == len(set(keys))
    for n in (0, len(study.journal.read()) // 2):  # every prefix is a study too
        folded(study, n)


def test_a_gap_or_an_unknown_event_is_refused():
    history = History()
    with pytest.raises(StudyError, match="event 1 is missing"):
        history.apply([Event(2, "noted", 0, {})])
    with pytest.raises(StudyError, match=r"unknown event 'danced'.*upgrade"):
        history.apply([Event(1, "danced", 0, {})])


def test_the_order_of_names_makes_no_other_configuration_but_the_type_does():
    assert configuration({"a": 1, "b": 2}) == configuration({"b": 2, "a": 1})
    assert configuration({"a": 1}) != configuration({"a": True})


def test_a_trial_that_was_shown_keeps_its_curve_whatever_comes_after(tmp_path):
    """Another process catches up after something else about the trial changed: what was handed out must not grow."""
    url = f"sqlite:///{tmp_path}/s.db"
    with (
        Study(SPACE, steps=9, schedule="full", search="random", store=url, name="s") as here,
        Study(SPACE, steps=9, schedule="full", search="random", store=url, name="s") as there,
    ):
        trial = here.ask()
        here.report(trial, 1, 0.5)
        shown = there.trials[0]
        here.annotate(0, note="something else about it")
        here.report(trial, 2, 0.4)
        here.report(trial, 3, 0.3)
        assert len(there.trials[0].curve) == 3
        assert len(shown.curve) == 1
        between = there.trials[0]
        here.report(trial, 4, 0.2)
        assert [len(t.curve) for t in (shown, between, there.trials[0])] == [1, 3, 4]


@pytest.mark.parametrize("search", ["random", "gp", "tpe", "evolution", "policy", "zoom", "cma"])
def test_a_guess_that_failed_before_it_was_whole_has_no_configuration(search):
    """The third has none left: what it gave is a part of one, which has no place in the space that a searcher could learn from."""
    study = Study(Space(a=Int(1, 2), b=Int(1, 2)), search=search, seed=0)
    for _ in range(3):
        study.enqueue({"a": 1}, note="mine")
    told = []
    while len(told) < 4 and (trial := study.ask()) is not Idle.DONE:
        told.append(trial.params)
        study.tell(trial, 1.0)
    assert len(told) == 4
    third = study.trials[2]
    assert (third.state, third.params, third.note, third.error["type"]) == (State.FAILED, {}, "mine", "UsedUp")
    assert len(undocumented(document(study)).study(None, "again").trials) == 5
    assert not replay(study.journal.read()).differences

"""A person's trials beside a searcher's: the report says who made each, in words, tables and pictures."""

from __future__ import annotations

import pytest

import whet
from whet.report import study_report
from whet.report.block import Plot, Table
from whet.report.curves import curves
from whet.report.listing import makers, trial_table
from whet.report.maker import by_hand, hands, maker
from whet.report.parallel import parallel
from whet.tune.guess import START

SPACE = whet.Space(x=whet.Float(0, 1), y=whet.Float(0, 1))


def loss(params, run):
    for step in run:
        run.report((params["x"] - 0.5) ** 2 + params["y"] / step)


@pytest.fixture
def study():
    """A study of a searcher with the task's own start and two guesses of a person, the better one the best of all."""
    with whet.Study(SPACE, search="sobol", schedule="full", steps=3) as made:
        made.enqueue({"x": 0.9, "y": 0.9}, note=START)
        made.run(loss, trials=6)
        made.enqueue({"x": 0.5, "y": 0.0}, note="the middle <b>", tags=["mine"])
        made.enqueue({"x": 0.1})
        made.run(loss, trials=10)
        yield made


def test_the_table_of_trials_says_who_made_each_and_what_a_person_wrote(study):
    table = trial_table(study.trials)
    made, note = table.columns.index("made by"), table.columns.index("note")
    who = {int(r[0]): (r[made], r[note]) for r in table.rows}
    assert who[0] == ("the task", None)
    assert who[6] == ("a person", "#mine the middle <b>")
    assert who[7] == ("a person", None)
    assert {v for k, v in who.items() if k not in (0, 6, 7)} == {("sobol", None)}
    assert hands(study.trials) == 2


def test_what_each_maker_came_to_is_compared(study):
    (table,) = makers(study.trials)
    rows = {r[0]: r for r in table.rows}
    assert rows["a person"][1:4] == (2, 2, 0)
    assert table.rows[0][0] == "a person"
    assert (rows["a person"][4], rows["a person"][5]) == (study.best.value, 6)
    assert rows["sobol"][1] == 7
    assert sum(r[1] for r in table.rows) == len(study.trials)
    best = min(t.value for t in study.trials if maker(t) == "sobol")
    assert rows["sobol"][4] == best


def test_the_pictures_mark_what_was_made_by_hand_and_say_so(study):
    trials = study.trials
    for plot in (curves(trials), parallel(trials)):
        marked = {t["meta"] for t in plot.figure["data"] if t.get("marker", {}).get("symbol") == "diamond"}
        assert marked == {6, 7} == {t.id for t in trials if by_hand(t)}
        assert "by hand" in plot.note
    report = study_report("s", trials)
    section = next(s for s in report.sections if s.name == "happened")
    assert section.sentence.startswith("10 trials, 2 of them by hand, 30 epochs")
    anytime = next(b for b in section.blocks if isinstance(b, Plot))
    marker = anytime.figure["data"][0]["marker"]
    by = anytime.figure["data"][0]["customdata"]
    assert [s == "diamond" for s in marker["symbol"][:-1]] == [i in (6, 7) for i in by[:-1]]
    assert "A diamond" in anytime.note
    assert next(b.title for b in section.blocks if isinstance(b, Table)) == "Who made the trials"
    page = report.html()
    assert "the middle <b>" not in page
    assert "made by" in page
    assert "10 trials, 2 of them by hand" in report.text()


def test_a_study_without_a_persons_trials_looks_as_before():
    with whet.Study(SPACE, search="sobol", schedule="full", steps=3) as made:
        made.run(loss, trials=4)
    assert not makers(made.trials)
    assert "by hand" not in curves(made.trials).note + parallel(made.trials).note
    section = next(s for s in study_report("s", made.trials).sections if s.name == "happened")
    assert section.sentence.startswith("4 trials, 12 epochs")

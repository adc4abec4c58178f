"""A study out and in again is the same study, whatever happened to it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet import Choice, Float, Idle, Int, Space, StudyError, UsageError, Verdict
from whet.journal.event import decode, encode
from whet.tune.account import accounts
from whet.tune.exchange import document, read
from whet.tune.exchange.document import undocumented
from whet.tune.exchange.write import export
from whet.tune.study import Study

SPACE = Space(x=Float(0, 1), o=Choice({"a": Space(k=Int(1, 9)), "b": None}))


def lived(acts, seed, **more):
    """Return a study to which these things happened."""
    study = Study(SPACE, goal=["min loss", "size <= 5"], steps=4, schedule="asha", search="random", seed=seed, **more)
    mine = []
    for i, act in enumerate(acts):
        if act == "ask" and len(mine) < 3:
            trial = study.ask()
            mine += [] if isinstance(trial, Idle) else [trial.id]
        elif act == "enqueue":
            study.enqueue({"o": "a"}, note=f"guess {i}", tags=["mine", "ü"])
        elif act == "note" and len(study.trials):
            study.annotate(i % len(study.trials), note=f"a\tb {i}", tags=["x"])
        elif act == "record":
            study.record("check", {"n": i, "bad": float("nan")})
        elif mine:
            id = mine[i % len(mine)]
            closed = True
            if act == "report":
                closed = study.report(id, min(4, study.trials[id].step + 1), i / 7, size=float("inf")) is not Verdict.GO
            elif act == "repeat":
                closed = study.report(id, 1, 0.5, cost=2.5) is not Verdict.GO
            elif act == "tell":
                study.tell(id, i / 3, other=1.0)
            elif act == "fail":
                study.fail(id, MemoryError("no"))
            if closed:
                mine.remove(id)
    return study


ACTS = st.lists(
    st.sampled_from("ask ask report report repeat tell fail enqueue note record".split()), max_size=40
)  # fmt: skip


@given(ACTS, st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_a_study_out_and_in_again_has_equal_trials(acts, seed):
    study = lived(acts, seed)
    data = json.loads(encode(document(study)))  # as a file holds it
    again = undocumented(decode(json.dumps(data))).study(None, "again")
    assert list(again.trials) == list(study.trials)
    assert [repr(t.curve[:]) for t in again.trials] == [repr(t.curve[:]) for t in study.trials]
    assert again.space == study.space
    assert (again.goals, again.steps, again.seed) == (study.goals, study.steps, study.seed)
    assert (again.searcher, again.scheduler) == (study.searcher, study.scheduler)
    assert repr(again.records("check")) == repr(study.records("check"))
    assert accounts(again.journal.read()) == {t.id: accounts(study.journal.read())[t.id] for t in study.trials}
    # a second time changes nothing more
    third = undocumented(decode(encode(document(again)))).study(None, "third")
    assert list(third.trials) == list(study.trials)
    # and it goes on
    while len(again.trials) < len(study.trials) + 2 and not isinstance(t := again.ask(), Idle):
        again.tell(t, 1.0)


BUSY = ["enqueue", "ask", "report", "report", "ask", "tell", "ask", "fail", "ask", "report", "note", "record"] * 2


def test_a_file_is_whole_and_not_replaced_by_accident(tmp_path):
    study = lived(BUSY, 1, store=tmp_path / "a.db", name="s")
    path = tmp_path / "s.json"
    assert export(study, path, format="json") == len(study.trials)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"s.json: exists. Give another file, or --force"):
        export(study, path, format="json")
    export(study, path, format="json", force=True)
    assert path.read_bytes() == before
    with pytest.raises(UsageError, match="is a folder"):
        export(study, tmp_path, format="csv")
    with pytest.raises(UsageError, match=r"no/s.csv: cannot be written \(No such file"):
        export(study, tmp_path / "no" / "s.csv", format="csv")
    with pytest.raises(UsageError, match="--curves: JSON has the curves"):
        export(study, tmp_path / "c.json", format="json", curves=True)
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("a.db") and p.is_file()) == ["s.json"]
    with read(str(path)).study(tmp_path / "b.db", "s") as again:
        assert list(again.trials) == list(study.trials)
    study.close()


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    import pandas as pd

    study = lived(BUSY, 1)
    path = tmp_path / "s.csv"
    path.write_text("mine")

    def full(self, to, **_):
        with open(to, "w") as f:
            f.write("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(UsageError, match="No space left on device"):
        export(study, path, format="csv", force=True)
    assert path.read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["s.csv"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(whet_study=9), "its format is 9, this whet reads 1"),
        (lambda d: d.pop("space"), "damaged, or changed by hand .'space' is missing"),
        (lambda d: d["trials"].pop(0), "not numbered 0, 1, 2"),
        (lambda d: d["trials"][0].update(state="GONE"), "'GONE' is not a valid State"),
        (lambda d: d.update(trials=3), "damaged, or changed by hand"),
        (lambda d: d["space"].update(domains={"x": {"type": "Round"}}), "unknown domain type 'Round'"),
    ],
)
def test_a_document_that_was_changed_by_hand_is_refused(tmp_path, change, said):
    data = document(lived(BUSY, 1))
    change(data)
    path = tmp_path / "d.json"
    path.write_text(encode(data))
    with pytest.raises(StudyError, match=said) as e:
        read(str(path))
    assert "d.json" in str(e.value)


def test_a_document_holds_what_a_record_must(tmp_path):
    study = lived(BUSY, 1, store=tmp_path / "a.db", name="s")
    data = document(study)
    study.close()
    assert (data["name"], data["seed"], data["steps"]) == ("s", 1, 4)
    assert data["version"]
    failed = next(t for t in data["trials"] if t["state"] == "FAILED")
    assert failed["error"]["type"] == "OutOfMemory"
    assert "MemoryError" in failed["error"]["traceback"]
    worked = next(t["account"] for t in data["trials"] if t["curve"])
    assert worked["seconds"] > 0
    assert worked["began"] <= worked["ended"]
    assert len(worked["workers"]) == 1


def test_a_study_that_was_cut_off_in_a_race_is_searched_on_after_its_import(tmp_path):
    study = Study(Space(x=Float(0, 1)), search="random").run(lambda p: p["x"], trials=5)
    study.record("race", {"on": True, "of": [1, 2]})
    study.enqueue(study.trials[1].params, tags=("rerace",), again=True)
    taken = undocumented(document(study)).study(None, "mine")
    first, second = taken.ask(), taken.ask()
    assert first.params == study.trials[1].params  # what waited still comes first
    assert second.params not in [t.params for t in study.trials]

"""`whet tune --like`: earlier studies to learn from, on the command line."""

from __future__ import annotations

import json

import pytest

from whet import Float, Space, Study

FEW = ("--budget", "5trials", "--epochs", "1", "--workers", "1", "--plain")


@pytest.fixture
def foreign(tmp_path):
    """A study of another space in the same store."""
    (tmp_path / "runs").mkdir(exist_ok=True)
    with Study(Space(momentum=Float(0, 1)), store=tmp_path / "runs" / "whet.db", name="foreign") as study:
        study.tell(study.ask(), 0.5)


def show(whet, name):
    return json.loads(whet("study", "show", name, "--json").out)


def test_a_study_like_all_the_others(whet, task, foreign):
    task()
    task("decay=Float(0, 1)", "decay=Float(0, 2), other=Float(0, 1)", name="wider.py")
    assert whet("tune", "tiny.py", "--search", "random", *FEW).code == 0
    assert whet("tune", "wider.py", "--search", "random", *FEW).code == 0
    said = whet("tune", "tiny.py", "--name", "new", "--search", "gp", "--like", "all", *FEW)
    assert said.code == 0, said
    lines = [x.strip() for x in said.out.splitlines()]
    inside = sum(t["params"]["decay"] <= 1 for t in show(whet, "wider")["trials"])
    assert f"like      wider: {inside} trials, 2 of 2 hyperparameters in common" in said.out
    assert "tiny: 5 trials, 2 of 2 hyperparameters in common" in lines
    assert "foreign" not in said.out
    shown = show(whet, "new")
    assert [(x["study"], x["trials"]) for x in shown["like"]] == [("wider", inside), ("tiny", 5)]
    advised = [t for t in shown["trials"] if "like" in t["origin"]]
    best = next(t for t in show(whet, "tiny")["trials"] if t["id"] == advised[0]["origin"]["like"]["trial"])
    assert {t["origin"]["like"]["study"] for t in advised} == {"tiny", "wider"}
    first = next(t for t in advised if t["origin"]["like"]["study"] == "tiny")
    assert first["params"] == best["params"]
    one = whet("study", "show", "new", first["id"]).out
    assert f"from trial {best['id']} of study tiny" in " ".join(one.split())
    assert f"like      wider: {inside} trials" in whet("study", "show", "new").out
    assert "all equal" in whet("study", "replay", "new").out
    # the same command goes on, whatever became of the others
    assert whet("study", "delete", "tiny", "--yes").code == 0
    for like in (("--like", "all"), ("--like", "tiny,wider"), ("--like", "wider", "--like", "tiny"), ()):
        said = whet("tune", "tiny.py", "--name", "new", "--search", "gp", *like, *FEW)
        assert said.code == 0, said
        assert "tiny: 5 trials, 2 of 2" in said.out
    said = whet("tune", "tiny.py", "--name", "new", "--search", "gp", "--like", "wider", *FEW)
    assert said.code == 2
    assert "study 'new': was created with like wider, tiny, not wider." in said.err


@pytest.mark.soak
def test_all_of_nothing_says_so_and_goes_on(whet, task, foreign):
    task()
    said = whet("tune", "tiny.py", "--like", "all", *FEW)
    assert said.code == 0, said
    assert "like      no other study here has trials to learn from: begins from nothing" in said.out
    said = whet("tune", "tiny.py", "--name", "second", "--like", "all", "--json", *FEW)
    data = json.loads(said.out)
    assert [x["study"] for x in data["like"]["studies"]] == ["tiny"]
    assert "not learn" not in said.out
    said = whet("tune", "tiny.py", "--name", "third", "--search", "random", "--like", "second", *FEW)
    assert "random does not learn from them: all but random and grid do" in said.out


def test_without_like_nothing_is_said_of_it(whet, task):
    task()
    said = whet("tune", "tiny.py", *FEW)
    assert "like" not in said.out
    assert "like" not in whet("study", "show", "tiny").out
    assert show(whet, "tiny")["like"] == []


@pytest.mark.parametrize(
    ("like", "needed"),
    [
        (("foregn",), ("like 'foregn': no such study in", "Did you mean 'foreign'?", "Studies: foreign.")),
        (("tiny",), ("like 'tiny': is this study itself.",)),
        (("foreign",), ("searches no hyperparameter that this study does. There: momentum; here: lr, decay.",)),
        (("all,foreign",), ("'all' means every study",)),
        ((",",), ("names no study",)),
        (("",), ("names no study",)),
        (("foreign", "all"), ("'all' means every study",)),
    ],
)
def test_what_cannot_be_learnt_from_is_one_line(refused, task, foreign, like, needed):
    task()
    refused("tune", "tiny.py", *(x for n in like for x in ("--like", n)), *FEW, needed=needed)


def test_a_wrong_like_deletes_nothing(whet, refused, task, foreign):
    task()
    assert whet("tune", "tiny.py", *FEW).code == 0
    refused("tune", "tiny.py", "--fresh", "--like", "foreign", *FEW, needed=("searches no hyperparameter",))
    refused("tune", "tiny.py", "--fresh", "--like", "tiny", *FEW, needed=("is this study itself",))
    assert len(show(whet, "tiny")["trials"]) == 5

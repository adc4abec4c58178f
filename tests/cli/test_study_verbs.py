"""`whet study`, `whet tune` and `--json`: what is printed can be read by a person in 80 columns, and by a program."""

from __future__ import annotations

import json
import shlex

import pytest

from whet import Float, Space, Study


def test_tune_and_what_the_study_holds(whet, task, tmp_path):
    said = whet("tune", task(), "--budget", "4trials", "--workers", "1", "--search", "grid", "--json")
    assert said.code == 0, said
    found = json.loads(said.out)  # nothing else is there
    assert found["study"] == "tiny"
    assert found["tune"]["trials"] == 4
    assert not found["interrupted"]
    # the lines of a person go beside it; a grid says how large it is before it starts
    assert "tune      grid: 25 points over 2 dimensions (lr 5, decay 5)." in said.err
    assert "test" not in found
    assert (tmp_path / "runs" / "tiny" / "report.html").exists()

    rows = json.loads(whet("study", "list", "--json").out)
    assert [(r["name"], r["trials"], r["goal"]) for r in rows] == [("tiny", 4, "max accuracy")]
    shown = json.loads(whet("study", "show", "tiny", "--json").out)
    assert len(shown["trials"]) == 4
    assert "unsealed" not in shown["records"]
    values = [t["value"] for t in shown["trials"] if t["step"] == shown["trials"][0]["step"]]
    assert values == sorted(values, reverse=True)  # the best first
    best = json.loads(whet("study", "best", "tiny", "--json").out)
    assert best["id"] == shown["trials"][0]["id"] == found["tune"]["best"]
    assert best["value"] == found["tune"]["value"]

    for words in ("study list", "study show tiny", "study show tiny --all", "study best tiny"):
        said = whet(*words.split())
        assert said.code == 0
        assert not said.err
        assert max(map(len, said.out.splitlines())) <= 80, (words, max(said.out.splitlines(), key=len))
        assert "tiny" in said.out
    # the command it names trains that configuration
    words = shlex.split(said.out.split("next")[1].replace("\\\n", " "))
    assert words[:3] == ["whet", "train", "tiny.py"]
    assert json.loads(whet(*words[1:], "--json").out)["params"] == best["params"]

    said = whet("study", "show", "tinny")
    assert said.code == 2
    assert "Did you mean 'tiny'?" in said.err
    assert len(said.err.splitlines()) == 1


def test_a_running_trial_that_nobody_works_on_is_shown_as_interrupted(whet, tmp_path):
    (tmp_path / "runs").mkdir()
    with Study(Space(x=Float(0, 1)), store=tmp_path / "runs" / "whet.db", name="left", search="random") as study:
        study.tell(study.ask(), 0.5)
        study.ask()
        assert "RUNNING" in whet("study", "show", "left").out
    said = whet("study", "show", "left")
    assert "INTERRUPTED" in said.out, said
    assert "RUNNING" not in said.out


@pytest.mark.parametrize("verb", ["look", "check"])
def test_looking_has_json_and_lines(whet, task, verb):
    path = task()
    assert isinstance(json.loads(whet(verb, path, "--json").out), dict)
    said = whet(verb, path)
    assert said.code == 0
    assert "\nnext      whet" in said.out
    assert max(map(len, said.out.splitlines())) <= 80


def test_a_skeleton_that_is_wrong_is_code_1(whet, task):
    path = task("nn.Linear(16, 2))", "nn.Linear(16, 2), nn.Softmax(1))")
    said = whet("check", path, "--json")
    assert said.code == 1
    assert [f["code"] for f in json.loads(said.out)["findings"] if f["severity"] == "FAIL"] == ["OUT"]

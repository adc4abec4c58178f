"""`whet study`, `whet tune` and `--json`: what is printed can be read by a person in 80 columns, and by a program."""

from __future__ import annotations

import json
import shlex

import pytest


def test_tune_and_what_the_study_holds(whet, task, tmp_path):
    said = whet("tune", task(), "--budget", "4trials", "--workers", "1", "--json")
    assert said.code == 0, said
    found = json.loads(said.out)  # nothing else is there
    assert found["study"] == "tiny"
    assert found["tune"]["trials"] == 4
    assert not found["interrupted"]
    assert "trials" in said.err  # the lines of a person go beside it
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

    said = whet("study", "show", "tnii")
    assert said.code == 2
    assert "Did you mean 'tiny'?" in said.err
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize("verb", ["look", "check"])
def test_looking_has_json_and_lines(whet, task, verb):
    path = task()
    assert isinstance(json.loads(whet(verb, path, "--json").out), dict)
    said = whet(verb, path)
    assert said.code == 0
    assert "\nnext      whet" in said.out
    assert max(map(len, said.out.splitlines())) <= 80


def test_a_grid_says_how_large_it_is_before_it_starts(whet, task):
    path = task("lr=Float(1e-3, 1e-1, log=True), decay=Float(0, 1)", "lr=Float(1e-3, 1e-1, log=True)")
    said = whet("tune", path, "--budget", "9trials", "--epochs", "1", "--workers", "1", "--search", "grid", "--plain")
    assert said.code == 0, said
    assert "tune      grid: 5 points over 1 dimension (lr 5)." in said.out
    # a person's own first configuration lies off the grid, and all of the grid is tried beside it
    assert "6 trials" in said.out.split("grid: 5")[1]


def test_what_is_wrong_with_the_data_is_no_failure_but_a_skeleton_is(whet, task):
    path = task("nn.Linear(16, 2))", "nn.Linear(16, 2), nn.Softmax(1))")
    said = whet("check", path, "--json")
    assert said.code == 1
    assert [f["code"] for f in json.loads(said.out)["findings"] if f["severity"] == "FAIL"] == ["OUT"]
    said = whet("run", path, "--budget", "1trials", "--workers", "1", "--json")
    assert said.code == 1
    assert json.loads(said.out)["check"]["failed"]

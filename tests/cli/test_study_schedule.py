"""A population on the command line: tuned, its winner's schedule shown and written, and followed in one training."""

from __future__ import annotations

import json

import pytest

LIVE = "space = Space(lr=Float(1e-3, 1.0, log=True, live=True), weight_decay=Float(1e-5, 1e-1, log=True, live=True), decay=Float(0, 1))"
TUNE = ("--schedule", "population", "--search", "random", "--workers", "1", "--plain")


@pytest.fixture
def population(whet, task):
    """A study whose best trial comes from others."""
    task("space = Space(lr=Float(1e-3, 1e-1, log=True), decay=Float(0, 1))", LIVE + '\n    goal = "min loss"')
    said = whet("tune", "tiny.py", *TUNE, "--epochs", "6", "--budget", "48epochs", "--seed", "1")
    assert said.code == 0, said
    shown = json.loads(whet("study", "show", "tiny", "--json").out)
    child = max((t for t in shown["trials"] if t["parent"] and t["step"] == 6), key=lambda t: t["id"])
    return child


def test_the_schedule_is_shown_written_and_followed_to_the_same_curve(whet, population, tmp_path):
    id = population["id"]
    said = whet("study", "schedule", "tiny", id, "--out", "best.json")
    assert said.code == 0, said
    assert max(map(len, said.out.splitlines())) <= 80
    assert "each from the weights of the one before" in " ".join(said.out.split())
    assert "whet train tiny.py --schedule best.json" in said.out
    assert "decay=" in said.out  # what never changes
    found = json.loads(whet("study", "schedule", "tiny", id, "--json").out)
    assert {"lr", "weight_decay"} >= set(found["changes"]) != set()
    assert found["torn"] == []
    assert [s["trial"] for s in found["stretches"]][-1] == id
    assert found["stretches"][-2]["trial"] == population["parent"][0]
    assert [p["step"] for p in found["curve"]] == list(range(1, 7))
    said = whet("train", "tiny.py", "--schedule", "best.json", "--seed", "1", "--json")
    assert said.code == 0, said
    again = json.loads(said.out)
    assert again["curve"] == found["curve"]
    assert again["params"] == found["stretches"][-1]["params"]
    other = whet("train", "tiny.py", "--schedule", "best.json", "--plain")
    assert other.code == 0, other
    assert "with --seed 1 the curve is" in " ".join(other.out.split())
    # what was trained of one schedule does not go on under another
    said = whet("train", "tiny.py", "--seed", "1", "--epochs", "6", "--resume")
    assert said.code == 2, said
    assert "was made with" in said.err


def test_the_best_of_a_population_is_to_be_done_again_by_its_schedule(whet, population):
    top = json.loads(whet("study", "best", "tiny", "--json").out)
    said = whet("study", "best", "tiny")
    assert said.code == 0, said
    assert max(map(len, said.out.splitlines())) <= 80
    lines = said.out.splitlines()
    if top["parent"]:
        assert "whet study schedule tiny --out tiny.json" in lines[-2]
        assert lines[-1].strip() == "whet train tiny.py --schedule tiny.json"
        assert f"trial {top['parent'][0]} at epoch {top['parent'][1]}" in " ".join(said.out.split())
    else:
        assert "--set lr=" in said.out
    shown = whet("study", "show", "tiny", str(population["id"])).out
    assert f"goes on from trial {population['parent'][0]}" in " ".join(shown.split())
    assert "replaces" in shown


def test_a_trial_that_comes_from_none_has_one_stretch(whet, population):
    found = json.loads(whet("study", "schedule", "tiny", "0", "--json").out)
    assert len(found["stretches"]) == 1
    assert found["changes"] == []
    assert "it comes from no other trial" in whet("study", "schedule", "tiny", "0").out


def test_what_makes_no_sense_is_refused(whet, refused, task, population):
    whet("study", "schedule", "tiny", "--out", "s.json")
    refused("study", "schedule", "tiny", "--out", "s.json", needed=("--out s.json", "exists", "--force"))
    refused("study", "schedule", "tiny", "999", needed=("trial 999", "no such trial"))
    refused("train", "tiny.py", "--schedule", "none.json", needed=("--schedule none.json", "cannot be read"))
    refused("train", "tiny.py", "--schedule", "s.json", "--set", "lr=0.1", needed=("--set",))
    refused("train", "tiny.py", "--schedule", "s.json", "--watch", needed=("--watch", "--schedule"))
    refused("train", "tiny.py", "--schedule", "s.json", "--workers", "2", needed=("--workers",))
    refused("train", "digits", "--schedule", "s.json", needed=("--schedule s.json", "epochs 1 to", "another task"))
    refused("train", "tiny.py", "--schedule", "s.json", "--resume", needed=("--resume",))


def test_a_space_without_live_domains_is_refused_with_the_names(refused, task):
    task()
    refused(
        "tune", "tiny.py", *TUNE, "--budget", "9epochs", needed=("no domain is marked live", "lr, decay", "live=True")
    )

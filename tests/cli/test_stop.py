"""--stop, --until and --price at the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest


def test_train_stops_and_saves_the_best_epoch(whet, task):
    name = task("steps = 3", "steps = 40")
    said = whet("train", name, "--stop", "patience 3 | steps 30", "--set", "lr=0.1", "--json")
    assert said.code == 0, said
    found = json.loads(said.out)
    curve = [p["value"] for p in found["curve"]]
    assert found["step"] == 1 + int(np.argmax(curve))
    assert found["value"] == max(curve)
    assert found["epochs"] == len(curve) < 40
    assert "no improvement" in found["stopped"] or "30 steps" in found["stopped"]
    again = json.loads(
        whet("train", name, "--stop", "patience 3 | steps 30", "--set", "lr=0.1", "--resume", "--json").out
    )
    assert again == found, "it stays stopped"
    on = json.loads(whet("train", name, "--stop", "never", "--set", "lr=0.1", "--resume", "--json").out)
    assert on["step"] == on["epochs"] == len(on["curve"]) == 40, "without a criterion it goes on from the best"
    assert on["stopped"] is None
    lines = whet("train", name, "--stop", "patience 3", "--set", "lr=0.1", "--plain").out
    assert "back to" in lines
    assert max(map(len, lines.splitlines())) <= 80


def test_train_that_diverges_has_failed(whet, task):
    name = task("steps = 3", "steps = 9")
    said = whet("train", name, "--stop", "diverged 1.001 of train_loss", "--set", "lr=0.1", "--json")
    if json.loads(said.out).get("diverged"):
        assert said.code == 1
    else:
        pytest.fail("the training loss of this task goes down in every epoch: choose another")


def test_a_task_has_a_default_that_the_command_line_takes_away(whet, task):
    name = task("steps = 3", 'steps = 5\n    stop = "steps 2"')
    assert json.loads(whet("train", name, "--json").out)["epochs"] == 2
    assert json.loads(whet("train", name, "--json", "--stop", "never").out)["epochs"] == 5


def test_a_tasks_own_text_that_cannot_be_read_is_its_fault(refused, task):
    name = task("steps = 3", 'stop = "patiance 2"')
    refused("tune", name, "--workers", "1", needed=("Tiny.stop", "Did you mean 'patience'"))


def test_a_search_that_is_stopped_says_so_and_stays_so(whet, task, monkeypatch):
    name = task("steps = 3", "steps = 12")
    monkeypatch.setenv("WHET_UNTIL", "trials 2")
    monkeypatch.setenv("WHET_STOP", "patience 2")
    words = ("tune", name, "--budget", "9cost", "--price", "3/trial", "--schedule", "full", "--workers", "1", "--plain")
    said = whet(*words)
    assert said.code == 0, said
    for part in (
        "stopped by trials 2: 2 trials ended", "another --until goes on", "cost 6 at 3/trial", "ended early: no improvement",
    ):  # fmt: skip
        assert part in said.out, said.out
    shown = whet("study", "show", "tiny").out
    assert "stopped by trials 2" in shown
    assert "ended early: no improvement on" in shown
    assert max(map(len, shown.splitlines())) <= 80
    records = json.loads(whet("study", "show", "tiny", "--json").out)["records"]
    assert records["stopped"][-1]["why"] == "2 trials ended"
    assert records["ended"][0]["step"] < 12
    again = json.loads(whet(*words, "--json").out)["tune"]
    assert (again["trials"], again["stopped"], again["cost"]) == (2, "2 trials ended", 6.0)


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (("train", "digits", "--stop", "patiance 3"), ("--stop", "Did you mean 'patience'")),
        (("train", "digits", "--stop", "gain"), ("whole study (--until)",)),
        (("tune", "digits", "--stop", "patience 3 |"), ("missing at the end",)),
        (("tune", "digits", "--until", "steps 3"), ("one run (--stop)", "trials")),
        (("run", "digits", "--until", "target"), ("--until", "target needs a number")),
        (("run", "digits", "--stop", ""), ("is empty",)),
        (("tune", "digits", "--price", "3/fortnight"), ("price", "2.5/h")),
        (("tune", "digits", "--price", "3/trail"), ("Did you mean 'trial'",)),
        (("tune", "digits", "--budget", "2cost", "--price", "3/trial"), ("does not buy one trial",)),
    ],
)
def test_words_that_cannot_be_read(refused, words, needed):
    refused(*words, needed=needed)

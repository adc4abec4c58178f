"""`whet tune --folds`: as a person uses it, cut off, refused, and what the other verbs say of such a study."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import sqlite3
import time

import pytest

SLOW = """
    def augment(self, params):
        import time

        def move(inputs, targets, generator):
            time.sleep(0.05)
            return inputs, targets

        return move
"""
WORDS = ("tune", "tiny.py", "--folds", "4", "--epochs", "2", "--workers", "1", "--search", "random", "--plain")


def reports(path) -> int:
    """Return how many folds are on record."""
    if not path.exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as c:
        try:
            return int(c.execute("select count(*) from events where kind = 'reported'").fetchone()[0])
        except sqlite3.OperationalError:  # made, and nothing in it yet
            return 0


def test_a_search_over_folds_says_so_everywhere(whet, task, refused, tmp_path):
    task()
    said = whet(*WORDS, "--budget", "5trials")
    assert said.code == 0, said
    assert max(map(len, said.out.splitlines() + said.err.splitlines())) <= 80
    text = " ".join(said.out.split())
    assert "race (alpha 0.05 least 3)" in text
    assert "cross-validated accuracy" in text
    assert "less the luck of choosing 1 of" in text
    assert "epoch" not in text
    show = whet("study", "show", "tiny")
    assert "cross-validated in 4 folds" in show.out
    assert " fold  " in show.out
    best = whet("study", "best", "tiny")
    text = " ".join(best.out.split())
    assert "cross-validated after 4 folds, DONE" in text
    assert "less the luck of choosing" in text
    assert "folds leave no model" in text
    assert "whet train tiny.py --epochs 2 --set" in text
    page = (tmp_path / "runs" / "tiny" / "report.html").read_text()
    assert "cross-validated in 4 folds" in page
    assert "training (folds)" in page
    assert "training (epochs)" not in page
    assert "epoch" not in best.out.replace("--epochs 2", "") + whet("study", "show", "tiny", "best").out
    honest = json.loads(whet("study", "best", "tiny", "--json").out)["honest"]
    assert honest["raw"]["n"] == 102  # all but the sealed test split
    refused("study", "schedule", "tiny", needed=("trainings of 4 folds each",))
    compared = whet("study", "compare", "tiny", "0", "best")
    assert compared.code == 0, compared
    more = whet(*WORDS, "--budget", "7trials", "--json")
    found = json.loads(more.out)["tune"]
    assert (found["trials"], found["of_folds"]) == (7, 4)
    assert found["folds"] >= 7
    plot = whet("study", "plot", "tiny")
    assert plot.code == 0, plot
    page = (tmp_path / "runs" / "tiny" / "plot.html").read_text()
    assert ">folds<" in page
    assert ">epochs<" not in page
    refused("study", "delete", "tiny", needed=(" folds, ",))


def test_a_study_over_folds_goes_on_elsewhere(whet, task, refused):
    """An import knows of the folds, and its trials are told apart from those that are paid for here."""
    task()
    assert whet(*WORDS, "--budget", "3trials").code == 0
    assert whet("study", "export", "tiny", "--to", "tiny.json").code == 0
    assert whet("study", "import", "tiny.json", "--name", "copy").code == 0
    refused("tune", "tiny.py", "--name", "copy", "--epochs", "4", needed=("was created with --folds 4, not without",))
    said = whet(*WORDS, "--budget", "2trials", "--name", "copy")
    assert said.code == 0, said
    assert "2 trials and 3 imported, " in said.out
    assert "best trial" in said.out
    assert "all equal" in whet("study", "replay", "copy").out


@pytest.mark.parametrize("folds", [("--folds", "3"), ()], ids=["folds", "epochs"])
def test_what_is_said_to_try_a_guess_goes_on_with_the_study(whet, task, folds):
    task()
    words = (
        "tune",
        "tiny.py",
        *folds,
        "--epochs",
        "2",
        "--seed",
        "2",
        "--workers",
        "1",
        "--search",
        "random",
        "--plain",
    )
    assert whet(*words, "--budget", "1trials").code == 0
    said = whet("study", "enqueue", "tiny", "--set", "lr=0.02")
    assert said.code == 0, said
    assert max(map(len, said.out.splitlines())) <= 80
    command = shlex.split(said.out.partition("else")[2].replace("\\\n", " "))
    assert command[:3] == ["whet", "tune", "tiny.py"]
    went = whet(*command[1:], "--budget", "2trials", "--workers", "1", "--plain")
    assert went.code == 0, went
    trials = json.loads(whet("study", "show", "tiny", "--json", "--sort", "id").out)["trials"]
    assert trials[1]["params"]["lr"] == 0.02
    assert trials[1]["value"] is not None


def test_every_schedule_works_over_folds_or_says_why_not(whet, task, refused):
    task()
    for schedule in ("median", "asha", "hyperband"):
        said = whet(*WORDS, "--budget", "3trials", "--schedule", schedule, "--name", schedule)
        assert said.code == 0, said
        steps = [t["curve"][-1]["step"] for t in json.loads(whet("study", "show", schedule, "--json").out)["trials"]]
        assert max(steps) <= 4


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (("--folds", "1"), ("--folds: must be at least 2, got 1",)),
        (("--folds", "90"), ("102 visible examples, too few for 90 folds", "at most 51")),
        (("--folds", "3", "--schedule", "population"), ("--schedule population", "race, asha, hyperband")),
        (("--folds", "3", "--schedule", "freeze-thaw"), ("--schedule freeze-thaw", "race, asha, hyperband")),
        (("--folds", "3", "--search", "hypergradient"), ("--search hypergradient", "another searcher")),
        (("--folds", "3", "--budget", "2epochs"), ("a fold trains 3 epochs", "Give 3epochs")),
        (("--folds", "3", "--budget", "2cost", "--price", "0.1/epoch"), ("--price 0.1/epoch", "a step is a fold")),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_one_line(refused, task, words, needed):
    task()
    refused("tune", "tiny.py", *words, needed=needed)


def test_another_number_of_folds_is_another_study(whet, task, refused):
    task()
    assert whet(*WORDS, "--budget", "1trials").code == 0
    refused("tune", "tiny.py", "--budget", "2trials", needed=("was created with --folds 4, not without --folds",))
    refused(
        "tune", "tiny.py", "--folds", "3", "--epochs", "2", needed=("was created with --folds 4, not with --folds 3",)
    )
    refused("tune", "tiny.py", "--folds", "4", "--epochs", "3", needed=("trains 2 epochs a fold, not 3",))


def test_a_killed_search_trains_the_fold_again_and_ends_as_one_that_was_not(start, whet, task, tmp_path):
    task(more=SLOW)
    words = (*WORDS, "--budget", "3trials", "--schedule", "full")
    first = start(*words)
    end = time.monotonic() + 120
    while reports(tmp_path / "runs" / "whet.db") < 5:
        assert time.monotonic() < end, "five folds never came"
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert whet(*words).code == 0
    trials = json.loads(whet("study", "show", "tiny", "--json", "--sort", "id").out)["trials"]
    assert [t["curve"][-1]["step"] for t in trials] == [4, 4, 4]
    assert whet(*words, "--name", "whole").code == 0
    whole = json.loads(whet("study", "show", "whole", "--json", "--sort", "id").out)["trials"]
    assert [[p["value"] for p in t["curve"]] for t in trials] == [[p["value"] for p in t["curve"]] for t in whole]

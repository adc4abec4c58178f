"""What the study verbs say when a word is nearly right, a place is unusual, or a line would be too long."""

from __future__ import annotations

import shlex

import pytest

from whet import Choice, Float, Space, Study


@pytest.fixture
def study(tmp_path):
    """A study of two finished trials, in a folder whose name needs quotes."""
    (tmp_path / "my runs").mkdir()
    space = Space(lr=Float(1e-4, 1, log=True), net=Choice(["conv", "linear"]))
    place = tmp_path / "my runs" / "whet.db"
    with Study(space, goal="max accuracy", steps=1, search="random", store=place, name="demo") as made:
        made.run(lambda p: p["lr"], trials=2)
    return ("--runs", "my runs")


def lines(said):
    assert said.code == 0, said
    assert max(map(len, said.out.splitlines()), default=0) <= 80, max(said.out.splitlines(), key=len)
    return said.out


def test_the_next_command_names_the_place(whet, study):
    out = whet("study", "enqueue", "demo", "--set", "lr=0.5", *study).out
    assert "whet.Study.open('sqlite:///my runs/whet.db', 'demo')" in out  # no recipe began it
    out = whet("study", "export", "demo", "--to", "my demo.json", *study).out
    command = next(line for line in out.splitlines() if line.startswith("next "))
    assert shlex.split(command)[1:] == [
        "whet",
        "study",
        "import",
        "my demo.json",
        "--name",
        "demo-2",
        "--runs",
        "my runs",
    ]
    assert whet("study", "import", "my demo.json", "--name", "demo-2", "--runs", "my runs").code == 0


def test_a_table_is_announced_in_80_columns(whet, study):
    assert "a .json file has" in lines(whet("study", "export", "demo", "--to", "demo.csv", *study))


def test_near_misses_are_named(refused, study):
    refused("study", "show", "demo", "bst", *study, needed=("Did you mean 'best'?", "0 to 1"))
    said = refused("study", "enqueue", "demo", "--set", "net=con", *study, needed=("Did you mean 'conv'?",))
    assert "?." not in said
    refused("tune", "digits", "--budget", "8trails", needed=("Did you mean 'trials'?", "200trials"))
    refused("tune", "digits", "--durability", "pwer", needed=("Did you mean 'power'?",))


def test_a_folder_is_no_database(refused, tmp_path):
    (tmp_path / "runs" / "whet.db").mkdir(parents=True)
    assert "permissions" not in refused("study", "list", needed=("runs/whet.db: is a folder",))


def test_where_an_export_cannot_go(refused, study, tmp_path):
    refused("study", "export", "demo", "--to", "nowhere/x.csv", *study, needed=("nowhere/x.csv", "Make its folder"))
    (tmp_path / "file").write_text("")
    refused("study", "export", "demo", "--to", "file/x.csv", *study, needed=("file/x.csv", "another file"))


def test_what_cannot_be_imported(whet, refused, study, tmp_path):
    (tmp_path / "folder").mkdir()
    assert "Did you mean" not in refused("study", "import", "folder", "--name", "b", *study, needed=("is a folder",))
    refused("study", "import", "", "--name", "b", *study, needed=("empty",))
    assert whet("study", "export", "demo", "--to", "c.csv", "--curves", *study).code == 0
    words = ("--name", "b", "--goal", "max value", *study)
    refused("study", "import", "c.csv", *words, needed=("c.csv", "one row per report", "without --curves", "--param"))


def test_options_of_another_kind_of_source(whet, refused, study, tmp_path):
    assert whet("study", "export", "demo", "--to", "demo.json", *study).code == 0
    words = ("study", "import", "demo.json", "--name", "b", *study)
    refused(*words, "--goal", "min loss", needed=("--goal", "of no use", "Leave it out"))
    refused(*words, "--study", "dmeo", needed=("--study dmeo", "'demo'"))
    (tmp_path / "t.csv").write_text("lr,loss\n1,2\n")
    words = ("study", "import", "t.csv", "--name", "b", "--goal", "min loss", *study)
    refused(*words, "--study", "x", needed=("--study x",))


def test_a_curve_is_aligned_without_metrics(whet, study):
    with Study(
        Space(x=Float(0, 1)), search="random", schedule="full", steps=2, store="my runs/whet.db", name="two"
    ) as made:
        trial = made.ask()
        made.report(trial, 1, 0.5)
        made.report(trial, 2, 0.25)
    out = lines(whet("study", "show", "two", "0", *study)).splitlines()
    head = next(i for i, line in enumerate(out) if line.startswith("curve "))
    ends = [line.index(line.split()[-1]) for line in out[head : head + 3]]
    assert len(set(ends)) == 1, out


def test_fsck_fits_the_screen_and_counts_once(whet, study, tmp_path):
    assert "1 study, 2 trials" in lines(whet("study", "fsck", "demo", "demo", *study))
    (tmp_path / "my runs" / "whet.db").write_text("these are my notes\n" * 100)
    said = whet("study", "fsck", *study)
    assert said.code == 1
    assert max(map(len, said.out.splitlines())) <= 80
    assert ".)." not in said.out
    assert ".. " not in said.out


def test_a_quota_that_is_too_small_is_said(whet, task):
    words = ("--budget", "2trials", "--epochs", "1", "--workers", "1")
    out = lines(whet("tune", task(), "--quota", "1kB", *words))
    assert "the quota of 1 kB is too small: the best trial has no checkpoint" in out
    assert "no checkpoint" not in lines(whet("tune", task(), "--quota", "1GB", "--fresh", *words))


def test_help_says_each_verb_in_full(whet):
    for words in ((), ("study",)):
        assert "..." not in whet(*words, "--help").out.replace("COMMAND [ARGS]...", "")

"""Renaming, deleting, exporting and importing at the command line."""

from __future__ import annotations

import json
import sqlite3

import optuna
import pytest

from whet import Float, Space, Study

optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.fixture
def study(tmp_path):
    (tmp_path / "runs").mkdir()
    with Study(
        Space(x=Float(0, 1)), store=tmp_path / "runs" / "whet.db", name="old", search="random", schedule="full", steps=2
    ) as made:
        t = made.ask()
        made.report(t, 1, 0.5)
        made.tell(t, 0.25)
    folder = tmp_path / "runs" / "old" / "checkpoints" / "0"
    folder.mkdir(parents=True)
    (folder / "1-ab.safetensors").write_bytes(b"x" * 2500)
    return tmp_path


def names(whet):
    return [r["name"] for r in json.loads(whet("study", "list", "--json").out)]


def test_a_study_gets_another_name_with_its_folder(whet, study):
    said = whet("study", "rename", "old", "new")
    assert said.code == 0, said
    assert "old is new now, in runs/new" in said.out
    assert "give --name new" in said.out
    assert names(whet) == ["new"]
    assert (study / "runs" / "new" / "checkpoints" / "0" / "1-ab.safetensors").exists()
    assert not (study / "runs" / "old").exists()
    assert json.loads(whet("study", "show", "new", "--json").out)["trials"][0]["value"] == 0.25


def test_a_name_or_folder_that_is_there_is_left_alone(whet, refused, study):
    Study(Space(x=Float(0, 1)), store=study / "runs" / "whet.db", name="new").close()
    refused("study", "rename", "old", "new", needed=("new: there is a study of this name",))
    (study / "runs" / "third").mkdir()
    refused("study", "rename", "old", "third", needed=("runs/third: is in the way",))
    assert (study / "runs" / "old").exists()


def test_a_rename_cut_off_after_the_folder_goes_on(whet, study):
    (study / "runs" / "old").rename(study / "runs" / "new")
    assert whet("study", "rename", "old", "new").code == 0
    assert names(whet) == ["new"]


def test_nothing_moves_when_the_database_refuses(whet, study):
    with sqlite3.connect(study / "runs" / "whet.db") as c:
        c.execute("create trigger no before update on studies begin select raise(abort, 'no'); end")
    c.close()
    said = whet("study", "rename", "old", "new")
    assert said.code != 0
    assert (study / "runs" / "old").exists()
    assert not (study / "runs" / "new").exists()


@pytest.mark.parametrize("words", [("rename", "old", "new"), ("delete", "old", "--yes")])
def test_a_study_that_somebody_works_on_is_left_alone(whet, study, words):
    with Study.open(study / "runs" / "whet.db", "old") as opened:
        opened.ask()
        said = whet("study", *words)
        assert said.code == 2
        assert "works on it. Stop it first" in said.err
        assert names(whet) == ["old"]
    assert whet("study", *words).code == 0  # it let go


def test_deleting_says_what_goes(whet, study):
    said = whet("study", "delete", "old")
    assert said.code == 2
    assert "1 trial, 1 epoch, 2 kB of files would be gone for good. Say --yes" in said.err
    said = whet("study", "delete", "old", "--yes", "--json")
    assert json.loads(said.out) == {"study": "old", "trials": 1, "epochs": 1, "bytes": 2500}
    assert names(whet) == []
    assert not (study / "runs" / "old").exists()
    assert "no studies in runs/whet.db" in whet("study", "list").out


@pytest.mark.parametrize(("answer", "gone"), [("y\n", True), ("no\n", False), ("", False)])
def test_deleting_asks_on_a_terminal(whet, study, monkeypatch, answer, gone):
    import io

    terminal = io.StringIO(answer)
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", terminal)
    said = whet("study", "delete", "old")
    assert "old: 1 trial, 1 epoch, 2 kB of files will be gone for good." in said.err
    assert "[y/N]" in said.err
    assert said.code == (0 if gone else 1)
    assert names(whet) == ([] if gone else ["old"])


# -- in and out


def test_out_and_in_again(whet, study, refused):
    said = whet("study", "export", "old")
    assert said.code == 0, said
    assert "1 trial, " in said.out
    assert "old.json" in said.out
    said = whet("study", "import", "old.json", "--name", "copy")
    assert said.code == 0, said
    assert max(map(len, said.out.splitlines())) <= 80
    a, b = (json.loads(whet("study", "show", n, "--json").out)["trials"] for n in ("old", "copy"))
    assert a == b
    refused("study", "export", "old", needed=("old.json: exists", "--force"))
    assert json.loads(whet("study", "export", "old", "--force", "--json").out)["rows"] == 1


def test_tables_out_and_in(whet, study):
    for name in ("t.csv", "t.parquet"):
        assert whet("study", "export", "old", "--to", name).code == 0
        said = whet("study", "import", name, "--name", name.replace(".", "-"), "--goal", "min loss", "--json")
        assert json.loads(said.out)["trials"] == 1, said
    said = whet("study", "export", "old", "--curves")
    assert "1 report" in said.out or "2 reports" in said.out
    assert (study / "old-curves.csv").read_text().startswith("trial,step,value,cost")


def test_from_optuna(whet, study):
    theirs = optuna.create_study(storage="sqlite:///o.db", study_name="s", direction="maximize")
    for x in (0.2, 0.4):
        t = theirs.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
        theirs.tell(t, x)
    for source in ("o.db", "sqlite:///o.db"):
        name = source[-4:].strip("/") + str(len(source))
        said = whet("study", "import", source, "--name", name, "--search", "random")
        assert said.code == 0, said
        assert "2 trials from Optuna study 's' in o.db" in said.out
        assert "lost      nothing" in said.out
        assert max(map(len, said.out.splitlines())) <= 80
    with Study.open(study / "runs" / "whet.db", name) as opened:
        assert opened.best.value == theirs.best_value
        assert 0 <= opened.ask().params["x"] <= 1


def test_another_database_by_option_and_environment(whet, study, monkeypatch):
    other = study / "elsewhere" / "w.db"
    assert whet("study", "export", "old").code == 0
    assert whet("study", "import", "old.json", "--name", "there", "--store", f"sqlite:///{other}").code == 0
    assert names(whet) == ["old"]
    monkeypatch.setenv("WHET_STORE", f"sqlite:///{other}")
    assert names(whet) == ["there"]
    out = whet("study", "show", "there", "--store", f"sqlite:///{other}").out
    assert f"--store sqlite:///{other}" in out.replace("\n", "")

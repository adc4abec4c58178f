"""`whet study replay` and `whet study fsck` as a person uses them."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from whet import Float, Space, Study


def train(params, run):
    run.load()
    for step in run:
        run.report(params["x"] + 1 / step, {"step": step})


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    with Study(
        Space(x=Float(0, 1)), search="sobol", schedule="asha", steps=9, seed=1, store="runs/whet.db", name="s"
    ) as made:
        made.run(train, trials=9)
    return "s"


def change(statement):
    with sqlite3.connect("runs/whet.db") as c:
        c.execute(statement)
    c.close()


VERDICT = """
UPDATE events SET data = replace(replace(replace(data, '"GO"', '"?"'), '"PAUSE"', '"GO"'), '"?"', '"PAUSE"')
WHERE seq = (SELECT min(seq) FROM events WHERE kind = 'reported')
"""


def test_replay_says_the_answer_first(whet, study):
    for words in ((), ("--cold",), ("--plain",), ("--all",)):
        said = whet("study", "replay", study, *words)
        assert (said.code, said.err) == (0, "")
        assert said.out.strip().endswith("decisions of 9 trials redone: all equal")
        assert len(said.out.splitlines()) == 1
    assert whet("study", "replay", study, "--store", "sqlite:///runs/whet.db").code == 0
    assert whet("study", "fsck", "--store", "sqlite:///runs/whet.db").out.startswith("clean: 1 study")
    data = json.loads(whet("study", "replay", study, "--json").out)
    assert data["equal"] is True
    assert (data["name"], data["trials"], data["differences"], data["note"]) == ("s", 9, [], "")


def test_replay_of_a_changed_journal(whet, study):
    change(VERDICT)
    said = whet("study", "replay", study)
    assert said.code == 1
    first, *rest = said.out.splitlines()
    assert "decisions of 9 trials redone: " in first
    assert "difference" in first
    assert rest[0].startswith("event 4, trial 0: verdict is recorded as GO, redone it is PAUSE")
    said = whet("study", "replay", study, "--json")
    assert said.code == 1
    found = json.loads(said.out)["differences"][0]
    assert found == {"seq": 4, "trial": 0, "what": "verdict", "recorded": "GO", "redone": "PAUSE"}


def test_replay_says_when_another_version_began_the_study(whet, study):
    change("""UPDATE events SET data = replace(data, '"version":"', '"version":"99.') WHERE seq = 1""")
    assert "version" not in whet("study", "replay", study).out, "while all is equal it does not matter"
    change(VERDICT)
    said = whet("study", "replay", study)
    assert "note: it was begun by whet 99." in said.out
    assert "99." in json.loads(whet("study", "replay", study, "--json").out)["note"]


def test_replay_shows_twenty_differences_unless_all_are_wanted(whet, study):
    change("""UPDATE events SET data = replace(data, '"index"', '"place"') WHERE kind = 'proposed'""")
    change("""UPDATE events SET data = replace(data, '"draw":0', '"draw":7') WHERE kind = 'proposed'""")
    change("""UPDATE events SET data = replace(data, '"PAUSE"', '"STOP"') WHERE kind = 'reported'""")
    lines = whet("study", "replay", study).out.splitlines()
    assert len(lines) == 22
    assert lines[-1].endswith("more: --all")
    more = whet("study", "replay", study, "--all").out.splitlines()
    assert len(more) == 20 + int(lines[-1].split()[1]) + 1


def test_replay_refuses_what_it_cannot_do(refused, study):
    refused("study", "replay", "t", needed=("study 't'", "Studies: s"))
    refused("study", "replay", study, "--runs", "nowhere", needed=("no such study database",))
    refused("study", "replay", needed=("missing argument",))
    change("""UPDATE events SET data = replace(data, '"name":"sobol"', '"name":"theirs"') WHERE seq = 1""")
    refused("study", "replay", study, needed=("no strategy 'theirs'", "Install the package"))


def test_fsck_of_a_clean_store(whet, study):
    for words in ((), (study,), ("--plain",)):
        said = whet("study", "fsck", *words)
        assert (said.code, said.err) == (0, "")
        assert said.out.startswith("clean: 1 study, 9 trials, ")
        assert ", in " in said.out
        assert len(said.out.splitlines()) == 1
    said = whet("study", "fsck", "--repair")
    assert said.out.splitlines()[1:] == ["nothing to repair"]
    assert json.loads(whet("study", "fsck", "--json").out)["clean"] is True


def test_fsck_finds_and_repairs(whet, study):
    leftover = Path("runs/s/checkpoints/3/.part-x")
    leftover.parent.mkdir(exist_ok=True)
    leftover.write_bytes(b"123")
    said = whet("study", "fsck")
    assert said.code == 0
    assert said.out.splitlines()[1].startswith("INFO LEFT study s: 1 file (3 bytes) that no event names")
    said = whet("study", "fsck", "--repair")
    assert said.out.splitlines()[1] == "study s: removed 1 files that no event names (3 bytes)"
    assert not leftover.exists()
    change("DELETE FROM events WHERE seq = 5")
    said = whet("study", "fsck")
    assert said.code == 1
    assert said.out.startswith("1 FAIL: ")
    assert "FAIL LOG study s" in said.out
    said = whet("study", "fsck", "--json")
    assert said.code == 1
    assert json.loads(said.out)["findings"][0]["code"] == "LOG"


def test_fsck_refuses_what_it_cannot_do(refused, study):
    refused("study", "fsck", "t", needed=("study 't'", "Studies: s"))
    refused("study", "fsck", "s", "t", needed=("study 't'",))
    refused("study", "fsck", "--runs", "nowhere", needed=("no such study database",))
    refused("study", "fsck", "--reapir", needed=("no such option --reapir", "--repair"))

"""A database of every format there was opens today, shows what it showed then, and goes on."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import whet
from whet.errors import StoreError
from whet.journal import migrate
from whet.journal.database import Database
from whet.journal.event import FORMAT
from whet.journal.store import Store

HERE = Path(__file__).parent / "databases"
FORMATS = range(1, FORMAT + 1)


def _writer():
    spec = importlib.util.spec_from_file_location("write_database", HERE / "write_database.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


writer = _writer()


@pytest.fixture
def old(tmp_path):
    """Return what copies the database of a format into an empty folder."""

    def copy(version):
        shutil.copy(HERE / f"format-{version}.db", tmp_path / "whet.db")
        return f"{tmp_path}/whet.db"

    return copy


def rows(path, query):
    c = sqlite3.connect(path)
    found = c.execute(query).fetchall()
    c.close()
    return found


def test_every_format_has_its_database():
    assert sorted(p.name for p in HERE.glob("*.db")) == [f"format-{v}.db" for v in FORMATS]
    for version in FORMATS:
        c = sqlite3.connect(f"file:{HERE}/format-{version}.db?immutable=1", uri=True)
        assert c.execute("select value from whet_meta where key = 'format'").fetchone() == (str(version),)
        c.close()


@pytest.mark.parametrize("version", FORMATS)
def test_a_database_shows_what_it_showed_and_goes_on(version, old):
    path = old(version)
    expected = json.loads((HERE / f"format-{version}.json").read_text())
    with whet.Study.open(path, writer.NAME) as study:
        assert [writer.plain(t) for t in study.trials] == expected["trials"]
        assert [list(lease) for lease in study.journal.leases().values()] == expected["leases"]
        assert study.journal.spent() == expected["spent"]
        assert [{**r, "far": str(r.get("far"))} for r in study.records("looked")] == expected["looked"]
        assert [[e.seq, e.kind, e.trial] for e in study.journal.read()] == expected["events"]
        count, best = len(study.trials), study.best
        uid = study.journal.uid
        writer.go_on(study, 3)
        study.record("went on", {})
        assert len(study.trials) >= count
        assert study.trials[best.id].params == best.params
        assert [e.seq for e in study.journal.read()] == list(range(1, study.trials.seq + 1))
    assert rows(path, "select value from whet_meta where key = 'format'") == [(str(FORMAT),)]
    assert len(uid) == 32
    with whet.Study.open(path, writer.NAME) as study:
        assert study.journal.uid == uid, "the identity of a study changed"
        assert len(study.records("went on")) == 1
    if expected.get("imports"):
        with whet.Study.open(path, writer.IMPORTS) as study:
            assert [writer.plain(t) for t in study.trials] == expected["imports"]
            writer.go_on(study, 2)


def test_the_study_of_format_1_still_plays_the_same():
    """The code of today decides as that of format 1 did: the databases differ in nothing but their format."""
    one, last = (json.loads((HERE / f"format-{v}.json").read_text()) for v in (1, FORMAT))
    for trial in last["trials"]:
        for measured in ("seconds", "memory"):  # which came with format 2
            (trial["error"] or {}).pop(measured, None)
    assert {k: last[k] for k in one} == one


def test_each_study_gets_its_own_identity(old):
    path = old(1)
    c = sqlite3.connect(path)
    c.execute("insert into studies (name, at) values ('second', 1.0)")
    c.commit()
    c.close()
    Database(f"sqlite:///{path}")
    uids = [u for (u,) in rows(path, "select uid from studies")]
    assert len(set(uids)) == 2
    assert all(len(u) == 32 for u in uids)


def test_a_migration_that_fails_leaves_the_old_database(old, monkeypatch):
    path = old(1)

    def fails(c):
        migrate._studies_have_an_identity(c)
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(migrate, "STEPS", (fails,))
    before = rows(path, "select * from studies"), rows(path, "select count(*) from events")
    with pytest.raises(StoreError, match="no space"):
        Database(f"sqlite:///{path}")
    assert (rows(path, "select * from studies"), rows(path, "select count(*) from events")) == before
    assert rows(path, "select value from whet_meta where key = 'format'") == [("1",)]
    monkeypatch.undo()
    Database(f"sqlite:///{path}")
    assert rows(path, "select value from whet_meta where key = 'format'") == [(str(FORMAT),)]


OPEN = """
import sys
from whet.journal import migrate
from whet.journal.store import Store
step = migrate.STEPS[0]
def told(c):
    print("migrates", flush=True)
    sys.stdin.readline()
    step(c)
migrate.STEPS = (told, *migrate.STEPS[1:])
print("ready", flush=True)
sys.stdin.readline()
journal = Store(sys.argv[1]).journal("bowl")
print(journal.uid, len(journal.read()), flush=True)
journal.close()
"""


def test_of_two_processes_that_open_an_old_database_one_migrates_and_the_other_waits(old):
    path = old(1)
    both = [
        subprocess.Popen([sys.executable, "-c", OPEN, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    first, second = both
    for p in both:
        assert p.stdout.readline() == "ready\n"
    first.stdin.write("\n")
    first.stdin.flush()
    assert first.stdout.readline() == "migrates\n"  # it holds the lock, in the middle of its migration
    second.stdin.write("\n")
    second.stdin.flush()
    second.stdin.close()
    assert rows(path, "select value from whet_meta where key = 'format'") == [("1",)]  # a reader does not wait
    first.stdin.write("\n")
    first.stdin.close()
    told = [p.stdout.read() for p in both]
    assert [p.wait() for p in both] == [0, 0]
    for p in both:
        p.stdout.close()
    assert told[0] == told[1], "the second migrated too, or saw another study"
    events = len(json.loads((HERE / "format-1.json").read_text())["events"])
    assert told[0].split()[1:] == [str(events)]


def test_a_newer_format_is_refused_untouched(old):
    path = old(FORMAT)
    c = sqlite3.connect(path)
    c.execute(f"update whet_meta set value = '{FORMAT + 1}' where key = 'format'")
    c.commit()
    c.close()
    with pytest.raises(StoreError, match=f"newer whet .format {FORMAT + 1}"):
        Store(path).journal("bowl")

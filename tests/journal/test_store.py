from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from whet.errors import StoreError, StudyError
from whet.journal.process import who
from whet.journal.store import Store
from whet.units import parse_bytes


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://", "sqlite:///", "sqlite:///:memory:", ":memory:", "mysql://me:hush@h/x", "postgresql://me:hush@h",
        "postgresql://me:hush@h/", "postgresql+psycopg2://me:hush@h/x", "postgresql://me:hush@h:port/x",
        "postgresql://me:hush@h:99999/x", "postgresql://me:hu@sh@h/x", "postgresql://me:hu/sh@h/x",
        "postgresql://me:hu:sh@h/x", "postgresql://me:hu#sh@h/x", "postgresql://me:hu?sh@h/x", "postgresql://[::1/x",
        "postgresql://me:hush@h/x/y", "postgresql://me:hush@h:0/x",
    ],
)  # fmt: skip
def test_stores_that_are_refused(url):
    with pytest.raises(StoreError) as e:
        Store(url)
    assert len(str(e.value).splitlines()) == 1
    assert "hu" not in str(e.value), "a part of the password is shown"


@pytest.mark.parametrize(
    ("url", "full", "where"),
    [
        ("runs/whet.db", "sqlite:///runs/whet.db", "sqlite:///runs/whet.db"),
        ("postgres://me:hush@h:5433/x", "postgresql://me:hush@h:5433/x", "postgresql://me@h:5433/x"),
        ("postgresql+psycopg://me@h/x", "postgresql://me@h/x", "postgresql://me@h/x"),
        ("postgresql://h/x?password=hush", "postgresql://h/x?password=hush", "postgresql://h/x"),
        ("postgresql://me:h%40sh@h/x", "postgresql://me:h%40sh@h/x", "postgresql://me@h/x"),
        ("postgresql:///x", "postgresql:///x", "postgresql:///x"),
        ("postgresql://me:hush@[::1]:5432/x", "postgresql://me:hush@[::1]:5432/x", "postgresql://me@[::1]:5432/x"),
    ],
)
def test_stores_and_how_they_are_shown(url, full, where):
    store = Store(url)
    assert (store.url, store.where) == (full, where)
    assert repr(store) == f"Store({where!r}, durability='process', quota=None, folder=None)"
    assert Store(store.url) == store


def test_where_the_files_lie(tmp_path):
    assert Store("lab/whet.db").files("s") == Path("lab/s")
    assert Store("postgresql://h/x").files("s") == Path("runs/s")
    assert Store(None).files("s") is None
    for url in ("lab/whet.db", "postgresql://h/x", None):
        assert Store(url, folder=tmp_path / "new").files("s") == tmp_path / "new" / "s"
        assert Store(url, folder=str(tmp_path)).files("s") == tmp_path / "s"
    (tmp_path / "file").touch()
    for folder, match in ((tmp_path / "file", "is a file"), ("", "not a path"), (3, "not a path")):
        with pytest.raises(StoreError, match=match) as e:
            Store(None, folder=folder)
        assert len(str(e.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("given", "size"),
    [
        (1, 1), (4096, 4096), (1e9, 10**9), ("4096", 4096), ("1e9", 10**9), ("1B", 1), ("500MB", 500_000_000), ("10GB", 10**10), ("10 gb", 10**10),
        (" 1.5kB ", 1500), ("2TB", 2 * 10**12), ("1KiB", 1024), ("3GiB", 3 * 2**30), ("0.5MiB", 2**19),
    ],
)  # fmt: skip
def test_sizes(given, size):
    assert parse_bytes(given) == size
    assert Store(None, quota=given).quota == size


@pytest.mark.parametrize(
    "given", [0, -1, True, "", "GB", "ten", "-1GB", "1XB", "10 G B", "0GB", "0.1B", "nan", [], b"1GB"]
)
def test_sizes_that_are_refused(given):
    with pytest.raises(StoreError, match="quota") as e:
        Store(None, quota=given)
    assert len(str(e.value).splitlines()) == 1


def test_the_names_of_studies(tmp_path):
    store = Store(f"{tmp_path}/deep/s.db")
    assert store.names() == Store(None).names() == []
    assert not (tmp_path / "deep").exists(), "a look made a folder"
    for name in ("b", "a"):
        store.journal(name).close()
    assert store.names() == ["b", "a"]
    (tmp_path / "other.db").write_text("hello " * 300)
    with pytest.raises(StoreError, match="not a whet database"):
        Store(f"{tmp_path}/other.db").names()


def hold(store, name, worker):
    journal = store.journal(name)
    with journal.write() as w:
        w.take(0, worker)
    journal.close()


def test_a_study_is_renamed_when_nobody_works_on_it(tmp_path):
    store = Store(f"{tmp_path}/s.db")
    journal = store.journal("old")
    journal.record("x", {})
    uid = journal.uid
    store.journal("other").close()
    database = store.database()
    for new, match in (("other", "study 'other': exists already"), ("a/b", "study name"), ("old", "exists already")):
        with pytest.raises(StudyError, match=match):
            database.rename("old", new)
    with pytest.raises(StudyError, match=r"study 'never': not in .*s\.db"):
        database.rename("never", "new")
    for alive in (f"{who()}#1", "elsewhere/boot-1/100/200#2"):  # of another machine nobody here can tell
        hold(store, "old", alive)
        host, _, pid = alive.split("/")[:3]
        with pytest.raises(StudyError, match=f"process {pid} on {host} works on it") as e:
            database.rename("old", "new")
        assert len(str(e.value).splitlines()) == 1
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    hold(store, "old", f"{who(child.pid)}#3")
    with pytest.raises(StudyError, match=f"process {child.pid} "):
        database.rename("old", "new")
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    database.rename("old", "new")
    child.wait()
    assert store.names() == ["new", "other"]
    assert journal.record("x", {}) == 2, "who had it open has lost it"
    journal.close()
    again = store.journal("new")
    assert (len(again.read()), again.uid) == (2, uid)
    again.close()


@pytest.mark.parametrize(
    ("message", "worker", "tries"),
    [("terminating connection due to administrator command", "", 2), ("Connection refused", "1", 2), ("Connection refused", "", 1)],
)  # fmt: skip
def test_a_server_that_restarts_is_waited_for(message, worker, tries, tmp_path, monkeypatch):
    """A server that is not there is said at once; to a worker, which was started by one that had it open, it restarts."""
    opened, asked = Store._opened, []

    def once(self, name, create):
        asked.append(name)
        if len(asked) == 1:
            raise StoreError(f"the server cannot be reached ({message})")
        return opened(self, name, create)

    monkeypatch.setattr(Store, "_opened", once)
    monkeypatch.setenv("WHET_WORKER", worker)
    store = Store(f"{tmp_path}/s.db")
    if tries == 2:
        store.journal("s").close()
    else:
        with pytest.raises(StoreError, match="refused"):
            store.journal("s")
    assert len(asked) == tries

"""The database with real files, real processes and real faults."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from whet.errors import Rewound, StoreError, StudyError
from whet.journal import sqlite
from whet.journal.database import Database
from whet.journal.sql import SqlJournal
from whet.journal.store import Store


def python(code, *args, **options):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finish(process):
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


APPEND = """
import sys
from whet.journal.store import Store
journal = Store(sys.argv[1]).journal("s")
print("ready", flush=True)
sys.stdin.readline()
for i in range(100):
    with journal.write() as w:
        for _ in range(i % 3):
            w.append("noted", int(sys.argv[2]), {"i": i})
"""


def test_processes_that_append_at_once_neither_lose_nor_double_a_number(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    workers = [python(APPEND, url, i, stdin=subprocess.PIPE) for i in range(3)]
    for p in workers:
        assert p.stdout.readline() == "ready\n"
    for p in workers:
        p.stdin.write("\n")
        p.stdin.flush()
    for p in workers:
        finish(p)
    journal = Store(url).journal("s")
    events = journal.read()
    journal.close()
    each = [i for i in range(100) for _ in range(i % 3)]
    assert [e.seq for e in events] == list(range(1, 3 * len(each) + 1))
    for worker in range(3):
        assert [e.data["i"] for e in events if e.trial == worker] == each


CREATE = """
import sys
from whet.journal.store import Store
print("ready", flush=True)
sys.stdin.readline()
journal = Store(sys.argv[1]).journal("s")
journal.record("hello", {})
"""


def test_processes_that_create_one_database_at_once(tmp_path):
    for attempt in range(3):
        url = f"sqlite:///{tmp_path}/new{attempt}/s.db"
        workers = [python(CREATE, url, stdin=subprocess.PIPE) for _ in range(3)]
        for p in workers:
            assert p.stdout.readline() == "ready\n"
        for p in workers:
            p.stdin.write("\n")
            p.stdin.flush()
        for p in workers:
            finish(p)
        journal = Store(url).journal("s")
        assert len(journal.read()) == 3
        journal.close()
        assert [p.name for p in (tmp_path / f"new{attempt}").iterdir()] == ["s.db"]


def refused(url, match, **options):
    with pytest.raises(StoreError, match=match) as e:
        Database(url, **options)
    assert len(str(e.value).splitlines()) == 1


def listing(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_is_no_database_is_refused_and_left_alone(tmp_path):
    (tmp_path / "text.db").write_text("hello " * 300)
    (tmp_path / "folder.db").mkdir()
    with sqlite3.connect(tmp_path / "other.db") as c:
        c.execute("create table customers (id integer)")
    c.close()
    before = listing(tmp_path)
    refused(f"sqlite:///{tmp_path}/text.db", "not a whet database")
    refused(f"sqlite:///{tmp_path}/other.db", "not a whet database .*customers")
    refused(f"sqlite:///{tmp_path}/folder.db", "is a folder")
    refused(f"sqlite:///{tmp_path}/nothing.db", "no such study database", create=False)
    after = listing(tmp_path)
    assert after.keys() == before.keys()
    assert after["text.db"] == before["text.db"]


def test_a_database_of_a_newer_version_is_refused(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    Database(url)
    with sqlite3.connect(tmp_path / "s.db") as c:
        c.execute("update whet_meta set value = '99' where key = 'format'")
    c.close()
    refused(url, "newer whet .*99")
    with sqlite3.connect(tmp_path / "s.db") as c:
        c.execute("delete from whet_meta")
    c.close()
    refused(url, "not a whet database")


def test_an_empty_file_becomes_a_database(tmp_path):
    (tmp_path / "s.db").touch()
    journal = SqlJournal(Database(f"sqlite:///{tmp_path}/s.db"), "s")
    assert journal.record("x", {}) == 1
    journal.close()


NOBODY = """
import os, sys
from whet.errors import StoreError
from whet.journal import database
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
try:
    database.Database(sys.argv[1])
except StoreError as e:
    print(e)
"""


def test_a_folder_that_cannot_be_written(tmp_path):
    for p in [tmp_path, *tmp_path.parents]:
        if p.stat().st_uid == os.getuid() and str(p).startswith("/tmp/"):
            p.chmod(0o755)
    folder = tmp_path / "shut"
    folder.mkdir()
    folder.chmod(0o555)
    said = finish(python(NOBODY, f"sqlite:///{folder}/s.db"))
    assert "cannot be written" in said
    assert len(said.splitlines()) == 1
    said = finish(python(NOBODY, f"sqlite:///{folder}/deeper/s.db"))
    assert "cannot be written" in said
    assert len(said.splitlines()) == 1
    assert list(folder.iterdir()) == []


FULL = """
import resource, sys
from whet.errors import StoreError
from whet.journal.store import Store
if sys.argv[2] == "begin":
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    journal = Store(sys.argv[1]).journal("s")
    resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000))
    for i in range(1000):
        with journal.write() as w:
            w.append("noted", i, {"text": "x" * 1000})
            w.append("noted", i, {"text": "y" * 1000})
except StoreError as e:
    print(e)
    assert len(str(e).splitlines()) == 1
    if sys.argv[2] != "begin":
        print(len(journal.read()))
else:
    print("wrote everything")
"""


def test_a_full_disk_while_creating_leaves_nothing(tmp_path):
    said = finish(python(FULL, f"sqlite:///{tmp_path}/s.db", "begin"))
    assert "no space on the disk" in said, said
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_while_writing_loses_nothing(tmp_path):
    said, count = finish(python(FULL, f"sqlite:///{tmp_path}/s.db", "later")).splitlines()
    assert "no space on the disk" in said, said
    journal = Store(f"sqlite:///{tmp_path}/s.db").journal("s")
    events = journal.read()
    assert len(events) == int(count) > 0
    assert len(events) % 2 == 0, "half a transaction was written"
    with journal.write() as w:  # room again
        assert w.append("noted", 0, {}).seq == len(events) + 1
    journal.close()


def test_a_full_database_page_limit(tmp_path):
    journal = SqlJournal(Database(f"sqlite:///{tmp_path}/s.db"), "s")
    journal._connection.raw().execute("PRAGMA max_page_count=20")
    written = 0

    def fill():
        nonlocal written
        for i in range(100):
            with journal.write() as w:
                w.append("noted", i, {"text": "x" * 2000})
            written += 1

    with pytest.raises(StoreError, match="no space on the disk"):
        fill()
    assert [e.seq for e in journal.read()] == list(range(1, written + 1))
    journal.close()


def test_a_closed_journal_says_so(tmp_path):
    journal = SqlJournal(Database(f"sqlite:///{tmp_path}/s.db"), "s")
    journal.close()
    with pytest.raises(StoreError, match="closed"):
        journal.read()


def test_a_journal_that_lost_events_is_noticed(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    mine, other = Store(url).journal("s"), Store(url).journal("s")
    for i in range(4):
        mine.record("x", {"i": i})
    end = mine.read()[-1].seq
    c = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    c.execute("delete from events where seq > 2")  # what a crash of the disk's cache may do
    for look in (lambda: mine.read(end), lambda: next(mine.pages(end)), lambda: decide(mine, end)):
        with pytest.raises(Rewound, match="event 4 is not there"):
            look()
    for i in range(3):
        other.record("y", {"i": i})  # the numbers are used again, for something else
    with pytest.raises(Rewound, match="event 4 is not there"):
        mine.read(end)
    with pytest.raises(Rewound):
        decide(mine, end)
    assert [e.seq for e in mine.read()] == [1, 2, 3, 4, 5]
    assert mine.read(5) == [], "after it was read anew, it is known"
    assert mine.record("x", {}) == 3
    assert [e.data["topic"] for e in mine.read(5)] == ["x"]
    c.close()
    other.close()
    mine.close()


def decide(journal, seen):
    with journal.write() as w:
        w.read(seen)
        w.append("noted", 0, {})


def test_a_study_that_was_deleted_meanwhile_is_noticed(tmp_path):
    store = Store(f"{tmp_path}/s.db")
    journal = store.journal("s")
    journal.record("x", {})
    end = journal.read()[-1].seq
    store.database().delete("s")
    with pytest.raises(Rewound, match="deleted"):
        decide(journal, end)
    journal.close()


def test_a_damaged_event_is_named(tmp_path):
    journal = SqlJournal(Database(f"sqlite:///{tmp_path}/s.db"), "s")
    for i in range(3):
        journal.record("x", {"i": i})
    for text in ('{"topic": "x", "da', '{}, {"a": 1}', "\x00"):
        journal._connection.raw().execute("update events set data = ? where seq = 2", (text,))
        with pytest.raises(StoreError, match="study 's': event 2 is damaged") as e:
            journal.read()
        assert len(str(e.value).splitlines()) == 1
    journal.close()


def test_a_beat_without_a_lease_needs_no_lock(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    one, two = Store(url).journal("s"), Store(url).journal("s")
    with one.write():
        two.beat("nobody")  # it would wait for a minute
    one.close()
    two.close()


def test_the_write_ahead_log_stays_short_while_several_write(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "_LOG", 1_000_000)
    monkeypatch.setattr(sqlite, "_EVERY", 20)
    url = f"sqlite:///{tmp_path}/s.db"
    journals = [Store(url).journal("s") for _ in range(3)]
    longest = 0

    def add(journal):
        for i in range(300):
            with journal.write() as w:
                w.append("noted", i, {"text": "x" * 3000})

    threads = [threading.Thread(target=add, args=(j,)) for j in journals]
    for t in threads:
        t.start()
    while any(t.is_alive() for t in threads):
        longest = max(longest, (tmp_path / "s.db-wal").stat().st_size)
        journals[0].leases()  # readers come and go
        time.sleep(0.001)  # one that is always there would keep the log from being cut
    # each of the three looks after its next 20 commits of about 10 kB, and again when a reader was in the way
    assert 500_000 < longest < 4_000_000, longest
    assert len(journals[0].read()) == 900
    for j in journals:
        j.close()


FORKED = """
import os, sys
from whet.journal.store import Store
journal = Store(sys.argv[1]).journal("s")
journal.record("x", {})
pid = os.fork()
for _ in range(50):
    journal.record("x", {})
if pid == 0:
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
events = journal.read()
assert [e.seq for e in events] == list(range(1, 102)), len(events)
assert len({e.who for e in events}) == 2
journal.close()
"""


def test_a_journal_goes_on_in_a_process_that_was_forked(tmp_path):
    finish(python(FORKED, f"{tmp_path}/s.db"))


def test_studies_are_listed_in_order_and_deleted(tmp_path):
    store = Store(f"{tmp_path}/s.db")
    for name in ("b", "a", "c"):
        journal = store.journal(name)
        journal.record("x", {})
        journal.close()
    database = store.database()
    assert [n for n, _ in database.studies()] == ["b", "a", "c"]
    database.delete("a")
    database.delete("never")
    assert [n for n, _ in database.studies()] == ["b", "c"]
    journal = store.journal("a")
    assert journal.read() == []
    journal.close()
    with pytest.raises(StudyError, match=r"'bb'.*Did you mean|Studies: b, c"):
        store.journal("bb", create=False)


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a b", "x" * 101, "..", "a\n"])
def test_names_that_are_refused(name):
    with pytest.raises(StudyError, match="study name") as e:
        Store(None).journal(name)
    assert len(str(e.value).splitlines()) == 1


def test_a_path_is_a_store(tmp_path):
    assert Store.of(Path(tmp_path) / "s.db").url == f"sqlite:///{tmp_path}/s.db"
    assert Store.of(None).path is None
    with pytest.raises(StoreError, match="durability"):
        Store(None, durability="none")


@pytest.mark.parametrize(("durability", "level"), [("process", 1), ("power", 2)])
def test_a_commit_waits_for_the_disk_when_it_is_to_survive_a_power_cut(durability, level, tmp_path):
    """SQLite's level 2 (FULL) waits for the log at every commit; in level 1 (NORMAL) only when the log is taken over."""
    journal = Store(f"{tmp_path}/s.db", durability=durability).journal("s")
    assert journal._query("PRAGMA synchronous") == [(level,)]
    assert journal._query("PRAGMA journal_mode") == [("wal",)]
    journal.close()


def test_who_waits_for_another_process_does_something_useful_meanwhile(tmp_path):
    one, two = (SqlJournal(Database(f"sqlite:///{tmp_path}/s.db"), "s") for _ in range(2))
    seen, waiting = [], threading.Event()

    def meanwhile():
        seen.append(len(two.read()))
        waiting.set()

    def write():
        with two.write(meanwhile) as w:
            w.append("noted", 1, {})

    with one.write() as w:
        w.append("noted", 0, {})
    with one.write() as w:
        thread = threading.Thread(target=write)
        thread.start()
        assert waiting.wait(10)
        w.append("noted", 0, {})
    thread.join(10)
    assert seen == [1], "once, and it sees what was committed"
    assert [e.trial for e in one.read()] == [0, 0, 1]
    with two.write(meanwhile):
        pass
    assert seen == [1], "nobody was in the way"
    one.close()
    two.close()

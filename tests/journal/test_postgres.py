"""Studies on a real PostgreSQL server: what can be wrong with it, and what happens when it goes away."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

import whet
from whet.errors import LostConnection, Rewound, StoreError, StudyError
from whet.journal import connection
from whet.journal.event import Lease
from whet.journal.store import Store

pytestmark = pytest.mark.postgres


@pytest.fixture
def journal(shared, request):
    """Return the journal of a study of its own."""
    made = Store(shared).journal(request.node.name[:90].replace("[", "-").replace("]", ""))
    yield made
    made.close()


def refused(url, match, **options):
    with pytest.raises(StoreError, match=match) as e:
        Store(url, **options).journal("s")
    text = str(e.value)
    assert len(text.splitlines()) == 1
    assert "secret" not in text, text
    assert "sqlalche" not in text, text
    return text


# -- what can be wrong


def test_a_server_that_is_not_there():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]  # bound and not listened on: nobody answers
        url = f"postgresql://me:secret@127.0.0.1:{port}/lab"
        text = refused(url, "cannot be reached")
        assert f"postgresql://me@127.0.0.1:{port}/lab" in text
        assert "Connection refused" in text


def test_a_host_that_has_no_address():
    refused("postgresql://me:secret@no-such-host.invalid/lab", "cannot be reached")


def test_a_wrong_password_user_or_database(server):
    refused(server.url(password="secret wrong"), "refused user 'whet'.*password authentication failed.*PGPASSWORD")
    refused(server.url(user="nobody"), "refused user 'nobody'")
    text = refused(server.url("not-there"), "no such database")
    assert f"`createdb -h 127.0.0.1 -p {server.port} -U whet not-there`" in text


def test_a_user_who_may_not_make_tables(server, postgres):
    server.sql("DROP ROLE IF EXISTS guest", database="postgres")
    server.sql("CREATE ROLE guest LOGIN PASSWORD 'secret'", database="postgres")
    url = postgres.replace("whet:", "guest:").replace(postgres.split(":")[2].split("@")[0], "secret")
    refused(url, "user 'guest' may not do this .permission denied for schema public.*createdb -O guest")


def test_a_database_with_tables_like_ours(server, postgres):
    name = postgres.rpartition("/")[2]
    server.sql("CREATE TABLE customers (id int)", database=name)
    Store(postgres).journal("s").close()  # tables of others do not matter ...
    for table in ("whet_meta", "studies", "leases", "sessions"):
        server.sql(f"DROP TABLE {table}", database=name)
    refused(postgres, "not a whet database .it has tables events")  # ... but those with our names
    server.sql("CREATE TABLE whet_meta (key text, value text)", database=name)
    refused(postgres, "not a whet database .its format is None")
    server.sql("INSERT INTO whet_meta VALUES ('format', '99')", database=name)
    refused(postgres, "newer whet .format 99")


def test_without_psycopg_the_extra_is_named():
    code = (
        "import sys; sys.modules['psycopg'] = None\nfrom whet.journal.store import Store\n"
        "from whet.errors import MissingExtra\ntry: Store('postgresql://me:secret@h/x').journal('s')\n"
        "except MissingExtra as e: print(e)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == ("store: PostgreSQL needs psycopg, which is not installed. Run: pip install 'whet[postgres]'\n")


def test_a_database_nobody_has_written_to(postgres):
    store = Store(postgres)
    assert store.names() == []
    with pytest.raises(StoreError, match="no studies yet"):
        store.journal("s", create=False)
    store.journal("s").close()
    assert store.names() == ["s"]
    with pytest.raises(StudyError, match="Studies: s") as e:
        store.journal("t", create=False)
    assert "secret" not in str(e.value)


# -- several at once

APPEND = """
import sys
from whet.journal.store import Store
print("ready", flush=True)
sys.stdin.readline()
journal = Store(sys.argv[1]).journal("s")
for i in range(60):
    with journal.write() as w:
        for _ in range(i % 3):
            w.append("noted", int(sys.argv[2]), {"i": i})
"""


def test_processes_that_make_the_tables_and_append_at_once(postgres):
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", APPEND, postgres, str(i)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for i in range(3)
    ]  # fmt: skip
    for p in workers:
        assert p.stdout.readline() == "ready\n"
    for p in workers:
        p.stdin.write("\n")
        p.stdin.flush()
    for p in workers:
        _, err = p.communicate(timeout=60)
        assert p.returncode == 0, err
    journal = Store(postgres).journal("s")
    events = journal.read()
    journal.close()
    each = [i for i in range(60) for _ in range(i % 3)]
    assert [e.seq for e in events] == list(range(1, 3 * len(each) + 1))
    for worker in range(3):
        assert [e.data["i"] for e in events if e.trial == worker] == each


def test_studies_do_not_wait_for_each_other(journal, shared):
    other = Store(shared).journal("another")
    with journal.write() as w:
        w.append("noted", 0, {})
        assert other.record("x", {}) >= 1
        other.spend("me", 1.0)
    other.close()


def test_a_process_that_hangs_in_a_transaction_loses_it(journal, shared):
    journal._connection.raw().execute("SET idle_in_transaction_session_timeout = 100")
    other = Store(shared).journal(journal.name)

    def hang():
        with journal.write() as w:
            w.append("noted", 0, {"who": "hangs"})
            assert other.record("went on", {}) == 1  # waits for the server to end the one that hangs

    with pytest.raises(LostConnection):
        hang()
    assert [e.kind for e in journal.read()] == ["recorded"]
    other.close()


# -- a server that goes away


@pytest.mark.parametrize("kill", [False, True])
def test_a_restart_between_is_not_noticed(journal, server, kill):
    for act, expected in (
        (lambda: journal.record("x", {}), 1),
        (lambda: [e.seq for e in journal.read()], [1]),
        (lambda: journal.read(1), []),
        (lambda: journal.spend("me", 2.5), None),
        (journal.spent, 2.5),
        (lambda: take(journal), 2),
        (lambda: journal.beat("me"), None),
        (journal.leases, {0: Lease(0, "me", 1, 0)}),
        (lambda: [len(p) for p in journal.pages()], [2]),
    ):
        assert act() == expected
        # everything is on the disk: what a crash may lose is another test's
        journal._connection.raw().execute("SET synchronous_commit = on")
        journal.spend("other", 0.0)
        server.restart(kill=kill)
    assert journal.record("x", {}) == 2
    assert journal.losses > 0


def take(journal):
    with journal.write() as w:
        w.read(1)
        w.take(0, "me")
        return w.append("noted", 0, {}).seq


def test_a_restart_inside_a_transaction_loses_that_one_only(journal, server):
    journal.record("x", {})
    for step in ("begun", "read", "appended", "flushed"):
        count = len(journal.read())

        def broken(step=step, count=count):
            with journal.write() as w:
                if step == "read":
                    w.read(0)
                if step in ("appended", "flushed"):
                    w.append("noted", 0, {"step": step})
                    w.take(0, "me")
                if step == "flushed":
                    assert w.leases()[0].worker == "me"
                server.restart()
                w.append("noted", 1, {"step": step})
                w.leases()

        with pytest.raises(LostConnection, match="Do it again"):
            broken()
        assert len(journal.read()) == count
        assert journal.leases() == {}
        with journal.write() as w:
            assert w.append("noted", 0, {}).seq == count + 1


def test_a_server_that_stays_away_is_given_up(journal, server, monkeypatch):
    monkeypatch.setattr(connection, "PATIENCE", 0.3)
    server.stop()
    try:
        for act in (journal.read, journal.spent, lambda: journal.record("x", {})):
            with pytest.raises(StoreError, match=r"could not be reached\. Start PostgreSQL again") as e:
                act()
            assert "secret" not in str(e.value)
            assert not isinstance(e.value, LostConnection)
    finally:
        server.start()
    assert journal.record("x", {}) == 1


def test_a_closed_journal_says_so(journal):
    journal.close()
    with pytest.raises(StoreError, match="closed"):
        journal.read()


@contextmanager
def proxy(server, cut):
    """Yield the URL of a way to the server that is cut at the first COMMIT: "before" it arrives, or "after" it was done."""
    listener = socket.create_server(("127.0.0.1", 0))
    state = {"cut": None}

    def serve(client):
        with client, socket.create_connection(("127.0.0.1", server.port)) as upstream:
            back = threading.Thread(target=give_back, args=(upstream, client), daemon=True)
            back.start()
            while data := client.recv(65536):
                if b"COMMIT" in data and state["cut"]:
                    way, state["cut"] = state["cut"], None
                    if way == "before":
                        break
                    state["deaf"] = client
                upstream.sendall(data)
            upstream.shutdown(socket.SHUT_RDWR)
            back.join()

    def give_back(upstream, client):
        try:
            while data := upstream.recv(65536):
                if state.get("deaf") is client:
                    client.shutdown(socket.SHUT_RDWR)  # it was done, and nobody is told
                    return
                client.sendall(data)
        except OSError:
            pass

    def accept():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    port = listener.getsockname()[1]
    yield server.url("shared").replace(f":{server.port}/", f":{port}/"), lambda: state.update(cut=cut)
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_connection_lost_at_the_commit(server, shared, cut):
    with proxy(server, cut) as (url, arm):
        journal = Store(url).journal(f"commit-{cut}")
        journal.record("x", {})
        arm()

        def add():
            with journal.write() as w:
                w.read(1)
                return [w.append("noted", i, {"i": i / 3, "text": "ü"}) for i in range(3)]

        if cut == "after":
            made = add()  # it looks, and finds it done
            assert journal.read(1) == made
        else:
            with pytest.raises(LostConnection):
                add()
            assert journal.read(1) == []
            assert [e.seq for e in add()] == [2, 3, 4]
        assert [e.seq for e in journal.read()] == [1, 2, 3, 4]
        journal.close()


def test_what_a_crash_of_the_server_may_lose(server, shared):
    server.sql("ALTER SYSTEM SET wal_writer_delay = '10s'", database="postgres")
    server.restart()
    try:
        for attempt in range(20):
            journal = Store(shared).journal(f"crash-{attempt}")
            server.sql("CHECKPOINT", database="postgres")  # that there is a study is not what the crash may lose here
            for i in range(30):
                journal.record("x", {"i": i})
            end = journal.read()[-1].seq
            server.restart(kill=True)
            there = journal.read()
            assert [e.data["data"]["i"] for e in there] == list(range(len(there))), "a hole in the record"
            # One that lost a single event cannot be told from one that lost none, once another stands in its place: numbers are
            # what a reader knows. So it takes a crash that lost more.
            if len(there) < end - 1:
                break
            journal.close()
        else:
            raise AssertionError("no crash lost anything: this test shows nothing")
        with pytest.raises(Rewound):
            journal.read(end)
        assert journal.record("x", {}) == len(there) + 1  # the study goes on from what is there
        with pytest.raises(Rewound), journal.write() as w:
            w.read(end)
        assert [e.seq for e in journal.read()] == list(range(1, len(there) + 2))
        journal.close()
        journal = Store(shared, "power").journal("crash-power")
        for i in range(30):
            journal.record("x", {"i": i})
        server.restart(kill=True)
        assert len(journal.read()) == 30
        assert journal.read(30) == []
        journal.close()
    finally:
        server.sql("ALTER SYSTEM RESET wal_writer_delay", database="postgres")
        server.restart()


# -- a study


def test_a_study_goes_on_after_restarts_and_tells_no_password(shared, server, tmp_path):
    store = Store(shared, folder=tmp_path)
    with whet.Study(whet.Space(x=whet.Float(-1, 1)), search="random", store=store, name="restarts", steps=2) as study:
        for _ in range(4):
            trial = study.ask()
            for step in range(trial.step + 1, 3):
                if study.report(trial, step, trial.params["x"] ** 2) is not whet.Verdict.GO:
                    break
            else:
                study.tell(trial, trial.params["x"] ** 2)
            server.restart()
        events = study.journal.read()
        assert len(study.trials) >= 2
    assert "secret" not in repr(events)
    assert "secret" not in repr(store)
    with whet.Study.open(store, "restarts") as again:
        assert [e.bare for e in again.journal.read()] == [e.bare for e in events]


def test_rename_and_delete(shared):
    store = Store(shared)
    journal = store.journal("before")
    journal.record("x", {})
    database = store.database()
    database.rename("before", "after")
    assert journal.record("x", {}) == 2  # who has it open has the same study
    with pytest.raises(StudyError, match="exists already"):
        database.rename("after", "after")
    database.delete("after")
    with pytest.raises(StoreError, match="deleted meanwhile"):
        journal.record("x", {})
    journal.close()
    assert "after" not in store.names()

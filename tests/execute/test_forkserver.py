"""Forked workers keep what a pool promises, and where they cannot be forked fresh ones do the same work."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from whet.execute import Pool
from whet.execute.forkserver import ForkServer
from whet.journal.process import dead, who

WORK = str(Path(__file__).with_name("execute_work.py"))
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere nothing is forked")


def answer(pool, worker=0):
    """Return the messages of a call up to its end."""
    found = []
    while not found or found[-1].kind not in ("result", "error", "exit"):
        message = pool.get(60)
        assert message is not None, "no answer"
        if message.worker == worker and message.kind not in ("ready", "warm"):
            found.append(message)
    return found


@pytest.fixture
def server(tmp_path):
    with ForkServer(f"{WORK}:prepare", {}, log=tmp_path / "log") as server:
        yield server


def test_what_was_prepared_is_there_and_each_worker_is_its_own(server, tmp_path):
    with Pool(2, threads=3, log=tmp_path / "log", forks=server) as pool:
        pids = pool.pids()
        for w in range(2):
            pool.call(w, f"{WORK}:parent", {})
            found = answer(pool, w)[-1].data
            assert found["made"] == [found["parent"]] == [server._process.pid]
            assert found["group"] == pids[w]
            assert found["threads"] == "3"
        pool.call(0, f"{WORK}:noisy", {})
        assert [m.data for m in answer(pool)] == [{"step": 1}, "true"]
        assert "to the log" in (tmp_path / "log").read_text()
        pool.call(1, f"{WORK}:waits", {})
        names = pool.names()
    assert all(map(dead, names))


def test_how_a_forked_worker_ended_is_known_and_another_takes_its_place(server, tmp_path):
    with Pool(1, log=tmp_path / "log", forks=server) as pool:
        for _ in range(3):
            (name,) = pool.names()
            pool.call(0, f"{WORK}:dies", {})
            end = answer(pool)[-1]
            assert (end.kind, end.data["code"], end.data["name"]) == ("exit", -signal.SIGKILL, name)
            pool.restart(0)
        pool.call(0, f"{WORK}:forks", {"dies": False})
        while (message := pool.get(60)).kind != "event":
            assert message.kind == "ready", message
        grandchild = who(message.data["forked"])
        pool.end(0, "enough")
        assert answer(pool)[-1].data["why"] == "enough"
        while not dead(grandchild):
            pass
        pool.restart(0)
        pool.call(0, f"{WORK}:parent", {})
        assert answer(pool)[-1].data["parent"] == server._process.pid


@pytest.mark.parametrize("payload", [{"thread": True}, {"fails": True}])
def test_what_cannot_be_forked_is_begun_anew(payload, tmp_path):
    with (
        ForkServer(f"{WORK}:prepare", payload, log=tmp_path / "log") as server,
        Pool(1, log=tmp_path / "log", forks=server) as pool,
    ):
        pool.call(0, f"{WORK}:parent", {})
        forked = "fails" in payload  # then it is for the work to say so
        assert answer(pool)[-1].data["parent"] == (server._process.pid if forked else os.getpid())
        assert server.why.startswith("threads: ") is not forked


def test_workers_live_on_without_the_process_that_forked_them(server, tmp_path):
    with Pool(2, log=tmp_path / "log", forks=server) as pool:
        pool.call(0, f"{WORK}:square", {"x": 3})
        assert answer(pool)[-1].data == 9
        server._process.kill()
        server._process.wait()
        pool.call(0, f"{WORK}:square", {"x": 4})
        assert answer(pool)[-1].data == 16
        pool.call(0, f"{WORK}:dies", {})
        assert answer(pool)[-1].kind == "exit"
        pool.restart(0)
        pool.call(0, f"{WORK}:parent", {})
        assert answer(pool)[-1].data["parent"] == os.getpid()


def test_what_is_longer_than_a_socket_takes_arrives_whole(tmp_path):
    sizes = [100, 300_000, 5_000_000]  # a socket takes about 200 kB at once
    payload = {"long": ["\N{SNOWMAN}" * n for n in sizes]}
    with (
        ForkServer(f"{WORK}:prepare", payload, log=tmp_path / "log") as server,
        Pool(1, log=tmp_path / "log", forks=server) as pool,
    ):
        pool.call(0, f"{WORK}:parent", {})
        found = answer(pool)[-1].data
        assert (found["parent"], found["made"][1:]) == (server._process.pid, sizes)
        inside, outside = os.pipe()
        child = server.fork({"LONG": "x" * 400_000}, out=2, faults=inside)
        assert child is not None, server.why
        with child.stdout as said:
            with child.stdin as words:
                words.write(json.dumps({"call": f"{WORK}:long", "payload": {}}) + "\n")
            assert [json.loads(line) for line in said][-1] == {"result": "x" * 400_000}
        child.wait(30)
        os.close(inside)
        os.close(outside)


def test_what_cannot_be_sent_is_begun_anew_and_says_why(tmp_path, monkeypatch):
    def full(name):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "memfd_create", full)
    with ForkServer(f"{WORK}:prepare", {"long": ["x" * 300_000]}, log=tmp_path / "log") as server:
        assert server.ready(60)
        assert server.fork({}, out=2, faults=2) is None
        assert "No space left" in server.why


def test_closing_does_not_wait_for_what_is_never_ready(tmp_path):
    with ForkServer(f"{WORK}:prepare", {"slow": True}, log=tmp_path / "log") as server:
        assert not server.ready(0.5)
    assert server._process.returncode is not None


OWNER = """
import sys
from whet.execute import Pool
from whet.execute.forkserver import ForkServer
server = ForkServer(f"{sys.argv[1]}:prepare", {})
pool = Pool(2, forks=server)
for i in range(2):
    pool.call(i, f"{sys.argv[1]}:waits", {})
seen = []
while len(seen) < 2:
    message = pool.get(60)
    if message.kind == "event":
        seen.append(message.data["waiting"])
print(server._process.pid, *seen, flush=True)
pool.get(60)
"""


def test_nothing_outlives_the_owner():
    owner = subprocess.Popen([sys.executable, "-c", OWNER, WORK], stdout=subprocess.PIPE, text=True)
    pids = [int(p) for p in owner.stdout.readline().split()]
    assert len(pids) == 3
    handles = [os.pidfd_open(pid) for pid in pids]
    owner.kill()
    owner.wait()
    owner.stdout.close()
    for handle in handles:  # readable when the process has ended
        assert select.select([handle], [], [], 30)[0], "a process is still there"
        os.close(handle)

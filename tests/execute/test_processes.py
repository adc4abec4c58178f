from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from whet.execute import Message, Pool
from whet.journal.process import dead, who

WORK = str(Path(__file__).with_name("execute_work.py"))


def answer(pool, worker=0):
    """Return the messages of a call up to its end."""
    found = []
    while not found or found[-1].kind not in ("result", "error", "exit"):
        message = pool.get(60)
        assert message is not None, "no answer"
        if message.worker == worker and message.kind not in ("ready", "warm"):
            found.append(message)
    return found


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    with Pool(1, threads=3, log=tmp_path_factory.mktemp("log") / "log") as pool:
        yield pool


def test_results_events_and_prints_are_kept_apart(pool):
    pool.call(0, f"{WORK}:noisy", {})
    assert answer(pool) == [Message(0, "event", {"step": 1}), Message(0, "result", "true")]
    log = pool._log.read_text()
    assert "forged" in log
    assert "forged too" in log
    assert "to the log" in log


def test_errors_come_back_with_their_traceback(pool):
    pool.call(0, f"{WORK}:fails", {})
    data = answer(pool)[-1].data
    assert data["error"] == "KeyError: 'on purpose'"
    assert not data["known"]
    assert "execute_work.py" in data["traceback"]
    pool.call(0, f"{WORK}:explains", {})
    data = answer(pool)[-1].data
    assert data["error"] == "two lines"
    assert data["known"]
    pool.call(0, f"{WORK}:sqare", {})
    assert "Did you mean 'square'?" in answer(pool)[-1].data["error"]
    pool.call(0, f"{WORK}:square", {"x": 7})
    assert answer(pool)[-1] == Message(0, "result", 49)  # and the worker lives on


def test_threads_are_shared_out(pool):
    pool.call(0, f"{WORK}:share", {})
    given = answer(pool)[-1].data
    assert given.pop("OMP_WAIT_POLICY") == "PASSIVE"  # they sleep while they wait: other workers have the cores
    assert set(given.values()) == {"3"}


def test_modules_are_imported_ahead(pool):
    pool.warm("json", "there_is_no_such_module")
    while (message := pool.get(60)) and message.kind != "warm":
        pass
    assert message is not None
    assert message.data == ["json", "there_is_no_such_module"]


def test_stop_reaches_running_work_and_is_forgotten_by_the_next(pool):
    pool.call(0, f"{WORK}:waits", {})
    assert pool.get(60).kind == "event"
    pool.stop()
    assert answer(pool)[-1] == Message(0, "result", True)
    pool.call(0, f"{WORK}:waits", {})
    assert pool.get(60).kind == "event"
    assert pool.get(0.2) is None
    pool.stop()
    assert answer(pool)[-1].data is True


def test_a_worker_that_dies_says_so_and_can_be_started_again(tmp_path):
    with Pool(1, log=tmp_path / "log") as pool:
        assert pool.get(60) == Message(0, "ready", pool.pids()[0])
        (name,) = pool.names()
        assert name == who(pool.pids()[0])
        pool.call(0, f"{WORK}:dies", {})
        (message,) = answer(pool)
        assert message.kind == "exit"
        assert message.data == {"code": -signal.SIGKILL, "name": name, "why": "", "trace": ""}
        pool.call(0, f"{WORK}:square", {"x": 1})  # into nothing
        pool.restart(0)
        pool.call(0, f"{WORK}:square", {"x": 5})
        assert answer(pool)[-1].data == 25
        pool.call(0, f"{WORK}:fails", {})
        with pytest.raises(RuntimeError, match="on purpose"):
            pool.wait(0)


def test_leaving_ends_the_workers_also_with_threads_left_behind(tmp_path):
    with Pool(2, log=tmp_path / "log") as pool:
        pool.call(0, f"{WORK}:lingers", {})
        answer(pool, 0)
        pool.call(1, f"{WORK}:waits", {})
        names = [who(pid) for pid in pool.pids()]
    assert all(map(dead, names))


def test_a_worker_that_dies_is_missed_although_what_it_started_holds_its_pipe(tmp_path):
    with Pool(1, log=tmp_path / "log") as pool:
        pool.call(0, f"{WORK}:forks", {"dies": True})
        event, end = answer(pool)
        assert end.kind == "exit"
        assert end.data["code"] == -signal.SIGKILL
        os.kill(event.data["forked"], signal.SIGKILL)


def test_what_a_worker_started_is_ended_with_it(tmp_path):
    with Pool(1, log=tmp_path / "log") as pool:
        pool.call(0, f"{WORK}:forks", {"dies": False})
        while (message := pool.get(60)).kind != "event":
            pass
        name = who(message.data["forked"])
        pool.end(0, "enough")
        assert answer(pool)[-1].data["why"] == "enough"
    while not dead(name):
        pass


def test_silence_is_ended_and_work_that_gets_further_is_not(tmp_path):
    with Pool(1, stall=1.0, log=tmp_path / "log") as pool:
        pool.call(0, f"{WORK}:silent", {"steps": 75, "hangs": False})  # a second and a half in all
        assert answer(pool) == [Message(0, "result", "done")]
        assert not pool.active(0)
        assert pool.get(1.2) is None  # nothing under way: silence is fine
        pool.call(0, f"{WORK}:silent", {"steps": 1, "hangs": True})
        (end,) = answer(pool)
        assert end.data["why"] == "stall"
        assert end.data["seconds"] > 1


def test_memory_is_counted_from_the_beginning_of_a_piece_of_work(tmp_path):
    with Pool(1, memory=200_000_000, log=tmp_path / "log") as pool:
        for times, keeps in ((15, True), (10, False), (10, False)):
            pool.call(0, f"{WORK}:grows", {"times": times, "keeps": keeps})
            assert answer(pool) == [Message(0, "result", times)]
        pool.call(0, f"{WORK}:grows", {"times": 1000, "keeps": False})
        (end,) = answer(pool)
        assert end.data["why"] == "memory"
        assert end.data["memory"] > 200_000_000


OWNER = """
import sys
from whet.execute import Pool
pool = Pool(2)
for i in range(2):
    pool.call(i, sys.argv[1] + ":waits", {})
seen = []
while len(seen) < 2:
    message = pool.get(60)
    if message.kind == "event":
        seen.append(message.data["waiting"])
print(*seen, flush=True)
pool.get(60)
"""


def test_no_worker_outlives_its_owner():
    owner = subprocess.Popen([sys.executable, "-c", OWNER, WORK], stdout=subprocess.PIPE, text=True)
    pids = [int(p) for p in owner.stdout.readline().split()]
    assert len(pids) == 2
    handles = [os.pidfd_open(pid) for pid in pids]
    owner.kill()
    owner.wait()
    owner.stdout.close()
    import select

    for handle in handles:  # readable when the process has ended
        assert select.select([handle], [], [], 30)[0], "a worker is still there"
        os.close(handle)

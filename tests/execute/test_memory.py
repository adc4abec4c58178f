from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

from whet.execute.memory import Meter, held, limited

BIG = 200_000_000


def test_the_peak_is_that_of_the_piece_of_work_and_not_of_the_process():
    bytearray(BIG)  # held, touched by zeroing on some systems only: so
    x = bytearray(b"x") * BIG
    before = Meter().read()["memory"]
    assert before > BIG
    del x
    meter = Meter()
    assert meter.read()["memory"] < before - BIG / 2
    y = bytearray(b"y") * (BIG // 2)
    del y
    now = meter.read()
    assert BIG / 2 < now["memory"] < before
    assert now["seconds"] >= 0


def test_a_limit_counts_from_now_holds_and_is_lifted():
    before = resource.getrlimit(resource.RLIMIT_DATA)
    kept = bytearray(b"k") * BIG  # what is held before does not count
    with limited(BIG):
        more = bytearray(BIG // 2)
        with pytest.raises(MemoryError):
            bytearray(BIG)
        with limited(10 * BIG), pytest.raises(MemoryError):  # an inner one cannot widen it
            bytearray(BIG)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    bytearray(2 * BIG)
    assert len(kept) + len(more) > BIG
    with limited(None):
        bytearray(2 * BIG)
    with pytest.raises(ZeroDivisionError), limited(BIG):
        1 / 0
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_what_another_process_holds_and_one_that_ended():
    code = f"x = bytearray(b'x') * {BIG}; print('ready', flush=True); input()"
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "ready\n"
    now = held(other.pid)
    assert BIG < now.own < 2 * BIG
    assert now.peak >= BIG
    assert held().own != now.own
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    assert held(other.pid) is None  # a zombie
    other.communicate()
    assert held(other.pid) is None

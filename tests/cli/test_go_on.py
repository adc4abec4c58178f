"""Nothing that was done is lost: by Ctrl-C, by a second one, by a killed process, by an end that came too early."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest

SLOW = """
    def augment(self, params):
        import time

        def move(inputs, targets, generator):
            time.sleep({})
            return inputs, targets

        return move
"""
TUNE = ("tune", "tiny.py", "--budget", "8trials", "--workers", "1", "--plain")


def events(folder: Path, kind: str = "%") -> list[tuple[int, str, int | None, str]]:
    """Return what the journal holds now."""
    path = folder / "runs" / "whet.db"
    if not path.exists():
        return []
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as c:
        try:
            return c.execute(
                "select seq, kind, trial, data from events where kind like ? order by seq", (kind,)
            ).fetchall()
        except sqlite3.OperationalError:  # made, and nothing in it yet
            return []


def wait(until, seconds: float = 120) -> None:
    """Wait for something that must come."""
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def gone(group: int) -> bool:
    """Return whether no process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def test_one_ctrl_c_ends_after_the_step_and_the_same_command_goes_on(start, whet, task, tmp_path):
    task(more=SLOW.format(0.05))
    process = start(*TUNE, "--json")
    wait(lambda: len(events(tmp_path, "reported")) >= 3)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Ctrl-C again stops at once" in err
    assert "Traceback" not in err
    assert json.loads(out)["interrupted"]
    assert (tmp_path / "runs" / "tiny" / "report.html").exists()
    wait(lambda: gone(process.pid))
    before = events(tmp_path)
    assert sum(kind == "asked" for _, kind, _, _ in before) < 8
    task(more=SLOW.format(0))
    said = whet(*TUNE, "--json")
    assert said.code == 0, said
    after = events(tmp_path)
    assert after[: len(before)] == before
    steps = [(trial, json.loads(data)["step"]) for _, kind, trial, data in after if kind == "reported"]
    assert len(steps) == len(set(steps)), "an epoch was trained twice"
    assert not [1 for _, kind, _, _ in after if kind == "failed"]
    assert json.loads(said.out)["tune"]["trials"] == 8
    # spent now: nothing more is written than the report
    said = whet(*TUNE)
    assert said.code == 0
    assert events(tmp_path) == after
    assert "is spent: a larger one goes on, --fresh starts over" in said.out


def test_two_ctrl_c_and_a_killed_process_leave_no_worker_and_a_whole_study(start, whet, task, tmp_path):
    task(more=SLOW.format(600))  # an epoch that nobody can wait for
    process = start(*TUNE)
    wait(lambda: events(tmp_path, "proposed"))
    os.killpg(process.pid, signal.SIGINT)
    while "Ctrl-C again" not in (line := process.stderr.readline()):
        assert line or process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err, err
    wait(lambda: gone(process.pid), 5)

    task(more=SLOW.format(0.05))
    process = start(*TUNE)
    wait(lambda: len(events(tmp_path, "reported")) >= 2)
    process.kill()
    process.wait()
    wait(lambda: gone(process.pid), 40)  # the workers notice by themselves
    before = events(tmp_path)
    task(more=SLOW.format(0))
    more = ["9trials" if word == "8trials" else word for word in TUNE]  # and a larger budget gives it more
    said = whet(*more, "--json")
    assert said.code == 0, said
    assert events(tmp_path)[: len(before)] == before
    found = json.loads(said.out)["tune"]
    assert found["trials"] == 9
    assert found["states"].keys() <= {"DONE", "PAUSED"}


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.soak)])
def test_a_training_that_is_resumed_equals_one_that_never_stopped(start, whet, task, tmp_path, seed):
    task(more=SLOW.format(0))
    words = ("train", "tiny.py", "--epochs", "8", "--seed", seed, "--set", "lr=0.01", "--json")
    whole = json.loads(whet(*words, "--runs", "whole").out)
    assert [p["step"] for p in whole["curve"]] == list(range(1, 9))
    task(more=SLOW.format(0.1))
    process = start(*words)
    last = tmp_path / "runs" / "tiny" / "train" / "last.safetensors"
    wait(last.exists)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    part = json.loads(out)
    assert part["interrupted"]
    assert 1 <= part["step"] < 8
    task(more=SLOW.format(0))
    resumed = json.loads(whet(*words, "--resume").out)
    assert resumed["step"] == 8
    assert resumed["value"] == whole["value"]
    assert resumed["curve"] == whole["curve"]
    said = whet("train", "tiny.py", "--epochs", "8", "--seed", seed, "--set", "lr=0.02", "--resume")
    assert said.code == 2
    assert "was made with params" in said.err

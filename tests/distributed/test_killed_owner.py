"""Trainings whose owner is killed: no memory and no folder stays, whatever it was at."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import whet

LESSONS = Path(__file__).with_name("lessons.py")
ENV = {**os.environ, "PYTHONPATH": str(Path(whet.__file__).parents[1])}
soak = pytest.mark.soak


@pytest.mark.parametrize(
    ("channel", "at"),
    [
        ("local", "starting"),
        ("collective", "training"),
        pytest.param("local", "made", marks=soak),
        pytest.param("local", "training", marks=soak),
        pytest.param("collective", "made", marks=soak),
        pytest.param("collective", "starting", marks=soak),
    ],
)
def test_nothing_stays_of_a_training_whose_owner_was_killed(channel, at):
    code = f"""
        import time
        from whet.distributed.{channel}.train import Training
        from whet.tasks import resolve
        rule = "async" if "{channel}" == "local" else "sync"
        training = Training(resolve("{LESSONS}:Tally", seed=0), {{"pause": 0.02}}, rule=rule, workers=2, steps=10_000)
        print(*training.job.temporary, flush=True)
        if "{at}" == "made":
            print("made", flush=True)
            time.sleep(600)
        for event in training.events(0.05):
            if "{at}" == "starting" or training.look().get("merged"):
                print("{at}", flush=True)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], env=ENV, text=True, stdout=subprocess.PIPE
    ) as owner:
        folders = [Path(name) for name in owner.stdout.readline().split()]
        assert len(folders) == 2
        assert all(f.is_dir() for f in folders)
        assert owner.stdout.readline() == f"{at}\n"
        memory = (folders[0] / "memory").stat().st_ino
        owner.send_signal(signal.SIGKILL)
        owner.wait(60)
        until = time.monotonic() + 100
        while (any(f.exists() for f in folders) or holders(memory)) and time.monotonic() < until:
            time.sleep(0.05)
    assert not any(f.exists() for f in folders)
    assert not holders(memory), "a process that has it open keeps the memory"


def holders(memory):
    """Return the processes that have mapped this file (its inode)."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            lines = (process / "maps").read_text().splitlines() if process.name.isdigit() else []
        except OSError:
            continue
        inodes = {int(line.split()[4]) for line in lines if "/whet-" in line}
        if memory in inodes:
            found.append(process.name)
    return found

"""Trainings whose owner is killed: no memory and no folder stays, whatever it was at."""

import importlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

import whet
from whet.distributed.tenure import Writer
from whet.journal.checkpoint import outline
from whet.tasks import resolve

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


@pytest.mark.parametrize(
    ("channel", "late"),
    [
        ("local", True),
        pytest.param("local", False, marks=soak),
        pytest.param("collective", False, marks=soak),
        pytest.param("collective", True, marks=soak),
    ],
)
def test_who_goes_on_at_once_waits_for_what_the_killed_owner_left_behind(channel, late, tmp_path):
    """What it left writes once more. late: that takes so long that the new one's processes are there before."""
    module, rule = (
        importlib.import_module(f"whet.distributed.{channel}.train"),
        "async" if channel == "local" else "sync",
    )
    code = f"""
        from pathlib import Path
        from whet.distributed.{channel}.train import Training
        from whet.tasks import resolve
        given = {{"rule": "{rule}", "workers": 2, "steps": 6, "folder": Path("{tmp_path}")}}
        training = Training(resolve("{LESSONS}:Tally", seed=0), {{"pause": 0.02}}, **given)
        for event in training.events(0.02):
            if training.look().get("merged", 0) > 35:
                print("now", flush=True)
    """
    checkpoint = tmp_path / ("server.safetensors" if channel == "local" else "collective.safetensors")
    other = Writer(checkpoint, "what was left behind")
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], env=ENV, text=True, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout.readline() == "now\n"
        assert not other.take()
        owner.send_signal(signal.SIGKILL)
        owner.wait(60)
    if late:
        assert other.wait(lambda: False)
    given = {"rule": rule, "workers": 2, "steps": 6, "folder": tmp_path}
    with module.Training(resolve(f"{LESSONS}:Tally", seed=0), {}, **given, resume=True) as training:
        events = training.events(0.05)
        if late:
            written = checkpoint.read_bytes()
            assert [next(events) for _ in range(100)] == [None] * 100
            assert checkpoint.read_bytes() == written
            assert not training.status.get("merged")
            other.drop()
        points = [event for event in events if event is not None]
    assert points[-1].step == 6
    each = 6.0 if channel == "local" else 3.0  # of two that step together each example is half of a step
    assert torch.cat([p.detach().flatten() for p in training.run.model.parameters()]).tolist() == [each] * 120
    assert outline(checkpoint)["merged"] == 180
    assert not list(tmp_path.glob(".*"))


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

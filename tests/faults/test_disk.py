"""A disk that is full, and checkpoints that are damaged."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from faults import Shaken, wait_for

from whet import State, Study


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MB, where the machine lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("cannot mount a small file system here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path: Path, leave: int) -> None:
    """Take all of the disk but `leave` bytes."""
    with open(path, "wb", buffering=0) as f:
        try:
            while True:
                f.write(bytes(4096))
        except OSError:
            f.truncate(max(0, f.tell() - leave))


@pytest.mark.parametrize("what", ["checkpoint", "journal"])
def test_a_full_disk_stops_the_study_and_loses_nothing(what, small_disk, tmp_path):
    ballast = {"WHET_BALLAST": "20000" if what == "checkpoint" else "0"}  # 160 kB a checkpoint
    options = {"trials": 12, "environment": ballast}
    calm = Shaken(tmp_path / "calm", **options)
    calm.complete()
    study = Shaken(small_disk / "study", **options)
    study.trained = tmp_path / "trained"
    study.env["WHET_TRAINED"] = str(study.trained)
    process = study.start(WHET_STEP="0.05")
    wait_for(lambda: study.steps() > 12)
    fill(small_disk / "full", 100_000 if what == "checkpoint" else 0)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 3, said
    assert "Traceback" not in said
    assert "no space" in said.lower() or "No space" in said, said
    assert "run again" in said
    (small_disk / "full").unlink()
    study.complete()
    study.check(calm.events(), repeats=1)


def test_a_file_that_may_not_grow_stops_the_study_and_loses_nothing(tmp_path):
    """The same through a limit on the size of files, for machines where nothing can be mounted."""
    options = {"trials": 12, "environment": {"WHET_BALLAST": "2000"}}
    calm = Shaken(tmp_path / "calm", **options)
    calm.complete()
    study = Shaken(tmp_path / "study", **options)
    with_limit = ["bash", "-c", 'ulimit -f 60; exec "$@"', "limited"]  # blocks of 1024 bytes
    first = study.start()
    args = first.args
    study.kill(first)
    limited = subprocess.run([*with_limit, *args], env=study.env, capture_output=True, text=True, timeout=60)
    assert limited.returncode == 3, limited.stderr
    assert "Traceback" not in limited.stderr
    study.complete()
    study.check(calm.events(), repeats=3)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "gone"])
def test_a_damaged_checkpoint_is_found_out_and_the_one_before_it_used(damage, tmp_path):
    study = Shaken(tmp_path, trials=6, schedule="full")
    process = study.start(WHET_STEP="0.1")

    def in_the_middle() -> bool:
        with Study.open(study.store, study.name) as opened:
            return any(t.state is State.RUNNING and 3 <= t.step <= 6 for t in opened.trials)

    wait_for(lambda: study.steps() > 3)
    wait_for(in_the_middle)
    study.kill(process)
    with Study.open(study.store, study.name) as opened:
        running = [t for t in opened.trials if len(opened.checkpoints(t.id)) > 1 and t.id in opened.interrupted]
        spoilt = [opened.files.folder / opened.checkpoints(t.id)[-1][1] for t in running]
    assert spoilt, "no running trial had two checkpoints"
    for path in spoilt:
        whole = path.read_bytes()
        if damage == "truncated":
            path.write_bytes(whole[: len(whole) // 2])
        elif damage == "flipped":
            path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        else:
            os.unlink(path)
    process = study.start()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "Using the one before it" in said
    with Study.open(study.store, study.name) as opened:
        repeated = [e for e in opened.journal.read() if e.kind == "repeated"]
        assert [e.trial for e in repeated] == [t.id for t in running]
    study.check(repeats=2)

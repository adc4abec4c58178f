"""A clock that jumps, and a worker that hangs without dying."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from faults import Shaken, wait_for

from whet import Study


def faketime() -> str | None:
    """Return the library that lies about the time, when it is installed."""
    found = [*Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), *Path("/usr/lib").glob("faketime/libfaketime.so.1")]
    return str(found[0]) if found else None


@pytest.mark.skipif(not faketime() and not os.environ.get("CI"), reason="needs libfaketime")
@pytest.mark.parametrize("jump", ["+1h", "-1h"])
def test_a_clock_that_jumps_by_an_hour_changes_nothing(jump, tmp_path):
    """The wall clock of a running worker jumps; another one lives in the old time. Nobody's lease lapses of it."""
    library = faketime()
    assert library, "libfaketime is not installed"
    now = tmp_path / "now"
    now.write_text("+0")
    lies = {
        "LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(now), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    study = Shaken(tmp_path / "study", trials=16, schedule="full")
    jumps = study.start(**lies)
    wait_for(lambda: study.steps() > 20)
    steady = study.start()
    now.write_text(jump)
    for process in (jumps, steady):
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    study.check(repeats=0)
    with Study.open(study.store, study.name) as opened:
        times = [e.at for e in opened.journal.read()]
    assert max(times) - min(times) > 3000, "the clock did not jump"


def test_a_worker_that_hangs_loses_its_trial_and_its_late_report_is_refused(tmp_path):
    study = Shaken(tmp_path, trials=6, schedule="full", environment={"WHET_LAPSE": "1"})
    hangs = study.start(WHET_STEP="0.05")
    wait_for(lambda: study.steps() > 5)
    os.kill(hangs.pid, signal.SIGSTOP)
    stopped = study.steps()
    try:
        study.complete()  # another process takes over what it had, and does the rest
        assert study.steps() > stopped
    finally:
        os.kill(hangs.pid, signal.SIGCONT)
    _, said = hangs.communicate(timeout=60)
    assert hangs.returncode == 0, said
    study.check(repeats=1)


def test_faketime_is_where_ci_needs_it():
    if os.environ.get("CI"):
        assert faketime(), "apt-get install libfaketime"
    assert shutil.which("bash")
    assert subprocess.run(["true"]).returncode == 0

"""A clock that jumps, and a worker that hangs without dying."""

from __future__ import annotations

import os
import signal

import pytest
from faults import Shaken, wait_for

from whet import Study


@pytest.mark.parametrize("jump", ["3600", "-3600"])
def test_a_clock_that_jumps_by_an_hour_changes_nothing(jump, tmp_path):
    """The wall clock of a running worker jumps; another one lives in the old time. Nobody's lease lapses of it."""
    clock = tmp_path / "clock"
    clock.write_text("0")
    study = Shaken(tmp_path / "study", trials=16, schedule="full")
    jumps = study.start(WHET_CLOCK=str(clock), WHET_STEP="0.02")
    wait_for(lambda: study.steps() > 20)
    steady = study.start()
    clock.write_text(jump)
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

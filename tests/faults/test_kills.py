"""Processes killed at any instant: nothing is lost, nothing doubled, and what one worker leaves equals a calm run."""

from __future__ import annotations

import os
import random
import signal

import pytest
from faults import Shaken, wait_for

MANY = pytest.param(50, marks=pytest.mark.soak)


def calm(tmp_path, **options):
    study = Shaken(tmp_path / "calm", **options)
    study.complete()
    study.check(repeats=0)
    return study.events()


@pytest.mark.parametrize("kills", [3, MANY])
@pytest.mark.parametrize(
    "schedule", ["asha", *(pytest.param(n, marks=pytest.mark.soak) for n in ("median", "hyperband"))]
)
def test_one_worker_killed_at_random_instants_equals_one_that_was_not(kills, schedule, tmp_path):
    options = {"trials": 4 * kills + 8, "schedule": schedule}
    undisturbed = calm(tmp_path, **options)
    study, rng = Shaken(tmp_path / "killed", **options), random.Random(kills)
    while study.kills < kills:
        process = study.start(WHET_STEP="0.02")
        # so many events more, then a moment that nobody chose
        target = study.steps() + rng.randrange(1, max(2, len(undisturbed) // (kills + 1)))
        wait_for(lambda target=target, process=process: study.steps() >= target or process.poll() is not None)
        try:
            process.wait(timeout=rng.uniform(0, 0.02))
            break
        except Exception:
            study.kill(process)
    assert study.kills >= min(kills, 3), "it was done before it could be killed"
    study.complete()
    study.check(undisturbed, repeats=study.kills)


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.soak)])
def test_every_process_killed_at_once(times, tmp_path):
    study = Shaken(tmp_path, trials=10 * times, workers=2)
    for _ in range(times):
        before, process = study.steps(), study.start(WHET_STEP="0.02")
        wait_for(lambda before=before, process=process: study.steps() > before + 20 or process.poll() is not None)
        if process.poll() is None:
            study.kill(process)
        else:
            process.communicate()
    assert study.kills
    study.complete()
    study.check(repeats=2 * study.kills)


def test_a_worker_of_two_killed_while_the_study_goes_on(tmp_path):
    from whet import Study
    from whet.journal.process import process_id

    study = Shaken(tmp_path, trials=60, workers=2)
    process = study.start(WHET_STEP="0.02")
    for i in range(3):
        wait_for(lambda i=i: study.steps() > 60 * (i + 1))
        with Study.open(study.store, study.name) as opened:
            pids = {process_id(x.worker) for x in opened.journal.leases().values()} - {None, os.getpid()}
        for pid in list(pids - {process.pid})[:1]:
            try:
                os.kill(pid, signal.SIGKILL)
                study.kills += 1
            except ProcessLookupError:
                pass  # it ended by itself in this very moment
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert study.kills
    study.check(repeats=study.kills)


def test_four_processes_share_one_budget(tmp_path):
    """`trials` is the study's, however many processes are started, at different times; one of them is killed."""
    study = Shaken(tmp_path, trials=40)
    first = study.start()
    wait_for(lambda: study.steps() > 10)
    others = [study.start() for _ in range(3)]
    wait_for(lambda: study.steps() > 80)
    study.kill(others.pop())
    for process in (first, *others):
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    study.complete()  # what the killed one had, if it was the last
    study.check(repeats=study.kills)

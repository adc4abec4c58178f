"""Workers and whole runs that are really killed, again and again: no trial lost or doubled, and the account right."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

import whet
from whet import Attempt, Int, Space, State, Study
from whet.execute import resolve
from whet.journal.process import process_id

WORK = Path(__file__).with_name("crew_work.py")
ENV = {**os.environ, "PYTHONPATH": str(Path(whet.__file__).parents[1])}


def new(folder, trials):
    return Study(
        Space(k=Int(1, trials)), search="random", schedule="full", steps=6, seed=2, store=f"sqlite:///{folder}/s.db"
    )


def check(study, trials):
    assert sorted(t.params["k"] for t in study.trials) == list(range(1, trials + 1))
    assert [t.state for t in study.trials] == [State.DONE] * trials
    for t in study.trials:
        assert [p.step for p in t.curve] == [1, 2, 3, 4, 5, 6]
        assert Attempt(study, t).load()["trained"] == [1, 2, 3, 4, 5, 6]
    assert (study.spent.trials, study.spent.steps) == (trials, 6 * trials)
    assert not study.journal.leases()
    assert not study.interrupted
    events = study.journal.read()
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    assert not any(e.kind in ("failed", "repeated") for e in events)


def kill_workers(url, times, killed):
    """Kill the worker of a trial that has just got further, at a random moment, again and again."""
    draw = random.Random(times)
    with Study.open(url, "study") as study:
        seen = 0
        while len(killed) < times:
            events = study.journal.read(seen)
            seen = events[-1].seq if events else seen
            open_ = {t.id for t in study.trials if t.state is State.RUNNING and 0 < t.step < 6}
            last = [e for e in events if e.kind == "reported" and e.trial in open_]
            if last and draw.random() < 0.5:
                os.kill(process_id(last[-1].who), signal.SIGKILL)
                killed.append(last[-1].trial)


@pytest.mark.parametrize("times", [3, pytest.param(50, marks=pytest.mark.soak)])
def test_workers_killed_at_random_moments_cost_no_trial(times, tmp_path):
    trials, killed = 4 * times, []
    with new(tmp_path, trials) as study:
        killer = threading.Thread(target=kill_workers, args=(study.store.url, times, killed), daemon=True)
        killer.start()
        study.run(resolve(f"{WORK}:slow"), workers=2)
        check(study, trials)
    killer.join(10)
    assert len(killed) == times, "it was over before that many were killed"


RUN = """
import sys
import whet
from whet.execute import resolve
study = whet.Study.open(sys.argv[1], "study")
study.run(resolve(sys.argv[2]), workers=2)
"""


@pytest.mark.parametrize("at", [9, *(pytest.param(n, marks=pytest.mark.soak) for n in (1, 2, 3, 5, 8, 13, 21, 34))])
def test_every_process_killed_at_once_and_the_study_gone_on_with(at, tmp_path):
    with new(tmp_path, 6) as study:
        run = [sys.executable, "-c", RUN, study.store.url, f"{WORK}:slow"]
        first = subprocess.Popen(run, env=ENV)
        while sum(e.kind == "reported" for e in study.journal.read()) < at:
            assert first.poll() is None, "it was over before that"
        family = [psutil.Process(first.pid), *psutil.Process(first.pid).children(recursive=True)]
        assert len(family) == 3
        for process in family:
            process.kill()
        first.wait()
        psutil.wait_procs(family, timeout=10)
        assert subprocess.run(run, env=ENV, timeout=120).returncode == 0
        check(study, 6)

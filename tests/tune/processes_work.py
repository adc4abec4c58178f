"""Objectives that the tests send to worker processes, and scripts that are killed."""

import ctypes
import os
import signal
import time
from pathlib import Path


def plain(params, run):
    state = run.load() or {"trained": []}
    for step in run:
        state["trained"].append(step)
        run.report(params["x"] + 1 / step, state)
    print("noise on standard output")


def meets(params, run):
    """As `plain`, but begins only when two workers have come."""
    here = Path(os.environ["WHET_TEST_FLAG"])
    (here / str(os.getpid())).touch()
    while len(list(here.iterdir())) < 2:
        time.sleep(0.01)
    plain(params, run)


def kills_itself_once(params, run):
    """The worker of the trial 2 is killed in its second step, once."""
    flag = Path(os.environ["WHET_TEST_FLAG"])
    state = run.load() or {"n": 0}
    for step in run:
        state["n"] += 1
        if run.id == 2 and step == 2 and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        run.report(params["x"], state)


def segfaults(params):
    if params["k"] == 2:
        ctypes.string_at(0)
    return params["k"]


def fails(params):
    raise ValueError("always")


def exits(params):
    os._exit(3)


def slow(params, run):
    for _step in run:
        run.report(1.0, {})
        time.sleep(0.02)


def quick_then_endless(params, run):
    """The first trial reports at once; the first step of any other never ends."""
    for _step in run:
        while run.id:
            time.sleep(0.1)
        run.report(1.0, {})


def meets_slowly(params, run):
    """As `meets`, with steps so long that all workers are in the middle of one when the budget ends."""
    here = Path(os.environ["WHET_TEST_FLAG"])
    (here / str(os.getpid())).touch()
    while len(list(here.iterdir())) < 3:
        time.sleep(0.01)
    state = run.load() or {}
    for _step in run:
        time.sleep(0.05)
        run.report(params["x"], state)

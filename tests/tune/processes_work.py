"""Objectives that the tests send to worker processes, and scripts that are killed."""

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


def checkpointed(params, run):
    """As `plain`; some trials fail, by an exception or by a value that is not finite."""
    state = run.load() or {"trained": []}
    for step in run:
        state["trained"].append(step)
        if run.id % 11 == 5 and step == 3:
            raise ValueError("on purpose")
        run.report(float("nan") if run.id % 13 == 7 and step == 2 else params["x"] + 1 / step, state)


def drive(url, name, trials):
    """Be one worker of the study, as `whet.tune.working` is, without an owner: whoever likes may kill it."""
    from whet.tune import loop
    from whet.tune.budget import Budget
    from whet.tune.study import Study

    with Study.open(url, name) as study:
        loop.drive(study, checkpointed, Budget(trials=trials), lambda: False)


def dies_after_writing(params, run):
    """The worker is killed when the checkpoint of its second step is on the disk and not in the journal."""
    for step in run:
        if step == 2:
            desk = run._desk
            desk.note_report = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
        run.report(params["x"], {"step": step})


def dies_while_writing(params, run):
    """The worker is killed before the checkpoint of its second step has its name."""
    for step in run:
        if step == 2:
            os.replace = lambda *a: os.kill(os.getpid(), signal.SIGKILL)
        run.report(params["x"], {"step": step})


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


def heavy(params, run):
    """Checkpoints of very different sizes: up to 40 kB, by the configuration."""
    run.load()
    for _step in run:
        run.report(params["x"], {"w": b"x" * int(1 + 40_000 * params["x"])})

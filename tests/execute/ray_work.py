"""Objectives that the tests run on a Ray cluster."""

import ctypes
import os
import signal
import time
from pathlib import Path


def flag(name):
    return Path(os.environ["WHET_TEST_FLAG"]) / name


def plain(params, run):
    state = run.load() or {"trained": []}
    for step in run:
        state["trained"] = [*state["trained"], step]
        run.report(params["k"] + 1 / step, state)


def waits_for_its_node(params, run):
    """Says which raylet it is under; on the one that is to be killed it waits in its second step, until the end comes."""
    here = os.environ["RAY_RAYLET_PID"]
    state = run.load() or {"trained": []}
    for step in run:
        flag(f"under {here}").touch()
        while len(list(Path(os.environ["WHET_TEST_FLAG"]).glob("under *"))) < 2:
            time.sleep(0.02)  # until both nodes are at work
        if step == 2 and here == flag("doomed").read_text():
            flag("waiting").touch()
            time.sleep(600)
        state["trained"] = [*state["trained"], step]
        run.report(params["k"] + 1 / step, state)


def segfaults(params):
    if params["k"] == 2:
        ctypes.string_at(0)
    return params["k"] + len(os.environ["CUDA_VISIBLE_DEVICES"].split(","))


def slow(params, run):
    """Says each step it has done, and takes its time."""
    state = run.load() or {"trained": []}
    for step in run:
        time.sleep(0.05)
        state["trained"] = [*state["trained"], step]
        run.report(params["k"] + 1 / step, state)
        with flag("steps").open("a") as f:
            f.write(f"{run.id} {step}\n")


def bred(params, run):
    """The state is the story of how it came to be; the first child is killed before it reports anything."""
    state = run.load() or {"story": []}
    if run.trial.parent is not None and not flag("orphan").exists():
        flag("orphan").write_text(str(run.id))
        os.kill(os.getpid(), signal.SIGKILL)
    for step in run:
        state["story"].append([step, params["rate"]])
        run.report(abs(params["rate"] - 0.3) + 1 / step, state)


def sloped(params, run):
    """A task's training, with the gradient when the searcher goes by it."""
    from whet.tune.worker import objective

    return objective({"task": "digits", "seed": 0})(params, run)

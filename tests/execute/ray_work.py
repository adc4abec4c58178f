"""Objectives that the tests run on a Ray cluster."""

import ctypes
import os
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

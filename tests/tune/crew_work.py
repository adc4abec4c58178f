"""Objectives that crash, hang, and take too much, in worker processes that the tests start."""

import ctypes
import mmap
import os
import signal
import sys
import threading
import time
from pathlib import Path


def flag(name):
    return Path(os.environ["WHET_TEST_FLAG"]) / name


def plain(params, run):
    for step in run:
        run.report(params["k"] + 1 / step, {"step": step})


def segfaults(params, run):
    for step in run:
        run.report(params["k"], {"step": step})
        if params["k"] == 2 and step == 2:
            with flag("crashed").open("a") as f:
                f.write("x")
            ctypes.string_at(0)


def fails_late(params, run):
    for step in run:
        if step == 2:
            raise ValueError("late")
        run.report(params["k"], {"step": step})


def dies_of_its_name(params):
    """k 1: a fault of each kind; what the flag folder names."""
    if params["k"] == 2:
        died_of = getattr(signal, flag("signal").read_text())
        if died_of is signal.SIGHUP:
            signal.signal(died_of, signal.SIG_DFL)  # under nohup it is ignored, and children inherit that
        os.kill(os.getpid(), died_of)
        time.sleep(60)
    return params["k"]


def exits(params):
    if params["k"] == 2:
        with flag("exited").open("a") as f:
            f.write("x")
        if flag("politely").exists():
            sys.exit(7)
        os._exit(7)
    return params["k"]


def hungry(params, run):
    """k 2 allocates until it cannot; the others hold as much as they may."""
    with flag("pids").open("a") as f:
        f.write(f"{params['k']} {os.getpid()}\n")
    kept = []
    for step in run:
        for _ in range(1000 if params["k"] == 2 else 8):
            kept.append(bytearray(10_000_000))
        run.report(params["k"], {"step": step})
        kept.clear()


def hungry_torch(params):
    import torch

    return float(torch.ones(50_000_000 if params["k"] == 2 else 10).sum())


def hungry_threads(params):
    """What a thread needs for its stack is memory too."""
    many = [threading.Thread(target=time.sleep, args=(0.1,)) for _ in range(100 if params["k"] == 2 else 1)]
    for thread in many:
        thread.start()
    return params["k"]


def hungry_shared(params):
    """Shared memory is no data of the process: only whoever watches it sees it."""
    if params["k"] == 2:
        with flag("shared").open("a") as f:
            f.write("x")
        shared = mmap.mmap(-1, 600_000_000)
        for at in range(0, 600_000_000, 10_000_000):
            shared[at : at + 10_000_000] = b"x" * 10_000_000
            time.sleep(0.01)
        time.sleep(60)
    return params["k"]


def leaks(params, run):
    """Every trial leaves 40 MB behind."""
    with flag("pids").open("a") as f:
        f.write(f"{os.getpid()}\n")
    sys.modules.setdefault("leaks", []).append(bytearray(40_000_000))
    return params["k"]


def blocks(params, run):
    """k 2 hangs in its second step, for ever."""
    for step in run:
        if params["k"] == 2 and step == 2:
            with flag("blocked").open("a") as f:
                f.write("x")
            threading.Event().wait()
        run.report(params["k"], {"step": step})


def stops_itself(params, run):
    """The worker of k 2 is suspended in its second step, the first time, as by Ctrl-Z."""
    state = run.load() or {"done": 0}
    for step in run:
        if params["k"] == 2 and step == 2 and not flag("stopped").exists():
            flag("stopped").write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGSTOP)
        state["done"] += 1
        run.report(params["k"], state)
    if params["k"] == 2:
        flag("verdict").write_text(f"{run.verdict.value} {state['done']}")


def devices(params):
    with flag("devices").open("a") as f:
        f.write(f"{os.getpid()} {os.environ['CUDA_VISIBLE_DEVICES']} {threads()}\n")
    while len({line.split()[0] for line in flag("devices").read_text().splitlines()}) < 2:
        time.sleep(0.01)  # until two workers have come
    return params["k"]


def threads():
    """The threads that torch and the linear algebra under NumPy use."""
    import numpy as np
    import threadpoolctl
    import torch

    np.ones((50, 50)) @ np.ones((50, 50))
    found = {torch.get_num_threads(), *(p["num_threads"] for p in threadpoolctl.threadpool_info())}
    return ",".join(map(str, sorted(found)))


def fails_with_much(params):
    held = bytearray(150_000_000)
    raise ValueError(f"held {len(held)}")


def slow(params, run):
    state = run.load() or {"trained": []}
    for step in run:
        time.sleep(0.01)
        state["trained"] = [*state["trained"], step]
        run.report(params["k"] + 1 / step, state)


def wants_a_file(params):
    """Fails slowly where the file is missing, so that the owner is in time to see it."""
    time.sleep(0.02 if flag("data").exists() else 0.2)
    return params["x"] * float(flag("data").read_text())

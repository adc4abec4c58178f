"""Objectives that worker processes find by name."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any


def bowl(params: Any, run: Any) -> None:
    """Fall towards the value of a bowl, step by step."""
    done = (run.load() or {"steps": 0})["steps"]
    for _ in run:
        done += 1
        run.report((params["x"] - 0.3) ** 2 + 1 / (1 + done), {"steps": done})


def broken(params: Any) -> float:
    """Fail."""
    raise ValueError("no such thing")


def dies_once(params: Any, run: Any) -> None:
    """Kill the process in the middle of a trial, the first two times that there is one in its upper half; then as `bowl`."""
    done = (run.load() or {"steps": 0})["steps"]
    for _ in run:
        done += 1
        run.report((params["x"] - 0.3) ** 2 + 1 / (1 + done), {"steps": done})
        sign = Path(os.environ["WHET_TEST_FLAG"])
        if params["x"] > 0.5 and done == 1 and len(list(sign.iterdir())) < 2:
            (sign / f"{os.getpid()}").touch()
            os.kill(os.getpid(), signal.SIGKILL)


def dies(params: Any) -> float:
    """Kill the process, always."""
    os.kill(os.getpid(), signal.SIGKILL)
    return 0.0


def breaks(params: Any) -> float:
    """Works 30 times in a process, and never again."""
    DONE.append(params)
    if len(DONE) > 30:
        raise RuntimeError("the mount is gone")
    return params["x"]


DONE = []

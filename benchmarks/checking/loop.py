"""The plain loop: what a program says by itself, with no tool at all; the other tools run the same steps."""

from __future__ import annotations

import os
import re
import time
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import torch

from checking.programs import Program, Ready
from checking.score import Outcome

__all__ = ["STEPS", "bare", "cpu", "heard", "raised", "steps"]

STEPS = 100


def cpu() -> float:
    """Return the CPU seconds of this process and of those it started and waited for."""
    t = os.times()
    return t.user + t.system + t.children_user + t.children_system


def raised(error: BaseException) -> dict[str, str]:
    """Return the alarm that an exception is."""
    return {f"raises {type(error).__name__}": " ".join(str(error).split())[:300]}


@contextmanager
def heard(alarms: dict[str, str], ignore: str = r"(?!)") -> Any:
    """Collect the warnings of the block as alarms, one a kind; `ignore`: of the harness, not of the program."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            for w in caught:
                text = " ".join(str(w.message).split())
                if not re.search(ignore, text):
                    kind = re.sub(r"\d+|'[^']*'", "#", text)[:60]
                    alarms.setdefault(f"warns {w.category.__name__}: {kind}", text[:300])


def steps(ready: Ready, each: Callable[[int, torch.Tensor], Any] = lambda step, loss: None, n: int = STEPS) -> None:
    """Train on the batch for n steps; `each` is called after the optimizer's step."""
    ready.model.train()
    for step in range(n):
        ready.optimizer.zero_grad()
        loss = ready.loss(ready.call(), ready.targets)
        loss.backward()
        ready.optimizer.step()
        each(step, loss)


def bare(program: Program, seed: int, **_: Any) -> Outcome:
    """Run the plain loop: its exceptions and warnings."""
    alarms: dict[str, str] = {}
    began = time.process_time()
    with heard(alarms):
        try:
            steps(program.ready(seed))
        except Exception as error:
            alarms |= raised(error)
    return Outcome(alarms, seconds=time.process_time() - began)

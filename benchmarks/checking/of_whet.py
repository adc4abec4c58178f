"""whet's own: `whet.check` before the training, `Live` in the loop."""

from __future__ import annotations

import time
from typing import Any

from checking.loop import raised, steps
from checking.programs import Program
from checking.score import Outcome
from whet.checks import check
from whet.checks.live import Live
from whet.finding import Health, Severity

__all__ = ["before", "live"]


def _alarms(health: Health) -> dict[str, str]:
    """Return the FAILs and WARNs by code."""
    out: dict[str, str] = {}
    for f in health.findings:
        if f.severity is not Severity.INFO:
            out[f.code] = f"{out[f.code]} | {f}" if f.code in out else str(f)
    return out


def before(program: Program, seed: int, **_: Any) -> Outcome:
    """`whet.check(model, loss, batch, optimizer)`."""
    began = time.process_time()
    r = program.ready(seed)
    health = check(r.model, r.loss, (r.inputs, r.targets), r.optimizer)
    return Outcome(_alarms(health), seconds=time.process_time() - began)


def live(program: Program, seed: int, **_: Any) -> Outcome:
    """The loop with `Live(model, optimizer, share=None)`: a look every 10 steps, for 100 steps are too few for its default share."""
    began = time.process_time()
    r, alarms = program.ready(seed), {}
    watch = Live(r.model, r.optimizer, share=None)
    try:
        steps(r, lambda step, loss: watch.step(loss))
    except Exception as error:
        alarms = raised(error)
    return Outcome({**alarms, **_alarms(watch.health)}, seconds=time.process_time() - began)

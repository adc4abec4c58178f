"""torchtest: one step, after which every parameter must have changed and no output be NaN or infinite."""

from __future__ import annotations

import time
from typing import Any

import torchtest.torchtest as tt

from checking.loop import raised
from checking.programs import Program
from checking.score import Outcome

__all__ = ["suite"]

OWN = (tt.VariablesChangeException, tt.NaNTensorException, tt.InfTensorException)


def suite(program: Program, seed: int, *, usual: Outcome, **_: Any) -> Outcome:
    """Its suite, without the range of the outputs (which a user must know) and the GPU.

    It takes programs of one tensor in and one out; what it raises for others, and a plain loop does not, is why it did not run.
    """
    began = time.process_time()
    r, alarms, why = program.ready(seed), {}, ""
    try:
        tt.test_suite(
            r.model, r.loss, r.optimizer, [r.inputs, r.targets],
            test_vars_change=True, test_nan_vals=True, test_inf_vals=True,
        )  # fmt: skip
    except OWN as error:
        alarms = {type(error).__name__: str(error)}
    except Exception as error:
        alarms = raised(error)
        if not alarms.keys() & usual.alarms.keys():
            (kind, words), alarms = *alarms.items(), {}
            why = f"{kind}: {words}"
    return Outcome(alarms, not_run=why, seconds=time.process_time() - began)

"""trainproof: the log of the loop judged, the objective checked, and, as another tool, compared with the log of a good run.

The log has a record a step: loss, norm of the gradient, learning rate. The time of a step is left out: on a shared machine its rule
for it judges the neighbours. Of its checks of the objective two are asked: the class that is ignored, and, for token-to-token
programs, the alignment of the labels, with the word that the loss does not shift them. That every class occurs it wants to see over
an epoch; these programs are one batch. There is no held-out loss in these programs: its overfitting check says so and rests.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from trainproof.compare import check_compare
from trainproof.epoch import check_records
from trainproof.objective import check_ignore_index, check_label_alignment

from checking.loop import raised, steps
from checking.programs import Program, Ready
from checking.score import Outcome

__all__ = ["compared", "epoch"]


def _log(ready: Ready) -> tuple[list[dict[str, float]], dict[str, str]]:
    """Return the records of the loop, and the alarm that its exception is."""
    records: list[dict[str, float]] = []

    def note(step: int, loss: Tensor) -> None:
        grads = [p.grad for p in ready.model.parameters() if p.grad is not None]
        norm = float(torch.stack([g.float().norm() for g in grads]).norm()) if grads else 0.0
        rate = float(ready.optimizer.param_groups[0]["lr"])
        records.append({"step": step, "loss": loss.item(), "grad_norm": norm, "lr": rate})

    try:
        steps(ready, note)
    except Exception as error:
        return records, raised(error)
    return records, {}


def _objective(ready: Ready) -> list[dict[str, Any]]:
    """Return what it finds of classes and targets, where there are classes."""
    y, loss = ready.targets, ready.loss
    if not isinstance(y, Tensor) or y.is_floating_point():
        return []
    with torch.no_grad():
        outputs = ready.call()
    if not isinstance(outputs, Tensor) or outputs.ndim < 2:
        return []
    tokens = isinstance(ready.inputs, Tensor) and not ready.inputs.is_floating_point() and ready.inputs.shape == y.shape
    classes = outputs.shape[-1] if tokens else outputs.shape[1]
    found = check_ignore_index(classes, getattr(loss, "ignore_index", -100))
    return [*found, *(check_label_alignment(ready.inputs, y, loss_shifts=False) if tokens else ())]


def _alarms(findings: list[dict[str, Any]]) -> dict[str, str]:
    return {f["id"]: f"{f['message']} ({f['evidence']})" for f in findings if f["level"] in ("FAIL", "WARN")}


def _looked(program: Program, seed: int) -> tuple[list[dict[str, float]], dict[str, str]]:
    records, alarms = _log(program.ready(seed))
    if records:
        alarms |= _alarms(check_records(records)["findings"])
    try:
        alarms |= _alarms(_objective(program.ready(seed)))
    except Exception as error:  # the program's own
        alarms |= raised(error)
    return records, alarms


def epoch(program: Program, seed: int, **_: Any) -> Outcome:
    """`trainproof epoch` and its checks of the objective."""
    began = time.process_time()
    _, alarms = _looked(program, seed)
    return Outcome(alarms, seconds=time.process_time() - began)


def compared(program: Program, seed: int, *, fixed: Program, **_: Any) -> Outcome:
    """The same, and `trainproof compare` with the program without the bug, trained with the next seed."""
    began = time.process_time()
    records, alarms = _looked(program, seed)
    good, _error = _log(fixed.ready(seed + 1))
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in ("run.jsonl", "good.jsonl")]
        for path, log in zip(paths, (records, good), strict=True):
            path.write_text("".join(json.dumps(r) + "\n" for r in log))
        if records:
            alarms |= _alarms(check_compare(*paths, fmt="jsonl")["findings"])
    return Outcome(alarms, seconds=time.process_time() - began)

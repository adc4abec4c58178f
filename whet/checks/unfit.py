"""Why whet could not train a task, or score it: asked before a check trains one."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from whet.checks.small import Small
from whet.checks.source import place
from whet.checks.subject import Subject, call
from whet.errors import FitError, TaskError, UsageError
from whet.finding import Severity
from whet.train.run import Run

__all__ = ["Unfit", "unfit"]


@dataclass(frozen=True)
class Unfit:
    """How bad it is that no run of a task can be, where it stands, what it is and what to do."""

    severity: Severity
    where: str
    message: str
    fix: str


def unfit(subject: Subject, short: Small) -> Unfit | None:
    """Return why no run of the task `short` can be; None where one can. To be asked inside a `look`.

    What a run refuses of outputs, targets, kind, loss and metrics cannot be scored by anyone (FAIL). Else it is a sound program
    (INFO), though no run takes it: a model that returns several things or does not run on two examples, a loss a number each
    example, an optimizer that wants a closure.
    """
    subject.model.eval()
    outputs = call(subject.model, subject.copies())  # with gradients: a model may take some itself
    if not isinstance(outputs, Tensor):
        said = (
            f"the model returns a {type(outputs).__name__}; whet train, tune and run take the one tensor that is scored"
        )
        fix = (
            f"return it alone from forward, or from a module around yours: return self.net(x)[{subject.pick!r}]"
            if subject.pick is not None
            else "return one tensor, e.g. torch.cat of what the loss needs along dim 1, and take it apart in the loss"
        )
        return Unfit(Severity.INFO, subject.at("model"), said, fix)
    with torch.no_grad(), suppress(Exception, SystemExit):  # what it raises is said by the run
        value = subject.loss(outputs, subject.targets)
        if isinstance(value, Tensor) and value.numel() > 1:
            said = f"the loss returns {tuple(value.shape)} numbers; whet train, tune and run take one a batch"
            return Unfit(Severity.INFO, subject.at("loss"), said, "take its mean: loss(outputs, targets).mean()")
    try:
        Run(short, subject.params, steps=1, seed=subject.seed, device="cpu")
    except FitError as error:
        return refused(type(subject.task), str(error))
    except (TaskError, UsageError) as error:
        found = refused(type(subject.task), str(error))
        fix = found.fix or "make it run on two examples, as whet tries it first"
        return replace(
            found, severity=Severity.INFO, message=f"whet train, tune and run cannot take it: {found.message}", fix=fix
        )
    return None


def refused(kind: type, text: str) -> Unfit:
    """Return what a run says when it refuses a task of class `kind`: "Name.part: what it is. What to do."

    >>> refused(Small, "Mine.loss: is for numbers. Use e.g. nn.MSELoss().").fix
    'use e.g. nn.MSELoss()'
    """
    found = re.match(r"\w+(?:\.(\w+))?: (.*)", text)
    part, what = found.groups() if found else (None, text)
    message, *rest = re.split(r"\. (?=[A-Z])", what, maxsplit=1)
    fix = rest[0].rstrip(".") if rest else ""
    method = getattr(kind, part or "", None)
    return Unfit(Severity.FAIL, place(method) if callable(method) else place(kind), message, fix[:1].lower() + fix[1:])

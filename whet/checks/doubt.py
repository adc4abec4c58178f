"""Where a correct program need not learn a few examples by heart: the floor that is named may be out of its reach."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from whet.checks.initial import quiet
from whet.checks.subject import Answer, Subject, tensors

__all__ = ["doubt"]


def doubt(subject: Subject, kind: Answer | None, numbers: Mapping[str, Any], few: int) -> str:
    """Return why the floor of OF may be out of reach of a correct program, "" when it is not.

    numbers: n examples were tried, the weights have room for the outputs of `room`, and `fail` is the share of the loss
    that may not stay. few: how many examples are too few to blame a small model.

    >>> program = Subject(torch.nn.Linear(2, 1), torch.nn.MSELoss(), (torch.ones(4, 2),), torch.ones(4, 1))
    >>> doubt(program, Answer("values"), {"n": 2, "room": 3, "fail": 0.1}, 4)
    'the model has hardly more weights than these examples have outputs'
    >>> doubt(program, Answer("values"), {"n": 2, "room": 30, "fail": 0.1}, 4)
    ''
    """
    if numbers["room"] < 2 * numbers["n"] <= 2 * few:
        return "the model has hardly more weights than these examples have outputs"
    with subject.look("OF"), torch.no_grad():
        quiet(subject.model)
        outputs = subject.forward()
        costs = [float(subject.cost(outputs)), float(subject.cost(subject.forward()))]
    if kind is None and len(tensors(outputs)) > 1:
        return "the floor is that of outputs free of each other, which those of one model need not be"
    if abs(costs[0] - costs[1]) > numbers["fail"] * abs(costs[0]):
        return "the model draws random numbers, which have their share in the loss"
    return ""

"""What checks leave for a report to draw: curves of a few numbers, and the first examples as the model is given them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from whet.checks.pictures import Pictures, first_layer
from whet.checks.subject import Answer, Subject, rows, tensors

__all__ = ["MOST", "answers", "curve", "few", "rounded", "weights"]

MOST = 16
"""Examples to show at most."""
_FLAT = 196  # inputs of a flat layer from which on a square is taken for a picture


def rounded(values: Sequence[float], digits: int = 4) -> list[float | None]:
    """Return numbers with a few significant digits; what is not finite is None.

    >>> rounded([0.123456, float("nan"), 20000.4])
    [0.1235, None, 20000.0]
    """
    return [float(f"{v:.{digits}g}") if math.isfinite(v) else None for v in map(float, values)]


def curve(losses: Sequence[float], most: int = 60) -> dict[str, list[Any]]:
    """Return losses by step, at most `most` of them: evenly, the first, the last and the least among them.

    >>> curve([3.0, 1.0, 2.0])
    {'steps': [0, 1, 2], 'losses': [3.0, 1.0, 2.0]}
    """
    n = len(losses)
    at = {round(k * (n - 1) / max(1, most - 2)) for k in range(most - 1)} if n > most else set(range(n))
    finite = [i for i in range(n) if math.isfinite(losses[i])]
    at |= {min(finite, key=losses.__getitem__)} if finite else set()
    steps = sorted(at)
    return {"steps": steps, "losses": rounded([losses[i] for i in steps])}


def few(subject: Subject, inputs: Any, targets: Any) -> dict[str, Any]:
    """Return copies of the first examples of a batch, with the names of the classes where there are any.

    >>> s = Subject(nn.Linear(2, 1), nn.MSELoss(), (torch.zeros(40, 2),), torch.zeros(40, 1))
    >>> few(s, s.inputs, s.targets)["targets"].shape
    torch.Size([16, 1])
    """
    n = subject.n
    first = torch.arange(min(n, MOST))

    def copies(tree: Any) -> Any:
        return tree_map(lambda t: t.detach().to("cpu", copy=True) if isinstance(t, Tensor) else t, rows(tree, first, n))

    classes = None if subject.data is None else subject.data.classes
    return {"inputs": copies(inputs), "targets": copies(targets), "classes": classes}


def weights(model: nn.Module, inputs: Any) -> Pictures | None:
    """Return the first layer's weights as pictures, where the inputs are pictures; None else.

    A flat input counts as one when it is long enough that a square is no accident.

    >>> weights(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), torch.zeros(2, 1, 8, 8)).images.shape
    (4, 8, 8)
    >>> weights(nn.Linear(64, 4), torch.zeros(2, 64)) is None
    True
    """
    first = next(iter(tensors(inputs)), None)
    if first is None or first.ndim not in (2, 3, 4) or (first.ndim == 2 and first.shape[1] < _FLAT):
        return None
    return first_layer(model, None if first.ndim == 2 else tuple(first.shape[1:]))


def answers(part: Subject, outputs: Any, kind: Answer | None) -> dict[str, Any]:
    """Return targets beside predictions and the loss of each example, where both are one number an example.

    >>> s = Subject(nn.Identity(), nn.CrossEntropyLoss(), (), torch.tensor([1, 0]))
    >>> answers(s, torch.tensor([[0.0, 0.0], [9.0, 0.0]]), Answer("classes", 1, 2))
    {'targets': [1, 0], 'predictions': [0, 0], 'losses': [0.6931, 0.0001234]}
    """
    if kind is None or not isinstance(outputs, Tensor) or part.targets.numel() != part.n:
        return {}
    found = outputs.argmax(kind.axis) if kind.kind == "classes" else outputs
    predictions, targets = found.reshape(-1)[:MOST].tolist(), part.targets.reshape(-1)[:MOST].tolist()
    exact = kind.kind == "classes"
    return {
        "targets": targets if exact else rounded(targets), "predictions": predictions if exact else rounded(predictions),
        "losses": rounded(part.each(outputs, part.targets)[:MOST].tolist()),
    }  # fmt: skip

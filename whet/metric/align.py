"""Which output answers which target: one prediction a row, whether there is one an example or one a position."""

from __future__ import annotations

from typing import Any

import numpy as np

from whet.errors import UsageError

__all__ = ["IGNORED", "classes_axis", "counted", "paired_rows"]

Array = np.ndarray

IGNORED = -100
"""The class number of a position that does not count: padding, as PyTorch's losses leave it out (`ignore_index`)."""


def counted(targets: Any) -> Array:
    """Return (n,) how many rows each example has: its positions that count.

    >>> counted(np.array([[1, 2, -100], [4, 0, 0]])).tolist()
    [2, 3]
    """
    y = np.asarray(targets)
    if y.dtype.kind == "f":  # probabilities, or several labels an example: one answer each
        return np.ones(len(y), int)
    return np.asarray((y.reshape(len(y), -1) != IGNORED).sum(1))


def classes_axis(outputs: tuple[int, ...], targets: tuple[int, ...]) -> int | None:
    """Return the axis of the classes in outputs of that shape, for targets of one axis less; None where none fits.

    It is the last, (n, T, K), as models of sequences give them, or the second, (n, K, T), as `torch.nn.CrossEntropyLoss`
    takes them. Raises UsageError where both fit, and neither can be told to be meant.

    >>> classes_axis((8, 5, 30), (8, 5)), classes_axis((8, 30, 5), (8, 5)), classes_axis((8, 30), (8, 5))
    (2, 1, None)
    """
    if len(outputs) != len(targets) + 1 or outputs[0] != targets[0]:
        return None
    last, second = outputs[:-1] == targets, outputs[:1] + outputs[2:] == targets
    if last and second and len(targets) > 1:
        raise UsageError(
            f"outputs: of shape {outputs} for targets {targets}, the classes may be the second axis or the last. "
            "Pad to another number of positions, or add a class that is never used."
        )
    return len(outputs) - 1 if last else 1 if second else None


def paired_rows(outputs: Any, targets: Any, what: str = "metric") -> tuple[Array, Array]:
    """Return outputs (m, C), (m,) or (m, 1) and the class numbers (m,) that they answer, one row an example or a position.

    Positions of a sequence or a picture, targets (n, T) or (n, H, W), become rows of their own, and those whose target is
    -100 are left out. what: the metric's name. Raises UsageError for targets that are no class numbers, and for outputs
    that do not fit them.

    >>> o, t = paired_rows(np.zeros((2, 3, 5)), np.array([[1, 2, -100], [4, 0, 0]]))
    >>> o.shape, t.tolist()
    ((5, 5), [1, 2, 4, 0, 0])
    """
    o, y = np.asarray(outputs), np.asarray(targets)
    if y.dtype.kind not in "iub":
        raise UsageError(
            f"{what}: scores class numbers (kind 'classification'), got targets {y.shape} of {y.dtype} for outputs {o.shape}. "
            'Give Data(..., kind="regression") where numbers are predicted, targets.long() of shape (n,) where they are '
            'classes; with several labels an example set goal = "min loss" and metrics = ("loss",).'
        )
    if y.ndim == 1 and len(o) == len(y) and o.ndim in (1, 2):
        pass
    elif y.ndim > 1 and o.shape in (y.shape, (*y.shape, 1)):
        o = o.reshape(-1)
    elif y.ndim > 1 and (axis := classes_axis(o.shape, y.shape)) is not None:
        o = np.moveaxis(o, axis, -1).reshape(-1, o.shape[axis])
    else:
        n, *more = map(str, y.shape)
        wanted = [f"({n}, {', '.join([*more, 'classes'])})"] + ([f"({n}, classes, {', '.join(more)})"] if more else [])
        raise UsageError(
            f"{what}: outputs {o.shape} do not fit targets {y.shape} of kind 'classification'. Return scores of shape "
            f"{' or '.join(wanted)}."
        )
    flat = y.reshape(-1)
    keep = flat != IGNORED
    return (o, flat) if keep.all() else (o[keep], flat[keep])

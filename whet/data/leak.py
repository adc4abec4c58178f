"""Columns that give the target away: one alone predicts it without a single error."""

from __future__ import annotations

import numpy as np

from whet.data.split import Data
from whet.data.textcolumn import text_columns
from whet.finding import Finding, Severity

__all__ = ["leaks", "separates"]

LEAST = 30  # examples; fewer are separated by chance too often


def separates(column: np.ndarray, target: np.ndarray, *, ordered: bool = True) -> bool:
    """Return whether `column` (n,) alone fixes the class `target` (n,) of every example.

    ordered: by thresholds, one run of values a class; else by the value itself, with five examples a value on average.

    >>> separates(np.array([1, 2, 3, 4]), np.array([0, 0, 1, 1])), separates(np.array([1, 2, 3, 4]), np.array([0, 1, 0, 1]))
    (True, False)
    """
    values, at = np.unique(column, return_inverse=True)
    if len(values) < 2:
        return False
    low, high = np.full(len(values), np.inf), np.full(len(values), -np.inf)
    np.minimum.at(low, at, target)
    np.maximum.at(high, at, target)
    if (low != high).any():  # one value, two classes
        return False
    if not ordered:
        return 5 * len(values) <= len(column)
    return int((low[1:] != low[:-1]).sum()) == len(np.unique(target)) - 1


def _follows(column: np.ndarray, target: np.ndarray) -> bool:
    """Return whether the target is a linear function of the column, to one part in a million of its spread."""
    if column.std() == 0 or target.std() == 0:
        return False
    slope, shift = np.polyfit(column, target, 1)
    return bool(np.abs(slope * column + shift - target).std() < 1e-6 * target.std())


def leaks(data: Data) -> list[Finding]:
    """Return a LEAK finding for every column of a table that predicts the target perfectly on training and validation.

    Classes: a number separates them by thresholds, or a category holds one class only; there are two at least, and every
    class needs five examples.
    Quantities: the target is a linear function of the column.

    >>> import torch
    >>> from whet.data.split import Split
    >>> x = torch.arange(40.0)[:, None]
    >>> data = Data(Split(x, (x[:, 0] > 19).long()), Split(x, (x[:, 0] > 19).long()), features=("age",))
    >>> [f.where for f in leaks(data)]
    ['age']
    """
    if any(p.ndim != 2 for p in data.train.parts) or data.train.targets.ndim != 1:
        return []
    y = np.concatenate([data.train.targets.numpy(), data.valid.targets.numpy()])
    each = np.unique(y, return_counts=True)[1]
    if len(y) < LEAST or (data.kind == "classification" and (len(each) < 2 or each.min() < 5)):
        return []
    found = []
    at = 0
    pairs = list(zip(data.train.parts, data.valid.parts, strict=True))
    for train, valid in pairs[:-1] if text_columns(data.meta) else pairs:  # the last are words, not columns
        ordered = train.is_floating_point()
        for j in range(train.shape[1]):
            name = data.features[at] if at < len(data.features) else f"column {at}"
            at += 1
            column = np.concatenate([train[:, j].numpy(), valid[:, j].numpy()])
            few, labels = column[:1000], y[:1000]  # most columns of a wide table are ruled out by these
            if data.kind == "classification" and ordered and len(np.unique(few)) > 1 and not separates(few, labels):
                continue
            if data.kind == "classification":
                sure = separates(column, y, ordered=ordered)
            else:
                sure = ordered and _follows(column.astype(float), y.astype(float))
            if sure:
                text = f"`{name}` alone predicts the target perfectly on all {len(y):,} visible examples"
                fix = "delete the column if it is not known when predicting"
                found.append(Finding("LEAK", Severity.WARN, name, {"n": len(y)}, text, fix))
    return found

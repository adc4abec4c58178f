"""The model: what it gets wrong, how sure it is, and the examples that are hardest for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from whet.report.block import Block, Pictures, Section, Table
from whet.report.calibration import calibration
from whet.report.confusion import confusion
from whet.report.judged import Judged
from whet.report.picture import drawable
from whet.report.quantity import Id, Share, clean, shorten, show
from whet.report.residuals import residuals
from whet.report.weights import first_weights

__all__ = ["hardest", "model"]

_HARDEST = 16


def hardest(judged: Judged, most: int = _HARDEST) -> Pictures | Table | None:
    """Return the examples the model does worst on, worst first: as pictures where there are any, else as a table.

    Worst is the lowest probability of the true class, or the largest error of a prediction.

    >>> hardest(Judged(np.array([1.0, 5.0]), np.array([1.0, 2.0])), 1).rows
    [(1, 2.0, 5.0, -3.0)]
    """
    if not len(judged):
        return None
    rows: list[tuple[Any, ...]] = []
    if judged.classes is not None:
        loss = -judged.log_probabilities[np.arange(len(judged)), judged.truth]
        order = np.argsort(-loss, kind="stable")[:most]
        columns: tuple[str, ...] = ("example", "true", "predicted", "probability of the true class")
        for i in order:
            names = (clean(judged.name(int(judged.truth[i]))), clean(judged.name(int(judged.predictions[i]))))
            rows.append((Id(judged.id(int(i))), *names, Share(np.exp(-loss[i]))))
    else:
        error = judged.truth - judged.predictions
        order = np.argsort(-np.abs(error), kind="stable")[:most]
        columns = ("example", "true", "predicted", "true minus predicted")
        rows = [
            (Id(judged.id(int(i))), float(judged.truth[i]), float(judged.predictions[i]), float(error[i]))
            for i in order
        ]
    pictures = [judged.picture(int(i)) for i in order]
    title = f"The hardest examples of {judged.split}: look here for wrong labels"
    if all(p is not None and drawable(p) for p in pictures):
        texts = [f"{show(r[0])}: {shorten(show(r[1]))}, taken for {shorten(show(r[2]))}" if r[1] != r[2]
                 else f"{show(r[0])}: {shorten(show(r[1]))}, but unsure ({show(r[3])})" for r in rows]  # fmt: skip
        return Pictures(title, tuple((p, t) for p, t in zip(pictures, texts, strict=True) if p is not None))
    return Table(columns, rows, title, folded=False)


def model(judged: Judged) -> Section:
    """Return the section; without any usable example it says so and is empty.

    >>> model(Judged(np.eye(2)[[0, 1, 1]], np.array([0, 1, 0]), ("cat", "dog"))).sentence
    'On validation, the best trial gets 1 of 3 examples wrong.'
    """
    blocks: list[Block] = [
        b for b in (confusion(judged), calibration(judged), residuals(judged), hardest(judged)) if b is not None
    ]
    layers = (first_weights(w, f"of {clean(name)}") for name, w in judged.weights.items())
    blocks += [b for b in layers if b is not None]
    if not len(judged):
        sentence = f"There is no usable prediction for {judged.split}."
    elif judged.classes is not None:
        right = int((judged.predictions == judged.truth).sum())
        sentence = f"On {judged.split}, {judged.model} gets {len(judged) - right:,} of {len(judged):,} examples wrong."
    else:
        r = judged.truth - judged.predictions
        sentence = f"On {judged.split}, the error of {judged.model} is {show(float(np.sqrt(np.mean(r**2))))} (rmse) over {len(judged):,} examples."
    if judged.lost:
        sentence += f" {judged.lost:,} examples have outputs that are not finite and are left out."
    return Section("model", "The model", sentence, tuple(blocks))

"""Pick a few examples of each class, for pictures and tables a person looks at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from whet.data.split import Data
from whet.seed import rng

__all__ = ["Sample", "samples"]


@dataclass(frozen=True)
class Sample:
    """One training example: its index in the split, its id in the source, its target in words, and its inputs.

    >>> Sample(0, 7, "cat", (torch.zeros(1, 2, 2, dtype=torch.uint8),)).picture.shape
    (2, 2)
    """

    index: int
    id: int
    label: str
    inputs: tuple[torch.Tensor, ...]

    @property
    def picture(self) -> np.ndarray | None:
        """The example as uint8 (H, W) or (H, W, 3), or None when it is no picture of 1 or 3 channels."""
        x = self.inputs[0]
        if len(self.inputs) != 1 or x.ndim not in (2, 3) or (x.ndim == 3 and x.shape[0] not in (1, 3)):
            return None
        array = x.numpy()
        if array.dtype != np.uint8:
            low, high = float(array.min()), float(array.max())
            array = np.round((array - low) * (255 / (high - low or 1.0))).astype(np.uint8)
        if array.ndim == 2 or array.shape[0] == 1:
            return array.reshape(array.shape[-2:])
        return np.ascontiguousarray(array.transpose(1, 2, 0))


def samples(data: Data, k: int = 5, seed: int = 0) -> list[Sample]:
    """Return `k` training examples of each class, class by class; for regression `3 * k` spread over the target's range.

    Where each position of an example has a class, `3 * k` examples, labelled by their first positions.

    >>> from whet.data.bundled import digits
    >>> [s.label for s in samples(digits(), 2)][:4]
    ['0', '0', '1', '1']
    """
    y = data.train.targets.numpy()
    if data.kind == "classification" and y.ndim == 1 and y.dtype.kind != "f":
        names = data.classes or tuple(str(i) for i in range(int(y.max()) + 1))
        chosen = []
        for c in range(len(names)):
            of = np.flatnonzero(y == c)
            chosen += (
                sorted(rng(seed, "samples", c).choice(of, min(k, len(of)), replace=False).tolist()) if len(of) else []
            )
        labels = [names[y[i]] for i in chosen]
    elif data.kind == "classification":
        chosen = np.unique(np.linspace(0, len(y) - 1, min(3 * k, len(y))).round().astype(int)).tolist()
        labels = [", ".join(f"{v:.4g}" for v in y[i].reshape(-1)[:3]) for i in chosen]
    else:
        order = np.argsort(y.reshape(len(y), -1)[:, 0], kind="stable")
        chosen = order[np.unique(np.linspace(0, len(y) - 1, min(3 * k, len(y))).round().astype(int))].tolist()
        labels = [f"{float(np.ravel(y[i])[0]):.4g}" for i in chosen]
    return [
        Sample(int(i), int(data.train.ids[i]), label, tuple(p[i] for p in data.train.parts))
        for i, label in zip(chosen, labels, strict=True)
    ]

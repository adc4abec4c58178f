"""Predictions beside the truth, on one split: what the plots of a model are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from whet.checks.pictures import Pictures

__all__ = ["Judged"]


@dataclass(frozen=True)
class Judged:
    """What a model said about a split.

    outputs: (n, C) logits or log-probabilities, (n,) or (n, 1) logits of two classes, or predicted numbers (n,) or (n, k);
    targets: (n,) class numbers, or (n,) or (n, k) numbers; classes: names by class number, None for regression; ids: (n,) the
    examples' numbers in their source; pictures: by position in the split, uint8 (H, W) or (H, W, 3), or None; split and
    model: how a person calls them; weights: first layers as pictures (`whet.checks.pictures`) by whose
    they are. Examples whose outputs or targets are not finite are left out and counted in `lost`.

    >>> j = Judged(np.array([[2.0, 0.0], [np.nan, 0.0]]), np.array([0, 1]), ("no", "yes"))
    >>> j.lost, j.predictions.tolist(), len(j)
    (1, [0], 1)
    """

    outputs: np.ndarray
    targets: np.ndarray
    classes: Sequence[str] | None = None
    ids: np.ndarray | Sequence[int] | None = None
    pictures: Sequence[np.ndarray] | np.ndarray | None = None
    split: str = "validation"
    model: str = "the best trial"
    weights: Mapping[str, Pictures] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.kept.sum())

    @cached_property
    def kept(self) -> np.ndarray:
        """Which examples count: a boolean array (n,)."""
        n = min(len(self.outputs), len(self.targets))
        if n == 0:
            return np.zeros(0, bool)
        outputs = np.asarray(self.outputs, float)[:n].reshape(n, -1)
        targets = np.asarray(self.targets, float)[:n].reshape(n, -1)
        sound = np.isfinite(outputs).all(1) & np.isfinite(targets).all(1)
        if self.classes is not None:
            sound &= (targets[:, 0] >= 0) & (targets[:, 0] < len(self.classes))
        return sound

    @property
    def lost(self) -> int:
        """How many examples were left out because a number is not finite or not a class."""
        return len(self.kept) - len(self)

    @cached_property
    def positions(self) -> np.ndarray:
        """The kept examples' positions in the split."""
        return np.flatnonzero(self.kept)

    @cached_property
    def truth(self) -> np.ndarray:
        """The kept targets: (m,) class numbers, or (m,) numbers (the first column of several)."""
        targets = np.asarray(self.targets)[self.positions]
        flat = targets.reshape(len(targets), -1)[:, 0] if len(targets) else np.zeros(0)
        return flat.astype(int) if self.classes is not None else flat.astype(float)

    @cached_property
    def log_probabilities(self) -> np.ndarray:
        """(m, C) of the kept examples; of classification only."""
        from whet.metric.score import log_probabilities  # it brings scikit-learn, which only this needs

        outputs = np.asarray(self.outputs, float)[self.positions]
        return log_probabilities(outputs) if len(outputs) else np.zeros((0, len(self.classes or ())))

    @cached_property
    def predictions(self) -> np.ndarray:
        """(m,) predicted class numbers, or predicted numbers (the first column of several)."""
        if self.classes is not None:
            return self.log_probabilities.argmax(1) if len(self) else np.zeros(0, int)
        outputs = np.asarray(self.outputs, float)[self.positions]
        return outputs.reshape(len(outputs), -1)[:, 0] if len(outputs) else np.zeros(0)

    def name(self, number: int) -> str:
        """Return the name of a class, or its number when it has none."""
        names = self.classes or ()
        return str(names[number]) if 0 <= number < len(names) else str(number)

    def id(self, row: int) -> int:
        """Return the number, in its source, of a kept example."""
        at = int(self.positions[row])
        return int(self.ids[at]) if self.ids is not None and at < len(self.ids) else at

    def picture(self, row: int) -> np.ndarray | None:
        """Return the picture of a kept example, or None."""
        at = int(self.positions[row])
        return np.asarray(self.pictures[at]) if self.pictures is not None and at < len(self.pictures) else None

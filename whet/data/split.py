"""The types data travels in: a `Split` of examples, and `Data`, whose test split is sealed.

A split keeps its examples as tensors (60,000 images of uint8 are 47 MB), so a batch is one index operation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from whet.data.divide import divide
from whet.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Data", "Inputs", "Kind", "Ledger", "Split"]

Kind = Literal["classification", "regression"]
Inputs = Tensor | tuple[Tensor, ...]


class Ledger(Protocol):
    """What records that something was done: a study, or its journal."""

    def record(self, topic: str, data: Mapping[str, Any]) -> int:
        """Append a record; return how many there are of this topic now."""
        ...


@dataclass(frozen=True)
class Split:
    """Examples of one split.

    inputs: a tensor (n, ...) or a tuple of such (a table's numbers and its categories), handed to the model as
    `model(*inputs)`; targets: (n,) int64 class numbers, (n, T) or (n, H, W) of positions, -100 where none counts, or (n,) or (n, k)
    float32; ids: (n,) the examples' numbers in their
    source, for findings and pictures.

    >>> s = Split(torch.zeros(3, 2), torch.tensor([0, 1, 1]))
    >>> len(s), s.batch(torch.tensor([2]))[1].tolist()
    (3, [1])
    """

    inputs: Inputs
    targets: Tensor
    ids: np.ndarray = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        for part in (*self.parts, self.targets):
            if not isinstance(part, Tensor):
                what = "targets" if part is self.targets else "inputs"
                raise DataError(
                    f"split: {what} are {type(part).__name__}, allowed a tensor, or a tuple of them for inputs: model(*inputs). "
                    "Of arrays make torch.as_tensor(x), of a dict tuple(x.values())."
                )
        n = len(self.targets)
        for part in self.parts:
            if len(part) != n:
                raise DataError(f"split: {n} targets but {len(part)} inputs. Give one target per example.")
        if self.ids is None:
            object.__setattr__(self, "ids", np.arange(n))

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """The inputs as a tuple, whether there is one tensor or several."""
        return self.inputs if isinstance(self.inputs, tuple) else (self.inputs,)

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, index: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return (inputs, targets) of the examples at `index` (int64, shape (b,)); inputs always as a tuple."""
        return tuple(part[index] for part in self.parts), self.targets[index]

    def take(self, index: Sequence[int] | np.ndarray | Tensor) -> Split:
        """Return the split of the examples at `index`, in that order."""
        at = torch.as_tensor(np.asarray(index), dtype=torch.int64)
        inputs, targets = self.batch(at)
        return Split(inputs if isinstance(self.inputs, tuple) else inputs[0], targets, self.ids[at.numpy()])


@dataclass(frozen=True)
class Data:
    """What a task learns from: train and validation splits to look at, and a sealed test split.

    kind: what the targets are; classes: their names, in the order of the class numbers (None for regression);
    source: where it came from, as a person would name it; features: names of the inputs, where they have names;
    meta: JSON about how it was prepared (encoding, skipped files, ...), which travels with an exported model;
    findings: what loading it already showed; raw: the visible examples as a person would read them, split -> a pandas
    DataFrame whose i-th row is the split's i-th example (a table's own columns, a picture's file and size, a text), or {}; of a
    series also `history`: all its visible rows in the order of time, indexed by their numbers in the source.

    The test split cannot be read by accident: `sealed` is a function that loads it, and only `unseal` calls it.

    >>> d = Data(Split(torch.zeros(4, 2), torch.zeros(4)), Split(torch.zeros(2, 2), torch.zeros(2)), kind="regression")
    >>> len(d.train), len(d.valid), d.sealed is None
    (4, 2, True)
    """

    train: Split
    valid: Split
    kind: Kind = "classification"
    classes: tuple[str, ...] | None = None
    sealed: Callable[[], Split] | None = field(default=None, repr=False)
    source: str = ""
    features: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Any, ...] = ()
    raw: Mapping[str, pd.DataFrame] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for name, split in (("train", self.train), ("valid", self.valid)):
            if not isinstance(split, Split):
                raise DataError(
                    f"{self.source or 'data'}: {name} is {type(split).__name__}, not a whet.Split. Give Split(inputs, "
                    "targets): tensors of one length, as from torch.utils.data.default_collate(list(dataset))."
                )
            if len(split) == 0:
                raise DataError(f"{self.source or 'data'}: the {name} split is empty. Give it at least one example.")

    @classmethod
    def from_arrays(
        cls, x: Any, y: Any, *, test: tuple[Any, Any] | None = None, kind: Kind | None = None, seed: int = 0,
        classes: Sequence[str] | None = None, features: Sequence[str] = (), source: str = "arrays",
    ) -> Data:  # fmt: skip
        """Return arrays or tensors divided 70/15/15 by `seed`, in proportion to the classes; 85/15 when `test` is given.

        x: (n, ...), or a tuple of such; y: (n,) or (n, k). Whole numbers are classes, to be numbered from 0, unless `kind` is
        "regression"; real numbers are quantities. float64 becomes float32. Raises DataError when lengths do not fit.

        >>> data = Data.from_arrays(np.zeros((20, 3)), np.arange(20) % 2, seed=1)
        >>> len(data.train), data.train.inputs.dtype, data.classes
        (14, torch.float32, ('0', '1'))
        """
        y = _tensor(y)
        chosen: Kind = kind or ("regression" if y.is_floating_point() else "classification")
        if chosen == "classification" and (y.is_floating_point() or y.ndim != 1 or (len(y) and int(y.min()) < 0)):
            raise DataError(
                f"{source}: class numbers must be whole, from 0, of shape (n,); got {y.dtype} {tuple(y.shape)}."
            )
        y = y.float() if chosen == "regression" else y.long()
        inputs = tuple(_tensor(p) for p in x) if isinstance(x, tuple) else _tensor(x)
        whole = Split(inputs, y)
        if not len(y):
            raise DataError(f"{source}: there are no examples. Give at least 10.")
        if chosen == "classification":
            classes = tuple(str(c) for c in (classes if classes is not None else range(int(y.max()) + 1)))
            if len(classes) <= int(y.max()):
                raise DataError(
                    f"{source}: class number {int(y.max())} but {len(classes)} classes. Name one for each number."
                )
        labels = y.numpy() if chosen == "classification" else None
        parts = divide(len(y), labels=labels, seed=seed, shares=(0.85, 0.15) if test else (0.7, 0.15, 0.15))
        examples = {"train": len(parts[0]), "valid": len(parts[1]), "test": len(test[1]) if test else len(parts[2])}

        def sealed() -> Split:
            if test is None:
                return whole.take(parts[2])
            given = tuple(_tensor(p) for p in test[0]) if isinstance(test[0], tuple) else _tensor(test[0])
            return Split(given, _tensor(test[1]).to(y.dtype))

        return cls(
            whole.take(parts[0]), whole.take(parts[1]), kind=chosen, sealed=sealed, source=source,
            classes=tuple(classes) if classes is not None and chosen == "classification" else None,
            features=tuple(features), meta={"examples": examples},
        )  # fmt: skip

    @property
    def visible(self) -> Data:
        """The same data without its test split: what runs, checks and searchers are handed."""
        return replace(self, sealed=None)

    def unseal(self, journal: Ledger, why: str) -> Split:
        """Open the test split: record it first, then load it.

        Raises DataError when there is no test split.
        """
        if self.sealed is None:
            raise DataError(f"{self.source or 'data'}: there is no test split to open. Give Data(sealed=...).")
        journal.record("unsealed", {"why": why})
        return self.sealed()


def _tensor(array: Any) -> Tensor:
    """Return a tensor that shares memory where it can; float64 becomes float32."""
    if not isinstance(array, Tensor):
        kind = type(array).__name__
        array = np.ascontiguousarray(array)
        if array.dtype == object:
            raise DataError(f"arrays: {kind} is no array of numbers. Give a tensor or an array of one dtype.")
        array = torch.from_numpy(array if array.flags.writeable else array.copy())
    found: Tensor = array
    return found.float() if found.dtype == torch.float64 else found

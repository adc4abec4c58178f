"""The visible examples dealt in folds, for cross-validation: each fold's data is prepared by its own training part only.

The training and the validation part are taken together, the test split stays sealed. Classes are spread over the folds in proportion; a series goes
forward in time. What was fitted on the training part when the data was loaded (a table's encoding, a series' lags and season) is fitted
again for each fold, on the rows of its training part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from whet.data.prepare import apply_encoding, feature_names, fit_encoding
from whet.data.series import series_again
from whet.data.series_made import Sealed
from whet.data.split import Data, Split
from whet.errors import DataError
from whet.seed import rng

__all__ = ["Fold", "deal", "folded", "pooled"]

LEAST = 10  # examples of a series in the first training part
_STEADY = 1e-3  # of means and spreads that are those of standardised columns


@dataclass(frozen=True)
class Fold:
    """One fold: the positions (n,) of what it trains on and of what it is scored on among the `pooled` examples, in rising order.

    >>> Fold(np.array([0, 2]), np.array([1])).valid.tolist()
    [1]
    """

    train: np.ndarray
    valid: np.ndarray


def pooled(data: Data) -> Split:
    """Return the visible examples in one: those of the training part, then those of the validation part.

    >>> from whet.data.bundled import diabetes
    >>> len(pooled(diabetes()))
    376
    """
    train, valid = data.train, data.valid
    parts = [torch.cat(pair) for pair in zip(train.parts, valid.parts, strict=True)]
    inputs = tuple(parts) if isinstance(train.inputs, tuple) else parts[0]
    return Split(inputs, torch.cat([train.targets, valid.targets]), np.concatenate([train.ids, valid.ids]))


def deal(data: Data, k: int, *, seed: int = 0, again: int = 0) -> list[Fold]:
    """Return k folds of the visible examples, the same for the same (data, k, seed, again).

    Every example is held out once; each class is spread over the folds in proportion. A series is cut into k + 1 stretches of time, and fold
    i trains on the first i of them and is scored on the next: what is dealt is not drawn. again: the number of another deal, 0 the first.

    Raises DataError when k is below 2 or more than the examples bear.

    >>> from whet.data.bundled import digits
    >>> folds = deal(digits(), 5)
    >>> [len(f.valid) for f in folds], np.unique(np.concatenate([f.valid for f in folds])).size
    ([306, 306, 305, 305, 305], 1527)
    """
    n, name = len(data.train) + len(data.valid), data.source or "data"
    if k < 2:
        raise DataError(f"folds: must be at least 2, got {k}. Use e.g. 5.")
    if "series" in data.meta:
        if n < LEAST * (k + 1):
            raise DataError(
                f"folds: {name} is a series of {n} visible rows, too few for {k} folds forward in time. Give at most {n // LEAST - 1}."
            )
        cuts = np.linspace(0, n, k + 2).round().astype(int)
        return [Fold(np.arange(cuts[i]), np.arange(cuts[i], cuts[i + 1])) for i in range(1, k + 1)]
    if n < 2 * k:
        raise DataError(f"folds: {name} has {n} visible examples, too few for {k} folds. Give at most {n // 2}.")
    targets = torch.cat([data.train.targets, data.valid.targets]).numpy()
    labels = targets if data.kind == "classification" and targets.ndim == 1 else np.zeros(n, np.int64)
    if data.kind == "classification" and targets.ndim == 1:
        found, counts = np.unique(labels, return_counts=True)
        if counts.min() < 2:
            c = int(found[counts.argmin()])
            which = data.classes[c] if data.classes else c
            raise DataError(
                f"folds: {name} has one visible example of class '{which}': where it is held out, none is left to learn from. Give "
                "more of it, or drop it."
            )
    draw = rng(seed, "folds", again).permutation(n)
    order = draw[np.argsort(labels[draw], kind="stable")]  # by class, in a random order within each
    of = np.empty(n, np.int64)
    of[order] = np.arange(n) % k
    return [Fold(np.flatnonzero(of != i), np.flatnonzero(of == i)) for i in range(k)]


def folded(data: Data, fold: Fold) -> Data:
    """Return the data of one fold: its training part and the part it is scored on, without a test split.

    What the project fitted on the training part when it made `data` is fitted again on the fold's. Of data that a task made itself nothing is known, and it is taken
    as it is: what it fits on examples belongs into its model. Inputs that are standardised already are refused.

    Raises DataError when the fold's data cannot be prepared anew.

    >>> from whet.data.bundled import diabetes
    >>> data = diabetes()
    >>> made = folded(data, deal(data, 4)[0])
    >>> len(made.train), made.meta["target"]["mean"] == data.meta["target"]["mean"]
    (282, False)
    """
    if "series" in data.meta:
        if not isinstance(data.sealed, Sealed):
            raise DataError(
                f"folds: {data.source or 'the series'} was changed after it was loaded, so that its folds cannot be prepared anew. "
                "Leave the change out, or --folds."
            )
        rows = data.sealed.rows
        at = np.concatenate([rows.parts["train"], rows.parts["valid"]])
        return series_again(rows, at[fold.train], at[fold.valid])
    whole = pooled(data)
    raw = _rows(data, fold)
    meta: dict[str, Any] = dict(data.meta)
    meta["examples"] = {**meta.get("examples", {}), "train": len(fold.train), "valid": len(fold.valid)}
    if "encoding" not in meta:
        _check_plain(data, whole)
        return replace(
            data, train=whole.take(fold.train), valid=whole.take(fold.valid), sealed=None, raw=raw, meta=meta
        )
    if "train" not in raw:
        raise DataError(
            f"folds: {data.source or 'the table'} is encoded by its training rows, and has no rows to encode anew. Make it with "
            "whet.data.table, or leave --folds out."
        )
    written = [c["name"] for c in meta["encoding"]["columns"] if c["kind"] == "text"]
    target = meta["target"]["name"]
    names = [c for c in raw["train"].columns if c != target]
    names = names if target != "folder" else ["text"]  # a folder of texts: beside them stand their files' names
    encoding, _ = fit_encoding(raw["train"][names], data.source, texts=written)

    def part(split: str, index: np.ndarray) -> Split:
        inputs = apply_encoding(encoding, raw[split])
        return Split(inputs if len(inputs) > 1 else inputs[0], whole.targets[index], whole.ids[index])

    train, valid = part("train", fold.train), part("valid", fold.valid)
    meta |= {"encoding": encoding}
    if data.kind == "regression":
        y = train.targets.numpy().astype(float)
        if y.min() == y.max():
            raise DataError(f"folds: the target is the same in all {len(y)} training rows of a fold. Give fewer folds.")
        meta["target"] = {**meta["target"], "mean": float(y.mean()), "std": float(y.std())}
    return replace(
        data, train=train, valid=valid, sealed=None, raw=raw, meta=meta, features=feature_names(encoding), findings=()
    )


def _rows(data: Data, fold: Fold) -> dict[str, Any]:
    """Return the rows of a fold's parts as a person reads them, {} where the data has none."""
    if any(len(data.raw.get(s, ())) != len(getattr(data, s)) for s in ("train", "valid")):
        return {}
    import pandas as pd

    rows = pd.concat([data.raw["train"], data.raw["valid"]], ignore_index=True)
    return {s: rows.iloc[getattr(fold, s)].reset_index(drop=True) for s in ("train", "valid")}


def _check_plain(data: Data, whole: Split) -> None:
    """Raise DataError when the columns of a table are standardised by the training part: examples held out would have had a say."""
    x = data.train.parts[0]
    if x.ndim != 2 or not x.is_floating_point() or len(x) < 3:
        return
    spread = x.double().std(0, correction=0)
    moving = spread > 0
    mean = x.double().mean(0)[moving]
    if moving.any() and bool((mean.abs() < _STEADY).all()) and bool(((spread[moving] - 1).abs() < _STEADY).all()):
        raise DataError(
            f"folds: the inputs of {data.source or 'the data'} are standardised by the training part (mean 0, spread 1), which examples "
            "that a fold holds out were part of. Return them as they are, and begin the model with whet.models.Standardize.fit(...)."
        )

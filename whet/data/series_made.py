"""The examples of a series, made of its rows in the order of time: inputs by the plan, encoding by the training rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from whet.data.prepare import apply_encoding, feature_names, fit_encoding
from whet.data.series_lags import lag_rows
from whet.data.split import Data, Split
from whet.errors import DataError
from whet.finding import Finding

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Rows", "Sealed", "made"]


@dataclass(frozen=True)
class Rows:
    """The rows of a series, and which of them are examples.

    frame: all rows in the order of time, those of the test split too; ids: (n,) their numbers in the source; parts: split -> the
    positions of its examples, which have a target; visible: so many rows come before the test examples; plan: `meta["series"]`;
    source: for errors.

    >>> Rows(None, np.arange(3), {}, 2, {"target": "y"}, "t.csv").target
    'y'
    """

    frame: pd.DataFrame
    ids: np.ndarray
    parts: Mapping[str, np.ndarray]
    visible: int
    plan: Mapping[str, Any]
    source: str

    @property
    def target(self) -> str:
        """The column to predict."""
        return str(self.plan["target"])

    def split(self, inputs: pd.DataFrame, name: str, encoding: Mapping[str, Any]) -> Split:
        """Return the examples of a split; inputs: of each row, not encoded yet."""
        at = self.parts[name]
        y = self.frame[self.target].to_numpy(np.float32)
        encoded = apply_encoding(encoding, inputs.iloc[at])
        return Split(encoded if len(encoded) > 1 else encoded[0], torch.from_numpy(y[at]), self.ids[at])


@dataclass(frozen=True)
class Sealed:
    """Makes the test split of a series when it is called."""

    rows: Rows
    encoding: Mapping[str, Any]

    def __call__(self) -> Split:
        """Return the test split."""
        return self.rows.split(lag_rows(self.rows.frame, self.rows.plan).iloc[:-1], "test", self.encoding)


def made(rows: Rows) -> tuple[Data, tuple[Finding, ...]]:
    """Return the data of a series, without findings, and what encoding its inputs showed.

    Raises DataError for a target that is one value in all training rows, and inputs that say nothing.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"t": range(40), "y": np.arange(40) % 7 * 1.5})
    >>> parts = {"train": np.arange(2, 28), "valid": np.arange(28, 34), "test": np.arange(34, 40)}
    >>> plan = {"time": ["t"], "form": "number", "step": {"unit": "number", "size": 1}, "target": "y", "lags": {"y": [1, 2]},
    ...         "kinds": {}, "calendar": []}
    >>> data, _ = made(Rows(frame, np.arange(40), parts, 34, plan, "t.csv"))
    >>> len(data.train), data.features
    (26, ('y t-1', 'y t-2'))
    """
    visible = rows.frame.iloc[: rows.visible]
    inputs = lag_rows(visible, rows.plan).iloc[:-1]
    encoding, changed = fit_encoding(inputs.iloc[rows.parts["train"]], rows.source)
    train, valid = (rows.split(inputs, name, encoding) for name in ("train", "valid"))
    y = train.targets.numpy()
    if y.min() == y.max():
        raise DataError(f"{rows.source}: the target is the same in all {len(y)} training rows. Give more rows.")
    meta: dict[str, Any] = {
        "examples": {name: len(rows.parts[name]) for name in ("train", "valid", "test")},
        "encoding": encoding,
        "target": {"name": rows.target, "kind": "regression", "mean": float(y.mean(dtype=float)), "std": float(y.std(dtype=float))},
        "series": dict(rows.plan),
    }  # fmt: skip
    raw = {name: rows.frame.iloc[rows.parts[name]].reset_index(drop=True) for name in ("train", "valid")}
    raw["history"] = visible.set_axis(rows.ids[: len(visible)])
    data = Data(
        train, valid, kind="regression", sealed=Sealed(rows, encoding), source=rows.source,
        features=feature_names(encoding), meta=meta, raw=raw,
    )  # fmt: skip
    return data, tuple(c for c in changed if c.code != "POOLED")

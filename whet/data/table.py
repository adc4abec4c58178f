"""A table becomes `Data`: target found, kind inferred, rows divided, columns encoded by what the training rows show."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from whet.data.column import as_dates, as_numbers, kind_of
from whet.data.divide import divide
from whet.data.prepare import CLIP, apply_encoding, feature_names, fit_encoding
from whet.data.read import read
from whet.data.series import lookahead, series
from whet.data.series_time import NONE, find_clock
from whet.data.split import Data, Split
from whet.data.target import Target, encode_target, find_target
from whet.errors import DataError
from whet.finding import Finding, Severity

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["profile", "table"]


def table(
    source: str | Path | pd.DataFrame,
    target: str | Sequence[str] | None = None,
    *,
    kind: str | None = None,
    seed: int = 0,
    name: str = "table",
    texts: Collection[str] | None = None,
    time: str | None = None,
) -> Data:
    """Return the table in a CSV or Parquet file, or a DataFrame, as training, validation and sealed test split.

    Inputs: numbers (n, d) float32, and codes (n, k) int64 when there are categories; with free text numbers, codes and
    words (n, t) int64. texts: the columns of free text; None guesses and says so. Targets: class numbers or float32.
    The rows are divided 70/15/15 by `seed`, in proportion to the classes. `meta["encoding"]` is the fitted encoding
    (`apply_encoding` applies it to other rows), `meta["target"]` the target's name, kind and, for regression, mean and std.
    The encoding sees the training rows only; the test rows are encoded when the split is opened.

    Rows that follow a column of times, found or named by `time`, are a series and divided by time (see
    `whet.data.series.series`); time="none": a table in any case.

    Raises DataError for a file, a target or columns that cannot be used.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"x": range(40), "colour": ["red", "blue"] * 20, "y": [0.5, 2.25] * 20})
    >>> data = table(frame, "y", kind="regression", seed=1)
    >>> len(data.train), data.features, data.meta["target"]["name"]
    (28, ('x', 'colour'), 'y')
    """
    if isinstance(source, (str, Path)):
        label, wanted = str(source), target if isinstance(target, str) else None
        frame, found = read(source, wanted)
    else:
        label, frame, found = name, source.reset_index(drop=True), ()
        frame.columns = [str(c) for c in frame.columns]
    if len(set(frame.columns)) < len(frame.columns):
        twice = next(c for c in frame.columns if list(frame.columns).count(c) > 1)
        raise DataError(f"{label}: column '{twice}' appears more than once. Rename all but one.")
    column = find_target(frame, target, label, header=not any(f.code == "HEADER" for f in found))
    clock = find_clock(frame, column, None if time == NONE else time, label)
    if time != NONE and (made := series(frame, column, clock, kind=kind, source=label)) is not None:
        meta: dict[str, Any] = {**made.meta, "columns": profile(made.raw["train"].drop(columns=column))}
        return replace(made, meta=meta, findings=(*found, *made.findings))
    found = (*found, *lookahead(frame, column, clock))
    y = encode_target(frame[column], label, kind)
    rows = frame.iloc[y.kept].drop(columns=column)
    labels = y.values if y.kind == "classification" else None
    train, valid, test = divide(len(rows), labels=labels, seed=seed)
    shown = rows.iloc[train]
    encoding, dropped = fit_encoding(shown, label, texts=texts)

    def split(index: np.ndarray) -> Split:
        inputs = apply_encoding(encoding, rows.iloc[index])
        return Split(inputs if len(inputs) > 1 else inputs[0], torch.from_numpy(y.values[index]), y.kept[index])

    def raw(index: np.ndarray) -> pd.DataFrame:
        return frame.iloc[y.kept[index]].reset_index(drop=True)

    written = {c["name"] for c in encoding["columns"] if c["kind"] == "text"}
    meta = {
        "examples": {"train": len(train), "valid": len(valid), "test": len(test)},
        "encoding": encoding,
        "target": {"name": column, "kind": y.kind},
        "columns": [{**c, "kind": "text"} if c["name"] in written else c for c in profile(shown)],
    }
    if y.kind == "regression":
        meta["target"] |= _spread(y, train, label)
    return Data(
        split(train), split(valid), kind=y.kind, classes=y.classes, sealed=lambda: split(test), source=label,
        features=feature_names(encoding), meta=meta, findings=(*found, *y.findings, *dropped, *_far(encoding, shown)),
        raw={"train": raw(train), "valid": raw(valid)},
    )  # fmt: skip


def _spread(y: Target, train: np.ndarray, label: str) -> dict[str, float]:
    values = y.values[train].astype(float)
    if values.min() == values.max():
        raise DataError(f"{label}: the target is the same in all {len(train)} training rows. Give more rows.")
    return {"mean": float(values.mean()), "std": float(values.std())}


def _far(encoding: dict[str, Any], rows: pd.DataFrame) -> list[Finding]:
    """Return a finding that names the columns with values so far out that the encoding cuts them off, if any."""
    counts: dict[str, int] = {}
    for c in encoding["columns"]:
        if c["kind"] == "number" and c["parts"]:
            part, values = c["parts"][0], as_numbers(rows[c["name"]])
            far = int((np.abs(values[~np.isnan(values)] - part["mean"]) > CLIP * part["std"]).sum())
            counts |= {c["name"]: far} if far else {}
    if not counts:
        return []
    shown = ", ".join(f"{name} ({n:,})" for name, n in list(counts.items())[:5]) + (", ..." if len(counts) > 5 else "")
    text = f"values more than {CLIP:g} standard deviations out are cut off there: {shown}"
    return [Finding("FAR", Severity.INFO, "columns", counts, text, "check them, or take logarithms")]


def profile(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return facts on every column, as JSON: kind, type, missing, distinct, and range or commonest value.

    >>> import pandas as pd
    >>> profile(pd.DataFrame({"age": [3.0, None, 5.0]}))[0]
    {'name': 'age', 'kind': 'number', 'dtype': 'float64', 'missing': 1, 'distinct': 2, 'low': 3.0, 'high': 5.0, 'mean': 4.0}
    """
    out = []
    for name in frame.columns:
        column = frame[name]
        kind, form = kind_of(column)
        fact: dict[str, Any] = {
            "name": str(name),
            "kind": kind,
            "dtype": str(column.dtype),
            "missing": int(column.isna().sum()),
        }
        if kind in ("number", "flag"):
            values = as_numbers(column)
            values = values[~np.isnan(values)]
            fact |= {"distinct": len(np.unique(values))}
            if len(values):
                fact |= {"low": float(values.min()), "high": float(values.max()), "mean": float(values.mean())}
        elif kind == "date":
            dates = as_dates(column, form)
            fact |= {"distinct": int(dates.nunique()), "low": str(dates.min()), "high": str(dates.max())}
        elif kind == "category":
            counts = column.value_counts()
            counts = counts[counts > 0]
            fact |= {"distinct": len(counts), "top": str(counts.index[0])[:80], "top_count": int(counts.iloc[0])}
        out.append(fact)
    return out

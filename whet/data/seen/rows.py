"""The visible examples as rows of a table: what a person sorts and filters them by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from whet.data.seen.outcome import Example
from whet.data.seen.sequences import lengths
from whet.data.split import Data, Split
from whet.data.text import words
from whet.data.textcolumn import CHARACTERS, as_strings, text_columns

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["rows"]


def rows(data: Data, found: Iterable[Example] = ()) -> pd.DataFrame:
    """Return one row a visible example, training examples first, numbered from 0.

    Columns: split, id (its number in the source), index (its position in the split), label (the class, as a number
    where all classes are whole numbers; else the target); what was read (`Data.raw`); what is measured: brightness and
    contrast of pictures (mean and standard deviation as shares of the range of values), length of sequences, length (words),
    characters and unknown (share of the words the encoding reads and does not know) of texts, missing
    (fields of a table's row); and suspect (codes of the examples in `found`, with commas) with reason. A column of the
    user's own that bears one of these names gets an underscore behind it.

    >>> from whet.data.bundled import digits
    >>> table = rows(digits())
    >>> len(table), len(table.query("label == 3 and split == 'valid' and brightness < 0.4"))
    (1527, 27)
    """
    import pandas as pd

    parts = []
    for name, split in (("train", data.train), ("valid", data.valid)):
        columns: dict[str, Any] = {
            "split": np.full(len(split), name, dtype=object), "id": split.ids, "index": np.arange(len(split)),
            "label": _labels(data, split),
        }  # fmt: skip
        raw = data.raw.get(name)
        raw = raw if raw is not None and len(raw) == len(split) else None  # a part may have been taken since
        columns |= _measured(data, split) | _written(data, split, raw)
        if raw is not None:
            target = (data.meta.get("target") or {}).get("name")
            table = raw.drop(columns=[target], errors="ignore")
            columns["missing"] = table.isna().sum(axis=1).to_numpy()
        frame = pd.DataFrame(columns)
        if raw is not None:
            own = raw.reset_index(drop=True).rename(columns={c: f"{c}_" for c in (*frame.columns, "suspect", "reason")})
            frame = pd.concat([frame.iloc[:, :4], own, frame.iloc[:, 4:]], axis=1)
        parts.append(frame)
    table = pd.concat(parts, ignore_index=True)
    return _suspects(table, found, len(data.train))


def _labels(data: Data, split: Split) -> np.ndarray:
    y = split.targets.numpy()
    if y.ndim != 1:
        return np.array([", ".join(f"{v:.4g}" for v in row[:3]) for row in y.reshape(len(y), -1)], dtype=object)
    if data.kind != "classification" or data.classes is None:
        return y
    if all(c.lstrip("-").isdigit() for c in data.classes):
        return np.array([int(c) for c in data.classes])[y]
    return np.array(data.classes, dtype=object)[y]


def _measured(data: Data, split: Split) -> dict[str, np.ndarray]:
    x = split.parts[0]
    if data.meta.get("image") or (len(split.parts) == 1 and x.ndim == 4 and x.shape[1] in (1, 3)):
        return _light(data, x)
    whole = not x.is_floating_point() and x.dtype != torch.bool
    if len(split.parts) == 1 and x.ndim == 2 and whole and "encoding" not in data.meta and not data.features:
        return {"length": lengths(x.numpy())}
    return {}


def _written(data: Data, split: Split, raw: pd.DataFrame | None) -> dict[str, np.ndarray]:
    """Return words, characters and the share of unknown words of an example's texts, all its text columns together."""
    columns = [entry["name"] for entry, _ in text_columns(data.meta)]
    if not columns:
        return {}
    numbers = split.parts[-1].numpy()
    known = (numbers != 0).sum(1)
    out = {"length": known}
    if raw is not None:
        texts = ["\n".join(s or "" for s in row) for row in zip(*(as_strings(raw[c]) for c in columns), strict=True)]
        out["length"] = np.array([len(words(t[:CHARACTERS])) for t in texts], np.int64)
        out["characters"] = np.array([len(t) for t in texts], np.int64) - (len(columns) - 1)
    return out | {"unknown": ((numbers == 1).sum(1) / np.maximum(known, 1)).round(4)}


def _light(data: Data, x: Tensor) -> dict[str, np.ndarray]:
    """Return brightness and contrast, 0 to 1 of the range of values (all 256 of uint8)."""
    train = data.train.parts[0]
    low, high = (0.0, 255.0) if x.dtype == torch.uint8 else (float(train.min()), float(train.max()))
    means, deviations = [], []
    for i in range(0, len(x), 4096):
        part = x[i : i + 4096].flatten(1).float()
        means.append(part.mean(1))
        deviations.append(part.std(1, correction=0))
    scale = (high - low) or 1.0
    bright, contrast = (torch.cat(means) - low) / scale, torch.cat(deviations) / scale
    return {"brightness": bright.numpy().round(4), "contrast": contrast.numpy().round(4)}


def _suspects(table: pd.DataFrame, found: Iterable[Example], train: int) -> pd.DataFrame:
    codes: dict[int, list[str]] = {}
    reasons: dict[int, list[str]] = {}
    for e in found:
        at = e.index + (train if e.split == "valid" else 0)
        if e.code not in codes.setdefault(at, []):
            codes[at].append(e.code)
            reasons.setdefault(at, []).append(e.reason)
    table["suspect"] = [",".join(codes.get(i, ())) for i in range(len(table))]
    table["reason"] = ["; ".join(reasons.get(i, ())) for i in range(len(table))]
    return table

"""Take columns out of data that was encoded already: each column was encoded by itself, so the others stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from whet.data.prepare import CODED, feature_names
from whet.data.split import Data, Split
from whet.errors import DataError, nearest

__all__ = ["columns_of", "narrowed"]


def columns_of(data: Data) -> dict[str, list[int]]:
    """Return the places in the inputs that each column fills, counted over all parts; "column 3" where they have no names.

    >>> columns_of(Data.from_arrays(torch.zeros(20, 2), torch.arange(20) % 2, features=("age", "size")))
    {'age': [0], 'size': [1]}
    """
    if any(p.ndim != 2 for p in data.train.parts):
        return {}
    encoding = data.meta.get("encoding")
    if encoding is None:
        width = sum(p.shape[1] for p in data.train.parts)
        names = data.features if len(data.features) == width else tuple(f"column {i}" for i in range(width))
        return {name: [i] for i, name in enumerate(names)}
    found: dict[str, list[int]] = {}
    number, code = 0, int(encoding["numbers"])
    word = code + sum(c["kind"] == "category" for c in encoding["columns"])
    first = word
    for c in encoding["columns"]:
        if c["kind"] == "category":
            found[c["name"]] = [code]
            code += 1
        elif c["kind"] == "text":
            found[c["name"]] = list(range(word, word + c["length"]))
            word += c["length"]
        else:
            n = len(c.get("parts", ())) + bool(c["missing"])
            found[c["name"]] = list(range(number, number + n))
            number += n
    widths = [p.shape[1] for p in data.train.parts]
    # other encodings are laid out otherwise
    return found if [number, code - number, word - first][: len(widths)] == widths else {}


def narrowed(data: Data, without: Sequence[str], why: str) -> Data:
    """Return the data, its sealed split too, without the columns named.

    Raises DataError for an unknown column, for inputs that are no columns, and when none would be left.

    >>> data = Data.from_arrays(torch.arange(40.0).reshape(20, 2), torch.arange(20) % 2, features=("age", "size"))
    >>> narrowed(data, ["size"], "known too late").train.inputs[1].tolist()
    [2.0]
    """
    places = columns_of(data)
    if not places:
        raise DataError(
            f"drop_columns: the inputs of {data.source or 'the data'} are no columns that can be dropped one by one."
        )
    for name in without:
        if name not in places:
            raise DataError(
                f"drop_columns: no column {name!r}.{nearest(name, places)} Columns: {', '.join(list(places)[:40])}."
            )
    if len(without) == len(places):
        raise DataError("drop_columns: no column would be left to learn from. Keep at least one.")
    gone = {i for name in without for i in places[name]}
    keep: list[Tensor] = []
    start = 0
    for part in data.train.parts:
        keep.append(torch.tensor([j for j in range(part.shape[1]) if start + j not in gone], dtype=torch.int64))
        start += part.shape[1]
    encoded = "encoding" in data.meta
    opened = data.sealed

    def narrow(split: Split) -> Split:
        parts = [p[:, k] for p, k in zip(split.parts, keep, strict=True)]
        # as a table without texts, and one without categories too, is encoded
        while encoded and len(parts) > 1 and not parts[-1].shape[1]:
            parts.pop()
        return Split(tuple(parts) if len(parts) > 1 else parts[0], split.targets, split.ids)

    meta = _meta(data, without, why)
    features = tuple(f for i, f in enumerate(data.features) if i not in gone)
    features = feature_names(meta["encoding"]) if encoded else features
    raw = {s: f.drop(columns=list(without), errors="ignore") for s, f in data.raw.items()}
    return replace(
        data, train=narrow(data.train), valid=narrow(data.valid), features=features, raw=raw, meta=meta,
        sealed=None if opened is None else lambda: narrow(opened()),
        findings=tuple(f for f in data.findings if getattr(f, "where", "") not in without),
    )  # fmt: skip


def _meta(data: Data, without: Sequence[str], why: str) -> dict[str, Any]:
    meta = dict(data.meta)
    if "columns" in meta:
        meta["columns"] = [c for c in meta["columns"] if c["name"] not in without]
    if (e := meta.get("encoding")) is not None:
        kept = [c for c in e["columns"] if c["name"] not in without]
        meta["encoding"] = {
            **e, "columns": kept, "dropped": {**e["dropped"], **dict.fromkeys(without, why)},
            "numbers": sum(len(c.get("parts", ())) + bool(c["missing"]) for c in kept if c["kind"] not in CODED),
            "sizes": [len(c["values"]) + 2 for c in kept if c["kind"] == "category"],
        }  # fmt: skip
    return meta

"""Cleaning a series: values that are wrong become missing, in the rows and in all inputs made of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from whet.data.record import count, examples_in, recorded
from whet.data.seen.pick import find
from whet.data.series_made import Rows, Sealed, made
from whet.data.split import Data
from whet.data.table import profile
from whet.errors import DataError, nearest

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["blank"]

LEAST = 2  # examples of a split


def blank(data: Data, ids: Iterable[int | str], *, why: str, column: str | None = None, of: int | None = None) -> Data:
    """Return a series with the values of one column missing in some visible rows: in the history, and in all inputs made of it.

    ids: numbers of rows in the source, or ranges ("3-9"); column: the target if None, or another that the inputs are made of; why, of:
    as for `drop`. A missing value is treated as those the source lacks: the last value known before it stands in. A row
    whose target is blanked is no example any more. The times stay, so the step stays regular; season and lags stay, and the encoding is
    fitted again. The test split keeps its examples; where their inputs reach back to a blanked value, it is missing there too.
    Ids of the test split stay, and are counted on record.

    Raises DataError for data that is no series or came without its test split (`.visible`), an id that no row has, an unknown column,
    and a split left without examples.

    >>> import pandas as pd
    >>> from whet.data.table import table
    >>> frame = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=100).astype(str), "y": np.arange(100) % 7 * 1.5})
    >>> frame.loc[40, "y"] = 9999
    >>> data = blank(table(frame, "y"), [40], why="a placeholder")
    >>> 40 in data.train.ids, float(data.raw["history"]["y"].max()), data.findings[-1].message
    (False, 9.0, '1 value of `y` made missing (1 example less): a placeholder')
    """
    if "series" not in data.meta:
        raise DataError(f"blank: {data.source or 'the data'} is no series. Use clean.drop for an example.")
    if data.sealed is None:
        raise DataError("blank: needs the data with its test split, not .visible. Blank first, then take .visible.")
    if not isinstance(data.sealed, Sealed):  # its inputs are no longer those of the plan
        raise DataError("blank: the inputs were changed before. Blank values first, then drop columns.")
    if of is not None and of != examples_in(data):
        raise DataError(f"blank: {data.source} has {examples_in(data):,} examples, the ids are of {of:,}. Look again.")
    rows, history = data.sealed.rows, data.raw["history"]
    name = rows.target if column is None else column
    known = [rows.target, *rows.plan["kinds"]]
    if name not in known:
        raise DataError(
            f"blank: no column {name!r} among the inputs.{nearest(name, known)} Columns: {', '.join(known)}."
        )
    places = _positions(ids, rows.ids)
    at, hidden = places[places < len(history)], places[places >= len(history)]
    at = at[rows.frame[name].iloc[at].notna().to_numpy()]
    if not len(at) and not len(hidden):
        return data
    frame = rows.frame.copy()
    gone = np.zeros(len(frame), bool)
    gone[at] = True
    frame[name] = frame[name].where(~gone)
    parts = {s: p[~gone[p]] if name == rows.target else p for s, p in rows.parts.items()}
    for split, left in parts.items():
        if len(left) < LEAST:
            raise DataError(f"blank: would leave {count(len(left), f'{split} example')}. Blank fewer.")
    record: dict[str, Any] = {"what": "blank", "n": len(at), "why": why, "column": name}
    if len(hidden):
        record["not_visible"] = [str(i) for i in rows.ids[hidden].tolist()]
    return _again(data, replace(rows, frame=frame, parts=parts), at, record)


def _positions(ids: Iterable[int | str], known: np.ndarray) -> np.ndarray:
    """Return the positions of the rows named, in the order of time."""
    places = {"train": {int(i): [p] for p, i in enumerate(known)}, "valid": dict[int, list[int]]()}
    found: set[int] = set()
    for word in ids:
        here = find(places, str(word), what="blank")
        if not here:
            raise DataError(f"blank {word}: no row has this id. `whet look` shows the ids there are.")
        found.update(here)
    return np.array(sorted(found), np.int64)


def _again(data: Data, rows: Rows, at: np.ndarray, record: dict[str, Any]) -> Data:
    """Return the data made of `rows`, in which values of a column were made missing at these positions, with `record` completed."""
    new, _ = made(rows)
    before = {split: set(own.ids.tolist()) for split, own in (("train", data.train), ("valid", data.valid))}
    ids: dict[str, list[int]] = {"train": [], "valid": [], "before": []}  # before: rows that are inputs only
    for i in rows.ids[at].tolist():
        ids[next((s for s in before if i in before[s]), "before")].append(i)
    less = len(data.train) + len(data.valid) - len(new.train) - len(new.valid)
    meta: dict[str, Any] = {**data.meta, **new.meta, "columns": _profile(new.raw["train"], rows.target)}
    hidden = len(record.get("not_visible", ()))
    more = [f"{count(less, 'example')} less"] if less else []
    more += [f"{hidden:,} not visible"] if hidden else []
    text = f"{count(len(at), 'value')} of `{record['column']}` made missing"
    text += f" ({', '.join(more)}): {record['why']}" if more else f": {record['why']}"
    record |= {"ids": ids, "left_out": less}
    return recorded(replace(new, meta=meta, findings=data.findings), record, text, where=record["column"])


def _profile(frame: pd.DataFrame, target: str) -> list[dict[str, Any]]:
    return profile(frame.drop(columns=[target]))
